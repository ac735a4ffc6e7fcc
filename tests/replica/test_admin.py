"""Changes of the members and of the leader, asked for at any member of a cluster of three without sockets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from raftkv.machines.interface import NO_SCOPES, Kind
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import OK, Error, Reply
from raftkv.raft.membership import Membership
from raftkv.raft.messages import HeartbeatReply
from raftkv.replica import Replica
from raftkv.replica.admin import BAD_ADDRESS, BAD_ID
from raftkv.replica.system_commands import SYNTAX
from raftkv.replica.work import LEADERSHIP_LOST, REMOVED
from tests.replica.alone import Alone, Catch
from tests.server.member import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(voters=3)
    yield cluster
    cluster.close()


class Asker(Catch):
    """May sit at a follower."""

    def on_encoded(self, replies: Sequence[bytes]) -> None:
        assert replies == [b"+OK\r\n"]
        self.on_replies([OK], 0, 1)


def ask(cluster: Cluster, line: str, at: int = 1) -> Asker:
    sink = Asker()
    cluster.replicas[at].submit(Kind.ADMIN, [line.encode().split()], NO_SCOPES, 10, sink)
    cluster.run()
    return sink


def outcome(cluster: Cluster, line: str, at: int = 1, within_ms: int = 3000) -> Reply:
    sink = ask(cluster, line, at)
    for _ in range(0, within_ms, 50):
        if sink.replies is not None:
            break
        cluster.advance(50)
    assert sink.replies is not None, "no answer"
    [reply] = sink.replies
    return reply


def membership(cluster: Cluster, at: int = 1) -> Membership:
    node = cluster.replicas[at].node
    assert node.membership_is_committed
    return node.membership


def leader_of(cluster: Cluster) -> Replica:
    [leader] = [replica for replica in cluster.replicas.values() if replica.node.leads_and_is_ready]
    return leader


# ---- each command


def test_a_member_is_removed_and_its_number_never_comes_back(cluster: Cluster) -> None:
    assert outcome(cluster, "RAFT.NODE REMOVE 3") == OK
    assert membership(cluster).voters == (1, 2)
    assert membership(cluster).removed == (3,)
    again = outcome(cluster, "RAFT.NODE ADD 3 127.0.0.1:8003")
    assert isinstance(again, Error)
    assert "never used again" in again.text


def test_a_voter_becomes_a_learner_and_a_voter_again(cluster: Cluster) -> None:
    assert outcome(cluster, "RAFT.NODE DEMOTE 3") == OK
    assert (membership(cluster).voters, membership(cluster).learners) == ((1, 2), (3,))
    assert outcome(cluster, "raft.node promote 3") == OK
    assert (membership(cluster).voters, membership(cluster).learners) == ((1, 2, 3), ())


def test_an_address_is_changed_by_adding_again(cluster: Cluster) -> None:
    assert outcome(cluster, "RAFT.NODE ADD 3 127.0.0.1:9003") == OK
    assert membership(cluster).voters == (1, 2, 3)
    assert membership(cluster).addresses[3] == "127.0.0.1:9003"


def test_a_new_member_is_a_learner_until_it_has_caught_up() -> None:
    """Here it never does: nobody has started it. So a learner is there at once, and a voter is waited for."""
    member = Alone(RedisMachine())

    def add(*more: bytes) -> Catch:
        return member.send(Kind.ADMIN, [b"RAFT.NODE", b"ADD", b"4", b"127.0.0.1:8004", *more])

    assert add(b"LEARNER").replies == [OK]
    as_voter = add()
    member.advance(29_000)
    assert as_voter.replies is None
    node = member.replica.node
    assert (node.membership.voters, node.membership.learners, node.membership.joining) == ((1,), (4,), (4,))
    assert member.send(Kind.ADMIN, [b"RAFT.NODE", b"REMOVE", b"4"]).replies == [OK]
    member.advance(10)
    assert as_voter.replies is not None, "what can never be reached any more is answered"
    assert "never used again" in as_voter.replies[0].text


@pytest.mark.parametrize("at", [1, 2])
def test_leadership_goes_to_whom_it_is_to(cluster: Cluster, at: int) -> None:
    assert outcome(cluster, "RAFT.TRANSFER_LEADER 3", at) == OK
    assert leader_of(cluster).node.id == 3
    assert outcome(cluster, "RAFT.TRANSFER_LEADER 3", at) == OK, "it leads already"


def test_leadership_goes_to_anybody_who_has_the_log(cluster: Cluster) -> None:
    cluster.advance(50)
    assert outcome(cluster, "RAFT.TRANSFER_LEADER") == OK
    assert leader_of(cluster).node.id != 1


def test_a_follower_carries_the_request_to_the_leader(cluster: Cluster) -> None:
    assert outcome(cluster, "RAFT.NODE REMOVE 3", at=2) == OK
    assert membership(cluster).voters == (1, 2)


# ---- asking again, and for nonsense


@pytest.mark.parametrize(
    "line",
    ["RAFT.NODE REMOVE 3", "RAFT.NODE DEMOTE 3", "RAFT.NODE PROMOTE 2", "RAFT.NODE ADD 2 127.0.0.1:8002"],
)
def test_asking_again_changes_nothing(cluster: Cluster, line: str) -> None:
    assert outcome(cluster, line) == OK
    index = cluster.replicas[1].node.membership_index
    assert outcome(cluster, line) == OK
    assert cluster.replicas[1].node.membership_index == index


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("RAFT.NODE", SYNTAX),
        ("RAFT.NODE REMOVE", SYNTAX),
        ("RAFT.NODE REMOVE 3 4", SYNTAX),
        ("RAFT.NODE FIRE 3", SYNTAX),
        ("RAFT.NODE ADD 4", SYNTAX),
        ("RAFT.NODE ADD 4 127.0.0.1:1 VOTER", SYNTAX),
        ("RAFT.NODE ADD 4 127.0.0.1", BAD_ADDRESS),
        ("RAFT.NODE ADD x 127.0.0.1:1", BAD_ID),
        ("RAFT.NODE REMOVE 0", BAD_ID),
        ("RAFT.NODE REMOVE 2147483648", BAD_ID),
        ("RAFT.TRANSFER_LEADER x", BAD_ID),
    ],
)
def test_what_is_malformed_is_refused_at_once(cluster: Cluster, line: str, error: Error) -> None:
    assert ask(cluster, line).replies == [error]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("RAFT.NODE REMOVE 9", "there is no member 9"),
        ("RAFT.NODE DEMOTE 9", "there is no member 9"),
        ("RAFT.NODE PROMOTE 9", "there is no learner 9"),
        ("RAFT.TRANSFER_LEADER 9", "leadership cannot go to member 9"),
    ],
)
def test_what_cannot_be_is_refused(cluster: Cluster, line: str, why: str) -> None:
    reply = outcome(cluster, line)
    assert isinstance(reply, Error)
    assert why in reply.text


@pytest.mark.parametrize("action", [b"REMOVE", b"DEMOTE"])
def test_the_only_voter_stays(action: bytes) -> None:
    [reply] = Alone(RedisMachine()).send(Kind.ADMIN, [b"RAFT.NODE", action, b"1"]).replies or []
    assert isinstance(reply, Error)
    assert "the only voter" in reply.text


# ---- several at a time, and leaders that go


def test_requests_that_come_together_go_one_after_the_other(cluster: Cluster) -> None:
    sinks = [ask(cluster, line) for line in ("RAFT.NODE DEMOTE 3", "RAFT.NODE ADD 2 127.0.0.1:9002")]
    promoted, moved = Catch(), Catch()
    for sink, line in ((promoted, b"RAFT.NODE PROMOTE 3"), (moved, b"RAFT.NODE ADD 3 127.0.0.1:9003")):
        cluster.replicas[1].submit(Kind.ADMIN, [line.split()], NO_SCOPES, 10, sink)
    cluster.advance(2000)
    assert [sink.replies for sink in (*sinks, promoted, moved)] == [[OK]] * 4
    assert membership(cluster).voters == (1, 2, 3)
    assert list(membership(cluster).addresses.values()) == ["127.0.0.1:8001", "127.0.0.1:9002", "127.0.0.1:9003"]


def test_requests_that_want_the_opposite_do_not_undo_each_other_for_ever(cluster: Cluster) -> None:
    """The first cannot be reached, as the member never comes; the second can."""
    cluster.cut_off = {4}
    assert outcome(cluster, "RAFT.NODE ADD 4 127.0.0.1:8004 LEARNER") == OK
    waiting = ask(cluster, "RAFT.NODE PROMOTE 4")
    assert outcome(cluster, "RAFT.NODE DEMOTE 4") == OK
    last = cluster.replicas[1].node.log.last_index
    cluster.advance(1000)
    assert cluster.replicas[1].node.log.last_index <= last + 1
    assert membership(cluster).joining == (4,)
    assert waiting.replies is None


def test_a_member_that_never_comes_is_not_waited_for_without_end(cluster: Cluster) -> None:
    cluster.cut_off = {4}
    reply = outcome(cluster, "RAFT.NODE ADD 4 127.0.0.1:8004", within_ms=40_000)
    assert isinstance(reply, Error)
    assert reply.text.startswith("TIMEOUT Member 4 is a learner, but was not heard for 30 s")
    assert membership(cluster).joining == (4,)
    assert cluster.now_ms >= 30_000
    again = outcome(cluster, "RAFT.NODE ADD 4 127.0.0.1:8004", within_ms=40_000)
    assert again == reply, "though nothing was left to be begun"
    assert outcome(cluster, "RAFT.NODE REMOVE 4") == OK


def test_clients_of_a_removed_member_are_told_at_once(cluster: Cluster) -> None:
    assert outcome(cluster, "RAFT.NODE REMOVE 1") == OK
    assert cluster.replicas[1].node.is_removed
    for kind, line in ((Kind.WRITE, b"SET a 1"), (Kind.READ, b"GET a")):
        sink = Catch()
        cluster.replicas[1].submit(kind, [line.split()], NO_SCOPES, 10, sink)
        cluster.run()
        assert sink.replies == [REMOVED]


def new_voter() -> tuple[Alone, Catch]:
    """A leader that waits for member 4, which the test plays; 4 has nothing yet."""
    member = Alone(RedisMachine())
    member.replica.on_link_up(4)
    return member, member.send(Kind.ADMIN, [b"RAFT.NODE", b"ADD", b"4", b"127.0.0.1:8004"])


def test_a_member_that_is_heard_and_comes_no_further_is_not_waited_for_either() -> None:
    """As when its disk is full."""
    member, sink = new_voter()
    for _ in range(30):
        assert sink.replies is None
        member.replica.on_message(4, HeartbeatReply(member.replica.node.term, 0))
        member.advance(1000)
    assert sink.replies is not None
    assert sink.replies[0].text.startswith("TIMEOUT Member 4 is a learner, but came no further for 30 s: see its log")


def test_a_member_that_is_sent_a_long_snapshot_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log stands still meanwhile."""
    member, sink = new_voter()
    arrived = 0
    monkeypatch.setattr(member.replica.admin, "_snapshot_offset", lambda _member: arrived)
    for _ in range(10):
        member.advance(20_000)
        arrived += 1
    assert sink.replies is None
    member.advance(10)
    member.advance(30_000)
    assert sink.replies is not None


