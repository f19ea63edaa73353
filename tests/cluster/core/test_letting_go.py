"""A state that another has replaced is freed without a look for circles."""

import gc
import sys
from itertools import pairwise

import pytest

from cluster.core import letting_go
from cluster.core.commands import Cancel, Leave
from cluster.core.listing import PAGE_BITS
from cluster.core.machine import Machine
from cluster.core.ordered import BLOCK_RECORDS
from cluster.core.state import Space, State
from tests.cluster.core.forms import sources_only


@pytest.fixture(autouse=True)
def _no_collector():
    gc.disable()
    yield
    gc.enable()


def test_nothing_of_what_was_replaced_is_kept(driver):
    driver.worker("w", slots=2)
    driver.register("lost")
    driver.submit("runs", "waits", "waits-too", "other", timeout_ms=5, ttl_ms=9, requires=())
    driver.submit("gpu", requires=("gpu",), type="x")
    driver.submit("later", delay_ms=100)
    driver.submit("theirs", namespace="theirs")
    driver.fail("runs", retry=False)
    driver.do(Cancel("other"))
    driver.do(Leave("lost"))
    spaces = driver.machine.state.spaces.values()
    records = [each for space in spaces for each in (*space.listing, *space.workers.values())]
    assert len(records) == 8

    for _ in driver.machine.become(Machine()):
        pass

    assert [gc.get_referrers(record) for record in records] == [[records]] * len(records)


@sources_only
def test_every_part_is_let_go():
    """Here and where the compiled form is allowed to: a new part is easily missed."""
    numbers = {
        name
        for name in State.__slots__
        if isinstance(getattr(State(lease_ms=1, heartbeat_ms=1), name), int)
    }
    assert set(letting_go._STATE_PARTS) == set(State.__deletable__)
    assert set(letting_go._STATE_PARTS) == set(State.__slots__) - numbers
    assert set(letting_go._SPACE_PARTS) == set(Space.__deletable__) == set(Space.__slots__)


def test_no_step_frees_more_than_a_block_of_those_that_wait(driver):
    driver.submit(*(f"t{n}" for n in range(3 * BLOCK_RECORDS)))

    steps = list(driver.machine.become(Machine()))

    assert len(steps) > 3


def test_no_step_frees_more_than_a_page_of_tasks(driver):
    page = 1 << PAGE_BITS
    driver.submit(*(f"t{n}" for n in range(4 * page)))
    kind = driver.machine.state.task("default", "t0").kind  # Each task refers to it.

    held = [sys.getrefcount(kind) for _ in driver.machine.become(Machine())]

    assert held[0] - held[-1] >= 4 * page
    assert max(before - after for before, after in pairwise(held)) <= page


def test_the_new_state_is_there_at_once(driver):
    driver.submit("a")
    held = Machine()

    held.become(driver.machine)

    assert held.state is driver.machine.state
