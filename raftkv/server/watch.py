"""Who leads, as this member last knew, and the connections that are told when it changes (Sentinel's +switch-master).

A member looks at each tick, and when somebody subscribes: from the leader of that moment on, the connection hears of
every change. A leader is taken for one when clients can be sent to it (`Server.reachable_leader`); while there is none,
the last one counts. So a change is told once, when the new leader is there, by every member that was running before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftkv.machines.redis.glob import glob_matcher
from raftkv.machines.replies import Push
from raftkv.settings import split_address

if TYPE_CHECKING:
    from raftkv.server.server import Server
    from raftkv.server.session import Session

SWITCH: Final = b"+switch-master"


class Subscriptions:
    """Of one connection, in the order in which they were made (a dict is a set with an order)."""

    def __init__(self) -> None:
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self.channels) + len(self.patterns)


class LeaderWatch:
    def __init__(self, server: Server) -> None:
        self._server = server
        self.address: str | None = None
        """The last known leader's, for clients."""

        self.since_ms = server.now_ms()
        """When this member noticed it."""

        self.subscribers: dict[int, Session] = {}
        """Number of the session -> the session."""

    def look(self) -> None:
        leader_id = self._server.reachable_leader()
        address = None if leader_id is None else self._server.client_address_of(leader_id)
        if address is None or address == self.address:
            return
        before, self.address, self.since_ms = self.address, address, self._server.now_ms()
        if before is not None:
            self._tell(before, address)

    def _tell(self, before: str, now: str) -> None:
        (old_host, old_port), (new_host, new_port) = split_address(before), split_address(now)
        name = self._server.settings.cluster.sentinel_name
        text = f"{name} {old_host} {old_port} {new_host} {new_port}".encode()
        for session in list(self.subscribers.values()):
            subscriptions = session.subscriptions
            if subscriptions is None:
                continue
            if SWITCH in subscriptions.channels:
                session.push(Push([b"message", SWITCH, text]))
            for pattern in subscriptions.patterns:
                if glob_matcher(pattern)(SWITCH):
                    session.push(Push([b"pmessage", pattern, SWITCH, text]))
