"""What the Docker target says before there is any container; on containers: tests/docker."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from chaos.setting import Setting
from chaos.targets import compose, packets
from chaos.targets.addresses import free_address, free_subnet
from chaos.targets.compose import Plan, environment, overrides
from chaos.targets.contract import Condition, Unsupported
from chaos.targets.docker import DockerTarget
from chaos.targets.engine import Engine
from chaos.targets.links import IMAGE_VARIABLE, links_of

PLAN = Plan("quorate-chaos-1", "quorate:here", (5300, 5301), "10.222.7.0/24")


def make(nodes: int = 3) -> DockerTarget:
    return DockerTarget(Setting(nodes=nodes, workers=1), http_port=5300)


async def test_without_an_engine_one_sentence_points_to_the_local_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    target = make()

    with pytest.raises(Unsupported) as refusal:
        await target.start()
    await target.stop()

    told = str(refusal.value)
    assert told.startswith("no Docker engine answers here")
    assert told.endswith("--target local needs none of it")
    assert "\n" not in told


async def test_without_compose_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unsupported, match=r"neither `docker compose` nor `docker-compose`"):
        await compose.Compose(PLAN, tmp_path / "overrides.json").up("node1")


async def test_a_compose_that_fails_is_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "docker-compose"
    program.write_text('#!/bin/sh\n[ "$1" = version ] || { echo "no space left"; exit 1; }\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")

    with pytest.raises(Unsupported, match="no space left"):
        await compose.Compose(PLAN, tmp_path / "overrides.json").up("node1")


def test_more_nodes_than_the_file_has_are_refused() -> None:
    with pytest.raises(Unsupported, match="has 3 nodes, and 5 are asked for"):
        make(nodes=5)


def test_fewer_nodes_know_each_other_alone() -> None:
    services = overrides(PLAN)["services"]

    assert set(services) == {"node1", "node2", "worker"}
    members = services["node1"]["environment"]["QUORATE_CLUSTER"]
    assert members == "node1=node1-raft:7600,node2=node2-raft:7600"
    urls = services["worker"]["environment"]["QUORATE_URL"]
    assert urls == "http://node1:5000,http://node2:5000"


def test_every_node_has_an_address_and_a_name_of_its_own_among_the_others() -> None:
    services = overrides(PLAN)["services"]

    raft = [services[node]["networks"]["raft"] for node in ("node1", "node2")]
    assert [each["ipv4_address"] for each in raft] == ["10.222.7.10", "10.222.7.11"]
    assert [each["aliases"] for each in raft] == [["node1-raft"], ["node2-raft"]]
    assert overrides(PLAN)["networks"]["raft"]["internal"]


def test_a_bug_is_planted_in_every_node_and_in_no_worker() -> None:
    services = overrides(PLAN._replace(setting=Setting(bug="skip-fsync")))["services"]

    program = ["python", "-m", "chaos.planted_node", "skip-fsync"]
    assert services["node1"]["entrypoint"] == services["node2"]["entrypoint"] == program
    assert "entrypoint" not in services["worker"]


def test_nobodys_settings_but_the_plans_reach_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_PORT1", "1")
    monkeypatch.setenv("COMPOSE_PROFILES", "metrics")
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")

    told = environment(PLAN)

    assert (told["QUORATE_PORT1"], told["QUORATE_PORT2"]) == ("5300", "5301")
    assert told["QUORATE_IMAGE"] == "quorate:here"
    assert told["QUORATE_LEASE_SECONDS"] == "3"
    assert told["QUORATE_ELECTION_SECONDS"] == "0.5"
    assert told["QUORATE_SLOTS"] == "4"
    assert "COMPOSE_PROFILES" not in told
    assert told["DOCKER_HOST"] == "unix:///elsewhere.sock"


def test_containers_keep_the_settings_pace_and_slots() -> None:
    told = environment(PLAN._replace(setting=Setting(slots=50).at_teaching_pace()))

    assert told["QUORATE_ELECTION_SECONDS"] == "5"
    assert told["QUORATE_SLOTS"] == "50"


def test_rules_drop_in_silence_reset_or_lose() -> None:
    rules = packets.rules(
        {
            "10.0.0.1": Condition(is_cut=True, loss=0.5),
            "10.0.0.2": Condition(is_reset=True),
            "10.0.0.3": Condition(loss=0.25),
            "10.0.0.4": Condition(delay_seconds=1.0),
        }
    ).splitlines()

    reset = "-p tcp ! --tcp-flags RST RST -j REJECT --reject-with tcp-reset"
    assert rules == [
        "*filter",
        ":QUORATE-CHAOS - [0:0]",
        "-A QUORATE-CHAOS -s 10.0.0.1/32 -j DROP",
        f"-A QUORATE-CHAOS -s 10.0.0.2/32 {reset}",
        "-A QUORATE-CHAOS -s 10.0.0.3/32 -m statistic --mode random --probability 0.2500 -j DROP",
        "COMMIT",
    ]


def test_of_a_one_way_cut_acknowledgements_come_in() -> None:
    """Else TCP would stop the other way as well: nobody goes on to talk who is not acknowledged."""
    rules = packets.rules({"10.0.0.1": Condition(is_cut=True)}, one_way=["10.0.0.1"]).splitlines()

    assert rules[2:-1] == [
        "-A QUORATE-CHAOS -s 10.0.0.1/32 -p tcp --tcp-flags PSH PSH -j DROP",
        "-A QUORATE-CHAOS -s 10.0.0.1/32 -p tcp --syn -j DROP",
    ]


def test_what_the_rules_stopped_is_read_from_their_counters() -> None:
    listing = """Chain QUORATE-CHAOS (1 references)
    pkts      bytes target     prot opt in     out     source               destination
      12      720 DROP       0    --  *      *       10.222.7.3           0.0.0.0/0
       3      180 REJECT     6    --  *      *       10.222.7.4           0.0.0.0/0  reject-with
       9      540 RETURN     0    --  *      *       10.222.7.5           0.0.0.0/0
