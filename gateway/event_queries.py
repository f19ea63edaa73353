"""What a reader of events asks for: where to begin, and what to be told."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.core.model import EVENT_KINDS
from cluster.watching import From
from gateway import checks, positions
from gateway.event_views import Wanted
from gateway.fields import Field, Shape
from gateway.positions import Place
from gateway.queries import QUEUE

LAST_SEEN = "Last-Event-ID"


def _read_kinds(value: object) -> frozenset[str]:
    kinds = str(value).split(",")
    unknown = [kind for kind in kinds if kind not in EVENT_KINDS]
    if unknown:
        known = ", ".join(EVENT_KINDS)
        raise checks.refused(f"{unknown[0][:64]!r} is no kind of event; these are: {known}")
    return frozenset(kinds)


TASK = Field("task", checks.uuid, "Only those of this task.")
WORKER = Field("worker", checks.uuid, "Only those of this worker.")
KIND = Field(
    "kind",
    checks.Check(_read_kinds, {"type": "string"}),
    f"Only those of this kind, or of several with commas between them: {', '.join(EVENT_KINDS)}.",
)
FROM = Field(
    "from",
    checks.one_of({"start": From.OLDEST, "now": From.NOW}),
    "Where to begin without a position: with the oldest event that is kept, or now.",
    default="now",
)
LAST_EVENT_ID = Field(
    "last_event_id",
    positions.check,
    f"The position to go on after, for who cannot send the header {LAST_SEEN}; that wins.",
)
EVENTS = Shape("EventsQuery", QUEUE, TASK, WORKER, KIND, FROM, LAST_EVENT_ID, what="the query")


def asked(query: Mapping[str, object], headers: Mapping[str, str]) -> tuple[Place | From, Wanted]:
    """Where to begin and what to tell.

    Raises:
        Problem: 422, naming what is wrong.
    """
    members = EVENTS.read(query)
    after: Place | From = members.get(LAST_EVENT_ID, members[FROM])
    # The header wins: a browser repeats the address that it was first given, and adds this.
    seen = headers.get(LAST_SEEN, "")
    if seen:
        try:
            after = positions.check(seen)
        except checks.Invalid as error:
            members.refuse(LAST_SEEN, error.errors[0][1])
    members.close()
    wanted = Wanted(
        task_id=members.get(TASK, None),
        queue=members.get(QUEUE, None),
        worker_id=members.get(WORKER, None),
        kinds=members.get(KIND, None),
    )
    return after, wanted
