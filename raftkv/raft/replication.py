"""AppendEntries, both ends (paper, section 5.3), and the rule for committing (5.4.2).

The leader never sends in direct reaction to an event. Events move `progress`; `send_appends`, called once when the
turn's output is taken, sends each follower what its window allows, in as few messages as the limits permit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from raftkv.errors import ProtocolError
from raftkv.raft.membership import MEMBERSHIP, decode_membership
from raftkv.raft.messages import Append, AppendReply, Entry, Heartbeat
from raftkv.raft.progress import Mode, Progress
from raftkv.raft.quorum import agreed
from raftkv.raft.roles import Role, become_follower

if TYPE_CHECKING:
    from raftkv.raft.node import Node


# ---- the follower's end


def on_append(node: Node, sender: int, message: Append) -> None:
    """Take over the leader's entries where the logs agree at `prev_index`; otherwise say where they might."""
    _check_entries(message)
    follow(node, sender)
    log = node.log
    prev = message.prev_index
    if not log.has(prev, message.prev_term):
        node.promise(sender, _rejection(node, message))
        return
    for position, entry in enumerate(message.entries):
        # Skip what we have already; entries are only cut when they really conflict, for this append may be an
        # old one that arrives late, and what follows it here may have been acknowledged meanwhile.
        if not log.has(entry.index, entry.term):
            if entry.index <= log.last_index:
                node.cut_from(entry.index)
            node.accept(message.entries[position:])
            break
    # What is below the base is committed, and so the same at the leader, although this append has not got there.
    match = max(prev + len(message.entries), log.base_index)
    # Only up to what this append has proven equal: our own tail behind it may differ from the leader's.
    node.advance_commit(min(message.commit, match))
    node.promise(sender, AppendReply(node.term, True, prev, match, 0, 0))


def _check_entries(message: Append) -> None:
    """Refuse entries that no leader could have: the log would stop this member for the sender's mistake."""
    index, term = message.prev_index, message.prev_term
    for entry in message.entries:
        if entry.index != index + 1 or not term <= entry.term <= message.term:
            raise ProtocolError(f"entry {entry.index} of term {entry.term} cannot follow {index} of term {term}")
        if entry.kind == MEMBERSHIP:
            decode_membership(entry.data)
        index, term = entry.index, entry.term


def _rejection(node: Node, message: Append) -> AppendReply:
    """The last place at or before `prev_index` that could still agree: all our newer terms are skipped at once. At
    the base it certainly does, since that is committed."""
    log = node.log
    hint = min(message.prev_index, log.last_index)
    while hint > log.base_index and log.term(hint) > message.prev_term:
        hint = max(log.first_of_term_at(hint) - 1, log.base_index)
    return AppendReply(node.term, False, message.prev_index, 0, hint, log.term(hint))


def follow(node: Node, sender: int) -> None:
    """The sender leads the present term: there is at most one, so believe it."""
    if node.role is not Role.FOLLOWER or node.leader_id != sender:
        if node.role is Role.LEADER or node.leader_id not in (None, sender):
            # Elections make this impossible, so the sender is not what it says it is; it must not be followed.
            raise ProtocolError(f"term {node.term} has two leaders: {node.leader_id} and {sender}")
        become_follower(node, node.term, sender)
    node.leader_heard_ms = node.now_ms
    node.reset_election_timer()


# ---- the leader's end


def on_append_reply(node: Node, sender: int, reply: AppendReply) -> None:
    progress = node.progress[sender]
    progress.heard_ms = node.now_ms
    if reply.accepted:
        if progress.on_accepted(reply.match_index):
            commit_what_a_quorum_has(node)
        return
    answers_probe = progress.mode is Mode.PROBE and reply.prev_index == progress.next - 1 > 0
    if answers_probe and reply.prev_index <= progress.match:
        # It denies what it has acknowledged: its data directory was replaced, or fsync was off when the power went.
        # What it promised is lost for good, but without this it would be sent nothing until the next election.
        progress.match = 0
    if reply.prev_index > progress.match and (answers_probe or progress.mode is Mode.REPLICATE):
        progress.become_probe(_next_after_rejection(node, reply))
    # Otherwise the answer was overtaken: by a newer acceptance, or by a newer probe.


