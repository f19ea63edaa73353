"""Seeded randomness: the one place of the simulation where it comes from.

Each purpose rolls dice of its own, so that a change to one (a fault left out while shrinking) does
not change what the others roll.
"""

from __future__ import annotations

import random

Dice = random.Random


def dice(seed: int, purpose: str) -> Dice:
    """Dice for *purpose*, the same for the same seed in every process."""
    return random.Random(f"{seed}/{purpose}")  # A string is hashed by SHA-512, not by hash().
