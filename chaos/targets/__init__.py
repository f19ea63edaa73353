"""Where faults are done: real clusters, on this machine's processes or on Docker's containers."""