def test_a_leader_that_is_removed_answers_and_goes(cluster: Cluster) -> None:
    assert outcome(cluster, "RAFT.NODE REMOVE 1") == OK
    cluster.advance(2000)
    assert leader_of(cluster).node.id in (2, 3)
    assert leader_of(cluster).node.membership.voters == (2, 3)


def test_a_change_whose_leader_is_lost_may_still_be_completed(cluster: Cluster) -> None:
    cluster.cut_off.add(1)
    sink = ask(cluster, "RAFT.NODE REMOVE 3")
    assert sink.replies is None
    cluster.advance(3000)
    assert sink.replies is not None
    assert sink.replies[0].text.startswith("TRYAGAIN The leader changed while the change was under way")
    cluster.cut_off.clear()
    cluster.advance(2000)
    assert leader_of(cluster).node.membership.voters == (1, 2, 3), "it was in one log only, and was replaced"


def test_a_request_that_was_not_begun_is_certainly_not_done(cluster: Cluster) -> None:
    """The first is under way and gets nowhere, the second waits behind it."""
    cluster.cut_off.add(1)
    ask(cluster, "RAFT.NODE REMOVE 3")
    second = ask(cluster, "RAFT.NODE DEMOTE 2")
    cluster.advance(8000)
    assert second.replies == [LEADERSHIP_LOST]


def test_leadership_does_not_go_to_a_member_that_is_down(cluster: Cluster) -> None:
    cluster.cut_off.add(3)
    client = ask(cluster, "RAFT.TRANSFER_LEADER 3")
    write = Catch()
    cluster.replicas[1].submit(Kind.WRITE, [[b"SET", b"a", b"1"]], NO_SCOPES, 10, write)
    cluster.run()
    assert write.replies is None, "nothing is proposed meanwhile"
    cluster.advance(3000)
    assert client.replies is not None
    assert "not handed over in time; member 1 leads" in client.replies[0].text
    assert write.replies == [OK]
    assert leader_of(cluster).node.id == 1
