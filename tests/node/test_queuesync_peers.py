"""QueueSync on three real processes: the queue goes on where the killed leader stopped."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import Worker
from node.queuesync import QueryFailed

HOST = "127.0.0.1"
SECONDS_MAX = 60.0

# A handler that says what it does, and that holds "hold" up until a file tells it not to.
PEER = """
import json, pathlib, sys, threading
from node import Coordinator

settings = json.loads(sys.argv[1])
gate = pathlib.Path(settings.pop("gate"))

class Peer(Coordinator):
    def handle_request(self, client_socket, client_address, received_data):
        print("handles", received_data.decode(), flush=True)
        if received_data == b"hold" and not gate.exists():
            threading.Event().wait()
        if received_data == b"fail":
            raise ValueError("no such luck")
        return b"%s by %s" % (received_data, settings["node_id"].encode())

Peer(**settings, max_num_of_clients=20, are_updates_displayed=True).start()
"""


class Asker(Worker):
    """Asks from a `with` block alone."""

    def run_worker(self) -> None:
        raise NotImplementedError


class Peers:
    """Three coordinators as processes, and what they said."""

    def __init__(self, directory: Path, first_port: int) -> None:
        self.directory = directory
        self.gate = directory / "gate"
        self.ports = {f"peer{n}": first_port + n for n in range(3)}
        self.peers = {name: f"{HOST}:{port + 5}" for name, port in self.ports.items()}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.said: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        (directory / "peer.py").write_text(PEER)

    def start(self, name: str) -> None:
        """Start a peer, or start it again on what its directory holds."""
        settings = {
            "host": HOST,
            "port": self.ports[name],
            "peers": self.peers,
            "node_id": name,
            "data_directory": str(self.directory / name),
            "gate": str(self.gate),
        }
        process = subprocess.Popen(
            [sys.executable, str(self.directory / "peer.py"), json.dumps(settings)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.processes[name] = process
        threading.Thread(target=self._hear, args=(name, process), daemon=True).start()

    def wait_for(self, line: str) -> str:
        """Wait until a peer says *line*; its name."""
        while True:
            name, said = self.said.get(timeout=SECONDS_MAX)
            if said == line:
                return name

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def asker(self, first: str) -> Asker:
        """A worker that begins with one of them and knows all."""
        others = [f"{HOST}:{port}" for name, port in self.ports.items() if name != first]
        return Asker(HOST, self.ports[first], peers=others)

    def _hear(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.said.put((name, line.rstrip()))


@pytest.fixture
def peers(tmp_path: Path, free_port: int) -> Iterator[Peers]:
    three = Peers(tmp_path, free_port)
    try:
        for name in three.ports:
            three.start(name)
        yield three
    finally:
        for process in three.processes.values():
            process.kill()
            process.wait()


def other_than(leader: str, peers: Peers) -> str:
    return next(name for name in peers.ports if name != leader)


def leader_of(peers: Peers) -> str:
    """Who handles requests now."""
    with peers.asker("peer0") as asker:
        return asker.query_coordinator(b"who").decode().rpartition(" ")[2]


def test_any_peer_takes_requests_and_one_handles_them_in_order(peers: Peers) -> None:
    answers = []
    for number in range(3):
        with peers.asker(f"peer{number}") as asker:
            answers += [asker.query_coordinator(b"%d" % n).decode() for n in range(3)]

    handlers = {answer.rpartition(" ")[2] for answer in answers}
    assert len(handlers) == 1
    (handler,) = handlers
    assert answers == [f"{n} by {handler}" for n in range(3)] * 3


def test_after_the_leaders_death_the_next_request_is_handled_by_another(peers: Peers) -> None:
    leader = leader_of(peers)
    with peers.asker(leader) as asker:  # Its own coordinator dies: it reconnects to a peer.
        asker.query_coordinator(b"before")
        peers.kill(leader)
        answer = asker.query_coordinator(b"after").decode()

    assert answer.startswith("after by peer")
    assert answer != f"after by {leader}"


@pytest.mark.parametrize("is_connected_to_leader", [True, False])
def test_a_request_that_dies_with_its_leader_is_handled_by_the_next(
    peers: Peers, is_connected_to_leader: bool
) -> None:
    leader = leader_of(peers)
    place = leader if is_connected_to_leader else other_than(leader, peers)
    answers: list[bytes] = []
    with peers.asker(place) as asker, peers.asker(other_than(leader, peers)) as behind:
        behind.query_coordinator(b"connect")
        came_from = port_of(behind)
        first = threading.Thread(target=lambda: answers.append(asker.query_coordinator(b"hold")))
        first.start()
        assert peers.wait_for("handles hold") == leader
        second = threading.Thread(target=lambda: answers.append(behind.query_coordinator(b"next")))
        second.start()
        peers.wait_for(f"Received 4 bytes from {HOST}:{came_from}")
        peers.gate.touch()
        peers.kill(leader)
        first.join()
        second.join()

    assert sorted(answer.split()[0] for answer in answers) == [b"hold", b"next"]
    assert not any(answer.endswith(leader.encode()) for answer in answers)
    assert peers.wait_for("handles hold") != leader
    assert peers.wait_for("handles next") != leader  # In its turn: after the one it stood behind.


def test_a_failed_request_stays_failed_and_the_queue_goes_on(peers: Peers) -> None:
    with peers.asker("peer1") as asker:
        with pytest.raises(QueryFailed, match="ValueError: no such luck"):
            asker.query_coordinator(b"fail")

        assert asker.query_coordinator(b"next").startswith(b"next by peer")


def test_peers_that_were_stopped_go_on_from_their_directories(peers: Peers) -> None:
    leader_of(peers)
    for process in peers.processes.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait() for process in peers.processes.values()] == [0, 0, 0]
    for name in peers.ports:
        peers.start(name)

    with peers.asker("peer2") as asker:
        assert asker.query_coordinator(b"again").startswith(b"again by peer")


def port_of(asker: Asker) -> str:
    """The port that the worker's connection comes from."""
    assert asker._connection is not None
    return str(asker._connection.getsockname()[1])
