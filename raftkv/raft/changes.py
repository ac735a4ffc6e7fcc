"""Changes of the members, as the leader carries them out (paper, section 6; thesis, chapter 4).

::

    C --propose--> C,new (joint) --committed--> new --committed--> done          other voters, however many
    C --propose--> new --committed--> done                                       only learners, addresses, joining

One at a time, and none before the leader has committed in its own term: until then an unfinished change of an earlier
leader may be in some logs, and its majority and ours would not overlap (the bug of the thesis's single-server changes,
found in 2015). Whoever leads brings a change to its end, also one that it finds in its log.

A removed member is sent the log until it has answered after it was told the commit index of the membership that it is
not in. Otherwise it would never learn of it, and ask for votes for ever.

Learners that are `joining` are made voters once they have caught up, which is seen as in the thesis, 4.2.1: in rounds.
A round begins with the leader's last index and ends when the learner has that; one that took no longer than an election
timeout shows that a majority with the learner in it would not keep clients waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from raftkv.errors import HandingOver, NotLeader, UnstableConfig, UnstableLeader
from raftkv.raft import reads
from raftkv.raft.membership import Membership, check_target, first_step, last_step
from raftkv.raft.messages import EntryKind
from raftkv.raft.roles import Role
from raftkv.raft.transfer import leave

if TYPE_CHECKING:
    from raftkv.raft.node import Node


class Round(msgspec.Struct):
    """A joining learner is to reach `index`, the leader's last one at `begun_ms`."""

    index: int
    begun_ms: int


class Farewell(msgspec.Struct):
    """A removed member is told until `until_ms`, or until it has confirmed read round `round` (0: not begun), for that
    began after it had been sent the commit of the membership without it."""

    until_ms: int
    round: int = 0


def propose(node: Node, target: Membership) -> int:
    if node.role is not Role.LEADER:
        raise NotLeader(node.leader_id)
    if node.transferring is not None:
        raise HandingOver(f"leadership goes to member {node.transferring}")
    if not node.leads_and_is_ready:
        raise UnstableLeader(f"leader {node.id} has not committed an entry of its term {node.term} yet")
    now = node.membership
    if now.is_joint or not node.membership_is_committed:
        raise UnstableConfig(f"the change at {node.membership_index} is not finished")
    check_target(now, target, node.settings.min_majority)
    step = first_step(now, target)
    return node.membership_index if step == now else _append(node, step)


def _append(node: Node, membership: Membership) -> int:
    return node.append_own(EntryKind.MEMBERSHIP, membership.encode())


def on_adopted(node: Node) -> None:
    """The leader has appended a membership: those that have left are sent the log until they know."""
    until_ms = node.now_ms + node.settings.farewell_ms_max
    for peer in node.progress:
        if peer not in node.members and peer not in node.leaving:
            node.leaving[peer] = Farewell(until_ms)
    if node.transferring not in node.voters:
        node.transferring = None
    node.catching_up = {peer: round_ for peer, round_ in node.catching_up.items() if peer in node.membership.joining}


def on_elected(node: Node) -> None:
    """Begin with the members, and with those that left last: an earlier leader may not have got to telling them."""
    before = node.memberships.before_newest
    if before is not None:
        until_ms = node.now_ms + node.settings.farewell_ms_max
        gone = before.members - node.members - {node.id}
        node.leaving = {peer: Farewell(until_ms) for peer in sorted(gone)}
    node.keep_peers()


def on_membership_committed(node: Node) -> None:
    """Take the next step of a change. Of a joint membership one is told with each commit, for whoever comes to lead."""
    if node.membership.is_joint:
        if node.role is Role.LEADER:
            _append(node, last_step(node.membership))
        return
    node.is_changing = False
    if node.is_removed:
        # Nothing more may ever be written here, and after a restart it must still know.
        node.write_commit()
    if node.role is Role.LEADER and node.id not in node.voters:
        leave(node)


def on_heartbeat_due(node: Node) -> None:
    if node.leaving:
        _say_farewell(node)
    if node.membership.joining:
        _promote_who_has_caught_up(node)


def _say_farewell(node: Node) -> None:
    if not node.membership_is_committed:
        return
    for peer, farewell in list(node.leaving.items()):
        progress = node.progress[peer]
        if node.now_ms >= farewell.until_ms or 0 < farewell.round <= progress.round:
            del node.leaving[peer]
            node.keep_peers()
        elif not farewell.round and progress.match >= node.membership_index:
            # The heartbeats that follow carry this round and the commit index.
            farewell.round = reads.begin_round(node)


def _promote_who_has_caught_up(node: Node) -> None:
    """Stale news must not do: a learner counts only while it answers in the round that it is judged by."""
    ready = [peer for peer in node.membership.joining if peer != node.id and _has_caught_up(node, peer)]
    is_free = node.leads_and_is_ready and node.membership_is_committed and not node.membership.is_joint
    if ready and is_free and node.transferring is None:
        propose(node, _promoted(node.membership, ready))


def _has_caught_up(node: Node, peer: int) -> bool:
    progress, now_ms = node.progress[peer], node.now_ms
    round_ = node.catching_up.setdefault(peer, Round(node.log.last_index, now_ms))
    if progress.match < round_.index or progress.heard_ms <= round_.begun_ms:
        return False
    if now_ms - round_.begun_ms <= node.settings.election_timeout_ms_max:
        return True
    node.catching_up[peer] = Round(node.log.last_index, now_ms)
    return False


def _promoted(membership: Membership, ready: list[int]) -> Membership:
    return msgspec.structs.replace(
        membership,
        voters=tuple(sorted({*membership.voters, *ready})),
        learners=tuple(peer for peer in membership.learners if peer not in ready),
        joining=tuple(peer for peer in membership.joining if peer not in ready),
    )
