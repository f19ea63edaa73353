"""The pure core: no clock, I/O, randomness, logging, floats, or iteration over sets."""
