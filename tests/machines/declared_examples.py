"""Declared machines for tests, at module level, where their annotations can be read."""

from __future__ import annotations

import msgspec

import raftkv
from raftkv.machines.replies import Error


class Item(msgspec.Struct, frozen=True):
    text: str
    tries: int = 0


class Counter(raftkv.Machine):
    """Counts, and what goes wrong on the way."""

    counts: raftkv.Map[str, int]
    items: raftkv.Map[tuple[int, str], Item]
    total: int = 0
    last: Item | None = None

    @raftkv.write
    def incr(self, name: str, by: int = 1) -> int:
        """Add to a counter and return its new value.

        More about it.
        """
        self.counts[name] = self.counts.get(name, 0) + by
        self.total += by
        if by == 13:
            raise ZeroDivisionError("unlucky")
        if by == 14:
            raise raftkv.Refusal("fourteen is not taken")
        if by == 15:
            raise raftkv.Refusal("NOFIFTEEN not this one\r\neither")
        return self.counts[name]

    @raftkv.write
    def drop(self, *keys: str) -> None:
        for key in keys:
            del self.counts[key]

    @raftkv.write(name="item.put", version=2)
    def put(self, key: int, text: str, *, tries: int = 0, quiet: bool = False) -> str | None:
        item = Item(text, tries)
        self.items[key, text] = item
        self.last = item
        self.posted(text)
        return None if quiet else f"{key}:{text}"

    @raftkv.read
    def get(self, name: str) -> int | None:
        return self.counts.get(name)

    @raftkv.dirty(name="dirty.get")
    def dirty_get(self, name: str) -> int | None:
        return self.counts.get(name)

    @raftkv.read
    def all(self) -> dict[str, int]:
        return dict(self.counts)

    @raftkv.read
    def meddle(self) -> int:
        self.total += 1
        return self.total

    @raftkv.read
    def repeat(self, raw: bytes, number: float, yes: bool) -> list[object]:
        return [raw, number, yes, (1, None)]

    @raftkv.write
    def chance(self) -> int:
        assert isinstance(self.context, raftkv.Context)
        return self.context.random.randrange(1_000_000)

    @raftkv.write(name="run.out")
    def run_out(self, what: str) -> None:
        self.total += 1
        raise {"memory": MemoryError, "stack": RecursionError}[what]

    @raftkv.write(name="wrong.reply")
    def wrong_reply(self) -> object:
        self.total += 1
        return [1, {"a": object()}]

    @raftkv.write(name="say.no")
    def say_no(self, text: str) -> object:
        self.total += 1
        self.posted(text)
        return Error(f"NOTNOW {text}")

    @raftkv.effect(durable=True, before_reply=True)
    def posted(self, text: str, *, effect_id: str) -> None:
        self._sent.append((effect_id, text))

    def __init__(self, limit: int = 5) -> None:
        self._limit = limit
        self._sent: list[tuple[str, str]] = []


class Lease(raftkv.Machine):
    """A lock that ends by itself, by the log's time."""

    owner: str = ""
    ends_ms: int = 0
    token: int = 0

    @raftkv.write
    def acquire(self, key: str, *, ttl_ms: int) -> int:
        if self.owner:
            raise raftkv.Refusal(f"HELD by {self.owner}")
        self.owner, self.ends_ms, self.token = key, self.time_ms + ttl_ms, self.token + 1
        return self.token

    @raftkv.read
    def holder(self) -> str | None:
        return self.owner or None

    def deadline_ms(self) -> int | None:
        return self.ends_ms if self.owner else None

    def on_time(self) -> None:
        self.owner = ""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    what: str
    count: int = 1


class Orders(raftkv.Machine):
    """Takes JSON as docs/state-machines.md advises: into a type that ends."""

    orders: raftkv.Map[int, Order]

    @raftkv.write
    def order(self, raw: bytes) -> int:
        try:
            order = msgspec.json.decode(raw, type=Order)
        except msgspec.MsgspecError as error:
            raise raftkv.Refusal(str(error)) from error
        self.orders[len(self.orders)] = order
        return len(self.orders)


class Tags(msgspec.Struct, frozen=True):
    names: tuple[str, ...] = ()


class Tagged(raftkv.Machine):
    """Structs that are given a list where a tuple was declared."""

    tags: raftkv.Map[str, Tags]
    last: Tags = Tags()

    @raftkv.write
    def tag(self, name: str) -> None:
        names: list[str] = [name]
        self.tags[name] = self.last = Tags(names)  # type: ignore[arg-type]

    @raftkv.write
    def spoil(self, name: str) -> None:
        self.tags[name].names.append("more")  # type: ignore[attr-defined]
        raise raftkv.Refusal("spoilt")


class Tallying:
    """A mixin with state, that is no machine itself."""

    tally: raftkv.Map[str, int]
    tallied: int = 0

    @raftkv.write
    def count(self, name: str) -> int:
        self.tally[name] = self.tally.get(name, 0) + 1
        self.tallied += 1
        self.tallying(name)
        return self.tallied

    @raftkv.effect
    def tallying(self, name: str) -> None:
        raise AssertionError(f"done in place of being asked for: {name}")


class Named(raftkv.Machine):
    title: str = "none"
    tallied: int = 3

    @raftkv.write
    def rename(self, title: str) -> None:
        self.title = title


class Mixed(Counter, Tallying, Named):
    """State of three bases; the first that has a field says what it begins with."""

    total = 7
