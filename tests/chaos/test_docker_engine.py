"""What the Docker engine refuses: tried again where that helps, and never taken for done."""

from __future__ import annotations

from typing import Any

import pytest
from docker.errors import APIError

from chaos.targets.engine import PAUSES, Engine, Refused


class Sdk:
    """The SDK's client, of an engine that refuses so many pauses and keeps one network."""

    def __init__(self, *, refusals: int = 0, removals_refused: int = 0) -> None:
        self.api = self.containers = self.networks = self.volumes = self
        self.name = "quorate-chaos-1_raft"
        self.paused = 0
        self._refusals = refusals
        self._removals_refused = removals_refused
        self._is_there = True

    def pause(self, _container: str) -> None:
        if self._refusals:
            self._refusals -= 1
            raise APIError("Cannot pause container: unable to freeze")
        self.paused += 1

    def list(self, *, filters: Any, **_options: Any) -> list[Sdk]:
        is_network = not _options and self._is_there
        return [self] if is_network and filters else []

    def remove(self, **_options: Any) -> None:
        if self._removals_refused:
            self._removals_refused -= 1
            raise APIError("network has active endpoints")
        self._is_there = False


def test_a_pause_that_the_kernel_refuses_is_tried_again() -> None:
    sdk = Sdk(refusals=PAUSES - 1)

    Engine(sdk).pause("node1")

    assert sdk.paused == 1


def test_one_that_is_refused_for_good_is_an_error_of_ours() -> None:
    with pytest.raises(Refused, match="unable to freeze"):
        Engine(Sdk(refusals=PAUSES)).pause("node1")


def test_what_is_in_use_still_is_removed_with_the_next_try() -> None:
    assert Engine(Sdk(removals_refused=1)).remove_project("p") == ["quorate-chaos-1_raft"]


def test_what_stays_is_told_so_that_its_journal_is_kept() -> None:
    with pytest.raises(Refused, match="does not remove quorate-chaos-1_raft"):
        Engine(Sdk(removals_refused=1_000)).remove_project("p")
