"""Asking a cluster for a change of its members or its leader, until it is done, whoever leads meanwhile.

A change takes as long as a new member needs to get the state, so nothing bounds the wait for the answer. Meanwhile the
member that was asked is looked at again and again: that is what the spinner shows, and how a member is noticed that has
gone without closing its connections. What is asked for is a state to be reached, so it may be asked for again: after an
answer that says to try again, and elsewhere when a member is lost. It may well be lost: the one that is removed stops.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from raftkv.cli.resp import Connection, Refused, Unreachable
from raftkv.cli.status import Status, fetch
from raftkv.errors import NotDone, OutcomeUnknown, RaftkvError

PATIENCE_S = 30.0
"""Without a leader that is at it: for elections, and for members that start again."""

RETRY_S = 0.2
REACH_S = 2.0
"""So long may a member take to answer what it can answer at once."""

AGAIN = {"TRYAGAIN", "CLUSTERDOWN", "UNKNOWN", "LOADING", "MOVED"}

Tell = Callable[[Status], None]


def carry_out(command: Sequence[str], at: str, password: str, tell: Tell) -> Any:
    """The answer when it is done. `tell` hears meanwhile how the leader, or the member that was asked, sees it.

    Raises Refused when the cluster will not do it, NotDone when nobody could be asked, and OutcomeUnknown when
    no leader was at it for PATIENCE_S.
    """
    return _Asking(command, at, password, tell).until_done()


def leaders_view(status: Status, password: str) -> Status:
    """The status of the leader that `status` names; `status` itself when that cannot be had."""
    address = status.get("leader_address")
    if status.get("role") == "leader" or not address:
        return status
    try:
        return fetch(address, password, REACH_S)
    except RaftkvError:
        return status


class _Asking:
    def __init__(self, command: Sequence[str], at: str, password: str, tell: Tell) -> None:
        self._command, self._password, self._tell = command, password, tell
        self._addresses = deque([at])
        """The next one to be asked is in front."""
        self._was_sent = False
        self._patient_until = time.monotonic() + PATIENCE_S

    def until_done(self) -> Any:
        while True:
            address = self._addresses[0]
            try:
                return self._ask(address)
            except Unreachable as error:
                reason = str(error)
                self._addresses.rotate(-1)
            except Refused as error:
                if error.code not in AGAIN:
                    raise
                reason = f"{address}: {error}"
                self._follow(error)
            if time.monotonic() >= self._patient_until:
                raise self._given_up(reason)
            time.sleep(RETRY_S)

    def _ask(self, address: str) -> Any:
        with Connection(address, REACH_S, self._password) as connection:
            self._learn(connection.call("RAFT.STATUS"))
            self._was_sent = True
            return connection.call_patiently(*self._command, look=lambda: self._look(address))

    def _look(self, address: str) -> None:
        status = fetch(address, self._password, REACH_S)
        self._learn(status)
        view = leaders_view(status, self._password)
        if view.get("role") == "leader":
            self._patient_until = time.monotonic() + PATIENCE_S
        self._tell(view)

    def _learn(self, status: Status) -> None:
        for peer in status.get("peers", ()):
            self._know(peer.get("client_address"))

    def _know(self, address: str | None) -> None:
        if address and address not in self._addresses:
            self._addresses.append(address)

    def _follow(self, error: Refused) -> None:
        """``MOVED 0 host:port`` says who leads, as long as it knows."""
        moved_to = str(error).split()[2:]
        if error.code == "MOVED" and moved_to and ":" in moved_to[0]:
            self._know(moved_to[0])
            self._addresses.rotate(-self._addresses.index(moved_to[0]))

    def _given_up(self, reason: str) -> RaftkvError:
        if not self._was_sent:
            return NotDone(f"nothing was done: {reason}")
        return OutcomeUnknown(
            f"it is not certain whether this was done, or still will be ({reason}). See `raftkv member list`; to give "
            "the same command again is harmless"
        )
