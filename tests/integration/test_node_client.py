"""Clients for Node, node-redis and ioredis, against real members: every type, all ways to the leader, and its death.

The scripts of node/ are tests of Node's own runner, and say what they saw; here they get their members. The clients
are installed in the versions of node/package-lock.json, once for a run of these tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from tests.integration.cluster import Client, Cluster, Member, ReplyError, wait_until

SCRIPTS = Path(__file__).parent / "node"
NODE_MAJOR_MIN = 20
"""Both clients ask for it."""


def missing() -> str | None:
    """Why these tests cannot run here."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "node and npm are not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < NODE_MAJOR_MIN:
        return f"the clients need node {NODE_MAJOR_MIN} or later, here is {version}"
    return None


REASON = missing()
pytestmark = [pytest.mark.processes, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the scripts and the clients that they import."""
    directory = tmp_path_factory.mktemp("node") / "node"
    shutil.copytree(SCRIPTS, directory, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def run_script(scripts: Path, name: str, *argv: str) -> None:
    command = ["node", name, *argv]
    done = subprocess.run(command, cwd=scripts, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def ports_of(cluster: Cluster, first: Member) -> str:
    """As the scripts want them, `first` first."""
    rest = [member for member in cluster if member is not first]
    return ",".join(str(member.port) for member in [first, *rest])


@pytest.mark.parametrize("protocol", ["2", "3"])
@pytest.mark.parametrize("script", ["node_redis.mjs", "ioredis.mjs"])
def test_features(scripts: Path, member: Member, script: str, protocol: str) -> None:
    run_script(scripts, script, str(member.port), protocol)


def test_clients_that_know_cluster_or_sentinel(scripts: Path, redirecting: Cluster) -> None:
    run_script(scripts, "routing.mjs", ports_of(redirecting, redirecting.wait_leader()))


class Running:
    """Scripts that write until they are told to stop, and then tell what they saw."""

    def __init__(self, scripts: Path, kinds: tuple[str, ...], cluster: Cluster, first: Member) -> None:
        self.cluster = cluster
        self.processes = {
            kind: subprocess.Popen(
                ["node", "failover.mjs", kind, ports_of(cluster, first)],
                cwd=scripts,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for kind in kinds
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.communicate()

    def value(self, kind: str) -> int:
        return int(self._ask(lambda client: client("GET", kind)) or 0)

    def wait_progress(self) -> None:
        """Until all have written a few times more."""
        before = {kind: self.value(kind) for kind in self.processes}

        def moved() -> bool:
            for kind, process in self.processes.items():
                assert process.poll() is None, f"{kind} has ended: {process.communicate()}"
            return all(self.value(kind) > before[kind] + 10 for kind in before)

        wait_until("every client has written", moved)

    def stop(self) -> dict[str, Any]:
        """What each saw."""
        assert self._ask(lambda client: client("SET", "stop", "now")) == b"OK"
        return {kind: json.loads(process.communicate(timeout=30)[0]) for kind, process in self.processes.items()}

    def _ask(self, command: Callable[[Client], Any]) -> Any:
        """The leader's answer, whoever that is by now."""

        def asked() -> list[Any] | None:
            try:
                with self.cluster.wait_leader().client() as client:
                    return [command(client)]
            except (OSError, ReplyError):
                return None

        return wait_until("a leader answers", asked)[0]


def check(running: Running) -> None:
    """What was acknowledged is there, and nobody ever read less."""
    for kind, seen in running.stop().items():
        print(f"\n{kind}: {seen['acknowledged']} writes acknowledged; errors: {seen['errors']}")  # with `pytest -s`
        assert seen["wrong"] == []
        assert seen["acknowledged"] <= running.value(kind) <= seen["tried"]


def test_plain_clients_come_back_to_a_member_that_died(scripts: Path, cluster: Cluster, leader: Member) -> None:
    with Running(scripts, ("node-redis", "ioredis"), cluster, first=leader) as running:
        running.wait_progress()
        leader.kill()
        leader.start()
        running.wait_progress()
        check(running)


def test_clients_that_know_more_go_over_to_the_next_leader(scripts: Path, redirecting: Cluster) -> None:
    leader = redirecting.wait_leader()
    kinds = ("node-redis-cluster", "node-redis-sentinel", "ioredis-cluster", "ioredis-sentinel")
    with Running(scripts, kinds, redirecting, first=leader) as running:
        running.wait_progress()
        leader.kill()
        running.wait_progress()
        leader.start()
        check(running)
