"""`python -m node` is `quorate`."""

from node.cli import main

main()
