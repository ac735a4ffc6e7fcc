"""A member whose data is damaged: it refuses to start, and with --rebuild fetches everything anew, without a vote
until it has."""

from __future__ import annotations

from pathlib import Path

from tests.integration.cluster import Cluster, wait_until


def test_a_damaged_member_is_rebuilt_from_the_others(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.wait_leader()
        with cluster.members[1].client() as client:
            for number in range(50):
                client("SET", f"key:{number}", number)
        cluster.wait_equal()
        damaged = cluster.members[3]
        damaged.kill()
        segment = next(damaged.data.glob("*.wal"))
        data = bytearray(segment.read_bytes())
        middle = data.find(b"key:7")
        data[middle : middle + 5] = b"KEY:7"
        segment.write_bytes(data)
        damaged.start()
        assert damaged.wait_exit() == 3, "what was acknowledged is not dropped"
        assert "damaged" in damaged.log_text()

        others = [cluster.members[1], cluster.members[2]]
        damaged.start("--join", ",".join(f"127.0.0.1:{member.port}" for member in others), "--rebuild", "yes")
        wait_until("it votes again", lambda: sorted((damaged.status() or {}).get("voters", [])) == [1, 2, 3])
        cluster.wait_equal()
        assert "data_set_aside" in damaged.log_text()
        assert list(damaged.directory.glob("data.rebuilt-*"))
        with damaged.client() as client:
            assert client("DIRTYGET", "key:7") == b"7"
        assert damaged.terminate() == 0
        damaged.start()
        cluster.wait_equal()
