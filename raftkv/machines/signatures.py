"""From a method's signature to a command's arguments: arity, conversion, and Redis's own words for what is wrong.

    def move(self, source: str, target: str, amount: int = 1, *, force: bool = False, limit: int | None = None)
             MOVE  source       target       [amount]            [FORCE]              [LIMIT limit]

- bytes and str as they are (str must be UTF-8); int of 64 bits and float as Redis spells them; bool as 0 or 1.
- A default makes an argument optional; ``T | None`` is T, or the default when it is absent.
- ``*rest`` takes all that follow. Keyword-only parameters are options, in any order behind the positional arguments:
  their names in upper or lower case, a bool's alone, the others' followed by the value. Both in one signature would
  be ambiguous, and are refused.
- A parameter called ``key`` or ``*keys`` is a key: redirections and COMMAND GETKEYS know it.

All is looked up once, when the class is made; a call costs one conversion for each argument.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

from raftkv.errors import RaftkvError
from raftkv.machines.numbers import parse_integer

Convert = Callable[[bytes], Any]


class DeclarationError(RaftkvError, TypeError):
    """The class cannot be a machine as it is written; says where and why."""


_is_code: Final = re.compile(r"[A-Z][A-Z0-9_]{2,}").fullmatch


class Refusal(Exception):
    """Raised by a handler that does not do what it was asked to: the client gets `text`, and the state stays as it was.

    The first word is the error's code if it is at least three capital letters, digits and underscores, a letter first:
    Refusal("NOTFOUND no such account"). Any other text gets the code ERR: Refusal("A lock is held")."""

    def __init__(self, text: str) -> None:
        first = text.partition(" ")[0]
        self.text = (text if _is_code(first) else f"ERR {text}").replace("\r", " ").replace("\n", " ")
        super().__init__(self.text)


NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
NOT_A_FLOAT: Final = "ERR value is not a valid float"
NOT_A_BOOL: Final = "ERR value is not 0 or 1"
NOT_TEXT: Final = "ERR value is not valid UTF-8"
SYNTAX_ERROR: Final = "ERR syntax error"


def _integer(text: bytes) -> int:
    number = parse_integer(text)
    if number is None:
        raise Refusal(NOT_AN_INTEGER)
    return number


def _float(text: bytes) -> float:
    try:
        number = float(text)
    except ValueError:
        raise Refusal(NOT_A_FLOAT) from None
    if number != number or text != text.strip() or b"_" in text:
        raise Refusal(NOT_A_FLOAT)
    return number


def _bool(text: bytes) -> bool:
    if text not in (b"0", b"1"):
        raise Refusal(NOT_A_BOOL)
    return text == b"1"


def _text(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise Refusal(NOT_TEXT) from None


_CONVERTERS: Final[dict[Any, tuple[Convert, str]]] = {
    bytes: (bytes, "string"),
    str: (_text, "string"),
    int: (_integer, "integer"),
    float: (_float, "double"),
    bool: (_bool, "integer"),
}


class Signature:
    """How one command is called. `name` in lower case; `where` names class and method for errors."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.returns: Any = None
        self.arity = 1
        self.keys = (0, 0, 0)
        self.arguments: tuple[Mapping[str, Any], ...] = ()
        self._least = 1
        self._most: int | None = 1
        self._positional: list[Convert] = []
        self._rest: Convert | None = None
        self._options: dict[bytes, tuple[str, Convert | None]] = {}
        self._required_options: frozenset[str] = frozenset()

    @classmethod
    def of(cls, function: Callable[..., Any], name: str, where: str) -> Signature:
        """Raises DeclarationError."""
        if inspect.iscoroutinefunction(function):
            raise DeclarationError(f"{where} is async: a handler must not wait; what waits is an @effect")
        try:
            kinds = typing.get_type_hints(function)
        except NameError as error:
            raise DeclarationError(f"{where}: {error}; its types must be defined at module level") from error
        if not name or name.split() != [name] or not name.isascii() or name.startswith("raft."):
            raise DeclarationError(f"{where}: {name!r} cannot be a command's name")
        signature = cls(name)
        signature.returns = kinds.get("return", type(None))
        parameters = list(inspect.signature(function).parameters.values())[1:]
        arguments = []
        for position, parameter in enumerate(parameters, 1):
            if parameter.name not in kinds:
                raise DeclarationError(f"{where}: what is {parameter.name!r}? Annotate it: {parameter.name}: str")
            kind = _without_none(kinds[parameter.name])
            if kind not in _CONVERTERS:
                known = "bytes, str, int, float, bool, each perhaps | None"
                raise DeclarationError(
                    f"{where}: {parameter.name!r} cannot be {kinds[parameter.name]}; there are {known}"
                )
            arguments.append(signature._take(parameter, kind, position, where))
        signature._finish(arguments)
        return signature

    def _take(self, parameter: inspect.Parameter, kind: Any, position: int, where: str) -> dict[str, Any]:
        """Note one parameter; returns it as COMMAND DOCS has it."""
        convert, type_name = _CONVERTERS[kind]
        has_default = parameter.default is not parameter.empty
        if parameter.kind is parameter.KEYWORD_ONLY:
            return self._take_option(parameter, kind, has_default, where)
        argument: dict[str, Any] = {"name": parameter.name, "type": type_name}
        if parameter.kind is parameter.VAR_POSITIONAL:
            self._rest = convert
            argument["flags"] = ["optional", "multiple"]
            if parameter.name == "keys":
                self.keys = (position, -1, 1)
        elif parameter.kind is parameter.VAR_KEYWORD:
            raise DeclarationError(f"{where}: **{parameter.name} has no meaning for a command")
        else:
            self._positional.append(convert)
            if has_default:
                argument["flags"] = ["optional"]
            else:
                self._least += 1
            if parameter.name == "key" and not self.keys[0]:
                self.keys = (position, position, 1)
        if parameter.name in ("key", "keys"):
            argument |= {"type": "key", "key_spec_index": 0}
        return argument

    def _take_option(self, parameter: inspect.Parameter, kind: Any, has_default: bool, where: str) -> dict[str, Any]:
        if self._rest is not None:
            raise DeclarationError(f"{where}: an option behind *arguments would be taken for one of them")
        convert, type_name = _CONVERTERS[kind]
        token = parameter.name.upper()
        is_flag = kind is bool and parameter.default is False
        self._options[token.encode()] = (parameter.name, None if is_flag else convert)
        flags = {"flags": ["optional"]} if has_default else {}
        if not has_default:
            self._required_options |= {parameter.name}
        if is_flag:
            return {"name": parameter.name, "type": "pure-token", "token": token, **flags}
        return {"name": parameter.name, "type": type_name, "token": token, **flags}

    def _finish(self, arguments: list[dict[str, Any]]) -> None:
        self.arguments = tuple(arguments)
        most = 1 + len(self._positional)
        self._least += 2 * len(self._required_options)
        self._most = None if self._rest is not None or self._options else most
        self.arity = self._least if self._most == self._least else -self._least

    def fits(self, length: int) -> bool:
        """Whether a command of so many words, its name included, can be this one."""
        return length >= self._least and (self._most is None or length <= self._most)

    def convert(self, argv: list[bytes]) -> tuple[list[Any], dict[str, Any]]:
        """The method's arguments. Raises Refusal."""
        positional = self._positional
        arguments = [convert(word) for convert, word in zip(positional, argv[1:], strict=False)]
        rest = argv[1 + len(positional) :]
        if self._rest is not None:
            arguments += map(self._rest, rest)
            return arguments, {}
        return arguments, self._convert_options(rest) if self._options else {}

    def _convert_options(self, words: list[bytes]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        at = 0
        while at < len(words):
            option = self._options.get(words[at].upper())
            if option is None or option[0] in given:
                raise Refusal(SYNTAX_ERROR)
            name, convert = option
            at += 1
            if convert is None:
                given[name] = True
                continue
            if at == len(words):
                raise Refusal(SYNTAX_ERROR)
            given[name] = convert(words[at])
            at += 1
        if not self._required_options <= given.keys():
            raise Refusal(SYNTAX_ERROR)
        return given


def _without_none(kind: Any) -> Any:
    """T of ``T | None``."""
    if is_union(kind):
        others = [part for part in typing.get_args(kind) if part is not type(None)]
        return others[0] if len(others) == 1 else kind
    return kind


def is_union(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Union or isinstance(kind, types.UnionType)
