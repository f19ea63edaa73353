"""The first minute: what `make` says on a machine that lacks something, and that it is quick."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FAKE_PYTHON = """#!/bin/sh
# Answers as a Python {version} would, as far as the set-up asks.
case "$2" in
    *ensurepip*) exit 1 ;;
    *'(3, 11)'*) exit {is_too_old} ;;
    *version_info*) echo {version} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the set-up reads, with no environment made yet."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    return tmp_path


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Not the variables of a make that runs this very test: it hands them on to its children.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MAKE") and name not in {"MFLAGS", "VENV", "PYTHON"}
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fake_python(folder: Path, name: str, version: str) -> Path:
    """A Python without ensurepip, of some version."""
    folder.mkdir(exist_ok=True)
    is_too_old = int(tuple(map(int, version.split("."))) < (3, 11))
    python = folder / name
    python.write_text(FAKE_PYTHON.format(version=version, is_too_old=is_too_old))
    python.chmod(0o755)
    return python


def sentences(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said, without make's own line about the failed target."""
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if not line.startswith("make: ***")]


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench"])
def test_a_python_that_is_too_old_is_one_sentence(checkout: Path, target: str) -> None:
    old = fake_python(checkout / "fakes", "python3.10", "3.10.13")
    done = make(checkout, target, f"PYTHON={old}")

    assert done.returncode != 0
    assert sentences(done) == [
        (
            f"Quorate needs Python 3.11 or newer, and '{old}' is Python 3.10.13:"
            " install a newer one or name it with PYTHON=/path/to/python3.11."
        )
    ]


def test_a_python_that_is_too_old_is_refused_though_an_environment_stands(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".for-use").touch()
    old = fake_python(checkout / "fakes", "python3.10", "3.10.13")

    assert "Quorate needs Python 3.11" in make(checkout, "demo", f"PYTHON={old}").stderr


def test_a_missing_python3_venv_is_one_sentence(checkout: Path) -> None:
    bare = fake_python(checkout / "fakes", "python3", "3.11.2")
    done = make(checkout, "demo", f"PYTHON={bare}")

    assert done.returncode != 0
    assert sentences(done) == [
        (
            "Python 3.11.2 is here but cannot make virtual environments:"
            " run 'apt-get install python3-venv' and try again."
        )
    ]


def test_no_python_at_all_is_one_sentence(checkout: Path) -> None:
    done = make(checkout, "demo", "PYTHON=/nowhere/python3")

    assert done.returncode != 0
    (sentence,) = sentences(done)
    assert sentence.startswith("Quorate needs Python 3.11 or newer, and '/nowhere/python3' does")


def test_a_newer_python_on_the_path_is_found_by_itself(checkout: Path) -> None:
    fakes = checkout / "fakes"
    fake_python(fakes, "python3", "3.10.13")
    (fakes / "python3.12").symlink_to(sys.executable)
    done = subprocess.run(
        [checkout / "scripts" / "find-python"],
        env={"PATH": f"{fakes}:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "python3.12\n")


def test_a_second_make_does_nothing(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".for-use").touch()

    done = make(checkout, "--question", ".venv/.for-use")

    assert done.returncode == 0


def test_new_dependencies_are_installed(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".for-use").touch()
    stamp = (checkout / ".venv" / ".for-use").stat()
    os.utime(checkout / "pyproject.toml", (stamp.st_atime + 10, stamp.st_mtime + 10))

    assert make(checkout, "--question", ".venv/.for-use").returncode == 1


def test_help_names_every_target() -> None:
    done = make(ROOT, "help")

    for target in ("demo", "test", "check", "bench", "clean", "help"):
        assert f"make {target} " in done.stdout
