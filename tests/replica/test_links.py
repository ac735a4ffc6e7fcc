"""What is to leave by the links, and when."""

from __future__ import annotations

from raftkv.raft.messages import AppendReply, Heartbeat, RaftMessage
from raftkv.raft.node import Output
from raftkv.replica.links import Links
from raftkv.wire.peer import ForwardUnknown

HEARTBEAT = Heartbeat(1, 0, 1)
REFUSAL = ForwardUnknown(1, "")


def promise(index: int) -> RaftMessage:
    return AppendReply(1, True, index - 1, index, 0, 0)


def output(sequence: int, *, now: list[RaftMessage], after_sync: list[RaftMessage]) -> Output:
    return Output(sequence, None, [], [(2, each) for each in now], [(2, each) for each in after_sync])


def test_promises_wait_for_their_write_and_keep_their_order() -> None:
    links = Links()
    assert links.take(output(1, now=[HEARTBEAT], after_sync=[promise(1)]), ()) == [(2, HEARTBEAT)]
    assert links.take(output(2, now=[], after_sync=[promise(2)]), ()) == []
    links.on_synced(1)
    assert links.sends == [(2, promise(1))]
    links.on_synced(2)
    assert links.take(output(2, now=[], after_sync=[promise(3)]), ()) == [(2, promise(number)) for number in (1, 2, 3)]
    assert links.take(output(2, now=[], after_sync=[]), ()) == []


def test_what_is_meant_for_a_link_leaves_by_no_other() -> None:
    links = Links()
    links.on_up(2)
    number = links.number_of(2)
    assert links.send_on(2, number, REFUSAL)
    links.on_down(2)
    assert links.sends == [], "it has gone with its link"
    assert not links.send_on(2, number, REFUSAL)
    links.on_up(2)
    assert not links.send_on(2, number, REFUSAL), "the peer may be another process by now"
    assert links.send_on(2, links.number_of(2), REFUSAL)
