"""What a failed bind means, in words that say what to do about it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from cluster.errors import QuorateError


class AddressUnavailable(QuorateError):
    """An address cannot be listened on. The message says which one, why, and what to do."""


@contextlib.contextmanager
def explained(address: str, option: str) -> Iterator[None]:
    """Turn the OSError of a bind into AddressUnavailable, which names *option*."""
    try:
        yield
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "is taken by another program",
            errno.EADDRNOTAVAIL: "is not an address of this machine",
            errno.EACCES: "may not be used by this user",
        }.get(error.errno or 0, f"cannot be used ({error.strerror})")
        raise AddressUnavailable(f"{address} {reason}: choose another with {option}") from None
