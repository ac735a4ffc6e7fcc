"""One sequence of commands, told to a raftkv member and to a real redis-server, in every way that a client can tell it.

A `Pair` is two connections that are told the same; each reply is judged as soon as it is there. What was queued is
judged when EXEC's reply is there, element by element. `Sides` are the two servers: `play` tells them a sequence in one
of the `MODES`, and at the end compares what is left, key for key: which there are, and how they are stored.

Ours is a cluster of three (tests/server/member.py), which must be of one state in the end. Replies went over the wire,
and where clients talk to a follower, from member to member too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Self

from hypothesis import strategies as st

from raftkv.machines.redis.differences import OVERDUE_COUNTED
from raftkv.machines.replies import Simple
from tests.machines.differential import DATABASES, KEYS, Argv, same_reply
from tests.server.member import Client, Cluster
from tests.support.redis_server import RespConnection

QUEUED: Final = Simple("QUEUED")
SEEN: Final = frozenset({*KEYS, b"lex"})
"""Keys that are watched, or looked at, whenever a line names them."""

LOOKS: Final = ((b"OBJECT", b"ENCODING"), (b"DUMP",), (b"PEXPIRETIME",))
"""What is asked of every key that is left."""


class Mode(NamedTuple):
    """at: the member that clients talk to; 1 leads. in_multi: transactions begin and end between the lines.
    with_watchers: before each line others watch its keys, and find out after it whether they have changed."""

    name: str
    at: int = 1
    resp3: bool = False
    in_multi: bool = False
    with_watchers: bool = False


MODES: Final = (
    Mode("RESP2"),
    Mode("RESP3", at=2, resp3=True),
    Mode("RESP2 in MULTI", at=2, in_multi=True),
    Mode("RESP3 in MULTI", resp3=True, in_multi=True),
    Mode("WATCH", with_watchers=True),
)

Marks = list[bytes]
"""What is told before each line of a sequence: MULTI, EXEC, DISCARD, or nothing."""

MARKS: Final[st.SearchStrategy[Marks]] = st.lists(
    st.sampled_from([b""] * 8 + [b"MULTI"] * 3 + [b"EXEC"] * 2 + [b"DISCARD"]), min_size=20, max_size=80
)


class Pair:
    """count: how many commands it was told. told: names of commands that were told, by all clients."""

    def __init__(self, ours: Client, theirs: RespConnection, told: set[str]) -> None:
        self.ours, self.theirs, self.told = ours, theirs, told
        self.count = 0
        self._queue: list[Argv] = []

    def call(self, *argv: bytes) -> Any:
        """Our reply. AssertionError where the other one differs and must not."""
        self.count += 1
        ours, theirs = self.ours.call(*argv), self.theirs.call(*argv)
        if theirs == QUEUED:
            self._queue.append(list(argv))
            assert ours == QUEUED, (argv, ours)
            return ours
        if argv[0] == b"EXEC" and isinstance(theirs, list):
            assert isinstance(ours, list), (self._queue, ours, theirs)
            assert len(ours) == len(theirs) == len(self._queue), (self._queue, ours, theirs)
            judged = zip(self._queue, ours, theirs, strict=True)
        else:
            judged = zip([list(argv)], [ours], [theirs], strict=True)
        for words, left, right in judged:
            assert same_reply(words, left, right, self.told), (words, left, right)
            self.told.add(words[0].decode(errors="replace").lower())
        if argv[0] in (b"EXEC", b"DISCARD"):
            self._queue.clear()
        return ours


class Sides:
    """`redis_port`: of a real server with DATABASES databases, which nobody else uses meanwhile. at: as in `Mode`."""

    def __init__(self, redis_port: int, at: int = 1) -> None:
        self._cluster = Cluster(voters=3, at=at)
        self._redis_port = redis_port
        self._pairs: list[Pair] = []
        self._watchers: dict[bytes, Pair] = {}
        self._told: set[str] = set()
        self._observer = self.pair()
        redis = self._observer.theirs
        redis.call(b"FLUSHALL")
        seconds, microseconds = redis.call(b"TIME")
        self._cluster.now_ms = int(seconds) * 1000 + int(microseconds) // 1000

    def pair(self, *, resp3: bool = False) -> Pair:
        """Another client."""
        theirs = RespConnection(self._redis_port, protocol=2 + resp3)
        self._pairs.append(Pair(self._cluster.connect(resp3), theirs, self._told))
        return self._pairs[-1]

    @property
    def count(self) -> int:
        """How many commands were told, by all clients."""
        return sum(pair.count for pair in self._pairs)

    def play(self, mode: Mode, sequence: list[tuple[int, Argv]], marks: Marks) -> None:
        """AssertionError where the two differ and must not."""
        client = self.pair(resp3=mode.resp3)
        if mode.with_watchers:
            for database, argv in sequence:
                self._tell_watched(client, database, argv)
        else:
            for argv in _script(sequence, marks if mode.in_multi else []):
                client.call(*argv)
                for key in _keys_seen(argv) if not mode.in_multi else ():
                    client.call(*LOOKS[0], key)
        self.compare_what_is_left()

    def _tell_watched(self, client: Pair, database: int, argv: Argv) -> None:
        watched = _keys_seen(argv)
        for key in watched:
            watcher = self._watchers.get(key) or self._watchers.setdefault(key, self.pair())
            watcher.call(b"SELECT", b"%d" % database)
            watcher.call(b"WATCH", key)
        client.call(b"SELECT", b"%d" % database)
        for words in shown_alike(argv):
            client.call(*words)
        for key in watched:
            self._watchers[key].call(b"MULTI")
            self._watchers[key].call(b"EXEC")

    def compare_what_is_left(self) -> None:
        """AssertionError where another key is there, or is stored in another way, or our members differ."""
        call = self._observer.call
        for number in range(DATABASES):
            call(b"SELECT", b"%d" % number)
            for key in call(b"KEYS", b"*"):
                for words in LOOKS:
                    call(*words, key)
        members = self._cluster.replicas.values()
        assert len({(member.applied, member.machine.state_hash()) for member in members}) == 1

    def close(self) -> None:
        for pair in self._pairs:
            pair.theirs.close()
        self._cluster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _script(sequence: list[tuple[int, Argv]], marks: Marks) -> Iterator[Argv]:
    """All that a client tells, in order."""
    selected = 0
    before = iter(marks)
    for database, argv in sequence:
        if mark := next(before, b""):
            yield [mark]
        if database != selected:
            selected = database
            yield [b"SELECT", b"%d" % database]
        yield from shown_alike(argv)
    if marks:
        yield [b"EXEC"]


def _keys_seen(argv: Argv) -> list[bytes]:
    return sorted(SEEN & set(argv[1:]))


def shown_alike(argv: Argv) -> Iterator[Argv]:
    """The line, and before it what makes both servers see the same."""
    if argv[0].decode(errors="replace").lower() in OVERDUE_COUNTED:
        yield [b"EXISTS", *KEYS]  # looking at them removes those that are overdue
    yield argv
