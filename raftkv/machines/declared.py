"""A class with decorated methods is a state machine.

    class Counter(raftkv.Machine):
        counts: raftkv.Map[str, int]

        @raftkv.write
        def incr(self, name: str, by: int = 1) -> int:
            '''Add to a counter and return its new value.'''
            self.counts[name] = self.counts.get(name, 0) + by
            return self.counts[name]

        @raftkv.read
        def get(self, name: str) -> int | None:
            '''The value of a counter.'''
            return self.counts.get(name)

What the class body says once is used for everything: the signature is the command's arity, the conversion of its
arguments and its errors (`signatures.py`); the docstring is its help and its entry in COMMAND DOCS; the annotations are
the state (`fields.py`), its snapshots and its undoing (`state.py`).

A handler that raises `Refusal`, or returns an `Error`, answers that error; one that raises anything else answers "ERR
internal error", which is logged. In each case the state is as before the command, and all members do and answer the
same. MemoryError and RecursionError are no answers, since they may come to one member alone: they leave, and the member
begins again from its log.

What handlers find in `self`: the state; `context` (index, term, time_ms, random, members, session; in a read: now_ms);
`time_ms`, the time of the newest entry, also in reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import re
import typing
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, ClassVar, Final, Self

import msgspec

from raftkv.machines.digests import part_hash
from raftkv.machines.fields import declared_fields
from raftkv.machines.interface import Command, Context, Effect, Kind, ReadContext, StateMachine, command_table
from raftkv.machines.marks import ASKS_FOR, MARK, EffectMark, Mark, marked_methods
from raftkv.machines.replies import OK, Error, Reply, unknown_command, wrong_arity
from raftkv.machines.returned import reply_of
from raftkv.machines.signatures import DeclarationError, Refusal, Signature
from raftkv.machines.state import Journal, Map, StateError
from raftkv.machines.values import checked

_log = logging.getLogger("raftkv.machine")


class _Handler(msgspec.Struct, frozen=True):
    signature: Signature
    call: Callable[..., Any]
    writes: bool
    answers_ok: bool


class Machine(StateMachine):
    """Base of declared machines. A subclass may have an `__init__` with options (`machine.options`), which must be the
    same on every member; attributes that are no state begin with an underscore, and handlers must not change them."""

    name: ClassVar[str] = ""
    """By default made from the class's name: LockService -> lock-service."""

    context: Context | ReadContext
    """Of the command that is being carried out."""

    time_ms: int
    """Unix time of the newest entry, in milliseconds: by which everything that ends in time is to be judged."""

    _handlers: ClassVar[dict[bytes, _Handler]] = {}
    _effects: ClassVar[dict[str, tuple[Callable[..., Any], bool]]] = {}
    """Name -> (its method, whether that wants the effect's id)."""

    _fields: ClassVar[dict[str, Any]] = {}
    """Name -> its type."""

    _first_values: ClassVar[dict[str, Any]] = {}
    """Of the plain fields, as `values.checked` returns them."""

    commands: Mapping[bytes, Command] = {}
    _journal: Journal
    _position: int
    """Of the present command in its batch."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()
        cls._fields, cls._first_values = declared_fields(cls, Machine)
        cls._handlers, cls._effects, cls.commands = {}, {}, {}
        owners: dict[str, str] = {}
        for attribute, (mark, function) in marked_methods(cls).items():
            if isinstance(mark, EffectMark):
                cls._effects[attribute] = (function, "effect_id" in inspect.signature(function).parameters)
                if not hasattr(getattr(cls, attribute), ASKS_FOR):
                    # Its own, or of a base that is no machine. Left as it is, every member would do it.
                    setattr(cls, attribute, _asking(attribute, mark, function))
                continue
            row, handler = _declared_command(cls, attribute, function, mark)
            if row.name in owners:
                raise DeclarationError(f"{cls.__name__}: {owners[row.name]} and {attribute} are both {row.name!r}")
            owners[row.name] = attribute
            table = command_table([row])
            cls.commands = {**cls.commands, **table}
            cls._handlers |= dict.fromkeys(table, handler)

    def __new__(cls, *arguments: Any, **options: Any) -> Self:  # noqa: ARG004
        machine = super().__new__(cls)
        put = object.__setattr__
        journal = Journal()
        put(machine, "_journal", journal)
        put(machine, "_position", 0)
        put(machine, "context", ReadContext(0))
        put(machine, "time_ms", 0)
        for name, kind in cls._fields.items():
            is_plain = name in cls._first_values
            put(machine, name, cls._first_values[name] if is_plain else Map(journal, name, *typing.get_args(kind)))
        return machine

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self._fields.get(name)
        if kind is None:
            if name.startswith("_") and not self._journal.is_open:
                object.__setattr__(self, name, value)
                return
            raise StateError(
                f"{type(self).__name__}.{name} is no declared state: annotate it in the class body ({name}: int = 0),"
                " or set it in __init__ under a name with an underscore if it is none"
            )
        if isinstance(getattr(self, name), Map):
            raise StateError(f"{type(self).__name__}.{name} is a Map: change its content, or empty it with clear()")
        value = checked(value, kind, f"{type(self).__name__}.{name}")
        self._journal.note(object.__setattr__, self, name, getattr(self, name))
        object.__setattr__(self, name, value)

    # ---- to be overridden

    def setup(self) -> None:
        """Fill the state of an empty log, the same way on every member."""
        return

    def on_time(self) -> None:
        """Called at the begin of an entry whose time has reached `deadline_ms()`. May change the state, and should, so
        that the deadline moves."""
        return

    # ---- StateMachine

    def init(self) -> None:
        self._journal.is_open = True
        try:
            self.setup()
        finally:
            self._journal.keep()
            self._journal.is_open = False

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        put = object.__setattr__
        put(self, "context", context)
        put(self, "time_ms", max(self.time_ms, context.time_ms))
        deadline_ms = self.deadline_ms()
        if deadline_ms is not None and deadline_ms <= self.time_ms:
            put(self, "_position", 0)
            self._carry_out(_ON_TIME, [])
        replies = []
        for position, argv in enumerate(commands):
            put(self, "_position", position)
            replies.append(self._answer(argv))
        return replies

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        object.__setattr__(self, "context", context)
        return [self._answer(argv, reading=True) for argv in commands]

    def _answer(self, argv: list[bytes], *, reading: bool = False) -> Reply:
        handler = (self._handlers.get(argv[0]) or self._handlers.get(argv[0].lower())) if argv else None
        if handler is None:
            return unknown_command(argv)
        if not handler.signature.fits(len(argv)):
            return wrong_arity(handler.signature.name)
        if reading and handler.writes:
            return Error(f"ERR '{handler.signature.name}' writes and must go through the log")
        return self._carry_out(handler, argv)

    def _carry_out(self, handler: _Handler, argv: list[bytes]) -> Reply:
        journal = self._journal
        effects_before = len(getattr(self.context, "effects", ()))
        journal.is_open = handler.writes
        try:
            arguments, options = handler.signature.convert(argv)
            result = handler.call(self, *arguments, **options)
            reply = OK if result is None and handler.answers_ok else reply_of(result)
        except (MemoryError, RecursionError):
            # Whether it comes depends on the process, not on the log: as a reply, it would make members differ. A limit
            # counted from this frame is no way out: a warm cache, or a value that shares its parts, recurses less.
            raise
        except Exception as error:
            self._undo(effects_before)
            if isinstance(error, Refusal):
                return Error(error.text)
            _log.exception("%s: %r raised", type(self).__name__, handler.signature.name)
            return Error(
                f"ERR internal error in '{handler.signature.name}': {type(error).__name__}; nothing was changed"
            )
        else:
            if type(reply) is Error:
                self._undo(effects_before)
            return reply
        finally:
            journal.keep()
            journal.is_open = False

    def _undo(self, effects_before: int) -> None:
        """As if the present command had not been; so many effects were asked for before it."""
        self._journal.undo()
        if isinstance(self.context, Context):
            del self.context.effects[effects_before:]

    def run_effect(self, effect: Effect, effect_id: str) -> Any:
        if effect.name not in self._effects:
            raise LookupError(f"{type(self).__name__} has no effect {effect.name!r} (any more)")
        function, wants_id = self._effects[effect.name]
        return function(self, *effect.arguments, **({"effect_id": effect_id} if wants_id else {}))

    # ---- the whole state

    def _plain_fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._first_values}

    def _maps(self) -> dict[str, Map[Any, Any]]:
        return {name: getattr(self, name) for name in self._fields if name not in self._first_values}

    def snapshot(self) -> Iterator[bytes]:
        with contextlib.closing(self._parts()) as parts:
            yield from map(msgspec.msgpack.encode, parts)

    def digests(self) -> Iterator[int]:
        encode = msgspec.msgpack.encode
        with contextlib.closing(self._parts()) as parts:
            time_ms, plain = next(parts)
            yield part_hash(encode((time_ms, sorted(plain.items()))))
            for name, items in parts:
                # One by one: where a walk ends its slices depends on what is changed meanwhile.
                yield sum(part_hash(encode((name, item))) for item in items)

    def _parts(self) -> Generator[tuple[Any, Any], None, None]:
        """The state at the first `next`: (time, plain fields), then (name of a Map, some of its items)."""
        maps = self._maps()
        walks = {name: content.begin_walk() for name, content in maps.items()}
        try:
            yield self.time_ms, self._plain_fields()
            for name, walk in walks.items():
                for items in walk.slices():
                    yield name, items
                maps[name].end_walk(walk)
        finally:
            # Also of a snapshot that nobody wanted to the end: the Maps would keep for it for ever.
            for name, walk in walks.items():
                maps[name].end_walk(walk)

    def restore(self, slices: Iterator[bytes]) -> None:
        put, convert, maps = object.__setattr__, msgspec.convert, self._maps()
        time_ms, plain = msgspec.msgpack.decode(next(slices))
        for content in maps.values():
            content.empty()
        for name, first in self._first_values.items():
            put(self, name, convert(plain[name], self._fields[name]) if name in plain else first)
        put(self, "time_ms", time_ms)
        for part in slices:
            name, items = msgspec.msgpack.decode(part)
            content = maps[name]
            content.load(convert(items, list[tuple[content.key_type, content.value_type]]))  # type: ignore[name-defined]

    def state_hash(self) -> bytes:
        digest = hashlib.sha256(msgspec.msgpack.encode((self.time_ms, sorted(self._plain_fields().items()))))
        for name, content in sorted(self._maps().items()):
            digest.update(msgspec.msgpack.encode((name, len(content))))
            for item in content.items():
                digest.update(msgspec.msgpack.encode(item))
        return digest.digest()


def _asking(name: str, mark: EffectMark, function: Callable[..., Any]) -> Callable[..., None]:
    """What an effect's method is replaced by: it asks for the effect."""

    def ask(self: Machine, *arguments: Any) -> None:
        if not self._journal.is_open or not isinstance(self.context, Context):
            raise StateError(f"the effect {name!r} is asked for outside of a write")
        wanted = Effect(name=name, arguments=arguments, durable=mark.durable, before_reply=mark.before_reply)
        self.context.add_effect(self._position, wanted)

    setattr(ask, MARK, mark)
    setattr(ask, ASKS_FOR, function)
    return ask


def _declared_command(cls: type, attribute: str, function: Any, mark: Mark) -> tuple[Command, _Handler]:
    where = f"{cls.__name__}.{attribute}"
    signature = Signature.of(function, (mark.name or attribute).lower(), where)
    returns_nothing = signature.returns in (None, type(None))
    if returns_nothing and mark.kind is not Kind.WRITE:
        raise DeclarationError(f"{where}: a read that returns nothing is of no use; annotate what it returns")
    writes = mark.kind is Kind.WRITE
    text = (function.__doc__ or "").strip()
    row = Command(
        name=signature.name,
        arity=signature.arity,
        kind=mark.kind,
        handler=function,
        flags=("write",) if writes else ("readonly",),
        categories=("@write" if writes else "@read",),
        keys=signature.keys,
        since=mark.since,
        group="generic",
        summary=text.partition("\n")[0].rstrip("."),
        arguments=signature.arguments,
        version=mark.version,
    )
    return row, _Handler(signature, function, writes, returns_nothing)


_ON_TIME: Final = _Handler(Signature("on_time"), lambda machine: machine.on_time(), True, True)
