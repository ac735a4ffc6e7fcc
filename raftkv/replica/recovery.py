"""The core of a member that starts: its log goes on from where the newest snapshot, restored already, has brought it.

The snapshot may be ahead of the log's base, behind its end, or instead of it: a member that was sent one may have
stopped before its log began anew behind it. Then the log is of no use, and begins behind the snapshot.
"""

from __future__ import annotations

from random import Random

from raftkv.errors import StorageCorrupt
from raftkv.raft.log import Log
from raftkv.raft.membership import decode_membership
from raftkv.raft.node import Node
from raftkv.raft.settings import RaftSettings
from raftkv.replica.state import ReplicatedState
from raftkv.storage.interface import LogStore, SnapshotInfo


def recover_node(
    member_id: int,
    store: LogStore,
    newest: SnapshotInfo | None,
    state: ReplicatedState,
    settings: RaftSettings,
    random: Random,
    now_ms: int,
) -> Node:
    """`newest`: the snapshot that `state` was restored from. Raises StorageCorrupt when the log does not follow it."""
    recovered = store.recovered
    if state.applied < recovered.base[0]:
        raise StorageCorrupt(
            f"the log begins behind entry {recovered.base[0]}, and the newest snapshot ends at {state.applied}. What"
            " to do: put the missing snapshot back, or have this member fetch everything anew (serve --rebuild)"
        )
    log = Log(
        base=recovered.base,
        last_index=recovered.last_index,
        terms=recovered.terms,
        commit=recovered.hard_state.commit,
        read_stored=store.read,
        cache_bytes_max=settings.log_cache_bytes_max,
    )
    agrees = newest is None or log.has(newest.meta.index, newest.meta.term)
    if agrees:
        log.commit = max(log.commit, state.applied)
    memberships = [(index, decode_membership(data)) for index, data in recovered.memberships]
    node = Node(
        member_id,
        state.membership,
        later_memberships=[(index, each) for index, each in memberships if index > state.applied],
        hard_state=recovered.hard_state,
        log=log,
        settings=settings,
        random=random,
        now_ms=now_ms,
    )
    if newest is not None and not agrees:
        node.install_snapshot(newest.meta.index, newest.meta.term, state.membership)
    return node
