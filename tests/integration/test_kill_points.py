"""A member is killed at each step of taking a snapshot, cutting the log behind it, pruning, and installing one that the
leader sent (`killed_at.py`); real processes, real disks. It is started again and has everything that was acknowledged,
and what the killed process left lying does not stay.

tests/storage does the same with simulated disks that lose what was not synced, at every single call.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
from collections.abc import Iterator

import pytest

from raftkv.storage.directory import load_identity
from raftkv.storage.files import Files
from tests.integration.cluster import Cluster, Member, ReplyError, wait_until
from tests.integration.killed_at import CUTTING, INSTALLING, PRUNING, TAKING, Step

pytestmark = pytest.mark.processes

ENTRIES = 60
SETTINGS = (
    *("--snapshot-log-entries-max", str(ENTRIES), "--storage-segment-bytes", "131072"),
    *("--storage-log-cache-bytes-max", "16384"),
)
"""Each snapshot lets some segments go."""

KEYS = 80
VALUE_BYTES = 8192
"""A snapshot of them goes to another member in several messages."""


BLANKS_MAX, SNAPSHOTS_MAX = 1, 2
"""A segment that is made ahead of use; snapshot.keep."""


def points(steps: dict[str, Step]) -> list[str]:
    """They follow one another: before each, and after the last."""
    return [*(f"before {step}" for step in steps), f"after {list(steps)[-1]}"]


class Acknowledged:
    """Writes that were repeated until they were acknowledged; what is there is therefore known for each key."""

    def __init__(self, cluster: Cluster) -> None:
        self.content: dict[str, bytes] = {}
        self._cluster = cluster
        self._numbers = itertools.count()

    def write(self, by: Member) -> None:
        number = next(self._numbers)
        key, value = f"key:{number % KEYS}", f"{number};".encode().ljust(VALUE_BYTES, b"x")

        def is_acknowledged() -> bool:
            with contextlib.suppress(OSError, ReplyError), by.client() as client:
                return bool(client("SET", key, value) == b"OK")
            return False

        wait_until(f"{key} is written", is_acknowledged)
        self.content[key] = value

    def check(self) -> None:
        """On every member, by itself."""
        self._cluster.wait_equal()
        for member in self._cluster:
            with member.client() as client:
                for key in self.content:
                    client.send("DIRTYGET", key)
                found = {key: client.receive() for key in self.content}
                wrong = [key for key, value in self.content.items() if found[key] != value]
                assert not wrong, f"member {member.id}: {wrong}"
                assert client("DBSIZE") == len(self.content)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Acknowledged]]:
    with Cluster(tmp_path_factory.mktemp("killed"), 3, *SETTINGS) as cluster:
        leader = cluster.wait_leader()
        acknowledged = Acknowledged(cluster)
        for _ in range(3 * ENTRIES):
            acknowledged.write(leader)
        cluster.wait_equal()
        yield cluster, acknowledged


def start_to_be_killed(member: Member, at: str) -> None:
    argv = member._argv
    member._argv = [sys.executable, "-m", "tests.integration.killed_at", at, *argv[3:]]
    member.start()
    member._argv = argv


def has_ended(member: Member) -> bool:
    return member.process is not None and member.process.poll() is not None


def left_over(member: Member) -> list[str]:
    """What does not belong there, or is more than there should be, once the member is at rest."""
    names = sorted(path.name for path in member.data.rglob("*") if path.is_file())
    snapshots, segments = ([name for name in names if name.endswith(end)] for end in (".snap", ".wal"))
    known = {*snapshots, *segments, "LOCK", "IDENTITY", "CLUSTER"}
    others = [name for name in names if name not in known]
    needless = segments[: -segments_needed(member)]
    return [*others[BLANKS_MAX:], *snapshots[SNAPSHOTS_MAX:], *needless]


def segments_needed(member: Member) -> int:
    """How many segments its log has, as IDENTITY tells; they are numbered without a gap."""
    [path] = member.data.rglob("IDENTITY")
    identity = load_identity(Files(), str(path.parent))
    assert identity is not None
    numbers = [int(each.stem) for each in path.parent.glob("*.wal") if int(each.stem) >= identity.oldest_segment]
    return len(numbers)


def at_rest(acknowledged: Acknowledged, cluster: Cluster, victim: Member) -> None:
    assert victim.wait_exit() == -signal.SIGKILL
    victim.start()
    acknowledged.check()
    wait_until(f"nothing is left over: {left_over(victim)}", lambda: not left_over(victim))


@pytest.mark.parametrize("at", [*points(TAKING), *points(CUTTING), *points(PRUNING)])
def test_killed_while_it_takes_a_snapshot_and_cuts_its_log(members: tuple[Cluster, Acknowledged], at: str) -> None:
    cluster, acknowledged = members
    victim = cluster.members[3]
    other = cluster.members[1]
    victim.kill()
    start_to_be_killed(victim, at)
    wait_until("it is there", lambda: has_ended(victim) or victim.status())
    for _ in range(4 * ENTRIES):
        if has_ended(victim):
            break
        acknowledged.write(other)
    at_rest(acknowledged, cluster, victim)


@pytest.mark.parametrize("at", points(INSTALLING))
def test_killed_while_it_installs_the_leaders(members: tuple[Cluster, Acknowledged], at: str) -> None:
    cluster, acknowledged = members
    victim = cluster.members[3]
    other = cluster.members[1]
    last = (victim.status() or {})["last"]
    victim.kill()
    survivors = [member for member in cluster if member is not victim]
    cluster.wait_leader(survivors)
    while any((member.status() or {})["first"] <= last + 1 for member in survivors):
        acknowledged.write(other)
    start_to_be_killed(victim, at)
    at_rest(acknowledged, cluster, victim)
    assert (victim.status() or {})["first"] > last + 1, "it has no older entries"
