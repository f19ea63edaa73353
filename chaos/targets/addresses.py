"""Addresses for a project's network of Raft: a subnet that nobody has, and places within it."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable

_POOL = ipaddress.IPv4Network("10.222.0.0/16")


def free_subnet(taken: Iterable[str]) -> str:
    """A /24 that overlaps none of those; which, is drawn, for two may ask at once."""
    networks = [ipaddress.ip_network(subnet) for subnet in taken]
    used = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    free = [
        subnet
        for subnet in _POOL.subnets(new_prefix=24)
        if not any(subnet.overlaps(network) for network in used)
    ]
    return str(random.choice(free))


def free_address(subnet: str, taken: set[str]) -> str:
    """One that is not taken, from the upper end, where the engine gives none out by itself."""
    hosts = [str(address) for address in ipaddress.ip_network(subnet).hosts()]
    return next(address for address in reversed(hosts) if address not in taken)
