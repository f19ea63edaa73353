"""What is shipped: one wheel with exactly our four packages, each typed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cluster import compiled

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"cluster", "node", "gateway", "chaos"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheel as a user's pip would, and list what is in it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run(
        [*pip, "--wheel-dir", str(folder), str(ROOT)],
        env={**os.environ, compiled.INTERPRETED: "1"},
        check=True,
        timeout=300,
    )
    (wheel,) = folder.glob("quorate-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_s_top_level_is_our_four_packages(
    wheel_names: list[str], project: dict[str, Any]
) -> None:
    top_level = {name.split("/", maxsplit=1)[0] for name in wheel_names}

    assert top_level == PACKAGES | {f"quorate-{project['version']}.dist-info"}


def test_every_package_is_marked_as_typed(wheel_names: list[str]) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel_names)


def test_the_wheel_holds_every_source_file(wheel_names: list[str]) -> None:
    source = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }

    assert source == {name for name in wheel_names if name.endswith(".py")}


def test_the_licence_travels_along(wheel_names: list[str]) -> None:
    assert any(name.endswith("/LICENSE") for name in wheel_names)


def test_the_engine_is_pinned_to_the_release_that_it_was_checked_against(
    project: dict[str, Any],
) -> None:
    assert "pysyncobj==0.3.17" in project["dependencies"]
