"""Clients that write without pause and remember what they were told, to be compared with what is there afterwards.

Each writer owns its keys, and every value names its writer, so a reply that went to the wrong client, a write that was
lost and a write that was done twice are all visible. An UNKNOWN reply, or a connection that broke before the reply,
is neither acknowledged nor refused: the value may be there or not.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Self, TypeVar

from tests.integration.cluster import Client, Member, ReplyError

CERTAINLY_NOT_DONE = ("CLUSTERDOWN", "TRYAGAIN", "MOVED")


class Writer(threading.Thread):
    """Appends numbered tokens to its own list key: `acknowledged` must all be there, once and in order, and of the rest
    only those in `unknown` may be."""

    def __init__(self, number: int, members: Sequence[Member], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.key = f"writer:{number}"
        self._random = random.Random(number)
        self._members = members
        self._stop_writing = stop
        self._client: Client | None = None
        self.acknowledged: list[int] = []
        self.unknown: set[int] = set()
        self.refused: set[int] = set()
        self.acknowledged_at: list[float] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        for token in itertools.count():
            if self._stop_writing.is_set():
                break
            self._write(token)
        if self._client is not None:
            self._client.sock.close()

    def _write(self, token: int) -> None:
        try:
            client = self._connect()
        except OSError:
            self.refused.add(token)  # never sent
            return
        text = f"{self.key}={token};"
        try:
            length = client("APPEND", self.key, text)
        except ReplyError as error:
            certain = str(error).startswith(CERTAINLY_NOT_DONE)
            (self.refused if certain else self.unknown).add(token)
            return
        except OSError:
            self.unknown.add(token)
            self._drop()
            return
        if not isinstance(length, int):
            self.wrong.append(f"{self.key}: APPEND answered {length!r}")
        self.acknowledged.append(token)
        self.acknowledged_at.append(time.monotonic())
        if token % 16 == 0:
            self._look(client)

    def _look(self, client: Client) -> None:
        """A linearizable read sees everything acknowledged so far, and nobody else's values."""
        try:
            value = client("GET", self.key)
        except (ReplyError, OSError):
            self._drop()
            return
        self.check(value)

    def check(self, value: bytes | None) -> None:
        tokens = []
        for piece in (value or b"").decode().split(";")[:-1]:
            owner, _, number = piece.partition("=")
            if owner != self.key:
                self.wrong.append(f"{self.key}: found {piece!r} of somebody else")
                return
            tokens.append(int(number))
        if sorted(set(tokens)) != tokens:
            self.wrong.append(f"{self.key}: not in order or twice: {tokens[-20:]}")
        missing = set(self.acknowledged) - set(tokens)
        if missing:
            self.wrong.append(f"{self.key}: acknowledged but lost: {sorted(missing)[:10]}")
        ghosts = set(tokens) & self.refused
        if ghosts:
            self.wrong.append(f"{self.key}: certainly not done, but there: {sorted(ghosts)[:10]}")

    def _connect(self) -> Client:
        if self._client is None:
            self._client = Client(self._random.choice(self._members).port)
        return self._client

    def _drop(self) -> None:
        if self._client is not None:
            self._client.sock.close()
            self._client = None


W = TypeVar("W", bound=threading.Thread)


class Running(Generic[W]):
    """Writers that run until the block ends. `make(number, stop)` makes each."""

    def __init__(self, make: Callable[[int, threading.Event], W], count: int) -> None:
        self._stop = threading.Event()
        self.writers = [make(number, self._stop) for number in range(count)]

    def __enter__(self) -> Self:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for writer in self.writers:
            writer.join(timeout=60)


class Load(Running[Writer]):
    """`count` writers against random members; `verify` compares afterwards."""

    def __init__(self, members: Sequence[Member], count: int = 8) -> None:
        super().__init__(lambda number, stop: Writer(number, members, stop), count)

    @property
    def acknowledged(self) -> int:
        return sum(len(writer.acknowledged) for writer in self.writers)

    def gap_s(self, since: float, until: float) -> float:
        """The longest time between two acknowledgements, whoever's, in that span."""
        times = sorted(t for writer in self.writers for t in list(writer.acknowledged_at) if since <= t <= until)
        return max((b - a for a, b in itertools.pairwise([since, *times, until])), default=until - since)

    def verify(self, client: Client) -> None:
        """Every acknowledged write is there, once; nothing that was certainly refused is."""
        for writer in self.writers:
            writer.check(client("GET", writer.key))
        wrong = [text for writer in self.writers for text in writer.wrong]
        assert not wrong, "\n".join(wrong)
