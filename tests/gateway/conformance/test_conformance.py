"""A real node answers as `/openapi.json` says, whatever is sent: schemathesis tries.

It draws valid and invalid requests from the description, the same ones in every run, and compares
each answer's status, content type and body with it; nothing may be answered with a 500.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
EXAMPLES = 5  # Of each call, besides the systematic ones.
# What these wait for does not come, and there are hundreds of them.
WAITING = {"wait", "min_index"}
# Streams have no end, and members are dialled at whatever address is drawn.
LEFT_OUT = ("/connect", "/events", "/metrics", "/cluster/members", "/cluster/members/{id}")


def described(url: str) -> dict[str, Any]:
    """The node's own description, but for what would wait."""
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as answer:  # noqa: S310 - Ours.
        document: dict[str, Any] = json.load(answer)
    document["paths"] = {
        path: each for path, each in document["paths"].items() if path not in LEFT_OUT
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            # That the header and the member of this name must be equal, no schema can say.
            operation["parameters"] = [
                each
                for each in operation["parameters"]
                if each["name"] not in WAITING and each["in"] != "header"
            ]
    for schema in document["components"]["schemas"].values():
        for name in WAITING & schema["properties"].keys():
            del schema["properties"][name]
    return document


def test_a_node_answers_as_it_is_described(small_cluster: list[str], tmp_path: Path) -> None:
    url = small_cluster[0]
    (tmp_path / "openapi.json").write_text(json.dumps(described(url)))

    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
            *("--config-file", str(HERE / "schemathesis.toml"), "run"),
            *(str(tmp_path / "openapi.json"), "--url", url),
            *("--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES)),
            "--generation-deterministic",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "msgpack_answers"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    if done.returncode:
        pytest.fail(done.stdout[-20_000:] + done.stderr[-2_000:])
