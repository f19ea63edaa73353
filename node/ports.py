"""Which ports of this machine are free. A port found free may be taken a moment later."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from node.config import PORT_MAX


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that is still closing does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def free_ports(host: str, first: int) -> Iterator[int]:
    """Every free port from *first* up, in order."""
    return (port for port in range(first, PORT_MAX + 1) if is_free(host, port))
