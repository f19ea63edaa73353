"""The command line as a user meets it: what is printed, and the exit status."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import CommandLine

MEMBERS = "node1=127.0.0.1:{raft}"


def node_options(*, http: int, raft: int, data: Path) -> list[str]:
    return [
        *("node", "--id", "node1", "--cluster", MEMBERS.format(raft=raft)),
        *("--http", f"127.0.0.1:{http}", "--data", str(data)),
    ]


def test_the_version_is_told_at_once(command_line: CommandLine) -> None:
    started = time.monotonic()
    done = command_line.run("--version")

    assert (done.returncode, done.stdout) == (0, "quorate 0.1.0\n")
    assert time.monotonic() - started < 2, "it loads only what it needs"


def test_help_loads_no_command() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "node", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "click" in loaded
    assert not loaded & {"chaos.scene", "gateway.client", "rich", "aiohttp"}
    assert "  chaos    Break clusters, and judge what held\n" in done.stdout


def test_a_command_interrupted_while_it_is_loaded_ends_with_130(
    command_line: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "click.py").write_text("raise KeyboardInterrupt")
    done = command_line.run("--version", PYTHONPATH=str(tmp_path / "path"))

    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("tasks",),
        ("cluster", "--json"),
        ("events", "--from-start"),
        ("monitor", "--from-start"),
    ],
)
def test_a_reader_that_has_seen_enough_is_no_failure(
    command_line: CommandLine, small_cluster: list[str], arguments: tuple[str, ...]
) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        command_line.command(*arguments),
        env=command_line.environment | {"QUORATE_URL": small_cluster[0]},
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(write_end)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("output", "why"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
@pytest.mark.parametrize("arguments", ["--help", "tasks", "cluster --json"])
def test_output_that_cannot_be_written_is_one_sentence_and_1(
    command_line: CommandLine, small_cluster: list[str], arguments: str, output: str, why: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(command_line.command())} {arguments} {output}"],
        env=command_line.environment | {"QUORATE_URL": small_cluster[0]},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr == f"quorate: the output cannot be written: {why}\n"


def test_help_lists_every_command_of_today(command_line: CommandLine) -> None:
    done = command_line.run("--help")

    for name in ("up", "node", "worker", "submit", "task", "queues", "dlq", "workers", "cluster"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("submit",),
        ("up", "--nodes", "none"),
        ("up", "--exit"),
        ("submit", "process", "Hello World"),
        ("submit", "process", r'"\ud800"'),
        ("submit", "process", "1" * 30),
        ("submit", "process", "[" * 5_000 + "]" * 5_000),
        ("submit", "process", '"\udcff"'),  # What a byte that is no UTF-8 is read as.
        ("submit", "process", '{"a": 1, "a": 2}'),
        ("submit", "process", "NaN"),
        ("submit", "process", "1e400"),
        ("tasks", "--url", "ftp://127.0.0.1"),
        ("tasks", "--url", "http://127.0.0.1:99999"),
        ("events", "--url", "http://"),
        ("worker", "--url", "http://"),
        ("worker", "no_such_module"),
        ("worker", "./no_such_module.py"),
        ("worker", ""),
        ("node", "--id", "a", "--cluster", "b=127.0.0.1:1", "--data", "d"),
        ("node", "--id", "a", "--cluster", "a=0.0.0.0:1", "--data", "d"),
    ],
)
def test_misuse_ends_with_2_and_without_a_traceback(
    command_line: CommandLine, arguments: tuple[str, ...]
) -> None:
    done = command_line.run(*arguments)

    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 1_000


def test_a_text_that_is_no_json_is_answered_with_how_to_write_it(
    command_line: CommandLine,
) -> None:
    done = command_line.run("submit", "process", "Hello World")

    assert """'"Hello World"'""" in done.stderr


@pytest.mark.parametrize("taken", ["http", "raft"])
def test_a_taken_port_is_one_clear_sentence(
    command_line: CommandLine, tmp_path: Path, taken: str, free_port: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        ports = {"http": free_port, "raft": free_port + 1} | {taken: port}
        done = command_line.run(*node_options(**ports, data=tmp_path / "data"))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        f"quorate: 127.0.0.1:{port} is taken by another program: choose another with --"
    )


def test_a_data_directory_that_cannot_be_used_is_one_sentence(command_line: CommandLine) -> None:
    done = command_line.run("up", "--data", "/dev/null/quorate")

    assert done.returncode == 2
    assert done.stderr == "quorate: --data /dev/null/quorate cannot be used: Not a directory\n"


@pytest.mark.parametrize("is_noted", [True, False])
def test_data_of_another_number_of_nodes_is_refused_at_once(
    command_line: CommandLine, tmp_path: Path, *, is_noted: bool
) -> None:
    (tmp_path / "node3").mkdir()
    if is_noted:
        (tmp_path / "up.json").write_text('{"nodes": 3}')
    done = command_line.run("up", "--nodes", "5", "--data", str(tmp_path))

    assert done.returncode == 2
    assert "holds a cluster of 3 nodes, not of 5: give it --nodes 3" in done.stderr


def test_an_open_bind_without_a_secret_says_how_to_mend_it(
    command_line: CommandLine, tmp_path: Path
) -> None:
    options = node_options(http=5999, raft=7999, data=tmp_path / "data")
    done = command_line.run(*options, "--raft-bind", "0.0.0.0:7999")

    assert done.returncode == 2
    assert "openssl rand -hex 32" in done.stderr


def test_another_package_under_our_name_is_told_by_its_place(
    command_line: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "path" / "cluster").mkdir(parents=True)
    (tmp_path / "path" / "cluster" / "__init__.py").touch()
    done = command_line.run("--version", PYTHONPATH=str(tmp_path / "path"))

    assert done.returncode == 1
    assert f"'cluster' is another's, {tmp_path}/path/cluster/__init__.py" in done.stderr


@pytest.mark.parametrize("name", ["node.py", "cluster.py", "gateway.py", "json.py"])
def test_a_file_in_the_working_directory_shadows_nothing_of_ours(
    command_line: CommandLine, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("raise RuntimeError('shadowed')")

    assert command_line.run("--version").returncode == 0


def test_python_m_node_puts_the_working_directory_last_as_well(tmp_path: Path) -> None:
    (tmp_path / "gateway.py").write_text("raise RuntimeError('shadowed')")
    done = subprocess.run(
        [sys.executable, "-m", "node", "--version"], cwd=tmp_path, check=False, timeout=60
    )

    assert done.returncode == 0


def test_no_cluster_is_one_sentence_and_1(command_line: CommandLine) -> None:
    done = command_line.run("cluster", "--url", "http://127.0.0.1:1", "--patience", "0")

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_submit_prints_the_id(command_line: CommandLine, small_cluster: list[str]) -> None:
    done = command_line.run("submit", "echo", "1", "--url", small_cluster[0])

    assert done.returncode == 0
    assert len(done.stdout.strip()) == 36


def test_submit_and_wait_prints_the_result(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    done = command_line.run("submit", "echo", '{"a": [1]}', "--wait", "--url", small_cluster[0])

    assert (done.returncode, done.stdout) == (0, '{"a": [1]}\n')


def test_a_waited_for_task_that_fails_is_1(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    options = ("--max-attempts", "1", "--wait", "--url", small_cluster[0])
    done = command_line.run("submit", "fail", '"no luck"', *options)

    assert done.returncode == 1
    assert "failed: RuntimeError: no luck" in done.stderr


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("submit echo", "priority", "11"),
        ("submit echo", "id", "abc"),
        ("tasks", "status", "bogus"),
        ("worker", "queues", ""),
        ("worker", "queues", "bad name/"),
        ("worker", "name", "n" * 300),
    ],
)
def test_what_a_node_calls_wrong_is_misuse_and_named(
    command_line: CommandLine, small_cluster: list[str], command: str, option: str, value: str
) -> None:
    done = command_line.run(*command.split(), f"--{option}", value, "--url", small_cluster[0])

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"quorate: {option}")
    assert "Traceback" not in done.stderr


def test_an_argument_that_is_no_utf_8_is_misuse(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    done = command_line.run("submit", "\udcff", "--url", small_cluster[0])

    assert done.returncode == 2
    assert done.stderr == "quorate: an argument is not UTF-8: '\\udcff'\n"


def test_every_option_has_its_variable(command_line: CommandLine, small_cluster: list[str]) -> None:
    done = command_line.run("submit", "echo", "7", QUORATE_URL=small_cluster[0], QUORATE_WAIT="1")

    assert (done.returncode, done.stdout) == (0, "7\n")


def test_a_task_is_shown_by_its_id(command_line: CommandLine, small_cluster: list[str]) -> None:
    url = ("--url", small_cluster[0])
    task_id = command_line.run("submit", "calculate", "21", *url).stdout.strip()
    done = command_line.run("task", task_id, "--wait", "--json", *url)

    task = json.loads(done.stdout)
    assert (task["id"], task["result"]["result"]) == (task_id, 42)


def test_waiting_for_a_task_that_nobody_serves_says_so(
    command_line: CommandLine, small_cluster: list[str]
) -> None:
    with command_line.running(
        "submit", "nobody", "1", "--wait", "--url", small_cluster[0]
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline()

    assert told == (
        "quorate: no connected worker serves type 'nobody' from queue 'default'; waiting on\n"
    )


def test_an_unknown_task_is_1(command_line: CommandLine, small_cluster: list[str]) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    done = command_line.run("task", nobody, "--url", small_cluster[0])

    assert done.returncode == 1
    assert nobody in done.stderr


@pytest.mark.parametrize("command", ["tasks", "workers", "cluster"])
def test_lists_are_tables_for_people_and_lines_for_machines(
    command_line: CommandLine, small_cluster: list[str], command: str
) -> None:
    url = ("--url", small_cluster[0])
    command_line.run("submit", "noop", *url)

    table = command_line.run(command, *url)
    lines = command_line.run(command, "--json", *url).stdout.splitlines()

    assert table.returncode == 0
    assert "id" in table.stdout
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert lines


def test_a_worker_serves_a_module_of_the_working_directory(
    command_line: CommandLine, small_cluster: list[str], tmp_path: Path
) -> None:
    (tmp_path / "my_tasks.py").write_text(
        "from node import task\n\n"
        "@task('greet')\n"
        "def greet(context, name: str) -> str:\n"
        "    return f'Hello {name}'\n"
    )
    url = ("--url", small_cluster[0])
    with command_line.running("worker", "my_tasks", *url):
        done = command_line.run("submit", "greet", '"World"', "--wait", *url)

    assert done.stdout == '"Hello World"\n'


@pytest.mark.parametrize(
    "group", [(), ("chaos",), ("cluster",), ("queues",), ("dlq",), ("workers",)]
)
def test_no_command_is_told_with_its_end_cut_off(
    command_line: CommandLine, group: tuple[str, ...]
) -> None:
    assert "..." not in command_line.run(*group, "--help").stdout.partition("Commands:")[2]
