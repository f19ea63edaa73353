"""The shape of the house, held by reading the source: who may import what, and what stays pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cluster", "gateway", "node", "chaos")  # Each may import those before it, never after.

# What may be imported by whom alone; everywhere else it is an error.
SEAMS = {
    "pysyncobj": {"cluster/raft/stock.py"},
    "docker": {"chaos/targets/engine.py"},
}

# Clocks and randomness: each file here is a seam, and says why it needs one. What `chaos` draws, it
# draws from seeds, and it has a clock of its own: it is not read for these.
CLOCKS = {"time", "datetime"}
RANDOMNESS = {"random", "secrets", "uuid"}
SEAMS_OF_TIME = {
    "cluster/host.py": "the members' calendar, from which the leader takes wall time",
    "gateway/ids.py": "the edge's only clock: a UUIDv7 begins with its birth",
    "gateway/instants.py": "writes and reads moments, asks no clock for one",
    "node/demo.py": "tells how many seconds each step of the story took",
    "node/handlers.py": "the built-in types put a timestamp into their results",
    "node/log.py": "log lines say when",
    "node/queuesync/frames.py": "bounds how long a frame, and a worker's patience, may last",
    "node/up.py": "tells how long the cluster took to be ready",
}
SEAMS_OF_RANDOMNESS = {
    "cluster/host.py": "elections are drawn apart, incarnations are random",
    "gateway/ids.py": "the edge's only dice: the ids of tasks, workers and requests",
}

IMPURE = CLOCKS | RANDOMNESS | {
    "asyncio", "concurrent", "ctypes", "decimal", "io", "logging", "mmap", "multiprocessing",
    "os", "pathlib", "select", "selectors", "shutil", "signal", "socket", "socketserver", "ssl",
    "subprocess", "sys", "tempfile", "threading", "urllib", "http",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "hash", "id", "set", "frozenset", "float", "globals"}

NAMELESS = {"utils", "util", "helpers", "helper", "manager", "misc", "common", "data", "info"}


class Module(NamedTuple):
    """One source file, read."""

    path: str  # Relative to the repository, with slashes.
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.split("/", maxsplit=1)[0]


def read_modules(*packages: str) -> Iterator[Module]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield Module(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text()))


def imports_of(module: Module) -> Iterator[tuple[str, int]]:
    """Every module name that the file imports, wherever in it, with the line."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno} imports relatively"
            assert node.module is not None
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


SOURCE = list(read_modules(*PACKAGES))
CORE = [module for module in SOURCE if module.path.startswith("cluster/core/")]


def test_there_is_source_to_hold() -> None:
    assert {module.package for module in SOURCE} == set(PACKAGES)
    assert len(CORE) >= 4


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    above = PACKAGES[PACKAGES.index(package) + 1 :]
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module in SOURCE
        if module.package == package
        for name, line in imports_of(module)
        if any(is_within(name, other) for other in above)
    ]

    assert not wrong


def test_the_core_imports_nothing_of_ours_but_itself() -> None:
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module in CORE
        for name, line in imports_of(module)
        if any(is_within(name, package) for package in PACKAGES)
        and not is_within(name, "cluster.core")
    ]

    assert not wrong


@pytest.mark.parametrize(("library", "allowed"), SEAMS.items())
def test_a_library_behind_a_seam_is_imported_there_alone(library: str, allowed: set[str]) -> None:
    users = {
        module.path
        for module in SOURCE
        for name, _line in imports_of(module)
        if is_within(name, library)
    }

    assert users <= allowed


@pytest.mark.parametrize(
    ("names", "seams"),
    [(CLOCKS, SEAMS_OF_TIME), (RANDOMNESS, SEAMS_OF_RANDOMNESS)],
    ids=["clocks", "randomness"],
)
def test_clocks_and_randomness_stand_only_at_their_seams(
    names: set[str], seams: dict[str, str]
) -> None:
    users = {
        module.path
        for module in SOURCE
        if module.package != "chaos"
        for name, _line in imports_of(module)
        if name.split(".", maxsplit=1)[0] in names
    }

    assert users == set(seams), "a new seam needs its reason; one that is gone leaves the list"


def test_the_core_imports_nothing_impure() -> None:
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module in CORE
        for name, line in imports_of(module)
        if name.split(".", maxsplit=1)[0] in IMPURE
    ]

    assert not wrong


def test_the_core_calls_nothing_impure() -> None:
    wrong = [
        f"{module.path}:{node.lineno} calls {node.func.id}"
        for module in CORE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in IMPURE_CALLS
        and not _is_constant_set(module, node)
    ]

    assert not wrong


def test_the_core_knows_no_floats() -> None:
    wrong = [
        f"{module.path}:{node.lineno}"
        for module in CORE
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    ]

    assert not wrong


def test_the_core_iterates_over_no_set() -> None:
    """A set's order depends on the process: dicts keep theirs."""
    wrong = [
        f"{module.path}:{iterated.lineno}"
        for module in CORE
        for iterated in _iterated(module.tree)
        if isinstance(iterated, ast.Set | ast.SetComp)
        or (
            isinstance(iterated, ast.Call)
            and isinstance(iterated.func, ast.Name)
            and iterated.func.id in {"set", "frozenset"}
        )
    ]

    assert not wrong


def test_every_file_says_what_it_is() -> None:
    modules = [*SOURCE, *read_modules("tests")]

    assert not [module.path for module in modules if not ast.get_docstring(module.tree)]


def test_no_module_has_a_name_that_says_nothing() -> None:
    parts = {
        module.path: set(module.path.removesuffix(".py").split("/")) & NAMELESS for module in SOURCE
    }

    assert not {path: names for path, names in parts.items() if names}


def test_only_packages_say_what_they_export() -> None:
    wrong = [
        module.path
        for module in SOURCE
        if not module.path.endswith("/__init__.py")
        for node in module.tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets)
    ]

    assert not wrong


def _is_constant_set(module: Module, call: ast.Call) -> bool:
    """Whether the call makes a module's constant: membership tests need no order."""
    return any(
        isinstance(statement, ast.Assign | ast.AnnAssign) and call in ast.walk(statement)
        for statement in module.tree.body
    )


def _iterated(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            yield node.iter
