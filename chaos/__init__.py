"""The doubt: experiments and checkers that break clusters and judge them."""

from cluster import compiled, core

compiled.forgo(core)  # Faults are planted in the machine's sources; C takes none.
