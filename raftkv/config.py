"""Where settings come from, and what one setting demands of another.

How it works. `load` lays the sources over each other: defaults < TOML file < ``RAFTKV_<SECTION>_<KEY>``
variables < flags. Each value is converted by itself, so that an error can name where it came from; then the
relations between settings are checked, and the error names a setting somebody has set rather than one that
was left at its default. Everything wrong is a `ConfigError` with source, key, value and reason.

The settings themselves stand in `raftkv.settings`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from raftkv.errors import ConfigError
from raftkv.settings import BY_NAME, ID_MAX, KIB, SETTINGS, Setting, Settings, join_address, split_address

__all__ = [
    "BY_NAME",
    "SETTINGS",
    "Setting",
    "Settings",
    "changed",
    "join_address",
    "load",
    "split_address",
    "with_values",
]

FILE_VARIABLE = "RAFTKV_CONFIG"  # names the file; read by the command line
FRAME_SLACK_BYTES = 64 * KIB  # what a peer frame holds besides the entries of an append
# An orchestrator announces a service named raftkv with variables such as RAFTKV_SERVICE_HOST and
# RAFTKV_PORT_7001_TCP. They are not ours; refusing them as unknown settings would stop every member.
_FOREIGN = re.compile(r"RAFTKV_PORT$|.*_SERVICE_(HOST|PORT)|.*_PORT_\d+_(TCP|UDP|SCTP)")
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_BY_VARIABLE = {setting.variable: setting for setting in SETTINGS}
_BY_FLAG = {word: s for s in SETTINGS for word in (s.dashed, s.alias, s.name) if word is not None}
_SECTIONS = list(dict.fromkeys(setting.section for setting in SETTINGS))


@dataclasses.dataclass(frozen=True, slots=True)
class _Given:
    """One value as it was given. `source` is the file, variable or flag; text (`typed` false) is still to be
    read as what the setting expects, a file has types of its own."""

    setting: Setting
    source: str
    raw: object
    typed: bool

    def value(self) -> object:
        try:
            raw = self.raw if self.typed else _read_text(self.setting, str(self.raw))
            return msgspec.convert(raw, self.setting.type, str_keys=True)
        except (msgspec.ValidationError, ValueError):
            # `from None`: msgspec's text repeats the value, which may be a secret.
            raise self.wrong(f"must be {self.setting.expects}") from None

    def wrong(self, reason: str) -> ConfigError:
        raw = "(hidden)" if self.setting.secret else self.raw
        return ConfigError(self.source, self.setting.name, raw, reason)


def load(path: Path | str | None, env: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """All settings from a file (None: no file), variables and flags, checked.

    `env` may be all of `os.environ`: what does not begin with RAFTKV_ is not looked at. `flags` is keyed by
    ``section-key``, ``section.key`` or an alias such as ``port``. Raises ConfigError.
    """
    given: dict[str, _Given] = {}
    for source in (_from_file(path), _from_variables(env), _from_flags(flags)):
        given.update((each.setting.name, each) for each in source)
    return _build({setting.name: setting.default for setting in SETTINGS}, given)


def with_values(values: Mapping[str, object], source: str, base: Settings | None = None) -> Settings:
    """`base` (None: the defaults) with Python values by name, such as {"raft.heartbeat_interval_ms": 50}, checked like
    all others. `source` is named in errors. Raises ConfigError."""
    given = {
        name: _Given(_known(name, BY_NAME, source, value), source, value, typed=True) for name, value in values.items()
    }
    return _build({each.name: each.default if base is None else each.get(base) for each in SETTINGS}, given)


def changed(settings: Settings, name: str, text: str, source: str = "CONFIG SET") -> Settings:
    """A copy of `settings` with one more value, checked like all others. Raises ConfigError."""
    setting = _known(name, _BY_FLAG, source, text)
    now = {each.name: each.get(settings) for each in SETTINGS}
    return _build(now, {setting.name: _Given(setting, source, text, typed=False)})


def _build(values: dict[str, object], given: Mapping[str, _Given]) -> Settings:
    values = values | {name: each.value() for name, each in given.items()}
    kinds = typing.get_type_hints(Settings)
    sections = {
        section: kinds[section](**{s.attribute: values[s.name] for s in SETTINGS if s.section == section})
        for section in _SECTIONS
    }
    settings = _complete(Settings(**sections))
    for names, reason in _broken(settings):
        raise _blame(names, given, settings).wrong(reason)
    return settings


def _complete(settings: Settings) -> Settings:
    """Without a member table, a member is alone."""
    if settings.cluster.members:
        return settings
    members = {settings.node.id: settings.peer.address}
    return dataclasses.replace(settings, cluster=dataclasses.replace(settings.cluster, members=members))


def _blame(names: Iterable[str], given: Mapping[str, _Given], settings: Settings) -> _Given:
    names = list(names)
    for name in names:
        if name in given:
            return given[name]
    setting = BY_NAME[names[0]]
    return _Given(setting, "default", setting.get(settings), typed=True)


# ---- sources ----------------------------------------------------------------------------------------------


def _from_file(path: Path | str | None) -> Iterator[_Given]:
    if path is None:
        return
    source = str(path)
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(source, "file", source, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(source, "file", source, f"is not TOML: {error}") from error
    for section, table in tables.items():
        if section not in _SECTIONS:
            raise ConfigError(source, section, table, "no such section" + _suggest(section, _SECTIONS))
        if not isinstance(table, dict):
            raise ConfigError(source, section, table, f"is a section: write [{section}] and its keys below")
        for key, value in table.items():
            setting = _known(f"{section}.{key}", BY_NAME, source, value)
            yield _Given(setting, source, value, typed=True)


def _from_variables(env: Mapping[str, str]) -> Iterator[_Given]:
    for name, text in env.items():
        if name.startswith("RAFTKV_") and name != FILE_VARIABLE and not _FOREIGN.match(name):
            source = f"variable {name}"
            yield _Given(_known(name, _BY_VARIABLE, source, text), source, text, typed=False)


def _from_flags(flags: Mapping[str, str]) -> Iterator[_Given]:
    for word, text in flags.items():
        source = f"flag --{word}"
        yield _Given(_known(word, _BY_FLAG, source, text), source, text, typed=False)


def _known(word: str, known: Mapping[str, Setting], source: str, value: object) -> Setting:
    if word in known:
        return known[word]
    raise ConfigError(source, word, value, "no such setting" + _suggest(word, known))


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _read_text(setting: Setting, text: str) -> object:
    """A flag's or variable's text as the plain value a file would have held. Raises ValueError."""
    if isinstance(setting.default, bool):
        if text.lower() not in _YES + _NO:
            raise ValueError(text)
        return text.lower() in _YES
    if isinstance(setting.default, int):
        return int(text)
    return _read_table(text) if isinstance(setting.default, dict) else text


def _read_table(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    table = {key.strip(): value.strip() for key, _, value in pairs}
    # The same key twice would quietly lose a member.
    if len(table) != len(pairs) or not all(equals for _, equals, _ in pairs):
        raise ValueError(text)
    return table


# ---- relations --------------------------------------------------------------------------------------------


def _broken(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each broken relation: the settings concerned, and a reason that fits whichever of them is blamed."""
    yield from _broken_addresses(settings)
    yield from _broken_members(settings)
    yield from _broken_sizes(settings)
    raft, peer = settings.raft, settings.peer
    if raft.election_timeout_ms_min >= raft.election_timeout_ms_max:
        # Equal timeouts would make members stand at the same moment, again and again, and split the votes.
        yield _pair("raft.election_timeout_ms_min", "below", "raft.election_timeout_ms_max", settings)
    if raft.heartbeat_interval_ms * 3 > raft.election_timeout_ms_min:
        # One lost or late heartbeat must not depose a healthy leader.
        names = ("raft.heartbeat_interval_ms", "raft.election_timeout_ms_min")
        yield names, f"three heartbeat intervals must fit into the least election timeout ({_now(settings, names)})"
    if raft.no_leader_wait_ms > raft.request_timeout_ms:
        yield _pair("raft.no_leader_wait_ms", "at most", "raft.request_timeout_ms", settings)
    if settings.session.ttl_ms > settings.session.ttl_ms_max:
        yield _pair("session.ttl_ms", "at most", "session.ttl_ms_max", settings)
    if settings.effects.retry_ms_min > settings.effects.retry_ms_max:
        yield _pair("effects.retry_ms_min", "at most", "effects.retry_ms_max", settings)
    if peer.reconnect_ms_min > peer.reconnect_ms_max:
        yield _pair("peer.reconnect_ms_min", "at most", "peer.reconnect_ms_max", settings)


