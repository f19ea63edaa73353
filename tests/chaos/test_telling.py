"""What is told of two looks at the nodes: who leads, who hears whom, who is silent."""

from __future__ import annotations

from typing import Any

from chaos.checkers.evidence import Sight
from chaos.telling import changes


def sight(node: str, **changes: Any) -> Sight:
    return Sight(0.0, node, "follower", 3, 10, 10, "", ("node2", "node3"))._replace(**changes)


def told(before: Sight | None, after: Sight | None) -> list[str]:
    return list(changes({"node1": before}, {"node1": after}))


def test_nothing_is_told_of_what_is_as_it_was() -> None:
    assert told(sight("node1"), sight("node1", at=1.0, commit_index=11, applied_index=11)) == []


def test_a_new_leader_is_told_with_its_term() -> None:
    assert told(sight("node1"), sight("node1", role="leader", term=4)) == ["node1 leads term 4"]


def test_who_leads_a_later_term_at_the_next_look_is_told_again() -> None:
    before = sight("node1", role="leader")

    assert told(before, before._replace(term=5)) == ["node1 leads term 5"]


def test_a_leader_that_steps_down_is_told() -> None:
    before = sight("node1", role="leader")

    assert told(before, sight("node1")) == ["node1 no longer leads: follower of term 3"]


def test_a_node_that_falls_silent_and_answers_again_is_told() -> None:
    assert told(sight("node1"), None) == ["node1 is silent"]
    assert told(None, sight("node1")) == ["node1 answers: follower of term 3"]
    assert told(None, None) == []


def test_who_hears_whom_is_told() -> None:
    before = sight("node1")

    assert told(before, before._replace(hears=())) == ["node1 hears nobody"]
    assert told(before, before._replace(hears=("node2",))) == ["node1 no longer hears node3"]
    assert told(before._replace(hears=()), before) == ["node1 hears node2 and node3"]


def test_what_a_node_hears_is_not_told_when_it_has_just_answered() -> None:
    assert told(None, sight("node1")) == ["node1 answers: follower of term 3"]
