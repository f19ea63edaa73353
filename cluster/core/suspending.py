"""Nodes that the leader does not hear: workers that are connected there are given nothing new.

They keep their sessions, deadlines and leases: a node that is only slow costs nobody a task. A
worker that heartbeats through another node is served there.
"""

from __future__ import annotations

from cluster.core.commands import Noted, Resume, Suspend
from cluster.core.state import State


def suspend(state: State, command: Suspend) -> Noted:
    """Pass over the node's workers from now on. A node without any is not noted."""
    node = state.crews.nodes.get(command.node)
    if node is None or node.is_suspended:
        return Noted(is_news=False)
    node.is_suspended = True
    state.happened_to_cluster("node_suspended", node=node.id)
    return Noted(is_news=True)


def resume(state: State, command: Resume) -> Noted:
    """Serve the node's workers again, at once."""
    node = state.crews.nodes.get(command.node)
    if node is None or not node.is_suspended:
        return Noted(is_news=False)
    node.is_suspended = False
    state.happened_to_cluster("node_resumed", node=node.id)
    state.crews.look_again(node.crews.values())
    return Noted(is_news=True)
