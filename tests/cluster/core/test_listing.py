"""Every task in order of submission, on pages that a list may pass over."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.core.listing import PAGE_BITS, Listing, Wanted
from cluster.core.model import Kind, Moment, Run, Task, TaskStatus
from cluster.core.state import State

NUMBERS = 1 << PAGE_BITS
STATUSES = (TaskStatus.PENDING, TaskStatus.PROCESSING, TaskStatus.COMPLETED)


def a_task(number, status=TaskStatus.PENDING, queue="q", type_="t", worker_id=None):
    kind = State(lease_ms=1, heartbeat_ms=1).open_kind(Kind(type_, "json", queue))
    task = Task(f"t{number}", b"", kind, None, status, Moment(1, 1, 0, 0), number)
    task.run = None if worker_id is None else Run(worker_id=worker_id)
    return task


def filled(*tasks):
    listing = Listing()
    for task in tasks:
        listing.extend([task])
    return listing


def found(listing, number=10**9, **wanted):
    looks = listing.before(number, Wanted(**wanted))
    return [task.number for _, task in looks if task is not None]


tasks = st.builds(
    a_task,
    st.integers(1, 5 * NUMBERS),
    st.sampled_from(STATUSES),
    st.sampled_from("pq"),
    st.sampled_from("tu"),
    st.sampled_from([None, "v", "w"]),
)
wanted = st.builds(
    Wanted,
    status=st.none() | st.sampled_from(STATUSES),
    queue=st.none() | st.sampled_from("pq"),
    type=st.none() | st.sampled_from("tu"),
    worker_id=st.none() | st.sampled_from("vw"),
)


@given(
    st.lists(tasks, max_size=20, unique_by=lambda task: task.number),
    st.lists(st.sampled_from(STATUSES), max_size=20),
    st.integers(0, 10),
    st.integers(0, 6 * NUMBERS),
    wanted,
)
def test_a_list_finds_what_is_there_newest_first(tasks, moves, gone, number, wanted):
    tasks = sorted(tasks, key=lambda task: task.number)
    listing = filled(*tasks)
    for task, status in zip(tasks, moves, strict=False):
        before, task.status = task.status, status
        listing.moved(task, before)
    for task in tasks[gone::2]:
        listing.remove(task)
    left = [task for task in tasks if task not in tasks[gone::2]]

    looks = list(listing.before(number, wanted))

    assert list(listing) == left
    assert [task for _, task in looks if task is not None] == [
        task for task in reversed(left) if task.number < number and wanted.matches(task)
    ]
    bounds = [bound for bound, _ in looks]
    assert bounds == sorted(bounds, reverse=True)


def test_a_page_without_what_is_looked_for_is_one_look():
    listing = filled(*(a_task(number) for number in range(3 * NUMBERS)))
    rare = a_task(3 * NUMBERS, TaskStatus.FAILED, "rare", "rare")
    listing.extend([rare])

    for wanted in ({"status": TaskStatus.FAILED}, {"queue": "rare"}, {"type": "rare"}):
        looks = list(listing.before(4 * NUMBERS, Wanted(**wanted)))
        assert looks == [
            (3 * NUMBERS, rare),
            (2 * NUMBERS, None),
            (NUMBERS, None),
            (0, None),
        ]


def test_a_page_is_passed_over_once_what_was_there_has_moved_or_gone():
    listing = filled(a_task(1), a_task(2), a_task(3, queue="other"))
    first, second, third = listing
    first.status = second.status = TaskStatus.COMPLETED
    listing.moved(first, TaskStatus.PENDING)
    listing.moved(second, TaskStatus.PENDING)
    listing.remove(third)

    assert list(listing.before(9, Wanted(status=TaskStatus.PENDING))) == [(0, None)]
    assert list(listing.before(9, Wanted(queue="other"))) == [(0, None)]
    assert found(listing, status=TaskStatus.COMPLETED) == [2, 1]


def test_a_page_without_tasks_is_none():
    task = a_task(NUMBERS)
    listing = filled(a_task(1), task)
    listing.remove(task)

    assert [page.number for page in listing.pages()] == [0]
