"""A program with a bug planted: `python -m chaos.planted_node BUG node …`, for experiments alone.

It shows what a promise is worth by taking away one rule that keeps it. The product has no such
switch; the bug is one of the simulation's, under the same name, or one of the exercises' own.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from chaos.planted_lessons import LESSONS
from chaos.simulation.catalogue import bugs
from node.cli import main

if __name__ == "__main__":
    bug = sys.argv.pop(1)
    with ExitStack() as stack:
        (LESSONS.get(bug) or bugs()[bug]).patch(stack)
        main()
