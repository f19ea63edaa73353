"""The soak: for as long as asked, faults of every kind against a cluster under traffic."""
