"""Snapshots in place of log entries, both ends (paper, section 7), as far as consensus is concerned.

The core decides who needs one (`Mode.SNAPSHOT`, in replication.py) and what it means that one is installed. The bytes
are the replica's: it reads and writes the files, and says how far it is with SnapshotChunk and SnapshotReply. So these
messages are only settled here (terms, who leads) and handed on by `node.snapshot_inputs`.

Heartbeats and check-quorum go on meanwhile. When the follower has installed one it is like after an accepted append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftkv.raft.membership import Membership
from raftkv.raft.messages import SnapshotChunk, SnapshotReply
from raftkv.raft.replication import commit_what_a_quorum_has, follow
from raftkv.raft.roles import Role

if TYPE_CHECKING:
    from raftkv.raft.node import Node


def on_snapshot_chunk(node: Node, sender: int, chunk: SnapshotChunk) -> None:
    follow(node, sender)
    if chunk.index <= node.log.commit:
        # Not needed (any more). The answer is about the commit index, which may be ahead of our own disk, so it waits
        # for all writes like an acknowledgement of entries.
        node.promise(sender, SnapshotReply(node.term, node.log.commit, 0, True))
    else:
        node.snapshot_inputs.append((sender, chunk))


def on_snapshot_reply(node: Node, sender: int, reply: SnapshotReply) -> None:
    progress = node.progress[sender]
    progress.heard_ms = node.now_ms
    if reply.installed and progress.on_accepted(reply.index):
        commit_what_a_quorum_has(node)
    node.snapshot_inputs.append((sender, reply))


def install(node: Node, index: int, term: int, membership: Membership) -> bool:
    """See `Node.install_snapshot`. A leader has everything that is committed, whatever it has received before."""
    if index <= node.log.commit or node.role is Role.LEADER:
        return False
    if node.log.has(index, term):
        node.advance_commit(index)
        node.compact(index)
    else:
        node.begin_behind_snapshot(index, term, membership)
    return True
