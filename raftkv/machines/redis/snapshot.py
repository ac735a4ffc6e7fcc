"""The Redis machine's state as slices of bytes, made while writes go on.

How the slices come to be the state at the first `next`: that call turns keeping on (`Database.start_keeping`), which
costs the same however many keys there are. From then on the first change of a key, by whatever command or sweep, puts
what the key held into `kept`. The next slices carry nothing: they list the keys, while an overlay takes the changes
(overlay.py). Then the walk over the listed keys takes a key from `kept` if it is there, else from the database, where
it is then certainly as it was. The end, or closing the generator, turns keeping off. Contents are followed, not
numbers: SWAPDB and FLUSHALL cost nothing here. SLICE_LISTED_MAX, SLICE_KEYS_MAX and SLICE_BYTES_MAX bound each slice.

What is done with is let go on the way, lest the last slice has everything to free at once: names and values in `kept`
when they are written out, contents that were flushed too. Listed names are packed: as a list the garbage collector
would walk them, 12 ms for a million. A key that is changed behind the walk is kept for nothing, since only an order of
keys could tell that the walk has passed it; so at most the old value of each key that was changed meanwhile is kept.

What a type of values must provide stands in values.py (`Collection`): `frozen`, for a write that comes before its
slice; `__len__`, to fill slices; `pieces` and `from_pieces`. A new type is added to `_TYPES` below. A collection that
is longer than a slice, and a string above PIECE_BYTES, goes out in pieces over several slices. A piece of a string is a
copy; restoring joins them, so it holds one such string twice.

A slice is MessagePack: a list of records, each an array that starts with its tag. The first slice is a `Head` alone,
the last ends with `End`. The order of keys means nothing. There is no checksum: whoever stores a snapshot adds it.

What is not in it: the key index (SCAN walks in the order of a hash of the keys, so a restored member answers the same
cursors), the heap of deadlines (which keys a sweep removes follows from the deadlines alone), and the counter behind
RANDOMKEY (members differ in it anyway). KEYS answers in the order of the dict, which no one is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import Final, TypeVar

import msgspec

from raftkv.errors import BrokenInvariant, ConfigError, StorageCorrupt
from raftkv.machines.digests import hash_number, new_hash, part_hash
from raftkv.machines.redis.database import Database, Space
from raftkv.machines.redis.hashes import Hash
from raftkv.machines.redis.lists import List
from raftkv.machines.redis.sets import Set
from raftkv.machines.redis.sorted_set import SortedSet
from raftkv.machines.redis.thresholds import Thresholds
from raftkv.machines.redis.values import Collection, Value, type_name
from raftkv.machines.redis.watches import WatchedKey

T = TypeVar("T")

FORMAT: Final = 1
SLICE_LISTED_MAX: Final = 2048
"""Keys that one slice lists: a tenth of a millisecond of work, up to 2 when memory is cold."""

SLICE_KEYS_MAX: Final = 512
"""Keys and members in one slice: about half a millisecond of work, memory being cold. A write has two or three slices
on its way: with 1,024 the median one took 4.3 ms while a snapshot was taken, with 512 it takes 2.9, and the whole
snapshot a tenth longer."""

SLICE_BYTES_MAX: Final = 256 * 1024
"""Above it a slice ends with the value that passed it."""

DIGEST_MEMBERS_MAX: Final = 512
"""Keys and members that one part of a digest is made of: less than a millisecond of work."""

PIECE_BYTES: Final = 256 * 1024
"""The size of the pieces of a long string."""

_TYPES: Final[dict[str, type[Collection]]] = {kind.type_name: kind for kind in (Hash, List, Set, SortedSet)}


class Head(msgspec.Struct, array_like=True, tag="head"):
    format: int
    log_time_ms: int
    databases: int
    thresholds: Thresholds = Thresholds()
    watch_version: int = 0


class Watched(msgspec.Struct, array_like=True, tag="watched"):
    """Watched keys, in the order of their tables."""

    entries: list[WatchedKey]


class Strings(msgspec.Struct, array_like=True, tag="strings"):
    """Short strings of one database. deadlines_ms: position -> deadline, of those that have one."""

    database: int
    names: list[bytes]
    values: list[bytes]
    deadlines_ms: dict[int, int]


class Pieces(msgspec.Struct, array_like=True, tag="pieces"):
    """A value of any type, or a part of it; `more`: a later record goes on with the same value."""

    database: int
    name: bytes
    type_name: str
    deadline_ms: int | None
    content: list[bytes]
    more: bool


class End(msgspec.Struct, array_like=True, tag="end"):
    keys: int


Record = Head | Watched | Strings | Pieces | End
_encode: Final = msgspec.msgpack.Encoder().encode
_NOTHING: Final = _encode([])
_unpack_names: Final = msgspec.msgpack.Decoder(list[bytes]).decode
_decode: Final = msgspec.msgpack.Decoder(list[Record]).decode


class _Contents:
    """One database as it was at the start. `values` and `expires` are live: `kept` says where they are not to be
    believed.

    names: the keys, as far as they are listed and not written out; packed, SLICE_KEYS_MAX or fewer together.
    """

    def __init__(self, space: Space, number: int) -> None:
        database = space.databases[number]
        self.number = number
        self.names: list[bytes] = []
        self.expires = database.expires
        self.values, self.kept = database.start_keeping()
        self.space = space

    def owner(self) -> Database | None:
        """Whose contents these are now; None when they were flushed."""
        return next((database for database in self.space.databases if database.kept is self.kept), None)

    def take_names(self) -> Iterator[bytes]:
        # The last first: freed from its end, the heap shrinks little by little, not by 75 MB at the end.
        return chain.from_iterable(_unpack_names(self.names.pop()) for _ in range(len(self.names)))


def slices_of(space: Space) -> Iterator[bytes]:
    """The state at the first `next`, however it changes meanwhile. One walk at a time for each space."""
    head, keys = _encode([_head(space)]), sum(len(database.values) for database in space.databases)
    watched = space.watches.entries()
    with closing(_walk(space, _slices_of, _NOTHING)) as walk:
        next(walk)
        yield head
        yield from map(_encode, _watched_records(watched))
        yield from walk
    yield _encode([End(keys)])


def digests_of(space: Space) -> Iterator[int]:
    """The state at the first `next` as numbers to be summed (`StateMachine.digests`)."""
    head = part_hash(_encode(_head(space)))
    watched = space.watches.entries()
    with closing(_walk(space, _digests_of, 0)) as walk:
        next(walk)
        yield head
        yield from (part_hash(_encode(records)) for records in _watched_records(watched))
        yield from walk


def _head(space: Space) -> Head:
    return Head(FORMAT, space.log_time_ms, len(space.databases), space.thresholds, space.watches.version)


def _watched_records(entries: list[WatchedKey]) -> Iterator[list[Watched]]:
    for at in range(0, len(entries), SLICE_KEYS_MAX):
        yield [Watched(entries[at : at + SLICE_KEYS_MAX])]


def _walk(space: Space, parts_of: Callable[[_Contents], Iterator[T]], nothing: T) -> Generator[T, None, None]:
    """Keep what is overwritten from the first `next` on, list the keys, then give the parts of each database; `nothing`
    where there is only work to be divided."""
    if any(database.kept is not None for database in space.databases):
        raise BrokenInvariant("a snapshot is under way already; close it before the next one begins")
    contents = [_Contents(space, number) for number in range(len(space.databases))]
    try:
        yield nothing
        for _ in _list_keys(contents):
            yield nothing
        for each in contents:
            yield from parts_of(each)
            for _ in _let_go(each):
                yield nothing
    finally:
        for each in contents:
            _stop_keeping(each)
        space.merge()


def _list_keys(contents: list[_Contents]) -> Iterator[None]:
    room = SLICE_LISTED_MAX
    for each in contents:
        names = iter(each.values)
        while listed := list(islice(names, min(room, SLICE_KEYS_MAX))):
            each.names.append(_encode(listed))
            room -= len(listed)
            if room == 0:
                yield
                room = SLICE_LISTED_MAX
        if owner := each.owner():
            owner.thaw()


def _let_go(contents: _Contents) -> Iterator[None]:
    """Forget what was kept; after many changes not all at once."""
    _stop_keeping(contents)
    for left in (contents.kept.values, contents.kept.deadlines):
        while len(left) > SLICE_KEYS_MAX:
            for _ in range(SLICE_KEYS_MAX):
                left.popitem()
            yield
        left.clear()


def _stop_keeping(contents: _Contents) -> None:
    # Only what is this snapshot's own: after FLUSHALL another one may have begun.
    if owner := contents.owner():
        owner.stop_keeping()


def _slices_of(contents: _Contents) -> Iterator[bytes]:
    # Hot: runs once for each key, between the turns of the server.
    number, kept, kept_deadlines = contents.number, contents.kept.values, contents.kept.deadlines
    strings, records = Strings(number, [], [], {}), list[Record]()
    members = size = 0
    take: Callable[[bytes], Value] = contents.values.__getitem__
    take_deadline: Callable[[bytes, None], int | None] = contents.expires.get
    for name in contents.take_names():
        if name in kept:
            value, deadline_ms = kept[name], kept_deadlines.get(name)
            kept[name] = None
        else:
            value, deadline_ms = take(name), take_deadline(name, None)
        if type(value) is bytes and len(value) <= PIECE_BYTES:
            if deadline_ms is not None:
                strings.deadlines_ms[len(strings.names)] = deadline_ms
            strings.names.append(name)
            strings.values.append(value)
            members += 1
            size += len(name) + len(value)
        elif value is not None:
            for record in _pieces(contents, name, value, deadline_ms):
                if record.more:
                    yield _encode([record])
                else:
                    records.append(record)
                    members += 1 + len(record.content)
                    size += sum(map(len, record.content))
        if members >= SLICE_KEYS_MAX or size >= SLICE_BYTES_MAX:
            yield _encode([strings, *records])
            strings, records, members, size = Strings(number, [], [], {}), [], 0, 0
            if contents.owner() is None:
                take, take_deadline = contents.values.pop, contents.expires.pop
    if members:
        yield _encode([strings, *records])


def _digests_of(contents: _Contents) -> Iterator[int]:
    # Each value is hashed by the records in which a snapshot holds it: those are small, and equal on all members.
    number, kept, kept_deadlines = contents.number, contents.kept.values, contents.kept.deadlines
    total = members = size = 0
    take: Callable[[bytes], Value] = contents.values.__getitem__
    take_deadline: Callable[[bytes, None], int | None] = contents.expires.get
    for name in contents.take_names():
        if name in kept:
            value, deadline_ms = kept[name], kept_deadlines.get(name)
            kept[name] = None
        else:
            value, deadline_ms = take(name), take_deadline(name, None)
        if type(value) is bytes and len(value) <= PIECE_BYTES:
            total += part_hash(_encode((number, name, deadline_ms, value)))
            members += 1
            size += len(value)
        elif value is not None:
            digest = new_hash()
            for record in _pieces(contents, name, value, deadline_ms):
                digest.update(_encode(record))
                if record.more:
                    yield 0
                else:
                    members += 1 + len(record.content)
                    size += sum(map(len, record.content))
            total += hash_number(digest)
        if members >= DIGEST_MEMBERS_MAX or size >= SLICE_BYTES_MAX:
            yield total
            total = members = size = 0
            if contents.owner() is None:
                take, take_deadline = contents.values.pop, contents.expires.pop
    if members:
        yield total


def _pieces(contents: _Contents, name: bytes, value: Value, deadline_ms: int | None) -> Iterator[Pieces]:
    """The records of one value, each of at most a slice's content. The last one says so, and may be empty."""
    if isinstance(value, bytes):
        pieces: Iterable[bytes] = (value[at : at + PIECE_BYTES] for at in range(0, len(value), PIECE_BYTES))
    elif name in contents.kept.values:
        pieces = value.pieces()
    else:
        # Writes may come between its slices, also when it has few members: a hash has two pieces for each, and any may
        # be long. They would tear it, or end this walk.
        contents.kept.values[name] = None
        if len(value) > SLICE_KEYS_MAX:
            value = contents.space.frozen(value)
            pieces = value.pieces()
        else:
            pieces = list(value.pieces())
    content: list[bytes] = []
    size = 0
    for piece in pieces:
        content.append(piece)
        size += len(piece)
        if len(content) >= SLICE_KEYS_MAX or size >= SLICE_BYTES_MAX:
            yield Pieces(contents.number, name, type_name(value), deadline_ms, content, more=True)
            content, size = [], 0
    yield Pieces(contents.number, name, type_name(value), deadline_ms, content, more=False)


