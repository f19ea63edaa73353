"""Compiles the machine to C while Quorate is installed, where there is a compiler.

The machine is what every node does for every task. Compiled by mypyc it does the same in half the
time; without a compiler it runs as it stands. What is built here lies apart from the sources, with
their digest, and is used only as long as that is theirs (`cluster/compiled.py`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
COMPILER = ("mypy[mypyc]==1.20.2", "setuptools>=75")  # The one that the tests have passed.
# What every task passes through; the rest is read by people more often than run.
MODULES = (
    *("accounting", "crews", "dead_letters", "idempotency", "kinds", "leasing", "lifecycle"),
    *("listing", "machine", "matching", "model", "operating", "operations", "ordered", "pausing"),
    *("queues", "ready", "retrying", "ring", "room", "sessions", "settling", "sizes", "state"),
    *("steering", "submitting", "suspending", "sweeping", "table", "timelines", "versions"),
)
TRIAL = """
from importlib import import_module
from inspect import isfunction
for name in {modules}:
    import_module("cluster.core." + name)
from cluster.core.commands import Tick
from cluster.core.machine import Machine
assert not isfunction(Machine.apply_entry), "the sources were imported"
Machine().apply_entry((Tick(),), index=1, term=1, cluster_time_ms=1, wall_time_ms=1)
"""


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the compiled machine to a wheel, also to that of an editable installation."""

    def dependencies(self) -> list[str]:
        return list(COMPILER) if self._why_not() == "" else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        reason = self._why_not()
        if reason:
            self.app.display_info(f"The machine stays interpreted: {reason}")
            return
        try:
            self._built = Path(tempfile.mkdtemp(prefix="quorate-build-"))
            files = _compile(self._built)
            _try_out(self._built, files)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it runs without.
            self.app.display_warning(f"The machine stays interpreted: it did not compile: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        key = "force_include_editable" if version == "editable" else "force_include"
        build_data.setdefault(key, {}).update(files)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - the hook's own signature.
        if hasattr(self, "_built"):
            shutil.rmtree(self._built, ignore_errors=True)

    def _why_not(self) -> str:
        compiled = _compiled()
        if os.environ.get(compiled.INTERPRETED):
            return f"{compiled.INTERPRETED} is set"
        if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
            return "it was not tried with this kind of Python"
        command = (sysconfig.get_config_var("CC") or "cc").split()[0]
        if shutil.which(command) is None:
            return f"there is no C compiler ({command})"
        header = Path(sysconfig.get_path("include"), "Python.h")
        return "" if header.exists() else f"Python's headers are not installed ({header})"


def _compile(scratch: Path) -> dict[str, str]:
    """Build in *scratch*; returns what is to be installed, and where."""
    from mypyc.build import mypycify  # noqa: PLC0415 - there only where it is needed.
    from setuptools import Distribution  # noqa: PLC0415

    compiled = _compiled()
    sources = [f"cluster/core/{name}.py" for name in MODULES]
    options = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={scratch / 'cache'}"]
    digest = compiled.digest(ROOT / "cluster/core")
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        extensions = mypycify(
            [*options, *sources],
            opt_level="2",
            debug_level="0",
            multi_file=True,
            group_name=compiled.GROUP,
            target_dir=str(scratch / "c"),
        )
        distribution = Distribution({"name": "quorate", "ext_modules": extensions})
        command: Any = distribution.get_command_obj("build_ext")
        command.build_lib = str(scratch / "lib")
        command.build_temp = str(scratch / "temp")
        command.parallel = os.cpu_count()
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    if compiled.digest(ROOT / "cluster/core") != digest:
        raise RuntimeError("its sources changed meanwhile")
    built = scratch / compiled.SOURCES
    built.write_text(digest)
    files = {str(built): f"{compiled.PACKAGE}/{compiled.SOURCES}"}
    for path in (scratch / "lib").rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
        inside = "" if path.name.startswith(compiled.LIBRARY) else f"{compiled.PACKAGE}/"
        files[str(path)] = f"{inside}{path.name}"
    if len(files) != len(MODULES) + 2:
        raise RuntimeError(f"{len(files)} files were made for {len(MODULES)} modules")
    return files


def _try_out(scratch: Path, files: dict[str, str]) -> None:
    """Hold that what was built can be imported, whole, and takes an entry in.

    Raises:
        RuntimeError: it cannot; says what Python said.
    """
    site = scratch / "site"
    for built, place in files.items():
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(built, site / place)
    tried = subprocess.run(  # noqa: S603 - our own program, in our own interpreter.
        [sys.executable, "-B", "-c", TRIAL.format(modules=MODULES)],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        raise RuntimeError(f"it cannot be used: {tried.stderr.strip()[-500:]}")


def _compiled() -> ModuleType:
    """`cluster.compiled`, read by itself: nothing of Quorate's is installed yet."""
    if (there := sys.modules.get("cluster_compiled")) is not None:
        return there
    path = ROOT / "cluster/compiled.py"
    spec = importlib.util.spec_from_file_location("cluster_compiled", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["cluster_compiled"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
