"""What clients asked and what they were told: the only thing by which a cluster can be judged from outside.

An operation is one piece of work of one client: some commands, handed in at once. Times are simulated microseconds.
The outcomes are those of `replica.work.Sink`, in a client's words:

ok        carried out at some moment between `invoked_us` and `returned_us`; `replies` hold
unknown   carried out at some moment after `invoked_us`, perhaps long after the client was told so, or never
not_done  never carried out
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import hiredis

from raftkv.machines.interface import Kind
from raftkv.machines.replies import Error, Reply
from raftkv.testing.failure import RuleBroken
from raftkv.wire.resp_decode import NOTHING_YET
from raftkv.wire.resp_encode import encode


class Outcome(enum.Enum):
    OK = "ok"
    UNKNOWN = "unknown"
    NOT_DONE = "not done"


class Operation:
    __slots__ = (
        "commands",
        "invoked_us",
        "is_part",
        "kind",
        "number",
        "outcome",
        "redirected_to",
        "replies",
        "returned_us",
        "scope",
    )

    def __init__(self, number: int, kind: Kind, commands: list[list[bytes]], invoked_us: int, scope: int = 0) -> None:
        self.number = number
        self.kind = kind
        self.commands = commands
        self.invoked_us = invoked_us
        self.scope = scope
        self.is_part = commands[0][0].startswith((b"RAFT.", b"EXEC", b"WATCH"))
        self.outcome: Outcome | None = None
        self.returned_us = 0
        self.replies: list[object] = []
        self.redirected_to: int | None = None


class RecordingSink:
    """A client's end of one piece of work. Replies are encoded and parsed, so both ways of answering are compared.

    `on_answer(outcome, replies)` is called with the first and only answer; a second one breaks a rule.
    """

    remote = False
    readonly = False

    def __init__(self, what: Operation, resp3: bool, on_answer: Callable[[Outcome, list[object]], None]) -> None:
        self.resp3 = resp3
        self.answers = 0
        self._what = what
        self._on_answer = on_answer

    def on_replies(self, replies: list[Reply], start: int, stop: int) -> None:
        self._answered(Outcome.OK, [encode(reply, self.resp3) for reply in replies[start:stop]])

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        self._answered(Outcome.OK, replies)

    def on_redirect(self, leader_id: int) -> None:
        self._what.redirected_to = leader_id
        self._answered(Outcome.NOT_DONE, [])

    def on_not_done(self, error: Error) -> None:
        self._answered(Outcome.NOT_DONE, [encode(error, self.resp3)])

    def on_unknown(self, error: Error) -> None:
        self._answered(Outcome.UNKNOWN, [encode(error, self.resp3)])

    def _answered(self, outcome: Outcome, encoded: Sequence[bytes]) -> None:
        self.answers += 1
        if self.answers > 1:
            raise RuleBroken("one answer", f"operation {self._what.number} is answered {self.answers} times")
        if outcome is Outcome.OK and len(encoded) != len(self._what.commands):
            raise RuleBroken("one reply each", f"{len(encoded)} replies to {self._what.commands}")
        self._on_answer(outcome, [parse_reply(reply) for reply in encoded])


def parse_reply(encoded: bytes) -> object:
    """An encoded reply as hiredis, the C client, understands it; errors as ("error", text)."""
    reader = hiredis.Reader(notEnoughData=NOTHING_YET)
    reader.feed(encoded)
    reply = reader.gets()
    if reply is NOTHING_YET:
        raise RuleBroken("whole replies", repr(encoded))
    return ("error", str(reply)) if isinstance(reply, hiredis.ReplyError) else reply