def _next_after_rejection(node: Node, reply: AppendReply) -> int:
    """The highest index at or before the follower's hint whose term here is not above the hint's, plus one. Below
    the base nothing can be compared: then it becomes a place that needs a snapshot."""
    log = node.log
    index = min(reply.hint_index, reply.prev_index - 1, log.last_index)
    while index > 0 and index >= log.base_index and log.term(index) > reply.hint_term:
        index = log.first_of_term_at(index) - 1
    return index + 1


def commit_what_a_quorum_has(node: Node) -> None:
    """Move the commit index to what a quorum has on disk, but only within the own term.

    Counting replicas of an older term's entry proves nothing: a member without it could still win an election and
    overwrite it (paper, figure 8). It is committed together with the first entry of this term that is.
    """
    log = node.log
    index = log.last_index
    if log.commit == index:
        return  # as for every acknowledgement that comes after enough others
    for half, peers in node.counted:
        matches = [progress.match for progress in peers]
        if half.has_self:
            matches.append(log.synced)  # our own disk counts like any other, once it has answered
        index = min(index, agreed(matches, half.needed))
    if index >= node.term_start:
        node.advance_commit(index)


def send_appends(node: Node) -> None:
    """Send every follower what it lacks. Followers at the same place share one message, so it is encoded once."""
    shared: dict[int, Append] = {}
    wanting_snapshot: list[int] = []
    base_index = node.log.base_index
    for peer, progress in node.progress.items():
        if progress.next <= base_index:
            if progress.mode is not Mode.SNAPSHOT:
                progress.become_snapshot()
            wanting_snapshot.append(peer)
            continue
        if progress.mode is Mode.PROBE:
            if not progress.awaits_reply:
                _send_append(node, peer, progress, shared)
            continue
        while progress.next <= node.log.last_index and _window_is_open(node, progress):
            _send_append(node, peer, progress, shared)
        if progress.match > progress.commit_told and node.log.commit == node.log.last_index:
            # Nothing follows that would carry the commit index; without this a dirty read on that member would be
            # a heartbeat interval behind the end of every burst, and a person who tries it would find nothing.
            send_heartbeats(node, (peer,))
    node.wanting_snapshot = wanting_snapshot


def _window_is_open(node: Node, progress: Progress) -> bool:
    settings = node.settings
    return (
        len(progress.inflight) < settings.inflight_appends_max and progress.inflight_bytes < settings.inflight_bytes_max
    )


def _send_append(node: Node, peer: int, progress: Progress, shared: dict[int, Append]) -> None:
    message = shared.get(progress.next)
    if message is None:
        shared[progress.next] = message = _make_append(node, progress.next)
    entries = message.entries
    last_index = entries[-1].index if entries else message.prev_index
    node.send(peer, message)
    progress.on_sent(last_index, sum(len(e.data) for e in entries))
    progress.commit_told = max(progress.commit_told, min(message.commit, last_index))


def _make_append(node: Node, next_index: int) -> Append:
    log, settings = node.log, node.settings
    prev = next_index - 1
    entries: list[Entry] = []
    if next_index <= log.last_index:
        entries = log.slice(next_index, log.last_index, settings.append_entries_max, settings.append_bytes_max)
    return Append(node.term, prev, log.term(prev), log.commit, entries)


def send_heartbeats(node: Node, peers: Iterable[int]) -> None:
    shared: dict[int, Heartbeat] = {}
    for peer in peers:
        progress = node.progress[peer]
        commit = min(node.log.commit, progress.match)
        progress.commit_told = max(progress.commit_told, commit)
        message = shared.get(commit)
        if message is None:
            shared[commit] = message = Heartbeat(node.term, commit, node.round)
        node.send(peer, message)


def look_for_lost_appends(node: Node) -> None:
    """Once per heartbeat interval: where nothing moved although something was sent, ask whether it has arrived.

    Without it the last append of a burst, lost with nothing behind it, would never be sent again. The question
    carries no entries: a follower whose disk is merely slow must not be sent everything once more on top.
    """
    for peer, progress in node.progress.items():
        unsettled = progress.mode is Mode.PROBE or progress.match < node.log.last_index
        prev = progress.next - 1
        if unsettled and progress.match == progress.idle_match and prev >= node.log.base_index:
            node.send(peer, Append(node.term, prev, node.log.term(prev), node.log.commit, []))
        progress.idle_match = progress.match
