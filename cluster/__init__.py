"""What is replicated: the machine, the Raft log, and the replica that joins them."""

from cluster import compiled, core

compiled.prefer(core)
