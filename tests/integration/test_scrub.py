"""A byte that goes bad in an old file of a running member is found, and told; the member serves on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, wait_until

pytestmark = pytest.mark.processes


def test_damage_is_found_while_serving(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, "--storage-scrub-interval-s", "1", "--storage-segment-bytes", "65536") as cluster:
        member = cluster.wait_leader()
        with member.client() as client:
            for number in range(30):
                client("SET", f"key:{number}", "x" * 10_000)
            wait_until("a pass without a finding", lambda: "damaged=0" in member.log_text())
            assert "scrub_last_status:ok" in client("INFO", "persistence").decode()
            oldest = min(member.data.glob("*.wal"))
            with oldest.open("r+b") as file:
                file.seek(20_000)
                file.write(b"\xff")
            wait_until("it is told", lambda: "scrub_found_damage" in member.log_text())
            assert str(oldest.name) in member.log_text()
            assert "--rebuild" in member.log_text()
            wait_until("INFO tells it", lambda: "scrub_last_status:err" in client("INFO", "persistence").decode())
            assert client("GET", "key:1") == b"x" * 10_000


def test_a_damaged_snapshot_is_replaced_by_a_new_one(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, "--storage-scrub-interval-s", "1") as cluster:
        member = cluster.wait_leader()
        with member.client() as client:
            client("SET", "key", "x" * 100_000)
            client("SAVE")
            [damaged] = member.data.glob("snapshots/*.snap")
            with damaged.open("r+b") as file:
                file.seek(50_000)
                file.write(b"\xff")
            client("SET", "other", "1")
            wait_until("it is told", lambda: "scrub_found_damage" in member.log_text())
            wait_until("it is gone", lambda: not damaged.exists())
            told = member.log_text().index("scrub_found_damage")
            wait_until("a pass finds all sound", lambda: "damaged=0" in member.log_text()[told:])
        member.kill()
        member.start()
        cluster.wait_leader()
        with member.client() as client:
            assert client("GET", "key") == b"x" * 100_000
