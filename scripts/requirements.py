"""Install what pyproject.toml says that the product needs, into the environment that runs this."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

with Path("pyproject.toml").open("rb") as file:
    requirements = tomllib.load(file)["project"]["dependencies"]
command = [sys.executable, "-m", "pip", "install", "--no-cache-dir", *requirements]
sys.exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own list.
