"""The routes: every path that the gateway serves, in one table."""

from __future__ import annotations

from gateway import (
    answers,
    dead_letters,
    events,
    members,
    metrics,
    node_pages,
    operations,
    queries,
    queues,
    shapes,
    submitting,
    tasks,
    workers,
)
from gateway.event_queries import EVENTS
from gateway.routing import Route, Stream, Told

_NODE = {"id": members.NODE_ID.check}
_LEASED = ("task_unknown", "lease_lost")
_SESSION = ("worker_unknown", "worker_lost")
_CONFLICTS = ("id_conflict", "idempotency_conflict")
_FULL = ("cluster_full", "idempotency_full")

ROUTES: tuple[Route, ...] = (
    Route(
        *("submit", "POST", "/tasks", submitting.submit),
        Told(
            "Submit a task.",
            answers.SUBMITTED_TASK,
            status=201,
            also=(200,),
            body=shapes.SUBMISSION,
            problems=(*_CONFLICTS, *_FULL),
        ),
    ),
    Route(
        *("submit_batch", "POST", "/tasks/batch", submitting.submit_batch),
        Told(
            "Submit up to 1,000 tasks, all or none.",
            answers.TASK_IDS,
            status=201,
            body=shapes.BATCH,
            problems=(*_CONFLICTS, *_FULL),
            takes_lines=True,
        ),
    ),
    Route(
        *("tasks", "GET", "/tasks", tasks.list_tasks),
        Told("List tasks, newest first.", answers.TASK_PAGE, query=queries.LISTING),
    ),
    Route(
        *("task", "GET", "/tasks/{id}", tasks.get_task),
        Told(
            "Look at a task, or wait for its end.",
            answers.TASK,
            query=queries.TASK_READING,
            problems=("task_unknown",),
        ),
    ),
    Route(
        *("task_events", "GET", "/tasks/{id}/events", tasks.list_events),
        Told(
            "Tell a task's timeline, a transition each.",
            answers.TIMELINE,
            query=queries.READING,
            problems=("task_unknown",),
        ),
    ),
    Route(
        *("cancel", "DELETE", "/tasks/{id}", tasks.cancel),
        Told(
            "Cancel a task: at once, or through its worker.",
            answers.MOVED_TASK,
            status=202,
            problems=("task_unknown", "not_cancellable"),
        ),
    ),
    Route(
        *("retry", "POST", "/tasks/{id}/retry", tasks.retry),
        Told(
            "Put a failed, cancelled or expired task back.",
            answers.MOVED_TASK,
            status=202,
            body=shapes.NOTHING,
            problems=("task_unknown", "not_retryable"),
        ),
    ),
    Route(
        *("complete", "POST", "/tasks/{id}/complete", tasks.complete),
        Told("Report a run's result.", answers.SETTLED, body=shapes.COMPLETION, problems=_LEASED),
    ),
    Route(
        *("fail", "POST", "/tasks/{id}/fail", tasks.fail),
        Told("Report a run's failure.", answers.SETTLED, body=shapes.FAILURE, problems=_LEASED),
    ),
    Route(
        *("release", "POST", "/tasks/{id}/release", tasks.release),
        Told(
            "Hand a task back unfinished, at no cost to it.",
            answers.SETTLED,
            body=shapes.HAND_BACK,
            problems=_LEASED,
        ),
    ),
    Route(
        *("progress", "POST", "/tasks/{id}/progress", tasks.report),
        Told(
            "Report how far a run is.",
            answers.SETTLED,
            body=shapes.REPORT,
            problems=(*_LEASED, "cluster_full"),
        ),
    ),
    Route(
        *("dead_letters", "GET", "/dlq/failed-tasks", dead_letters.list_dead),
        Told("List dead letters, the oldest first.", answers.DEAD_PAGE, query=queries.DEAD_LISTING),
    ),
    Route(
        *("retry_dead_letter", "POST", "/dlq/failed-tasks/{id}/retry", dead_letters.retry),
        Told(
            "Put a dead letter back.",
            answers.MOVED_TASK,
            status=202,
            body=shapes.NOTHING,
            problems=("task_unknown", "not_retryable"),
        ),
    ),
    Route(
        *("delete_dead_letter", "DELETE", "/dlq/failed-tasks/{id}", dead_letters.remove),
        Told(
            "Remove a dead letter for good.",
            answers.SUCCESS,
            problems=("task_unknown", "not_removable"),
        ),
    ),
    Route(
        *("retry_dead_letters", "POST", "/dlq/retry", dead_letters.retry_all),
        Told(
            "Put dead letters back: all, or some.",
            answers.STARTED,
            status=202,
            body=shapes.DEAD_FILTER,
            problems=("operations_full",),
        ),
    ),
    Route(
        *("queues", "GET", "/queues", queues.list_queues),
        Told(
            "List the queues that have tasks or are paused.",
            answers.QUEUE_PAGE,
            query=queries.QUEUE_LISTING,
        ),
    ),
    Route(
        *("queue", "GET", "/queues/{name}", queues.get_queue),
        Told("Look at a queue; any name is one.", answers.QUEUE, query=queries.READING),
    ),
    Route(
        *("pause_queue", "POST", "/queues/{name}/pause", queues.pause),
        Told(
            "Let a queue's tasks wait; what runs goes on.",
            answers.SUCCESS,
            body=shapes.NOTHING,
            problems=("queues_full",),
        ),
    ),
    Route(
        *("resume_queue", "POST", "/queues/{name}/resume", queues.resume),
        Told("Let a queue's tasks run again.", answers.SUCCESS, body=shapes.NOTHING),
    ),
    Route(
        *("purge_queue", "DELETE", "/queues/{name}/tasks", queues.purge),
        Told(
            "Remove what waits in a queue.",
            answers.STARTED,
            status=202,
            problems=("operations_full",),
        ),
    ),
    Route(
        *("operation", "GET", "/operations/{id}", operations.get_operation),
        Told(
            "Look how far an operation is.",
            answers.OPERATION,
            query=queries.READING,
            problems=("operation_unknown",),
        ),
    ),
    Route(
        *("workers", "GET", "/workers", workers.list_workers),
        Told("List workers, lost ones for an hour.", answers.WORKER_PAGE, query=queries.ROSTER),
    ),
    Route(
        *("register", "POST", "/workers", workers.register),
        Told(
            "Begin a worker's session.",
            answers.SESSION,
            status=201,
            body=shapes.REGISTRATION,
            problems=("worker_lost",),
        ),
    ),
    Route(
        *("worker", "GET", "/workers/{id}", workers.get_worker),
        Told(
            "Look at a worker.", answers.WORKER, query=queries.READING, problems=("worker_unknown",)
        ),
    ),
    Route(
        *("drain", "POST", "/workers/{id}/drain", workers.drain),
        Told(
            "Give a worker nothing more; it finishes its tasks.",
            answers.DRAINING,
            body=shapes.NOTHING,
            problems=_SESSION,
        ),
    ),
    Route(
        *("leave", "DELETE", "/workers/{id}", workers.leave),
        Told("End a worker's session; its tasks go back.", answers.SUCCESS, problems=_SESSION),
    ),
    Route(
        *("lease", "POST", "/workers/{id}/lease", workers.lease),
        Told("Take tasks, waiting for them.", answers.LEASES, body=shapes.WISH, problems=_SESSION),
    ),
    Route(
        *("heartbeat", "POST", "/workers/{id}/heartbeat", workers.heartbeat),
        Told(
            "Keep a session and the leases named.",
            answers.ORDERS,
            body=shapes.HEARTBEAT,
            problems=_SESSION,
        ),
    ),
    Route(
        *("health", "GET", "/health", node_pages.health),
        Told("Tell how the cluster is, as this node sees it.", answers.HEALTH, also=(503,)),
    ),
    Route(
        *("cluster", "GET", "/cluster", node_pages.cluster),
        Told("Tell how this node sees the cluster.", answers.CLUSTER),
    ),
    Route(
        *("cluster_log", "GET", "/cluster/log", node_pages.cluster_log),
        Told(
            "Read the replicated log, payloads cut.",
            answers.LOG_PAGE,
            query=queries.LOG_PAGE,
            problems=("entries_gone",),
        ),
    ),
    Route(
        *("add_member", "POST", "/cluster/members", members.add),
        Told(
            "Add a node that runs already.",
            answers.SUCCESS,
            body=members.MEMBER,
            problems=("change_refused",),
        ),
    ),
    Route(
        *("remove_member", "DELETE", "/cluster/members/{id}", members.remove),
        Told(
            "Remove a node.",
            answers.SUCCESS,
            path=_NODE,
            problems=("member_unknown", "change_refused"),
        ),
    ),
    Route(
        *("change_leader", "POST", "/cluster/leader", members.lead),
        Told(
            "Hand leadership over.",
            answers.SUCCESS,
            body=members.LEADER,
            problems=("member_unknown", "change_refused"),
        ),
    ),
    Route(
        *("livez", "GET", "/livez", node_pages.livez),
        Told("Tell that the process answers.", answers.LIFE),
    ),
    Route(
        *("readyz", "GET", "/readyz", node_pages.readyz),
        Told("Tell whether a write would find a quorum.", answers.READINESS, also=(503,)),
    ),
)


STREAMS: tuple[Stream, ...] = (
    Stream(
        *("/events", events.follow, "Follow every transition, as server-sent events."),
        *(events.MEDIA_TYPE, EVENTS, ("events_gone", "overloaded")),
    ),
    Stream("/metrics", metrics.scrape, "Read this node's numbers, for Prometheus.", "text/plain"),
)
