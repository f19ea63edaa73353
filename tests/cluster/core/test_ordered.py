"""Records in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.ordered import BLOCK_RECORDS, Ordered

numbers = st.integers(0, 40)


def itself(n):
    return n


def filled(count, step=1):
    ordered = Ordered(itself)
    for n in range(0, count * step, step):
        ordered.add(n)
    return ordered


@given(st.lists(st.tuples(st.booleans(), numbers)))
def test_it_holds_what_was_added_and_not_removed_in_order(steps):
    ordered = Ordered(itself)
    model = []
    for is_added, n in steps:
        if is_added and n not in model:
            model.append(n)
            ordered.add(n)
        elif n in model:
            model.remove(n)
            ordered.remove(n)

    assert list(ordered) == sorted(model)
    assert len(ordered) == len(model)
    assert ordered.first == min(model, default=None)


@pytest.mark.parametrize("held", [0, 1, BLOCK_RECORDS - 3, BLOCK_RECORDS])
def test_entries_that_come_together_go_behind_all_others(held):
    ordered = filled(held)

    ordered.extend([held, held + 1, held + 2, held + 3])

    assert list(ordered) == list(range(held + 4))
    assert ordered.first == 0


def test_entries_that_come_together_go_where_they_belong():
    ordered = filled(4, step=10)

    ordered.extend([-1, 5, 40])

    assert list(ordered) == [-1, 0, 5, 10, 20, 30, 40]
    assert ordered.first == -1


def test_many_entries_stay_in_order_wherever_they_are_added():
    ordered = filled(4 * BLOCK_RECORDS, step=2)
    for n in range(1, 4 * BLOCK_RECORDS, 2):
        ordered.add(n)

    assert list(ordered)[: 4 * BLOCK_RECORDS] == list(range(4 * BLOCK_RECORDS))


def test_many_entries_can_be_removed_from_the_middle():
    ordered = filled(4 * BLOCK_RECORDS)
    for n in range(10, 4 * BLOCK_RECORDS - 10):
        ordered.remove(n)

    assert len(ordered) == 20


def test_the_entries_before_a_bound_come_greatest_first():
    ordered = filled(3 * BLOCK_RECORDS)

    assert list(ordered.before(2 * BLOCK_RECORDS + 5)) == list(range(2 * BLOCK_RECORDS + 4, -1, -1))


def test_a_bound_beyond_the_last_entry_gives_all():
    assert len(list(filled(3 * BLOCK_RECORDS).before(10**9))) == 3 * BLOCK_RECORDS


def test_nothing_is_before_anything_in_an_empty_one():
    assert list(Ordered(itself).before(1)) == []


def test_the_order_is_that_of_the_key():
    ordered = Ordered(len)
    for text in ("ccc", "a", "dddd", "bb"):
        ordered.add(text)

    assert list(ordered) == ["a", "bb", "ccc", "dddd"]
    assert list(ordered.before(3)) == ["bb", "a"]


@given(st.lists(numbers, unique=True), numbers)
def test_the_entries_after_a_bound_come_least_first(entries, bound):
    ordered = Ordered(itself)
    for n in entries:
        ordered.add(n)

    assert list(ordered.after(bound)) == sorted(n for n in entries if n > bound)


def test_the_entries_after_a_bound_go_on_over_blocks():
    ordered = filled(3 * BLOCK_RECORDS)

    for bound in (-1, BLOCK_RECORDS - 1, BLOCK_RECORDS, 2 * BLOCK_RECORDS + 5):
        assert list(ordered.after(bound)) == list(range(bound + 1, 3 * BLOCK_RECORDS))
