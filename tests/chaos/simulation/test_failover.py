"""How long a cluster is without a leader, over many seeds: bounds that a split vote would break."""

import random
from collections.abc import Iterator

import pytest

from chaos.simulation.node import SimulatedNode
from tests.chaos.simulation.findings_stage import Stage, engine

SEEDS = 40
FAILOVER_SECONDS = 0.25  # Half of the shortest election timeout: nobody waited for one.


@pytest.fixture(params=range(SEEDS))
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Three nodes or five."""
    made = Stage(request.param, nodes=random.Random(request.param).choice((3, 5)))
    yield made
    made.close()


def _is_served_by_another(stage: Stage, leader: SimulatedNode) -> bool:
    return any(node.replica and engine(node).is_serving for node in stage.others(leader))


def test_a_dead_leader_is_succeeded_though_a_follower_sees_it_late(stage: Stage) -> None:
    """The first to see it asks one that has not yet, and may hold entries that this one lacks."""
    dice = random.Random(stage.cluster.plan.seed)
    leader = stage.form()
    late = dice.choice(stage.others(leader))
    stage.do("pause", late.name, dice.uniform(0.01, 0.1))
    stage.submit_each(leader, "during", 5, every=0.0005)

    leader.kill()
    took = stage.wait(lambda: _is_served_by_another(stage, leader), within=5.0)

    assert took < FAILOVER_SECONDS
    stage.verify()


def test_followers_whose_patience_ends_at_once_do_not_split_the_vote(stage: Stage) -> None:
    leader = stage.form()
    term = stage.newest_term()
    stage.isolate(leader)
    stage.run(engine(leader).timing.election_min)
    for node in stage.others(leader):
        engine(node).look_for_leader_at(stage.world.now)

    took = stage.wait(lambda: _is_served_by_another(stage, leader), within=5.0)

    assert took < FAILOVER_SECONDS
    assert max(engine(node).term for node in stage.others(leader)) == term + 1
    stage.verify()


def test_a_follower_whose_link_breaks_again_and_again_deposes_nobody(stage: Stage) -> None:
    leader = stage.form()
    term = stage.newest_term()

    for _ in range(20):
        stage.do("reset", leader.name, stage.others(leader)[0].name)
        stage.run(0.15)

    assert stage.leaders() == [(leader.name, term)]
    stage.verify()
