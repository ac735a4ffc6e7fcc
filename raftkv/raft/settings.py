"""The few numbers that the consensus core needs. `config.py` has the manual; here is only their meaning."""

from __future__ import annotations

import msgspec


class RaftSettings(msgspec.Struct, frozen=True):
    election_timeout_ms_min: int = 400
    election_timeout_ms_max: int = 800
    """A follower that hears no leader for a random time in [min, max) asks for votes."""

    heartbeat_interval_ms: int = 50
    """A leader speaks at least this often; a few of them must fit into the shortest election timeout."""

    lease_drift_percent_max: int = 0
    """0: each read needs a round. Otherwise a leader reads by lease (reads.py), if clocks' rates differ by at most so
    much. This and `election_timeout_ms_min` are the same on all members: voters keep what leaders count on."""

    disk_stall_ms_max: int = 10_000
    """A leader whose disk has not answered a write for so long hands over, and nobody with such a disk stands."""

    farewell_ms_max: int = 10_000
    """So long a leader tries to let removed members know that they are. One that is down asks in vain later."""

    min_majority: int = 0
    """Quorums are never smaller than this, whatever the number of voters."""

    append_entries_max: int = 100
    append_bytes_max: int = 4 * 1024 * 1024
    """One Append carries at most so many entries and about so many bytes (at least one entry)."""

    inflight_appends_max: int = 64
    inflight_bytes_max: int = 16 * 1024 * 1024
    """So much is sent to one follower ahead of its acknowledgements."""

    log_cache_bytes_max: int = 16 * 1024 * 1024
    """Entries already applied and synced are kept in memory up to this, for followers a little behind."""
