"""What is replicated: the machine, the Raft log, and the replica that joins them."""
