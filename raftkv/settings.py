"""Every setting and limit: one field each, with its type, default, range, unit and meaning.

How it works. A section is a frozen dataclass; a field made by `_setting` carries everything about it, so
nothing is said twice. `SETTINGS` is the list read off these fields: the flags of ``raftkv serve``, the
``RAFTKV_...`` variables, ``conf/raftkv.toml`` and CONFIG GET are made from it. `raftkv.config` fills the
sections from files, variables and flags, and checks what one setting demands of another.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, cast, get_origin

import msgspec

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
ID_MAX = 2**31 - 1
TEN_YEARS_MS = 10 * 365 * 86_400_000
NAME_PATTERN = r"^[\w.-]{1,64}$"
CLASS_PATTERN = r"^(redis|register|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"

T = TypeVar("T")


def _setting(
    default: T,
    doc: str,
    unit: str = "",
    *,
    ge: int | None = None,
    le: int | None = None,
    pattern: str | None = None,
    key: str | None = None,
    alias: str | None = None,
    secret: bool = False,
) -> T:
    """A dataclass field, typed as its value. `key` is its name where Python reserves the word; `alias` its
    short flag; a `secret` is never printed."""
    limits = msgspec.Meta(pattern=pattern) if pattern else msgspec.Meta(ge=ge, le=le)
    metadata = {"doc": doc, "unit": unit, "limits": limits, "key": key, "alias": alias, "secret": secret}
    if isinstance(default, dict):
        return cast(T, field(default_factory=default.copy, metadata=metadata))
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """This member."""

    id: int = _setting(
        1,
        "This member's number in cluster.members; it stays with its data directory for ever.",
        ge=1,
        le=ID_MAX,
        alias="id",
    )
    data_dir: str = _setting(
        "data",
        "Directory of this member's log; made when missing, used by one process.",
        "path",
        pattern=".",
        alias="data",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """The port for Redis clients, and what one client may take."""

    host: str = _setting("127.0.0.1", "Address to listen on; 0.0.0.0 is every interface.", pattern=".")
    port: int = _setting(7001, "Port to listen on; 0: the system chooses.", ge=0, le=65535, alias="port")
    advertise: str = _setting("", "host:port that clients are told to use; empty: client.host and client.port.")
    clients_max: int = _setting(10_000, "Open connections; one more gets an error and is closed.", "connections", ge=1)
    query_buffer_bytes_max: int = _setting(
        GIB, "Received but unfinished command; a client above it is cut off.", "bytes", ge=64 * KIB
    )
    output_buffer_bytes_max: int = _setting(
        64 * MIB,
        "Replies a slow reader has not taken; above it, it is cut off. Of a huge reply only a piece is kept at a time.",
        "bytes",
        ge=64 * KIB,
    )
    turn_commands_max: int = _setting(
        1024, "Commands taken from one client in a turn: a deep pipeline starves nobody.", "commands", ge=1
    )
    turn_bytes: int = _setting(256 * KIB, "Bytes received from one client in a turn.", "bytes", ge=KIB, le=64 * MIB)
    requirepass: str = _setting("", "Password that AUTH and HELLO must give; empty: none.", secret=True)
    routing: Literal["forward", "redirect"] = _setting(
        "forward",
        "A member that does not lead carries a command to the leader, or answers -MOVED with its address.",
    )
    follower_reads: Literal["local", "forward"] = _setting(
        "local",
        "A member that does not lead asks the leader for the read index and answers a linearizable read itself, or"
        " carries it to the leader; neither is ever stale.",
    )
    transaction_commands_max: int = _setting(
        100_000,
        "Commands between MULTI and EXEC. They are carried out in one go: so many simple ones take 0.1 s.",
        "commands",
        ge=1,
    )
    dirty_reads: bool = _setting(True, "Whether DIRTYGET, a local and possibly stale read, is allowed.")
    staleness_interval_ms: int = _setting(
        50,
        "How often the leader is asked, while clients ask by DIRTYGET MAXLAG or RAFT.STALENESS.",
        "milliseconds",
        ge=10,
    )
    idle_timeout_ms: int = _setting(0, "A client silent for longer is closed; 0: never.", "milliseconds", ge=0)

    @property
    def address(self) -> str:
        """host:port for clients to dial."""
        return self.advertise or join_address(self.host, self.port)


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """The port for the other members. It has no password: keep it on a private network."""

    host: str = _setting("127.0.0.1", "Address to listen on.", pattern=".")
    port: int = _setting(8001, "Port to listen on; 0: the system chooses.", ge=0, le=65535)
    advertise: str = _setting(
        "",
        "host:port that members dial; needed where peer.port is not this member's port in cluster.members.",
    )
    frame_bytes_max: int = _setting(
        64 * MIB,
        "Largest frame taken from a peer; above it the connection is closed.",
        "bytes",
        ge=64 * KIB,
        le=GIB,
    )
    queue_bytes_max: int = _setting(
        64 * MIB,
        "Frames waiting for a slow or absent peer; more are dropped, and resent by Raft.",
        "bytes",
        ge=64 * KIB,
    )
    reconnect_ms_min: int = _setting(50, "First wait before dialling a peer again.", "milliseconds", ge=1)
    reconnect_ms_max: int = _setting(500, "Longest wait before dialling a peer again.", "milliseconds", ge=1)
    handshake_timeout_ms: int = _setting(
        2000, "A connection that has not said by then who it is is closed.", "milliseconds", ge=1
    )

    @property
    def address(self) -> str:
        """host:port for members to dial."""
        return self.advertise or join_address(self.host, self.port)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Who belongs together. These settings must be the same on every member."""

    name: str = _setting(
        "raftkv",
        "Told in the handshake, kept in the log: another cluster is refused. 1 to 64 of a-z A-Z 0-9 _ . -",
        pattern=NAME_PATTERN,
    )
    members: dict[int, str] = _setting(  # noqa: RUF009 (it makes a default_factory)
        {},
        "Peer address of every member, this one included; empty: it is alone. As flag: 1=host:port,2=host:port.",
        "id = host:port",
        alias="members",
    )
    join: str = _setting(
        "",
        "Client addresses host:port,... of members: ask them to be let in. Not needed again once this one is a member.",
        alias="join",
    )
    wait: bool = _setting(
        False,
        "Without data: belong to no cluster until a client says RAFT.CLUSTER INIT, or RAFT.CLUSTER JOIN host:port ...",
        alias="wait",
    )
    rebuild: bool = _setting(
        False,
        "With cluster.join: set this member's data aside, and fetch all of it anew from the others before it votes.",
        alias="rebuild",
    )
    learner: bool = _setting(
        False,
        "As a member that joins: receive the log, but never vote nor count in a quorum.",
    )
    sentinel_name: str = _setting(
        "mymaster",
        "The name under which clients of Redis Sentinel ask for the leader. 1 to 64 of a-z A-Z 0-9 _ . -",
        pattern=NAME_PATTERN,
    )
    min_majority: int = _setting(0, "Members that must agree, if more than floor(n/2)+1.", "members", ge=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Raft:
    """Elections, replication and reads."""

    election_timeout_ms_min: int = _setting(
        400,
        "Silence of the leader after which a member may stand for election: drawn by lot between this ...",
        "milliseconds",
        ge=10,
        le=3_600_000,
    )
    election_timeout_ms_max: int = _setting(800, "... and this.", "milliseconds", ge=10, le=3_600_000)
    heartbeat_interval_ms: int = _setting(
        50,
        "How often a leader is heard; at most a third of the least election timeout.",
        "milliseconds",
        ge=1,
    )
    lease_drift_percent_max: int = _setting(
        0,
        "0: each read is confirmed by a quorum. Otherwise the leader reads by lease, without asking: never stale only"
        " while the members' clocks run at rates that differ by no more than this, and none stands still (a machine"
        " that sleeps, or is moved while it runs). This and election_timeout_ms_min must be the same on all members;"
        " change either only while all are stopped.",
        "percent",
        ge=0,
        le=90,
    )
    append_entries_max: int = _setting(100, "Entries in one append to a follower.", "entries", ge=1)
    append_bytes_max: int = _setting(4 * MIB, "Bytes in one append; a larger entry travels alone.", "bytes", ge=KIB)
    inflight_appends_max: int = _setting(64, "Appends to one follower without an answer yet.", "appends", ge=1)
    inflight_bytes_max: int = _setting(16 * MIB, "Bytes in them.", "bytes", ge=KIB)
    proposals_inflight_max: int = _setting(
        1, "Entries proposed and not yet committed; the next batch gathers meanwhile.", "entries", ge=1
    )
    joining_patience_ms: int = _setting(
        30_000,
        "RAFT.NODE ADD and PROMOTE give up waiting for a member that comes no further for so long; it stays a learner.",
        "milliseconds",
        ge=100,
    )
    verify_interval_s: int = _setting(
        0,
        "So often the leader has the states of all members compared (RAFT.VERIFY); a difference is logged as"
        " state_differs. 0: only when asked.",
        "seconds",
        ge=0,
    )
    verify_patience_s: int = _setting(
        600,
        "RAFT.VERIFY waits so long for a member that is connected; each needs about six seconds for a million keys,"
        " so that it serves on meanwhile.",
        "seconds",
        ge=1,
    )
    disk_stall_ms_max: int = _setting(
        10_000, "A leader whose disk has not answered for so long hands over, or steps down.", "milliseconds", ge=100
    )
    no_leader_wait_ms: int = _setting(
        3000, "How long a command waits for a leader before -CLUSTERDOWN.", "milliseconds", ge=0
    )
    request_timeout_ms: int = _setting(
        5000,
        "How long a command may go unanswered before an error says what is certain.",
        "milliseconds",
        ge=1,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """The log on disk."""

    fsync: Literal["always", "off"] = _setting(
        "always",
        "always: what is acknowledged survives a power cut. off: only the end of the process; for tests.",
    )
    segment_bytes: int = _setting(
        64 * MIB, "Size of one log file, filled with zeros ahead of use.", "bytes", ge=64 * KIB, le=4 * GIB
    )
    scrub_bytes_per_s: int = _setting(
        4 * MIB, "How fast old files are read again to find damage; 0: they are not.", "bytes", ge=0
    )
    scrub_interval_s: int = _setting(86_400, "The pause between two such passes.", "seconds", ge=1)
    log_cache_bytes_max: int = _setting(
        16 * MIB, "Newest entries kept in memory; a late follower gets older ones from disk.", "bytes", ge=0
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The state on disk, in place of the log behind it. Taken while serving."""

    log_bytes_max: int = _setting(
        256 * MIB, "A snapshot is taken, and the log cut, when so much was applied since the last.", "bytes", ge=KIB
    )
    log_entries_max: int = _setting(1_000_000, "Or so many entries.", "entries", ge=1)
    keep: int = _setting(2, "So many are kept.", "snapshots", ge=1, le=1000)
    send_bytes_per_s_max: int = _setting(
        0, "How fast a leader sends snapshots, all members together; 0: as they can take it.", "bytes per second", ge=0
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """What this process tells on its error output."""

    level: Literal["debug", "info", "warning", "error"] = _setting("info", "The least important messages written.")
    format: Literal["auto", "plain", "json"] = _setting(
        "auto", "plain: for people. json: one object a line. auto: plain on a terminal, json elsewhere."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What is replicated. These settings must be the same on every member."""

    class_: str = _setting(
        "redis",
        "redis, register, or package.module:Class of your own state machine.",
        key="class",
        alias="machine",
        pattern=CLASS_PATTERN,
    )
    options: dict[str, str | int | float | bool] = _setting(  # noqa: RUF009 (it makes a default_factory)
        {},
        "Keyword arguments for that class.: key=value,key=value.",
        "key = value",
    )
    strict: bool = _setting(
        False,
        "Stop at a call that makes members differ (clock, chance, environment, files); about ten times slower.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Supervision:
    """What follows when the machine or raftkv itself raises an exception. A failed disk ends it in any case."""

    restart: Literal["on-failure", "never"] = _setting(
        "on-failure",
        "on-failure: begin again from the log, in the same process. never: end.",
    )
    restarts_max: int = _setting(
        3, "So many within the window; the next failure ends the process with exit code 3.", "restarts", ge=0
    )
    window_ms: int = _setting(60_000, "Restarts longer ago do not count.", "milliseconds", ge=1)
    backoff_ms: int = _setting(
        100,
        "Wait before the first restart; twice as long before each further one within the window.",
        "milliseconds",
        ge=0,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Redis:
    """The default machine."""

    databases: int = _setting(
        16, "Numbered databases for SELECT; the same on every member.", "databases", ge=1, le=10_000
    )
    memory_bytes_max: int = _setting(
        0,
        "Above it the leader refuses writes that may grow with -OOM, before they are logged; 0: no limit.",
        "bytes",
        ge=0,
    )
    enable_debug_command: bool = _setting(False, "Whether DEBUG is allowed; DEBUG SLEEP stops this member for a while.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Exactly-once sessions (RAFT.SESSION, RAFT.ONCE). The leader's values hold for all members."""

    sessions_max: int = _setting(
        10_000, "Sessions open at a time; one more is refused, never an open one ended.", "sessions", ge=1, le=1_000_000
    )
    ttl_ms: int = _setting(
        60_000,
        "How long a session lives without a command, if OPEN does not say it.",
        "milliseconds",
        ge=1,
        le=TEN_YEARS_MS,
    )
    ttl_ms_max: int = _setting(
        86_400_000,
        "The longest that OPEN may ask for: until then a lost client's session takes room.",
        "milliseconds",
        ge=1,
        le=TEN_YEARS_MS,
    )
    replies_max: int = _setting(
        128,
        "Applied commands remembered in a session: a client may have so many unanswered ones at a time.",
        "commands",
        ge=1,
        le=10_000,
    )
    reply_bytes_max: int = _setting(
        64 * KIB,
        "Replies kept in a session; of more, those of the lowest numbers are dropped first.",
        "bytes",
        ge=0,
        le=64 * MIB,
    )
    reply_bytes_total_max: int = _setting(
        64 * MIB, "Replies kept in all sessions together: no more are kept above it.", "bytes", ge=0, le=GIB
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """What a machine of your own wants done outside; the Redis commands have no effects."""

    concurrent_max: int = _setting(64, "So many are carried out at a time.", "effects", ge=1)
    waiting_max: int = _setting(
        10_000, "Of more that are not durable, the newest are dropped, with a line in the log.", "effects", ge=1
    )
    outbox_max: int = _setting(
        100_000, "With so many durable ones waiting, the leader refuses writes (BUSY).", "effects", ge=1
    )
    outbox_bytes_max: int = _setting(64 * MIB, "Or with so many bytes of them.", "bytes", ge=1)
    timeout_ms: int = _setting(
        30_000, "An asynchronous one that takes longer is cancelled, and has failed.", "milliseconds", ge=1
    )
    retry_ms_min: int = _setting(
        100, "A durable one that failed is tried again after about so long,", "milliseconds", ge=1
    )
    retry_ms_max: int = _setting(30_000, "and then after twice as long each time, up to this.", "milliseconds", ge=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All settings, checked. `cluster.members` is never empty in what `load` returns."""

    node: Node = Node()
    client: Client = Client()
    peer: Peer = Peer()
    cluster: Cluster = field(default_factory=Cluster)
    raft: Raft = Raft()
    storage: Storage = Storage()
    snapshot: Snapshot = Snapshot()
    log: Log = Log()
    machine: Machine = field(default_factory=Machine)
    redis: Redis = Redis()
    supervision: Supervision = Supervision()
    session: Session = Session()
    effects: Effects = Effects()


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is known about one setting. `type` is its annotation, ranges included, for `msgspec.convert`."""

    section: str
    key: str
    attribute: str
    type: Any
    default: object
    doc: str
    unit: str
    alias: str | None
    secret: bool

    @property
    def name(self) -> str:
        """section.key, as in the manual and in errors."""
        return f"{self.section}.{self.key}"

    @property
    def dashed(self) -> str:
        """section-key, as a flag (without the dashes in front) and in CONFIG GET."""
        return self.name.replace(".", "-").replace("_", "-")

    @property
    def variable(self) -> str:
        return "RAFTKV_" + self.name.replace(".", "_").upper()

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words, when only some are."""
        kind = typing.get_args(self.type)[0]
        return typing.get_args(kind) if get_origin(kind) is Literal else ()

    @property
    def expects(self) -> str:
        """What a value must be, in words: "a whole number from 0 to 65535"."""
        kind, limits = typing.get_args(self.type)
        if self.choices:
            return " or ".join(self.choices)
        if kind is bool:
            return "yes or no"
        if kind is str:
            return "text" if limits.pattern is None else "some text" if limits.pattern == "." else self.doc
        if kind is int:
            most = "" if limits.le is None else f" to {limits.le}"
            return f"a whole number from {limits.ge}{most}" if most else f"a whole number, {limits.ge} or more"
        return f"a table of {self.unit}"

    def get(self, settings: Settings) -> object:
        return getattr(getattr(settings, self.section), self.attribute)

    def text(self, value: object) -> str:
        """`value` in the spelling that flags and variables take; also the way CONFIG GET shows it."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, dict):
            return ",".join(f"{key}={item}" for key, item in value.items())
        return str(value)


def _describe() -> Iterator[Setting]:
    for section in dataclasses.fields(Settings):
        kind = typing.get_type_hints(Settings)[section.name]
        hints = typing.get_type_hints(kind)
        for each in dataclasses.fields(kind):
            about = each.metadata
            default = getattr(kind(), each.name)
            yield Setting(
                section=section.name,
                key=about["key"] or each.name,
                attribute=each.name,
                type=Annotated[hints[each.name], about["limits"]],
                default=default,
                doc=about["doc"],
                unit=about["unit"],
                alias=about["alias"],
                secret=about["secret"],
            )


SETTINGS: tuple[Setting, ...] = tuple(_describe())
"""All settings, in the order of the manual."""

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


def split_address(text: str) -> tuple[str, int]:
    """("host", port) of ``host:port`` or ``[IPv6]:port``. Raises ValueError saying what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not host:port")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"{port!r} in {text!r} is not a port from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError(f"an IPv6 address needs brackets: [{host}]:{port}")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
