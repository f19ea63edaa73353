"""The calls that change the cluster itself: a member in, one out, and who leads.

Any node may be asked; the leader does it. To repeat what was done is as good as done.
"""

from __future__ import annotations

import re

from cluster.answers import Committed
from cluster.replica import PROPOSE_TIMEOUT_SECONDS
from gateway import checks, queries
from gateway.calls import Call, Reply
from gateway.fields import Field, Shape
from gateway.outcomes import write_headers
from gateway.problems import Problem
from gateway.schema import WAIT_SECONDS_MAX

_ADDRESS = r"(\[[0-9A-Fa-f:.]{2,45}\]|[^\s:/\[\]]{1,253}):[0-9]{1,5}"
_PORT_MAX = 65_535
_ID_CHARACTERS_MAX = 128
_GRACE_SECONDS = 2.0  # For the leader's own word: after a minute it gives up, and says why.


def _read_address(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(_ADDRESS, value):
        port = int(value.rpartition(":")[2])
        if 1 <= port <= _PORT_MAX:
            return value
    raise checks.refused("must be an address such as 127.0.0.1:7600")


NODE_ID = Field("id", checks.name(), "The new node's own id.", is_required=True)
RAFT = Field(
    "raft",
    checks.Check(_read_address, {"type": "string", "pattern": f"^{_ADDRESS}$"}),
    "Where the others reach it: host:port.",
    is_required=True,
)
WAIT = Field(
    "wait",
    checks.wait_seconds,
    "Seconds to wait until it has caught up and counts; more than 60 are never waited.",
    default=WAIT_SECONDS_MAX,
)
TO = Field("to", checks.name(), "Who is to lead; left out: the member that is furthest.")
MEMBER = Shape("NewMember", NODE_ID, RAFT, WAIT)
LEADER = Shape("NewLeader", TO)


def _done(call: Call) -> Reply:
    """The answer to a change that was made: this node's state may not show it yet."""
    status = call.service.replica.status()
    shown = Committed(None, status.applied_index, status.term)
    return Reply({"success": True}, headers=write_headers(shown))


async def add(call: Call) -> Reply:
    """`POST /cluster/members`: a node that runs already catches up, and then counts."""
    queries.nothing(call.query)
    members = await call.parse(lambda body: MEMBER.read(body.value))
    members.close()
    wait_seconds = min(members[WAIT] / 1000, WAIT_SECONDS_MAX) + _GRACE_SECONDS
    replica = call.service.replica
    await replica.add_member(members[NODE_ID], members[RAFT], timeout_seconds=wait_seconds)
    return _done(call)


async def remove(call: Call) -> Reply:
    """`DELETE /cluster/members/{id}`: its vote is no longer needed, and no longer counts."""
    queries.nothing(call.query)
    node_id = call.path["id"]
    if len(node_id) > _ID_CHARACTERS_MAX:
        raise Problem("member_unknown", f"{node_id[:64]!r}… is not a member")
    replica = call.service.replica
    await replica.remove_member(node_id, timeout_seconds=PROPOSE_TIMEOUT_SECONDS)
    return _done(call)


async def lead(call: Call) -> Reply:
    """`POST /cluster/leader`: leadership is handed over, with nothing lost and no election."""
    queries.nothing(call.query)
    members = await call.parse(lambda body: LEADER.read(body.value), empty={})
    members.close()
    await call.service.replica.change_leader(members.get(TO, None))
    return _done(call)
