"""QueueSync on one machine: requests one at a time, in order, whoever else is connected."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from cluster.errors import ConfigurationError
from node import Coordinator, Worker
from node.queuesync import CoordinatorUnreachable, QueryFailed, frames
from node.queuesync import coordinator as coordinating
from node.queuesync.frames import Frame, Kind
from node.queuesync.leading import Leading
from node.queuesync.requests import Address

HOST = "127.0.0.1"
ID = "00000000-0000-0000-0000-000000000007"

# QueueSync's own example, word for word, but for the two import lines.
EXAMPLE_CLASSES = """
from node import Coordinator
from node import Worker

class MyCoordinator(Coordinator):
    def handle_request(self, client_socket, client_address, received_data):
        response = b"Custom response data"
        return response

class MyWorker(Worker):
    def run_worker(self):
        data = b"Sample request data"
        response = self.query_coordinator(data)
        print(f"Received response: {response}")
"""
EXAMPLE_COORDINATOR = """
coordinator = MyCoordinator(host='127.0.0.1', port=12345, max_num_of_clients=5, are_updates_displayed=True)
coordinator.start()
"""  # noqa: E501 - word for word.
EXAMPLE_WORKER = """
worker = MyWorker(host='127.0.0.1', port=12345, are_updates_displayed=True)
worker.start()
"""


class Echo(Coordinator):
    """Answers what it is asked, and remembers it; `gate` holds it up."""

    def __init__(self, *, port: int = 0, **settings: Any) -> None:
        super().__init__(HOST, port, **settings)
        self.handled: list[bytes] = []
        self.clients: list[tuple[socket.socket | None, Address]] = []
        self.running = 0
        self.most_running = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def handle_request(
        self, client_socket: socket.socket | None, client_address: Address, received_data: bytes
    ) -> bytes:
        self.clients.append((client_socket, client_address))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.entered.set()
        self.gate.wait()
        self.handled.append(received_data)
        self.running -= 1
        if received_data == b"fail":
            raise ValueError("no such luck")
        if received_data == b"text":
            return "text"  # type: ignore[return-value]  # What a learner may do.
        if received_data == b"exit":
            sys.exit(3)
        if received_data == b"mute":
            raise Mute
        return received_data.upper()


class Mute(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise KeyError


class Asker(Worker):
    """Asks what it was given, one question after another."""

    def __init__(self, place: Address, *questions: bytes, **settings: Any) -> None:
        super().__init__(*place, **settings)
        self.questions = questions
        self.answers: list[bytes] = []

    def run_worker(self) -> None:
        self.answers += [self.query_coordinator(question) for question in self.questions]


@contextmanager
def program(tmp_path: Path, source: str) -> Iterator[subprocess.Popen[str]]:
    path = tmp_path / f"program_{len(source)}.py"
    path.write_text(source)
    with subprocess.Popen(
        [sys.executable, "-u", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def with_port(source: str, port: int) -> str:
    return source.replace("12345", str(port))


def test_the_example_runs_with_only_its_imports_changed(tmp_path: Path, free_port: int) -> None:
    coordinator_source = with_port(EXAMPLE_CLASSES + EXAMPLE_COORDINATOR, free_port)
    worker_source = with_port(EXAMPLE_CLASSES + EXAMPLE_WORKER, free_port)
    with program(tmp_path, coordinator_source) as coordinator:
        with program(tmp_path, worker_source) as worker:
            output, _ = worker.communicate(timeout=30)
        coordinator.send_signal(signal.SIGINT)
        updates, _ = coordinator.communicate(timeout=30)

    assert worker.returncode == 0, output
    assert "Received response: b'Custom response data'" in output
    assert coordinator.returncode == 0
    assert "Received 19 bytes" in updates
    assert updates.rstrip().endswith("Stopped")


def test_the_example_runs_as_one_program_too(tmp_path: Path, free_port: int) -> None:
    source = EXAMPLE_CLASSES + EXAMPLE_COORDINATOR + EXAMPLE_WORKER + "coordinator.stop()\n"
    with program(tmp_path, with_port(source, free_port)) as both:
        output, _ = both.communicate(timeout=30)

    assert both.returncode == 0, output
    assert "Received response: b'Custom response data'" in output


def test_a_coordinator_of_a_daemon_thread_does_not_hold_its_program(
    tmp_path: Path, free_port: int
) -> None:
    in_background = (
        "import threading\nthreading.Thread(target=coordinator.start, daemon=True).start()"
    )
    started = EXAMPLE_COORDINATOR.replace("coordinator.start()", in_background)
    source = EXAMPLE_CLASSES + started + EXAMPLE_WORKER
    with program(tmp_path, with_port(source, free_port)) as both:
        output, _ = both.communicate(timeout=30)

    assert both.returncode == 0, output
    assert "Received response: b'Custom response data'" in output


def test_nothing_is_displayed_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with Echo() as coordinator:
        Asker(coordinator.address, b"quiet").start()

    assert capsys.readouterr().out == ""


def test_requests_of_many_clients_are_handled_one_at_a_time() -> None:
    with Echo() as coordinator:
        askers = [
            Asker(coordinator.address, *[b"%d-%d" % (n, m) for m in range(20)]) for n in range(8)
        ]
        threads = [threading.Thread(target=asker.start) for asker in askers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert coordinator.most_running == 1
    assert sorted(coordinator.handled) == sorted(q for asker in askers for q in asker.questions)
    for asker in askers:
        mine = [question for question in coordinator.handled if question in asker.questions]
        assert tuple(mine) == asker.questions == tuple(asker.answers)


def test_what_a_handler_raises_fails_that_query_alone() -> None:
    with Echo() as coordinator:
        with pytest.raises(QueryFailed, match="ValueError: no such luck"):
            ask(coordinator, b"fail")
        with pytest.raises(QueryFailed, match="a response is bytes, not str"):
            ask(coordinator, b"text")
        with pytest.raises(QueryFailed, match="SystemExit: 3"):
            ask(coordinator, b"exit")
        with pytest.raises(QueryFailed, match="Mute: telling it raised KeyError"):
            ask(coordinator, b"mute")

        assert ask(coordinator, b"next") == b"NEXT"


def test_more_clients_than_allowed_are_turned_away_until_one_leaves() -> None:
    with Echo(max_num_of_clients=1) as coordinator:
        with Asker(coordinator.address) as first:
            first.query_coordinator(b"here first")
            with pytest.raises(CoordinatorUnreachable):
                ask(coordinator, b"too many", patience_seconds=0.3)

        assert ask(coordinator, b"room") == b"ROOM"


def test_a_client_for_which_no_thread_can_be_had_is_asked_to_come_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("client"):
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    with Echo(max_num_of_clients=1) as coordinator:
        with monkeypatch.context() as without_threads:
            without_threads.setattr(threading.Thread, "start", refuse)
            with socket.create_connection(coordinator.address) as client:
                told = frames.receive(client, silence_seconds=10)

        assert ask(coordinator, b"later") == b"LATER"

    assert told is not None
    assert told.kind is Kind.LATER
    assert b"can't start new thread" in told.content


def test_a_replicated_queue_that_breaks_stops_its_coordinator_and_is_told(
    tmp_path: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_leading: Leading) -> None:
        raise KeyError("what nobody foresaw")

    monkeypatch.setattr(Leading, "run", broken)
    peers = {"a": f"{HOST}:{free_port}"}
    coordinator = Echo(peers=peers, node_id="a", data_directory=tmp_path)
    coordinator.start()

    ended = threading.Thread(target=coordinator.wait, daemon=True)
    ended.start()
    ended.join(10)

    assert not ended.is_alive()
    assert "KeyError: 'what nobody foresaw'" in caplog.text


def test_a_repeat_over_a_new_connection_is_the_same_request() -> None:
    request = Frame(Kind.REQUEST, ID, b"once")
    with Echo() as coordinator:
        coordinator.gate.clear()
        with connected(coordinator) as lost:
            frames.send(lost, request)
            coordinator.entered.wait()
        with connected(coordinator) as again:
            frames.send(again, request)
            coordinator.gate.set()
            answer = next_but_waiting(again)

    assert answer == Frame(Kind.RESPONSE, request.id, b"ONCE")
    assert coordinator.handled == [b"once"]


def test_a_handler_knows_who_asks() -> None:
    with Echo() as coordinator, connected(coordinator) as client:
        frames.send(client, Frame(Kind.REQUEST, ID, b"who"))
        next_but_waiting(client)

        ((client_socket, client_address),) = coordinator.clients
        assert client_address == client.getsockname()
        assert client_socket is not None
        assert client_socket.getpeername() == client.getsockname()


def test_an_id_that_is_known_with_other_data_is_refused() -> None:
    with Echo() as coordinator, connected(coordinator) as client:
        frames.send(client, Frame(Kind.REQUEST, ID, b"one"))
        next_but_waiting(client)
        frames.send(client, Frame(Kind.REQUEST, ID, b"other"))

        assert next_but_waiting(client).kind is Kind.REFUSED


def test_who_waits_for_a_turn_hears_that_the_coordinator_lives() -> None:
    with Echo() as coordinator, connected(coordinator) as client:
        coordinator.gate.clear()
        frames.send(client, Frame(Kind.REQUEST, ID, b"long"))
        first = frames.receive(client, silence_seconds=10)
        coordinator.gate.set()

        assert first == Frame(Kind.WAITING, ID)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        pack(">I", 0xFFFFFFFF),
        pack(">IB16s", 17, 99, b""),
        pack(">IB16s", 17, Kind.REQUEST, b""),
        b"\x00\x00",
    ],
    ids=["another protocol", "too long", "unknown kind", "no greeting", "cut short"],
)
def test_a_hostile_client_harms_nobody(sent: bytes) -> None:
    with Echo() as coordinator, socket.create_connection(coordinator.address) as hostile:
        hostile.sendall(sent)
        hostile.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while hostile.recv(4096):
                pass  # It is told why, and the connection ends.

        assert ask(coordinator, b"well") == b"WELL"


def test_a_frame_that_takes_too_long_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME_SECONDS", 0.2)
    with Echo() as coordinator, socket.create_connection(coordinator.address) as slow:
        slow.sendall(b"\x00\x00")

        assert slow.recv(1) == b""


def test_a_silent_client_gives_up_its_place_and_comes_back_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coordinating, "SILENCE_SECONDS", 0.1)
    with Echo(max_num_of_clients=1) as coordinator, Asker(coordinator.address) as silent:
        assert silent.query_coordinator(b"first") == b"FIRST"
        assert ask(coordinator, b"other") == b"OTHER"  # Once the silent one's place is free.
        assert silent.query_coordinator(b"again") == b"AGAIN"


def test_a_client_that_stops_in_the_middle_of_a_frame_holds_nobody_up() -> None:
    with Echo() as coordinator, socket.create_connection(coordinator.address) as slow:
        slow.sendall(b"\x00\x00")

        assert ask(coordinator, b"well") == b"WELL"


def test_stopping_finishes_what_is_handled_and_sends_its_response() -> None:
    coordinator = Echo()
    coordinator.start()
    coordinator.gate.clear()
    asker = Asker(coordinator.address, b"last")
    asking = threading.Thread(target=asker.start)
    asking.start()
    coordinator.entered.wait()
    stopping = threading.Thread(target=coordinator.stop)
    stopping.start()
    coordinator.gate.set()
    stopping.join()
    asking.join()

    assert asker.answers == [b"LAST"]
    with pytest.raises(CoordinatorUnreachable):
        Asker(coordinator.address, b"late", patience_seconds=0.2).start()


@pytest.mark.parametrize("name", ["process_requests", "Process_requests"])
def test_the_processing_of_requests_may_be_overridden(name: str) -> None:
    def backwards(self: Coordinator) -> None:
        while request := self.next_request():
            self.answer_request(request, request.received_data[::-1])

    kind = type("Backwards", (Echo,), {name: backwards})
    with kind() as coordinator:
        assert ask(coordinator, b"abc") == b"cba"


def test_the_queueing_of_requests_may_be_overridden() -> None:
    class Choosy(Echo):
        def queue_client_request(
            self, client_socket: socket.socket, client_address: Address
        ) -> None:
            if not self.handled:
                super().queue_client_request(client_socket, client_address)

    with Choosy() as coordinator:
        assert ask(coordinator, b"first") == b"FIRST"
        with pytest.raises(CoordinatorUnreachable):
            ask(coordinator, b"second", patience_seconds=0.3)


def test_a_worker_waits_for_a_coordinator_that_is_not_there_yet(free_port: int) -> None:
    coordinator = Echo(port=free_port)
    asker = Asker((HOST, free_port))
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(asker.query_coordinator(b"early")))
    asking.start()
    with coordinator, asker:
        asking.join()

    assert answers == [b"EARLY"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_num_of_clients": 0}, "max_num_of_clients is 0"),
        ({"peers": {"a": "127.0.0.1:1"}}, "need a node_id"),
        (
            {"peers": {"a": "127.0.0.1:1"}, "node_id": "b", "data_directory": "x"},
            "b is not among the peers: a",
        ),
        (
            {"peers": {"a": "192.0.2.1:1"}, "node_id": "a", "data_directory": "x"},
            "must share a secret",
        ),
        (
            {
                "peers": {"a": "127.0.0.1:1", "b": "127.0.0.1:1"},
                "node_id": "a",
                "data_directory": "x",
            },
            "one address to two",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Echo(**settings)


@pytest.mark.parametrize("data", ["text", 7, None])
def test_a_request_is_bytes(data: object) -> None:
    with Echo() as coordinator, pytest.raises(TypeError, match="a request is bytes"):
        ask(coordinator, data)  # type: ignore[arg-type]


def test_a_request_has_a_limit_that_is_told() -> None:
    with Echo() as coordinator:
        largest = bytes(frames.DATA_BYTES_MAX)
        assert ask(coordinator, largest) == largest
        with pytest.raises(ValueError, match="at most 1,048,576 bytes"):
            ask(coordinator, largest + b"!")


def ask(coordinator: Coordinator, data: bytes, **settings: Any) -> bytes:
    """Ask once, as a worker of its own."""
    with Asker(coordinator.address, **settings) as asker:
        return asker.query_coordinator(data)


@contextmanager
def connected(coordinator: Coordinator) -> Iterator[socket.socket]:
    """A client that speaks for itself, and was greeted."""
    with socket.create_connection(coordinator.address) as client:
        frames.send(client, frames.hello())
        assert frames.receive(client, silence_seconds=10) == frames.hello()
        yield client


def next_but_waiting(client: socket.socket) -> Frame:
    while True:
        frame = frames.receive(client, silence_seconds=10)
        assert frame is not None
        if frame.kind is not Kind.WAITING:
            return frame
