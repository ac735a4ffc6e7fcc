"""State machines for tests: a store of words that tells what was called on it, and one that raises."""

from __future__ import annotations

import hashlib
from collections import Counter

import trio

from raftkv.machines.interface import Command, Context, Effect, Kind, ReadContext, StateMachine, command_table
from raftkv.machines.replies import OK, Error, Reply


def _no_handler() -> None:
    raise AssertionError("these machines answer by name")


def _rows(*rows: tuple[str, int, Kind]) -> dict[bytes, Command]:
    made = [Command(name=name, arity=arity, kind=kind, handler=_no_handler) for name, arity, kind in rows]
    return command_table(made)


class Words(StateMachine):
    """PUT word value, TAKE word, DIRTYTAKE word; BOOM raises as often as `booms` says, in whichever life.

    One `Recorder` is shared by all lives that a test gives it to.
    """

    name = "words"

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.words: dict[bytes, bytes] = {}
        self.recorder = recorder or Recorder()
        self.recorder.calls["made"] += 1
        self.commands = _rows(
            ("put", 3, Kind.WRITE),
            ("boom", 1, Kind.WRITE),
            ("wrong", 1, Kind.WRITE),
            ("take", 2, Kind.READ),
            ("dirtytake", 2, Kind.DIRTY),
        )

    def init(self) -> None:
        self.recorder.calls["init"] += 1

    def transition(self, role: str) -> None:
        self.recorder.roles.append(role)

    def terminate(self, reason: str) -> None:
        self.recorder.reasons.append(reason)

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        return [self._write(argv) for argv in commands]

    def _write(self, argv: list[bytes]) -> Reply:
        self.recorder.calls["write"] += 1
        name = argv[0].lower()
        if name == b"boom":
            if self.recorder.booms > 0:
                self.recorder.booms -= 1
                raise ZeroDivisionError("boom")
            return OK
        if name == b"wrong":
            return Error("WORDS this one is always wrong")
        if name == b"put":
            self.words[argv[1]] = argv[2]
            return OK
        return self.words.get(argv[1])

    def handle_read(self, context: ReadContext, commands: list[list[bytes]]) -> list[Reply]:
        self.recorder.calls["read"] += len(commands)
        return [self.words.get(argv[1]) for argv in commands]

    def state_hash(self) -> bytes:
        return hashlib.sha256(repr(sorted(self.words.items())).encode()).digest()


class Recorder:
    def __init__(self, booms: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.roles: list[str] = []
        """What `transition` was told."""

        self.reasons: list[str] = []
        """What `terminate` was told."""

        self.booms = booms


class Watched(Words):
    """PUT has a side effect; WRONG is no command by `is_command`."""

    name = "watched"

    def is_command(self, argv: list[bytes]) -> bool:
        self.recorder.calls["is_command"] += 1
        return argv[0].lower() != b"wrong"

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        for position, argv in enumerate(commands):
            if argv[0].lower() == b"put":
                context.add_effect(position, Effect(name="tell", before_reply=True))
        return super().handle_write(context, commands)

    def run_effect(self, effect: Effect, effect_id: str) -> None:
        self.recorder.calls["effect"] += 1


class AlwaysBooms(Words):
    """For processes: BOOM raises in every life."""

    def __init__(self) -> None:
        super().__init__(Recorder(booms=1_000_000))


class Mailer(Words):
    """PUT word path also wants a line with the word in the file at `path`, durably. That fails as long as there is a
    file at `path`.closed."""

    name = "mailer"

    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        for position, argv in enumerate(commands):
            context.add_effect(position, Effect(name="append", arguments=tuple(argv[1:]), durable=True))
        return super().handle_write(context, commands)

    async def run_effect(self, effect: Effect, effect_id: str) -> None:
        word, path = (argument.decode() for argument in effect.arguments)
        if await trio.Path(f"{path}.closed").exists():
            raise OSError("the letter box is closed")
        async with await trio.open_file(path, "a") as file:
            await file.write(f"{effect_id} {word}\n")
