"""What CONFIG knows by which name: every setting as `section-key`, and Redis's names for what also exists here.

A name with a `setting` behind it can be shown; changed only if that setting is among `CHANGEABLE`. A name without one
is a constant: something Redis lets one choose and that can only be one way here.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from raftkv.machines.numbers import parse_integer
from raftkv.server.limits import command_bytes_max
from raftkv.settings import BY_NAME, SETTINGS, Setting, Settings

CHANGEABLE: Final = frozenset(
    {
        "client.clients_max",
        "client.query_buffer_bytes_max",
        "client.output_buffer_bytes_max",
        "client.turn_commands_max",
        "client.turn_bytes",
        "client.requirepass",
        "client.routing",
        "client.follower_reads",
        "client.dirty_reads",
        "client.staleness_interval_ms",
        "client.idle_timeout_ms",
        "raft.proposals_inflight_max",
        "raft.no_leader_wait_ms",
        "raft.request_timeout_ms",
        "redis.memory_bytes_max",
        "log.level",
    }
)
"""What takes effect while the member runs. The rest is fixed in sockets, files or the cluster from the start on."""

_INTEGER_MAX: Final = 2**63 - 1


class BadValue(Exception):
    """A value that CONFIG SET refuses; the text says why."""


@dataclass(frozen=True, slots=True)
class Name:
    """`show` gives the present value; `read` makes the setting's own spelling of a client's text, or BadValue.
    `replicated`: the name of one of the machine's own settings, which are the same on all members."""

    name: str
    show: Callable[[Settings], str]
    setting: str = ""
    read: Callable[[str], str] = str
    replicated: str = ""

    @property
    def is_changeable(self) -> bool:
        return bool(self.replicated) or self.setting in CHANGEABLE


def whole_number(text: str, least: int, most: int = _INTEGER_MAX) -> int:
    number = parse_integer(text.encode("utf-8", "surrogateescape"))
    if number is None:
        raise BadValue("argument couldn't be parsed into an integer")
    return _in_range(number, least, most)


_UNITS: Final[Mapping[str, int]] = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 1000**2,
    "mb": 1 << 20,
    "g": 1000**3,
    "gb": 1 << 30,
}


def memory_size(text: str, least: int) -> int:
    """Bytes, with Redis's units: 5mb, 1k."""
    digits = text.rstrip("bBkKmMgG")
    unit = _UNITS.get(text[len(digits) :].lower())
    if unit is None or (digits and not (digits.isascii() and digits.isdigit())):
        raise BadValue("argument must be a memory value")
    return _in_range(int(digits or 0) * unit, least, _INTEGER_MAX)


def _in_range(number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise BadValue(f"argument must be between {least} and {most} inclusive")
    return number


def one_of(words: Mapping[str, str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise BadValue(f"argument(s) must be one of the following: {', '.join(words)}")
        return words[text.lower()]

    return read


def _own_names() -> Iterator[Name]:
    for setting in SETTINGS:
        yield Name(setting.dashed, _shower(setting), setting.name, _reader(setting))


def _shower(setting: Setting) -> Callable[[Settings], str]:
    return lambda settings: setting.text(setting.get(settings))


def _reader(setting: Setting) -> Callable[[str], str]:
    limits = typing.get_args(setting.type)[1]
    if isinstance(setting.default, bool):
        return _yes_or_no
    if isinstance(setting.default, int):
        return lambda text: str(whole_number(text, limits.ge, limits.le or _INTEGER_MAX))
    return one_of({word: word for word in setting.choices}) if setting.choices else str


def _yes_or_no(text: str) -> str:
    if text.lower() not in ("yes", "no"):
        raise BadValue("argument must be 'yes' or 'no'")
    return text.lower()


def _alias(name: str, setting: str, read: Callable[[str], str] | None = None) -> Name:
    return Name(name, _shower(BY_NAME[setting]), setting, read or _reader(BY_NAME[setting]))


def _constant(name: str, value: str) -> Name:
    return Name(name, lambda _: value)


def _replicated(name: str, read: Callable[[str, int], int], *more_names: str) -> Iterator[Name]:
    for each in (name, *more_names):
        yield Name(each, lambda _: "", read=lambda text: str(read(text, 0)), replicated=name.replace("-", "_"))


_LOG_LEVELS: Final = {"debug": "debug", "verbose": "info", "notice": "info", "warning": "warning"}
_REDIS_NAMES: Final = (
    _alias("bind", "client.host"),
    _alias("port", "client.port"),
    _alias("databases", "redis.databases"),
    _alias("dir", "node.data_dir"),
    _alias("enable-debug-command", "redis.enable_debug_command"),
    _alias("maxclients", "client.clients_max", lambda text: str(whole_number(text, 1, 2**32 - 1))),
    _alias("requirepass", "client.requirepass"),
    _alias("client-query-buffer-limit", "client.query_buffer_bytes_max", lambda text: str(memory_size(text, 1 << 20))),
    Name(
        "client-output-buffer-limit",
        lambda settings: f"normal {settings.client.output_buffer_bytes_max} 0 0 slave 0 0 0 pubsub 0 0 0",
    ),
    Name(
        "timeout",
        lambda settings: str(settings.client.idle_timeout_ms // 1000),
        "client.idle_timeout_ms",
        lambda text: str(whole_number(text, 0, 2**31 - 1) * 1000),
    ),
    Name(
        "loglevel",
        lambda settings: {"debug": "debug", "info": "notice"}.get(settings.log.level, "warning"),
        "log.level",
        one_of(_LOG_LEVELS),
    ),
    Name("appendfsync", lambda settings: "always" if settings.storage.fsync == "always" else "no"),
    _constant("appendonly", "yes"),
    Name("cluster-enabled", lambda settings: "yes" if settings.client.routing == "redirect" else "no"),
    _constant("daemonize", "no"),
    _alias("maxmemory", "redis.memory_bytes_max", lambda text: str(memory_size(text, 0))),
    _constant("maxmemory-policy", "noeviction"),
    Name("proto-max-bulk-len", lambda settings: str(command_bytes_max(settings))),
    _constant("save", ""),
    *_replicated("hash-max-listpack-entries", whole_number, "hash-max-ziplist-entries"),
    *_replicated("hash-max-listpack-value", memory_size, "hash-max-ziplist-value"),
    *_replicated("set-max-intset-entries", whole_number),
    *_replicated("zset-max-listpack-entries", whole_number, "zset-max-ziplist-entries"),
    *_replicated("zset-max-listpack-value", memory_size, "zset-max-ziplist-value"),
    *_replicated("hll-sparse-max-bytes", memory_size),
    _constant("list-max-listpack-size", "-2"),
    _constant("list-max-ziplist-size", "-2"),
    _constant("list-compress-depth", "0"),
)
NAMES: Final[Mapping[str, Name]] = {each.name: each for each in (*_REDIS_NAMES, *_own_names())}
