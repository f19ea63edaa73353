"""`quorate cluster` on real processes: who the nodes are, and how that is changed."""

from __future__ import annotations

import json
from pathlib import Path

from node.ports import free_ports
from tests.conftest import CommandLine


def test_a_node_is_taken_in_leads_and_is_let_go(
    command_line: CommandLine, small_cluster: list[str], tmp_path: Path, free_port: int
) -> None:
    url = ("--url", small_cluster[0])

    def members() -> dict[str, str]:
        view = json.loads(command_line.run("cluster", "--json", *url).stdout)
        return {member["id"]: member["raft"] for member in view["members"]}

    def said(*arguments: str) -> str:
        done = command_line.run("cluster", *arguments, *url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ports = free_ports("127.0.0.1", free_port)
    http, raft = (f"127.0.0.1:{next(ports)}" for _ in range(2))
    known = ",".join(f"{id_}={address}" for id_, address in {**members(), "node2": raft}.items())
    options = ("--id", "node2", "--cluster", known, "--http", http, "--data", str(tmp_path / "d"))
    with command_line.running("node", *options) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "answers at" in line)

        assert said("add", "node2", raft) == "node2 is a member\n"
        assert members()["node2"] == raft
        assert said("lead", "node2") == "node2 leads\n"
        view = json.loads(command_line.run("cluster", "--json", "--url", http).stdout)
        assert (view["node_id"], view["role"], view["quorum"]) == ("node2", "leader", True)
        assert said("lead") == "node1 leads\n"
        assert json.loads(said("lead", "node2", "--json"))["leader"] == "node2"
        assert said("lead", "node1") == "node1 leads\n"
        assert said("remove", "node2") == "node2 is no member any more\n"
    assert list(members()) == ["node1"]


def test_a_change_that_is_refused_is_one_sentence_and_1(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    # The address of the cluster, given before the subcommand, counts for it as well.
    done = command_line.run("cluster", "--url", small_cluster[0], "remove", "node9")

    assert done.returncode == 1
    assert done.stderr == "quorate: node9 is not a member (member_unknown)\n"
