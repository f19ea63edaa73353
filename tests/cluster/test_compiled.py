"""The machine's two forms: which of them runs, and that the compiled one passes the same tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from inspect import isfunction
from pathlib import Path
from types import ModuleType

import pytest

from cluster import compiled
from cluster.core.machine import Machine
from tests.crash.conftest import skip_out_loud

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path: Path) -> ModuleType:
    """A package of one source."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "machine.py").write_text("FORM = 'source'\n")
    made = ModuleType("quorate_made_here")
    made.__path__ = [str(sources)]
    return made


@pytest.fixture
def place(tmp_path: Path, package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where an installation has put what it built of it."""
    monkeypatch.setattr(compiled, "PACKAGE", "quorate_compiled_here")
    monkeypatch.setattr(compiled, "LIBRARY", "quorate_library_here")
    monkeypatch.delenv(compiled.INTERPRETED, raising=False)
    found = tmp_path / "site" / "quorate_compiled_here"
    found.mkdir(parents=True)
    (found / "SOURCES").write_text(compiled.digest(Path(package.__path__[0])))
    (found.parent / "quorate_library_here.py").touch()
    monkeypatch.syspath_prepend(found.parent)
    yield found
    sys.modules.pop("quorate_compiled_here", None)


def test_what_was_built_of_these_sources_is_found_first(package: ModuleType, place: Path) -> None:
    sources = package.__path__[0]
    compiled.prefer(package)

    assert list(package.__path__) == [str(place), sources]
    assert compiled.is_compiled(package)


@pytest.mark.parametrize("change", ["FORM = 'changed'\n", "FORM = 'source' \n"])
def test_a_source_that_was_changed_since_runs_itself(
    package: ModuleType, place: Path, change: str
) -> None:
    Path(package.__path__[0], "machine.py").write_text(change)
    compiled.prefer(package)

    assert place.is_dir()
    assert not compiled.is_compiled(package)


@pytest.mark.usefixtures("place")
def test_a_source_that_came_since_counts(package: ModuleType) -> None:
    Path(package.__path__[0], "another.py").touch()
    compiled.prefer(package)

    assert not compiled.is_compiled(package)


@pytest.mark.usefixtures("place")
def test_who_asks_for_the_sources_has_them(
    package: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled.INTERPRETED, "1")
    compiled.prefer(package)

    assert not compiled.is_compiled(package)


@pytest.mark.usefixtures("place")
def test_who_needs_the_sources_must_come_first(
    package: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled.prefer(package)
    compiled.forgo(package)
    assert not compiled.is_compiled(package)

    compiled.prefer(package)
    monkeypatch.setitem(sys.modules, f"{package.__name__}.machine", ModuleType("machine"))
    compiled.forgo(package)
    assert compiled.is_compiled(package)


def test_nothing_is_built_where_nothing_was_installed(package: ModuleType) -> None:
    compiled.prefer(package)

    assert not compiled.is_compiled(package)


@pytest.mark.usefixtures("place")
def test_the_library_of_another_build_is_not_mixed_in(
    package: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "quorate_library_here.py").touch()
    monkeypatch.syspath_prepend(other)
    compiled.prefer(package)

    assert not compiled.is_compiled(package)


def test_what_cannot_be_read_is_not_there(package: ModuleType, place: Path) -> None:
    (place / "SOURCES").unlink()
    compiled.prefer(package)

    assert not compiled.is_compiled(package)


def is_compiled_elsewhere() -> bool:
    """Whether another process has the machine compiled, as a node does."""
    program = (
        "from inspect import isfunction; from cluster.core.machine import Machine; "
        "print(isfunction(Machine.apply_entry))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip() == "False"


def test_the_tests_themselves_run_the_sources() -> None:
    assert isfunction(Machine.apply_entry) is not bool(os.environ.get("QUORATE_TEST_COMPILED"))


def test_the_compiled_machine_passes_the_tests_of_the_sources() -> None:
    """The stories, and every log and snapshot that an earlier version wrote; in CI all of them."""
    if not is_compiled_elsewhere():
        skip_out_loud(
            "the machine was not compiled when Quorate was installed, or has changed since"
        )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider"),
            *("tests/scenarios", "tests/fixtures", "tests/cluster/core/test_replay.py"),
        ],
        cwd=ROOT,
        env={**os.environ, "QUORATE_TEST_COMPILED": "1", "QUORATE_TEST_EXAMPLES": "20"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
