"""docs/redis-compatibility.md, made from the command table: `python -m tests.support.compatibility` prints it.

redis_commands.txt beside this file has every command of Redis 7.0: group, name, version. What stands in our table is
done, or different where differences.py says so. What does not is refused for a reason given below, or not yet made.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from raftkv.machines.redis.differences import DIFFERENCES, ONLY_HERE
from raftkv.machines.redis.registry import ROWS
from raftkv.server.commands import LOCAL_COMMANDS

LIST = Path(__file__).with_name("redis_commands.txt")
DOCUMENT = Path(__file__).parents[2] / "docs" / "redis-compatibility.md"

OPERATED = "members and their log are operated by RAFT.NODE, RAFT.TRANSFER_LEADER and `raftkv member`"
BY_RAFT = "replication is Raft's"
REFUSED = {
    "bgrewriteaof": "the log is cut behind snapshots by itself",
    "failover": "RAFT.TRANSFER_LEADER",
    "migrate": "a synchronous call to another server cannot stand in the log; DUMP and RESTORE by a client can",
    **dict.fromkeys(
        ["memory|doctor", "memory|malloc-stats", "memory|purge", "memory|stats"],
        "they tell about Redis's allocator; INFO memory has what is known here",
    ),
    "module": "the command set is extended by state machines in Python",
    "psync": BY_RAFT,
    "replconf": BY_RAFT,
    "replicaof": BY_RAFT,
    "restore-asking": "slots do not move",
    "shutdown": "a member is stopped by SIGTERM, which hands leadership over first",
    "slaveof": BY_RAFT,
    "sync": BY_RAFT,
    **dict.fromkeys(
        [
            "cluster|addslots",
            "cluster|addslotsrange",
            "cluster|bumpepoch",
            "cluster|delslots",
            "cluster|delslotsrange",
            "cluster|failover",
            "cluster|flushslots",
            "cluster|forget",
            "cluster|meet",
            "cluster|replicate",
            "cluster|reset",
            "cluster|saveconfig",
            "cluster|set-config-epoch",
            "cluster|setslot",
        ],
        f"one member leads all slots; {OPERATED}",
    ),
    "config|rewrite": "a file is one of several sources of settings",
    "debug": "only SLEEP, and only where redis.enable_debug_command is set",
    "pfdebug": "looks into Redis's memory",
    "pfselftest": "tests Redis's own code",
}


class Entry(NamedTuple):
    group: str
    name: str
    state: str
    remark: str


def entries() -> list[Entry]:
    """One for each command of Redis 7.0."""
    ours = _our_names()
    found = []
    for line in LIST.read_text("utf-8").splitlines():
        group, name, _ = line.split()
        container = name.partition("|")[0]
        reason = REFUSED.get(name) or REFUSED.get(container)
        remark = _difference(name, ours)
        if reason is not None:
            found.append(Entry(group, name, "refused", reason))
        elif name not in ours:
            found.append(Entry(group, name, "not yet", ""))
        else:
            found.append(Entry(group, name, "different" if remark else "done", remark))
    return found


def _our_names() -> set[str]:
    rows = [*ROWS, *LOCAL_COMMANDS.values()]
    return {row.name for row in rows} | {each.name for row in rows for each in row.subcommands}


def _meant(about: str, ours: set[str]) -> set[str]:
    """The names of commands in a text: words in capitals, two for a subcommand."""
    words = [word.strip(",.()") for word in about.split()]
    names = set()
    for word, following in zip(words, [*words[1:], ""], strict=True):
        pair = f"{word}|{following}".lower()
        if word.isupper():
            names.add(pair if following.isupper() and pair in ours else word.lower())
    return names


def _difference(name: str, ours: set[str]) -> str:
    return "; ".join(f"{each.here} ({each.reason})" for each in DIFFERENCES if name in _meant(each.about, ours))


def _shown(entry: Entry) -> str:
    return f"`{entry.name.upper().replace('|', ' ')}`"


def document() -> str:
    every = entries()
    states = ["done", "different", "not yet", "refused"]
    counts = ", ".join(f"{sum(each.state == state for each in every)} {state}" for state in states)
    more = ", ".join(sorted(map(str.upper, ONLY_HERE)))
    lines = [
        "# Redis compatibility",
        "",
        "Made from the command table by `make fix`; a test fails when it is not up to date. Subcommands count too.",
        "",
        f"Of the {len(every)} commands of Redis 7.0: {counts}.",
        f"Beside them: {more} and RAFT.* (`raftkv help`).",
        "",
        "*Done* means: compared with a real redis-server 7.0 by tables of cases and by random sequences, reply for",
        "reply, in RESP2 and RESP3 (the connection's own commands: by tables).",
    ]
    for group in sorted({each.group for each in every}):
        mine = [each for each in every if each.group == group]
        lines += ["", f"## {group}", ""]
        for state in states:
            plain = [
                f"`{each.name.upper().replace('|', ' ')}`" for each in mine if each.state == state and not each.remark
            ]
            if plain:
                lines.append(f"- {state}: {', '.join(plain)}")
        remarks: dict[tuple[str, str], list[str]] = {}
        for each in mine:
            if each.remark:
                remarks.setdefault((each.state, each.remark), []).append(_shown(each))
        lines += [f"- {state}: {', '.join(names)}: {remark}" for (state, remark), names in remarks.items()]
    lines += ["", "## All differences", "", "| about | here | why |", "|---|---|---|"]
    lines += [f"| {each.about} | {each.here} | {each.reason} |" for each in DIFFERENCES]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