def _broken_members(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    members, own_id, own = settings.cluster.members, settings.node.id, settings.peer
    for member_id, address in members.items():
        reason = _address_fault(address)
        if not 1 <= member_id <= ID_MAX:
            yield ("cluster.members",), f"member id {member_id} must be from 1 to {ID_MAX}"
        if reason is not None and not (own.port == 0 and address == own.address):
            yield ("cluster.members",), f"member {member_id}: {reason}"
    if len(set(members.values())) < len(members):
        yield ("cluster.members",), "two members have the same address"
    if own_id not in members:
        yield ("node.id", "cluster.members"), f"member {own_id} is not in cluster.members ({sorted(members)})"
    elif not own.advertise and own.port and not members[own_id].endswith(f":{own.port}"):
        concerned = ("peer.port", "cluster.members", "node.id")
        reason = f"peer.port is {own.port}, but the others dial member {own_id} at {members[own_id]}"
        yield concerned, f"{reason}; if that is meant, set peer.advertise"
    if settings.cluster.wait and settings.cluster.join:
        reason = "a member joins by cluster.join, or waits for RAFT.CLUSTER INIT or JOIN (cluster.wait), not both"
        yield ("cluster.wait", "cluster.join"), reason
    if settings.cluster.wait and members.keys() - {own_id}:
        reason = f"a member that waits to be told its cluster (cluster.wait) knows none yet, not {sorted(members)}"
        yield ("cluster.wait", "cluster.members"), reason
    if settings.cluster.min_majority > len(members):
        reason = f"cluster.min_majority must be at most the number of members ({len(members)})"
        yield ("cluster.min_majority", "cluster.members"), reason


def _broken_addresses(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    client, peer = settings.client, settings.peer
    for name, address in (("client.advertise", client.advertise), ("peer.advertise", peer.advertise)):
        reason = _address_fault(address) if address else None
        if reason is not None:
            yield (name,), reason
    everywhere = {"0.0.0.0", "::"}
    overlap = client.host == peer.host or client.host in everywhere or peer.host in everywhere
    if client.port == peer.port != 0 and overlap:
        yield ("peer.port", "client.port"), "client.port and peer.port must differ"
    if client.routing == "redirect" and not client.advertise and client.host in everywhere:
        concerned = ("client.routing", "client.host", "client.advertise")
        yield concerned, f"no client can be redirected to {client.host}: set client.advertise"


def _broken_sizes(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    peer, raft, client = settings.peer, settings.raft, settings.client
    if peer.frame_bytes_max < raft.append_bytes_max + FRAME_SLACK_BYTES:
        names = ("raft.append_bytes_max", "peer.frame_bytes_max")
        yield names, f"an append and {FRAME_SLACK_BYTES} bytes must fit into a frame ({_now(settings, names)})"
    if peer.frame_bytes_max > peer.queue_bytes_max:
        yield _pair("peer.frame_bytes_max", "at most", "peer.queue_bytes_max", settings)
    if raft.append_bytes_max > raft.inflight_bytes_max:
        yield _pair("raft.append_bytes_max", "at most", "raft.inflight_bytes_max", settings)
    if client.turn_bytes > client.query_buffer_bytes_max:
        yield _pair("client.turn_bytes", "at most", "client.query_buffer_bytes_max", settings)


def _pair(left: str, must_be: str, right: str, settings: Settings) -> tuple[tuple[str, ...], str]:
    return (left, right), f"{left} must be {must_be} {right} ({_now(settings, (left, right))})"


def _now(settings: Settings, names: Iterable[str]) -> str:
    return ", ".join(f"{name} is {BY_NAME[name].get(settings)}" for name in names)


def _address_fault(address: str) -> str | None:
    try:
        split_address(address)
    except ValueError as error:
        return str(error)
    return None
