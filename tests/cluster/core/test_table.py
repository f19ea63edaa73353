"""A table of many small dicts."""

import pytest

from cluster.core.table import Table


def test_what_was_put_in_is_found_until_it_is_taken_out():
    table = Table()
    table["0190-a"] = 1
    table["0191-a"] = 2
    table["b"] = 3
    del table["0190-a"]
    del table["b"]

    assert (table.get("0190-a"), table.get("b"), table["0191-a"]) == (None, None, 2)
    assert (len(table), list(table.items()), list(table.values())) == (1, [("0191-a", 2)], [2])


@pytest.mark.parametrize("missing", ["x", "", "0190-x", "0190-a"])
def test_what_is_not_there_is_missed(missing):
    table = Table()
    table["0190"] = table["1-x"] = table["1-a"] = 1

    with pytest.raises(KeyError):
        table[missing]
    with pytest.raises(KeyError):
        del table[missing]
