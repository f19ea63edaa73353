"""The same log, the same bytes: twice, from a copy taken anywhere, and whatever the hash seed."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from cluster import codec, compiled
from cluster.core import sweeping
from cluster.core.dumping import dump
from cluster.core.machine import Machine
from cluster.core.model import EVENT_KINDS
from tests.cluster.core.copying import copy_of
from tests.cluster.core.replaying import ENTRIES, SEED, outcome, replay
from tests.cluster.core.test_stateful import HEARTBEAT_MS, LEASE_MS, STEPS, Clients
from tests.cluster.core.workload import entries

EXAMPLES = int(os.environ.get("QUORATE_TEST_EXAMPLES", "100"))
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def log():
    return list(entries(random.Random(SEED), ENTRIES))


@pytest.fixture(scope="module")
def replayed(log):
    return replay(log)


def replay_elsewhere(hash_seed, **variables):
    """The same, generated and replayed by another process, compiled if it is here."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.core.replaying"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_same_log_gives_the_same_bytes_twice(log, replayed):
    assert replay(log) == replayed


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_log_gives_the_same_bytes_whatever_the_hash_seed(replayed, hash_seed):
    assert replay_elsewhere(hash_seed) == replayed
    assert replay_elsewhere(hash_seed, **{compiled.INTERPRETED: "1"}) == replayed


def test_the_log_meets_every_command(replayed):
    assert replayed["ops"].keys() == {command_type.op for _, command_type in codec.OPS}


def test_the_log_meets_every_kind_of_event(replayed):
    assert replayed["kinds"].keys() == set(EVENT_KINDS)


def test_the_log_fills_the_memory(replayed):
    assert replayed["evicted"] > 0


@settings(max_examples=max(1, EXAMPLES // 10), deadline=None)
@given(seed=st.integers(0, 2**32), units=st.sampled_from([1, 2, 5, 1_000]))
def test_a_copy_taken_after_any_entry_goes_on_as_the_machine_does(seed, units):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "UNITS_MAX", units)  # Few: then much is left for the next entry.
        log = list(entries(random.Random(seed), 40))
        machine = Machine()
        copies = [copy_of(machine)]
        for index, raw in enumerate(log, start=1):
            done = outcome(machine, raw, index)
            assert [outcome(copy, raw, index) for copy in copies] == [done] * len(copies)
            copies.append(copy_of(machine))

        end = list(dump(machine))
        assert [list(dump(copy)) for copy in copies] == [end] * len(copies)


def test_a_copy_goes_on_through_a_long_history(log):
    machine = Machine()
    copies = []
    for index, raw in enumerate(log, start=1):
        done = outcome(machine, raw, index)
        assert [outcome(copy, raw, index) for copy in copies] == [done] * len(copies)
        if index % 75 == 0:
            copies.append(copy_of(machine))


class Copies(Clients):
    """The same clients, of a machine that is dumped now and then and of its newest copy."""

    def __init__(self):
        super().__init__()
        self.copy = Machine(lease_ms=LEASE_MS, heartbeat_ms=HEARTBEAT_MS)

    def do(self, *commands):
        applied = super().do(*commands)
        assert self.copy.apply_entry(commands, **self.moment()) == applied
        return applied

    @rule()
    def dump(self):
        self.copy = copy_of(self.machine)

    def teardown(self):
        assert list(dump(self.copy)) == list(dump(self.machine))


TestCopies = Copies.TestCase
TestCopies.settings = settings(
    max_examples=max(1, EXAMPLES // 4), stateful_step_count=STEPS, deadline=None
)