"""

    assert packets.packets_stopped(listing) == 15


def test_what_a_queue_delays_or_throttles_is_told_by_where_it_goes() -> None:
    told = packets.queues(
        "eth1",
        {
            "10.0.0.2": Condition(delay_seconds=0.2),
            "10.0.0.3": Condition(bytes_per_second=1000.0),
        },
    ).splitlines()

    assert told[0] == "qdisc add dev eth1 root handle 1: htb"
    assert "qdisc add dev eth1 parent 1:10 handle 10: netem delay 200.000ms" in told
    assert "class add dev eth1 parent 1: classid 1:11 htb rate 8000bit" in told
    assert told[-1].endswith("match ip dst 10.0.0.3/32 flowid 1:11")


def test_a_subnet_that_another_network_has_is_passed_over() -> None:
    taken = [f"10.222.{number}.0/24" for number in range(256) if number != 9]

    assert free_subnet([*taken, "fd00::/8"]) == "10.222.9.0/24"


def test_an_address_that_another_has_is_passed_over() -> None:
    assert free_address("10.222.9.0/24", {"10.222.9.254"}) == "10.222.9.253"


def test_who_may_not_enter_a_namespace_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    class Found:
        """An engine on which every container runs as this very process."""

        @staticmethod
        def state(_container: str) -> object:
            return type("State", (), {"pid": os.getpid()})

    with pytest.raises(Unsupported, match=f"iptables.*{IMAGE_VARIABLE}"):
        links_of(Found(), "abc")  # type: ignore[arg-type]


def test_nothing_is_asked_of_an_engine_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "connect", lambda: pytest.fail("asked too early"))

    target = make(nodes=2)
    asyncio.run(target.stop())

    assert target.nodes == ("node1", "node2")
