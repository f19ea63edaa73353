"""What is done to packets in a container's network namespace: rules, queues, and their counters.

Text alone: `links` has it said by iptables and tc. Packets are lost where they come in, so that a
rule is of one way; they are slowed where they go out, since only there do they queue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from chaos.targets.contract import Condition

CHAIN = "QUORATE-CHAOS"
_UNSHAPED_BITS = 10_000_000_000  # A second: of a class that only delays.
_FIRST_CLASS = 0x10


def rules(sources: Mapping[str, Condition], *, one_way: Collection[str] = ()) -> str:
    """For `iptables-restore --noflush`: what becomes of what comes from these addresses.

    Those of *one_way* are cut off from here, and not we from them. TCP says nothing more to who
    acknowledges nothing: of theirs only what carries data is lost, and what would connect.
    """
    lines = [
        f"-A {CHAIN} -s {address}/32 {fate}"
        for address, condition in sources.items()
        for fate in _fates(condition, is_one_way=address in one_way)
    ]
    return "\n".join(["*filter", f":{CHAIN} - [0:0]", *lines, "COMMIT", ""])


def _fates(condition: Condition, *, is_one_way: bool) -> Iterator[str]:
    if condition.is_cut and is_one_way:
        yield "-p tcp --tcp-flags PSH PSH -j DROP"
        yield "-p tcp --syn -j DROP"
    elif condition.is_cut:
        yield "-j DROP"
    elif condition.is_reset:
        # Not the resets themselves: they are to arrive where both ways are reset.
        yield "-p tcp ! --tcp-flags RST RST -j REJECT --reject-with tcp-reset"
    elif condition.loss:
        yield f"-m statistic --mode random --probability {condition.loss:.4f} -j DROP"


def packets_stopped(listing: str) -> int:
    """How many packets the rules stopped, from `iptables --list CHAIN -nvx`."""
    rows = (line.split() for line in listing.splitlines())
    return sum(int(row[0]) for row in rows if len(row) > 2 and row[2] in {"DROP", "REJECT"})


def queues(interface: str, targets: Mapping[str, Condition]) -> str:
    """For `tc -batch`: a queue for what goes to each of these addresses; the rest goes by."""
    lines = [f"qdisc add dev {interface} root handle 1: htb"]
    for number, (address, condition) in enumerate(targets.items(), start=_FIRST_CLASS):
        rate = condition.bytes_per_second
        bits = _UNSHAPED_BITS if rate is None else max(8, int(rate * 8))
        lines.append(f"class add dev {interface} parent 1: classid 1:{number:x} htb rate {bits}bit")
        if condition.delay_seconds:
            lines.append(
                f"qdisc add dev {interface} parent 1:{number:x} handle {number:x}: "
                f"netem delay {condition.delay_seconds * 1000:.3f}ms"
            )
        lines.append(
            f"filter add dev {interface} parent 1: protocol ip u32"
            f" match ip dst {address}/32 flowid 1:{number:x}"
        )
    return "\n".join([*lines, ""])


def packets_queued(classes: str) -> int:
    """How many packets went through the queues, from `tc -s class show`."""
    rows = (line.split() for line in classes.splitlines())
    return sum(int(row[3]) for row in rows if row[:1] == ["Sent"])
