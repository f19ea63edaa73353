"""A gateway alone: a process that passes everything on, and has neither data nor a vote."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gateway.proxy import create_proxy
from gateway.serving import serve
from node.binding import explained
from node.config import Address
from node.lifeline import announce
from node.loops import stop_signal

log = logging.getLogger(__name__)


async def run_gateway(urls: Mapping[str, str], http: Address) -> int:
    """Serve until a signal; what is being answered then still is.

    Raises:
        AddressUnavailable: the address cannot be bound.
    """
    asked_to_stop = stop_signal()
    with explained(str(http), "--http"):
        runner = await serve(create_proxy(urls), http.host, http.port)
    try:
        listening = Address(*runner.addresses[0][:2])
        announce(listening=str(listening))
        log.info("answers at http://%s for %s", listening, ", ".join(urls.values()))
        await asked_to_stop.wait()
    finally:
        await runner.cleanup()
    log.info("stopped")
    return 0
