"""QueueSync: a coordinator that handles requests one at a time, and the workers that ask it.

Two base classes for one who subclasses. Given peers, the queue is replicated between coordinators.
"""

from node.queuesync.coordinator import Coordinator
from node.queuesync.requests import Request
from node.queuesync.worker import CoordinatorUnreachable, QueryFailed, Worker

__all__ = ["Coordinator", "CoordinatorUnreachable", "QueryFailed", "Request", "Worker"]
