"""What a replica is told about limits and manners; from the member's settings, or from a scenario of the simulator."""

from __future__ import annotations

import msgspec

from raftkv.raft.settings import RaftSettings
from raftkv.replica.sessions import Limits
from raftkv.replica.snapshots import SnapshotSettings


class ReplicaSettings(msgspec.Struct, frozen=True):
    raft: RaftSettings = RaftSettings()

    sessions: Limits = Limits()
    """For exactly-once sessions. Those of the leader hold for all members."""

    snapshots: SnapshotSettings = SnapshotSettings()

    forwards: bool = True
    """Send commands on to the leader; otherwise their clients are told where it is."""

    reads_locally: bool = False
    """A member that does not lead answers linearizable reads itself, and asks the leader only for the read index."""

    proposals_inflight_max: int = 1
    """So many entries may be on their way to being applied; what arrives meanwhile gathers for the next one."""

    entry_bytes_max: int = 4 * 1024 * 1024
    """An entry takes no further work once it is about this large."""

    early_round_clients_min: int = 8
    """With fewer clients whose commands are not parsed yet, a read round waits until they are."""

    frame_bytes_max: int = 64 * 1024 * 1024
    """The largest message that another member takes."""

    joining_patience_ms: int = 30_000
    """Who asked for a new voter is told when it has come no further for so long."""

    verify_interval_ms: int = 0
    """So often a leader has the states of all members compared; 0: only when asked."""

    verify_patience_ms: int = 600_000
    """It waits so long for the hash of a member that is connected."""

    apply_commands_max: int = 10_000
    """A turn applies about so many commands, so that a member that catches up still hears and speaks."""

    no_leader_wait_ms: int = 3000
    """How long a command waits for a leader to be known."""

    request_timeout_ms: int = 5000
    """How long a command that is under way waits for its outcome."""

    outbox_max: int = 100_000
    outbox_bytes_max: int = 64 * 1024 * 1024
    """With so many durable effects waiting, or so many bytes of them, a leader takes no further writes."""
