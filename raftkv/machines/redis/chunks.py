"""A long list of byte strings whose ends are cheap and whose middle is tolerable.

A Python list moves all elements for each one that comes or goes at its front; a deque cannot be changed in the middle.
So elements lie in chunks of at most CHUNK_MAX. At the ends only one chunk is touched. An index is found by adding up
the lengths of chunks from the nearer end: 40 microseconds for the middle of a million elements.

A copy, also of a part, shares the chunks but those at its ends; each of the two copies a chunk before it changes it.
To copy all elements would touch each of them for its reference count: 60 milliseconds for a million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Final

from raftkv.machines.redis.graveyard import bury_parts
from raftkv.machines.redis.sizes import block_bytes

CHUNK_MAX: Final = 512

_Chunk = list[bytes]


class Chunks:
    """No chunk is ever empty. An index counts from the left, and must be within the list."""

    __slots__ = ("_chunks", "_length", "_shared")

    def __init__(self, elements: Iterable[bytes] = ()) -> None:
        source = iter(elements)
        self._chunks: list[_Chunk] = []
        while chunk := list(islice(source, CHUNK_MAX)):
            self._chunks.append(chunk)
        self._length = sum(map(len, self._chunks))
        self._shared: set[int] | None = None
        """Ids of chunks that a copy may have too. An empty set would take up as much as a short list; so would, in the
        end, ids of chunks that are gone."""

    def __len__(self) -> int:
        return self._length

    def __del__(self, bury_parts: Callable[[list[_Chunk]], None] = bury_parts) -> None:
        # Bound early: at the end of the process the module's names may be gone.
        bury_parts(self._chunks)

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._chunks)

    def __reversed__(self) -> Iterator[bytes]:
        return chain.from_iterable(map(reversed, reversed(self._chunks)))

    def copy(self) -> Chunks:
        return self.part(0, self._length) if self._length else Chunks()

    def part(self, start: int, stop: int) -> Chunks:
        """A list of its own with what `range` would give."""
        part = Chunks()
        part._chunks = self._cut(*self._find(start), *self._find(stop - 1))
        part._length = stop - start
        if shared := set(map(id, part._chunks[1:-1])):
            part._shared = shared
            self._shared = shared if self._shared is None else self._shared | shared
        return part

    def _cut(self, first: int, place: int, last: int, last_place: int) -> list[_Chunk]:
        """The chunks from one element to another one, those at the ends as lists of their own."""
        kept = self._chunks[first : last + 1]
        kept[-1] = kept[-1][: last_place + 1]
        kept[0] = kept[0][place:]
        return kept

    def _own(self, number: int) -> _Chunk:
        """The chunk, to be changed."""
        chunk = self._chunks[number]
        if self._shared and id(chunk) in self._shared:
            self._shared.discard(id(chunk))
            chunk = self._chunks[number] = chunk.copy()
        return chunk

    # Ends

    def push_left(self, element: bytes) -> None:
        chunks = self._chunks
        if chunks and len(chunks[0]) < CHUNK_MAX:
            self._own(0).insert(0, element)
        else:
            chunks.insert(0, [element])
        self._length += 1

    def push_right(self, element: bytes) -> None:
        chunks = self._chunks
        if chunks and len(chunks[-1]) < CHUNK_MAX:
            self._own(-1).append(element)
        else:
            chunks.append([element])
        self._length += 1

    def pop_left(self) -> bytes:
        return self._pop(0)

    def pop_right(self) -> bytes:
        return self._pop(-1)

    def _pop(self, end: int) -> bytes:
        chunk = self._own(end)
        element = chunk.pop(end)
        if not chunk:
            del self._chunks[end]
        self._length -= 1
        return element

    # Middle

    def get(self, index: int) -> bytes:
        number, place = self._find(index)
        return self._chunks[number][place]

    def set(self, index: int, element: bytes) -> None:
        number, place = self._find(index)
        self._own(number)[place] = element

    def insert(self, index: int, element: bytes) -> None:
        """Before the element at `index`; at the end when that is the length."""
        if index == self._length:
            self.push_right(element)
            return
        number, place = self._find(index)
        chunk = self._own(number)
        chunk.insert(place, element)
        self._length += 1
        if len(chunk) > CHUNK_MAX:
            self._chunks[number : number + 1] = [chunk[: CHUNK_MAX // 2], chunk[CHUNK_MAX // 2 :]]

    def range(self, start: int, stop: int) -> list[bytes]:
        """The elements from `start` on, up to but without `stop`; 0 <= start < stop <= length."""
        number, place = self._find(start)
        found = self._chunks[number][place : place + stop - start]
        while len(found) < stop - start:
            number += 1
            found += self._chunks[number][: stop - start - len(found)]
        return found

    def trim(self, start: int, stop: int) -> None:
        """Keep what `range` would give."""
        first, place = self._find(start)
        last, last_place = self._find(stop - 1)
        gone = self._chunks[: first + 1] + self._chunks[last:]
        self._chunks = self._cut(first, place, last, last_place)
        self._length = stop - start
        if self._shared:
            self._shared.difference_update(map(id, gone))
        bury_parts(gone)

    def remove(self, element: bytes, most: int, *, from_right: bool) -> int:
        """Take out elements that equal `element`, `most` at most; returns how many."""
        removed = 0
        numbers = range(len(self._chunks))
        for number in reversed(numbers) if from_right else numbers:
            while removed < most and element in self._chunks[number]:
                chunk = self._own(number)
                place = len(chunk) - 1 - chunk[::-1].index(element) if from_right else chunk.index(element)
                del chunk[place]
                removed += 1
        if removed:
            self._chunks = [chunk for chunk in self._chunks if chunk]
            self._length -= removed
        return removed

    def index_of(self, element: bytes) -> int | None:
        """Of the first that equals `element`."""
        before = 0
        for chunk in self._chunks:
            if element in chunk:
                return before + chunk.index(element)
            before += len(chunk)
        return None

    def _find(self, index: int) -> tuple[int, int]:
        """(number of the chunk, place in it)"""
        chunks = self._chunks
        if index < self._length // 2:
            for number, chunk in enumerate(chunks):
                if index < len(chunk):
                    return number, index
                index -= len(chunk)
        left = self._length
        for number in range(len(chunks) - 1, -1, -1):
            left -= len(chunks[number])
            if index >= left:
                return number, index - left
        raise IndexError(index)

    def size_bytes(self, samples: int) -> int:
        """As `Collection.size_bytes`."""
        looked_at = min(samples, self._length) or self._length
        each = sum(map(block_bytes, islice(self, looked_at))) / max(1, looked_at)
        chunks = self._chunks
        lists = len(chunks) * block_bytes(chunks[len(chunks) // 2]) if chunks else 0
        own = block_bytes(self) + block_bytes(chunks) + block_bytes(self._shared)
        return own + lists + int(each * self._length)
