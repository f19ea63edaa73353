"""The processes: coordinator, worker, and the command line."""
