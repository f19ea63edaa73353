"""A whole cluster over a virtual clock, network and disk: one thread, one seed replays it all."""