def space_from(slices: Iterator[bytes], databases: int) -> Space:
    """A new space with the state of a snapshot. Raises StorageCorrupt for what is not a whole snapshot of a known
    format, ConfigError when it was made with another number of databases."""
    space = Space(databases)
    reader = _Reader(space)
    for slice_ in slices:
        try:
            for record in _decode(slice_):
                reader.take(record)
        except (msgspec.DecodeError, IndexError, ValueError) as error:
            raise StorageCorrupt(f"the snapshot cannot be read: {error}") from error
    reader.finish()
    return space


class _Reader:
    """Collects records, and puts them into the space at the end."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._values: list[dict[bytes, Value]] = [{} for _ in space.databases]
        self._expires: list[dict[bytes, int]] = [{} for _ in space.databases]
        self._watched: list[WatchedKey] = []
        self._unfinished: dict[tuple[int, bytes], list[bytes]] = {}
        self._head: Head | None = None
        self._end: End | None = None

    def take(self, record: Record) -> None:
        if isinstance(record, Head):
            self._take_head(record)
        elif self._head is None or self._end is not None:
            raise StorageCorrupt("the snapshot's slices are not in their order")
        elif isinstance(record, Watched):
            self._watched += record.entries
        elif isinstance(record, Strings):
            self._take_strings(record)
        elif isinstance(record, Pieces):
            self._take_pieces(record)
        else:
            self._end = record

    def finish(self) -> None:
        keys = sum(map(len, self._values))
        if self._head is None or self._end is None or self._end.keys != keys or self._unfinished:
            told = "no end" if self._end is None else f"{self._end.keys} announced"
            raise StorageCorrupt(f"the snapshot is not whole: {keys} keys, {told}")
        # First: a database with watched keys is not plain.
        self._space.watches.load(self._head.watch_version, self._watched)
        for database, values, expires in zip(self._space.databases, self._values, self._expires, strict=True):
            database.load(values, expires)

    def _take_head(self, head: Head) -> None:
        if head.format != FORMAT:
            raise StorageCorrupt(f"the snapshot's format is {head.format}; this version of raftkv reads {FORMAT}")
        databases = len(self._space.databases)
        if head.databases != databases:
            reason = f"the snapshot was made with {head.databases}; all members must agree"
            raise ConfigError("settings", "redis.databases", databases, reason)
        self._head = head
        self._space.log_time_ms = self._space.clock_ms = head.log_time_ms
        self._space.thresholds = head.thresholds

    def _take_strings(self, record: Strings) -> None:
        self._values[record.database].update(zip(record.names, record.values, strict=True))
        deadlines = record.deadlines_ms.items()
        self._expires[record.database].update((record.names[at], deadline_ms) for at, deadline_ms in deadlines)

    def _take_pieces(self, record: Pieces) -> None:
        pieces = self._unfinished.setdefault((record.database, record.name), [])
        pieces += record.content
        if record.more:
            return
        del self._unfinished[record.database, record.name]
        if record.type_name == type_name(b""):
            value: Value = b"".join(pieces)
        elif record.type_name in _TYPES:
            value = _TYPES[record.type_name].from_pieces(pieces)
        else:
            raise StorageCorrupt(
                f"the snapshot holds a {record.type_name!r}, which this version of raftkv does not know"
            )
        self._values[record.database][record.name] = value
        if record.deadline_ms is not None:
            self._expires[record.database][record.name] = record.deadline_ms
