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
