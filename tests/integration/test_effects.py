"""Effects with real processes: what a killed leader had not carried out, the next one does; under the same id."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cluster import Client, Cluster, wait_until

pytestmark = pytest.mark.processes


def test_a_durable_effect_survives_its_leader(tmp_path: Path) -> None:
    mail, closed = tmp_path / "mail.txt", tmp_path / "mail.txt.closed"
    with Cluster(tmp_path / "cluster", 3, "--machine-class", "tests.support.machines:Mailer") as cluster:
        leader = cluster.wait_leader()
        with Client(leader.port) as client:
            assert client("PUT", "first", str(mail)) == b"OK"
            wait_until("it is carried out and forgotten", lambda: client.status()["outbox"] == 0)
            closed.touch()
            assert client("PUT", "second", str(mail)) == b"OK"
            wait_until("it has failed", lambda: client.status()["effects_failed"])
            assert client.status()["outbox"] == 1
        leader.kill()
        closed.unlink()
        next_leader = cluster.wait_leader([member for member in cluster if member is not leader])
        with Client(next_leader.port) as client:
            wait_until("the next leader has carried it out", lambda: client.status()["outbox"] == 0)
        leader.start()
        wait_until("it is back", leader.status)
        cluster.wait_equal()
    lines = [line.split() for line in mail.read_text().splitlines()]
    assert [word for _, word in lines] == ["first", "second"]
    assert lines[0][0] != lines[1][0]
