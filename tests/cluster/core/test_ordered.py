"""Entries in order."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.core.ordered import BLOCK_ENTRIES, Ordered

numbers = st.integers(0, 40)


def filled(count, step=1):
    ordered = Ordered()
    for n in range(0, count * step, step):
        ordered.add((n,))
    return ordered


@given(st.lists(st.tuples(st.booleans(), numbers)))
def test_it_holds_what_was_added_and_not_removed_in_order(steps):
    ordered = Ordered()
    model = []
    for is_added, n in steps:
        if is_added and n not in model:
            model.append(n)
            ordered.add((n,))
        elif n in model:
            model.remove(n)
            ordered.remove((n,))

    assert list(ordered) == [(n,) for n in sorted(model)]
    assert len(ordered) == len(model)
    assert ordered.first() == (min((n,) for n in model) if model else None)


def test_many_entries_stay_in_order_wherever_they_are_added():
    ordered = filled(4 * BLOCK_ENTRIES, step=2)
    for n in range(1, 4 * BLOCK_ENTRIES, 2):
        ordered.add((n,))

    assert list(ordered)[: 4 * BLOCK_ENTRIES] == [(n,) for n in range(4 * BLOCK_ENTRIES)]


def test_many_entries_can_be_removed_from_the_middle():
    ordered = filled(4 * BLOCK_ENTRIES)
    for n in range(10, 4 * BLOCK_ENTRIES - 10):
        ordered.remove((n,))

    assert len(ordered) == 20


def test_the_entries_before_a_bound_come_greatest_first():
    ordered = filled(3 * BLOCK_ENTRIES)

    assert list(ordered.before((2 * BLOCK_ENTRIES + 5,))) == [
        (n,) for n in range(2 * BLOCK_ENTRIES + 4, -1, -1)
    ]


def test_a_bound_beyond_the_last_entry_gives_all():
    assert len(list(filled(3 * BLOCK_ENTRIES).before((10**9,)))) == 3 * BLOCK_ENTRIES


def test_nothing_is_before_anything_in_an_empty_one():
    assert list(Ordered().before((1,))) == []
