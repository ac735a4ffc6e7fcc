"""One member, joined: consensus, state machine and log store, still without sockets, clock or awaits."""

from raftkv.replica.replica import Replica, Turn
from raftkv.replica.settings import ReplicaSettings
from raftkv.replica.work import Sink

__all__ = ["Replica", "ReplicaSettings", "Sink", "Turn"]
