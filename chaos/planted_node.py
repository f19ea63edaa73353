"""A program with a bug planted: `python -m chaos.planted_node BUG node …`, for experiments alone.

It shows what a promise is worth by taking away one rule that keeps it. The product has no such
switch; the bug is the one that simulation plants under the same name.
"""

from __future__ import annotations

import sys

from chaos.simulation.catalogue import plant
from node.cli import main

if __name__ == "__main__":
    bug = sys.argv.pop(1)
    with plant(bug):
        main()
