"""Changes of the members: section 6 of the paper and chapter 4 of the thesis, sentence by sentence, and what others
got wrong."""

from __future__ import annotations

import pytest

from raftkv.errors import InvalidMembership, LastServer, NotLeader, ProtocolError, UnstableConfig, UnstableLeader
from raftkv.raft.membership import MEMBERSHIP, Membership
from raftkv.raft.messages import Append, Entry, HeartbeatReply, VoteReply, VoteRequest
from raftkv.raft.progress import Mode
from raftkv.raft.roles import Role
from tests.raft.alone import Alone, accepted, entries, granted, vote_request
from tests.raft.harness import Cluster


def elected(count: int = 3, *, spares: int = 0, **settings: int) -> Cluster:
    cluster = Cluster(count, spares=spares, **settings)
    cluster.elect(1)
    cluster.run(100)
    return cluster


def voters(cluster: Cluster, member_id: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return cluster[member_id].membership.voters, cluster[member_id].membership.outgoing


# ---- joint consensus (paper, section 6)


def test_a_server_always_uses_the_latest_configuration_in_its_log_committed_or_not() -> None:
    cluster = elected(spares=1)
    cluster.change(1, Membership((1, 2, 3, 4)))
    assert voters(cluster, 1) == ((1, 2, 3, 4), (1, 2, 3)), "the leader at once"
    cluster.deliver(1, 2)
    assert voters(cluster, 2) == ((1, 2, 3, 4), (1, 2, 3)), "a follower when it has it"
    assert not cluster[2].membership_is_committed
    assert voters(cluster, 3) == ((1, 2, 3), ())


def test_a_configuration_that_is_cut_from_the_log_counts_no_more() -> None:
    """etcd and others have applied one too early, and could not go back."""
    cluster = elected(spares=1)
    cluster.isolate(1)
    cluster.change(1, Membership((1, 2, 3, 4)))
    cluster.forget_leaders()
    cluster.elect(2)
    cluster.heal()
    cluster.run(200)
    assert voters(cluster, 1) == ((1, 2, 3), ())
    assert cluster[1].peers == (2, 3)


@pytest.mark.parametrize(
    ("reached", "is_enough"), [([1, 2, 3], False), ([1, 4, 5, 6], False), ([1, 2, 4], False), ([1, 2, 4, 5], True)]
)
def test_agreement_requires_separate_majorities_from_both(reached: list[int], is_enough: bool) -> None:
    cluster = elected(spares=3)
    joint = cluster.change(1, Membership((4, 5, 6)))
    cluster.partition(reached)
    cluster.run(100)
    assert (cluster[1].log.commit >= joint) is is_enough


def test_an_election_requires_separate_majorities_from_both() -> None:
    cluster = elected(spares=2)
    cluster.change(1, Membership((3, 4, 5)))
    for number in (2, 3, 4, 5):
        cluster.deliver(1, number)
    cluster.crash(1)
    cluster.forget_leaders()
    cluster.partition([3, 4, 5])
    cluster.campaign(3)
    cluster.stabilize()
    assert cluster[3].role is not Role.LEADER, "one of the old is no majority of them"
    cluster.heal()
    cluster.elect(3)


def test_a_read_requires_separate_majorities_from_both() -> None:
    cluster = elected(spares=3)
    cluster.change(1, Membership((4, 5, 6)))
    cluster.partition([1, 2, 3])
    number = cluster.begin_read_round(1)
    cluster.run(50)
    assert cluster[1].confirmed_round < number
    cluster.partition([1, 2, 5, 6])
    cluster.run(50)
    assert cluster[1].confirmed_round >= number


def test_once_the_joint_configuration_is_committed_the_leader_creates_the_new_one() -> None:
    cluster = elected(spares=1)
    joint = cluster.change(1, Membership((1, 2, 3, 4)))
    cluster.run(100)
    for number in (1, 2, 3, 4):
        assert voters(cluster, number) == ((1, 2, 3, 4), ())
        assert cluster[number].membership_is_committed
    assert cluster[1].membership_index == joint + 1


def test_a_later_leader_brings_the_change_to_its_end() -> None:
    """etcd: the entry that leaves the joint configuration was lost with the leader, and nobody wrote another."""
    cluster = elected(spares=1)
    cluster.change(1, Membership((1, 2, 3, 4)))
    for number in (2, 3, 4):
        cluster.deliver(1, number)
    cluster.crash(1)
    cluster.forget_leaders()
    cluster.elect(2)
    cluster.run(100)
    assert voters(cluster, 2) == ((1, 2, 3, 4), ())
    assert cluster[2].membership_is_committed


def test_the_leader_may_not_be_part_of_the_new_configuration() -> None:
    """It manages the cluster without counting itself, and steps down once the new one is committed."""
    cluster = elected(spares=1)
    cluster.change(1, Membership((2, 3, 4)))
    for number in (2, 3, 4):
        cluster.deliver(1, number)
    cluster.deliver(2, 1)
    cluster.deliver(3, 1)
    cluster.deliver(4, 1)
    assert voters(cluster, 1) == ((2, 3, 4), ())
    last = cluster[1].log.last_index
    cluster.deliver(1, 2)
    cluster.deliver(2, 1)
    assert cluster[1].role is Role.LEADER
    assert cluster[1].log.commit < last, "2 alone of three; the leader itself is on no list any more"
    cluster.stabilize()
    cluster.run(1_000)
    assert cluster[1].role is Role.FOLLOWER
    assert cluster[1].is_removed
    assert cluster.leaders() != [1]
    assert len(cluster.leaders()) == 1


def test_a_leader_that_removes_itself_hands_over() -> None:
    cluster = elected()
    term = cluster[1].term
    cluster.change(1, Membership((2, 3)))
    cluster.run(60)
    assert cluster.leaders() in ([2], [3]), "no election timeout has passed"
    assert cluster[cluster.leaders()[0]].term == term + 1


def test_a_member_outside_of_an_uncommitted_configuration_can_still_be_elected() -> None:
    """4.2.2: the only log with the new configuration may be that of a member which it leaves out. Everybody else's is
    older and gets no vote from it, so if it did not stand, nobody could ever be elected."""
    cluster = elected(3, spares=2)
    cluster.change(1, Membership((3, 4, 5)))
    for number in (2, 3, 4, 5, 4, 5, 4, 5):
        if cluster[1].membership.is_joint:
            cluster.deliver(1, number)
            cluster.deliver(number, 1)
    assert voters(cluster, 1) == ((3, 4, 5), ())
    cluster.deliver(1, 2)
    cluster.crash(1)
    for number in (3, 4, 5):
        cluster.drop(1, number)
        cluster.drop(2, number)
    assert voters(cluster, 2) == ((3, 4, 5), ())
    assert voters(cluster, 3) == ((3, 4, 5), (1, 2, 3))
    cluster.run(3_000)
    assert cluster.leaders() in ([3], [4], [5])
    assert voters(cluster, 3) == ((3, 4, 5), ())
    assert cluster[2].is_removed


# ---- one at a time, and when


def test_no_change_while_one_is_under_way() -> None:
    cluster = elected(spares=2)
    cluster.change(1, Membership((1, 2, 3, 4)))
    with pytest.raises(UnstableConfig):
        cluster.change(1, Membership((1, 2, 3, 5)))
    for number in (2, 3, 4):
        cluster.deliver(1, number)
        cluster.deliver(number, 1)
    assert not cluster[1].membership.is_joint
    with pytest.raises(UnstableConfig):
        cluster.change(1, Membership((1, 2, 3, 5)))
    cluster.run(100)
    cluster.change(1, Membership((1, 2, 3, 4, 5)))


def test_no_change_before_the_leader_has_committed_in_its_own_term() -> None:
    cluster = Cluster(3)
    cluster.campaign(1)
    while cluster[1].role is not Role.LEADER:
        for number in (2, 3):
            cluster.deliver(1, number, 1)
            cluster.deliver(number, 1, 1)
    with pytest.raises(UnstableLeader):
        cluster.change(1, Membership((1, 2)))
    cluster.stabilize()
    cluster.change(1, Membership((1, 2)))


def test_only_a_leader_changes() -> None:
    with pytest.raises(NotLeader):
        elected().change(2, Membership((1, 2)))


def test_the_last_voter_stays() -> None:
    cluster = elected(1)
    with pytest.raises(LastServer):
        cluster.change(1, Membership((), learners=(1,)))


def test_never_fewer_voters_than_must_agree() -> None:
    cluster = elected(3, min_majority=3)
    with pytest.raises(InvalidMembership, match="min_majority"):
        cluster.change(1, Membership((1, 2)))


@pytest.mark.parametrize(
    "target",
    [
        Membership((1, 2, 3), learners=(3,)),
        Membership((2, 1, 3)),
        Membership((1, 1, 2)),
        Membership((1, 2, 3), joining=(4,)),
    ],
)
def test_members_that_make_no_sense_are_refused(target: Membership) -> None:
    with pytest.raises(InvalidMembership):
        elected(spares=1).change(1, target)


def test_what_is_already_so_needs_no_entry() -> None:
    cluster = elected()
    assert cluster.change(1, Membership((1, 2, 3))) == cluster[1].membership_index
    assert cluster[1].log.last_index == 1


def test_a_removed_id_never_comes_back() -> None:
    cluster = elected()
    cluster.change(1, Membership((1, 2)))
    cluster.run(100)
    assert cluster[1].membership.removed == (3,)
    with pytest.raises(InvalidMembership, match="never used again"):
        cluster.change(1, Membership((1, 2), learners=(3,)))


def test_addresses_are_kept_for_members_alone_and_can_change_without_a_joint_configuration() -> None:
    cluster = elected(spares=1)
    cluster.change(1, Membership((1, 2, 3), learners=(4,), addresses={4: "d:4", 9: "z:9"}))
    cluster.run(100)
    assert cluster[4].membership.addresses == {4: "d:4"}
    index = cluster.change(1, Membership((1, 2, 3), learners=(4,), addresses={4: "e:4"}))
    cluster.run(100)
    assert (cluster[4].membership_index, cluster[4].membership.addresses) == (index, {4: "e:4"})


def test_a_lone_member_grows_and_shrinks_again() -> None:
    cluster = elected(1, spares=4)
    cluster.change(1, Membership((1, 2, 3, 4, 5)))
    cluster.run(100)
    assert voters(cluster, 5) == ((1, 2, 3, 4, 5), ())
    cluster.change(1, Membership((1,)))
    cluster.run(100)
    assert voters(cluster, 1) == ((1,), ())
    cluster.propose(1, b"x")
    cluster.stabilize()
    assert cluster.data_of(1) == [b"x"]


def test_a_member_that_belongs_nowhere_yet_only_listens() -> None:
    cluster = Cluster(1, spares=1)
    cluster.run(5_000)
    assert (cluster[2].role, cluster[2].term) == (Role.FOLLOWER, 0)
    cluster.trigger_election(2)
    assert cluster[2].role is Role.FOLLOWER


# ---- learners (4.2.1)


def test_learners_receive_the_log_and_count_nowhere() -> None:
    cluster = elected(spares=2)
    cluster.change(1, Membership((1, 2, 3), learners=(4, 5)))
    cluster.run(100)
    cluster.propose(1, b"x")
    cluster.run(100)
    assert cluster.data_of(4) == [b"x"]
    cluster.partition([1, 4, 5])
    commit = cluster[1].log.commit
    cluster.propose(1, b"y")
    number = cluster.begin_read_round(1)
    cluster.run(300)
    assert cluster[1].log.commit == commit
    assert cluster[1].confirmed_round < number
    cluster.run(600)
    assert cluster[1].role is Role.FOLLOWER, "it has heard no quorum"


def test_a_learner_never_stands_for_election_but_forgets_a_silent_leader() -> None:
    cluster = elected(spares=1)
    cluster.change(1, Membership((1, 2, 3), learners=(4,)))
    cluster.run(100)
    cluster.isolate(4)
    cluster.run(5_000)
    assert cluster[4].role is Role.FOLLOWER
    assert (cluster[4].leader_id, cluster[4].term) == (None, cluster[1].term)


def test_the_vote_of_a_learner_does_not_count() -> None:
    alone = Alone(count=3)
    learner = Entry(1, 1, MEMBERSHIP, Membership((1, 2, 3), learners=(4,)).encode())
    alone.receives(2, Append(1, 0, 0, 1, [learner]))
    alone.time_passes(1_000)
    assert alone.node.role is Role.PRE_CANDIDATE
    alone.receives(4, VoteReply(2, True, True))
    assert alone.node.role is Role.PRE_CANDIDATE
    alone.receives(3, VoteReply(2, True, True))
    assert alone.node.role is Role.CANDIDATE


def test_a_learner_answers_votes_for_it_may_be_a_voter_without_knowing() -> None:
    alone = Alone(count=3)
    learner = Entry(1, 1, MEMBERSHIP, Membership((2, 3), learners=(1,)).encode())
    alone.receives(2, Append(1, 0, 0, 1, [learner]))
    alone.time_passes(1_000)
    assert granted(alone.answer(3, vote_request(2, 2, 1)))


def test_a_joining_learner_becomes_a_voter_once_it_has_caught_up() -> None:
    cluster = elected(spares=1)
    for number in range(50):
        cluster.propose(1, b"%d" % number)
    cluster.partition([1, 2, 3])
    cluster.change(1, Membership((1, 2, 3), learners=(4,), joining=(4,)))
    cluster.run(2_000)
    assert cluster[1].membership.learners == (4,), "nothing has got there yet"
    cluster.heal()
    cluster.run(2_000)
    assert voters(cluster, 4) == ((1, 2, 3, 4), ())
    assert cluster[4].membership.joining == ()


def test_a_learner_is_not_promoted_on_stale_news() -> None:
    """etcd's clients promoted by a match index that was true before the learner went away."""
    cluster = elected(spares=1)
    cluster.change(1, Membership((1, 2, 3), learners=(4,)))
    cluster.run(100)
    cluster.crash(4)
    cluster.change(1, Membership((1, 2, 3), learners=(4,), joining=(4,)))
    cluster.run(3_000)
    assert cluster[1].membership.joining == (4,)
    cluster.restart(4)
    cluster.run(2_000)
    assert voters(cluster, 4) == ((1, 2, 3, 4), ())


def test_a_new_leader_promotes_too() -> None:
    cluster = elected(spares=1)
    cluster.partition([1, 2, 3])
    cluster.change(1, Membership((1, 2, 3), learners=(4,), joining=(4,)))
    cluster.run(100)
    cluster.crash(1)
    cluster.heal()
    cluster.run(4_000)
    assert voters(cluster, 4) == ((1, 2, 3, 4), ())


def test_a_demoted_voter_stays_as_learner() -> None:
    cluster = elected()
    cluster.change(1, Membership((1, 2), learners=(3,)))
    cluster.run(100)
    cluster.propose(1, b"x")
    cluster.run(100)
    assert cluster.data_of(3) == [b"x"]
    assert cluster[3].membership.removed == ()


# ---- who was removed (4.2.3)


def test_removed_members_learn_of_it_and_are_then_left_alone() -> None:
    cluster = elected(5)
    cluster.change(1, Membership((1, 2, 3)))
    cluster.run(300)
    for number in (4, 5):
        assert cluster[number].is_removed
        term = cluster[number].term
        cluster.tick(number, 5_000)
        assert (cluster[number].role, cluster[number].term) == (Role.FOLLOWER, term)
    assert cluster[1].peers == (2, 3)
    assert cluster.leaders() == [1]


def test_a_removed_member_knows_it_after_a_restart() -> None:
    cluster = elected()
    cluster.change(1, Membership((1, 2)))
    cluster.run(300)
    cluster.restart(3)
    assert cluster[3].is_removed


def test_who_is_down_when_it_is_removed_is_waited_for_a_bounded_time() -> None:
    cluster = elected(3, farewell_ms_max=500)
    cluster.crash(3)
    cluster.change(1, Membership((1, 2)))
    cluster.run(300)
    assert cluster[1].peers == (2, 3)
    cluster.run(400)
    assert cluster[1].peers == (2,)


def test_a_removed_member_that_does_not_know_disturbs_nobody() -> None:
    """4.2.3: it does not hear the leader and asks for votes; who hears the leader does not answer."""
    cluster = elected(4)
    cluster.partition([1, 2, 3])
    cluster.change(1, Membership((1, 2, 3)))
    cluster.run(11_000, step_ms=50)
    cluster.heal()
    term = cluster[1].term
    cluster.trigger_election(4)
    cluster.run(2_000)
    assert (cluster.leaders(), cluster[1].term) == ([1], term)


def test_a_removed_leader_is_not_counted() -> None:
    """The one that removes itself from two: the other alone decides."""
    cluster = elected(2)
    cluster.change(1, Membership((2,)))
    cluster.deliver(1, 2)
    cluster.deliver(2, 1)
    assert voters(cluster, 1) == ((2,), ())
    assert cluster[1].log.commit < cluster[1].log.last_index
    cluster.run(200)
    assert cluster.leaders() == [2]
    assert cluster[1].is_removed


def test_the_answer_of_who_has_left_does_not_depose() -> None:
    cluster = elected(3)
    cluster.change(1, Membership((1, 2)))
    cluster.partition([1, 2])
    cluster.run(100)
    term = cluster[1].term
    cluster.inject(3, 1, HeartbeatReply(term + 5, 0))
    assert (cluster[1].role, cluster[1].term) == (Role.LEADER, term)


# ---- requests of who is not known (4.2.2)


def test_a_candidate_that_one_does_not_know_is_answered() -> None:
    alone = Alone(term=1)
    assert granted(alone.answer(7, vote_request(2)))


def test_a_forced_request_is_answered_while_a_leader_is_heard() -> None:
    alone = Alone()
    alone.follows(2, 1)
    assert granted(alone.answer(3, VoteRequest(2, 0, 0, False, True)))


def test_an_entry_that_is_no_membership_is_refused_before_anything_is_taken() -> None:
    alone = Alone()
    with pytest.raises(ProtocolError, match="membership"):
        alone.receives(2, Append(1, 0, 0, 0, [*entries(1, 1), Entry(2, 1, MEMBERSHIP, b"\x93")]))
    assert alone.terms() == []


def test_a_restart_finds_the_membership_in_the_log() -> None:
    cluster = elected(spares=1)
    cluster.change(1, Membership((1, 2, 3, 4)))
    cluster.run(100)
    cluster.restart(4)
    assert voters(cluster, 4) == ((1, 2, 3, 4), ())
    cluster.compact(4)
    cluster.restart(4)
    assert voters(cluster, 4) == ((1, 2, 3, 4), ())


def test_a_new_member_is_probed_from_the_end_of_the_log() -> None:
    alone = Alone([1, 1], term=1)
    alone.becomes_leader()
    for peer in (2, 3):
        alone.receives(peer, accepted(alone.node.term, 3))
    alone.cluster.change(1, Membership((1, 2, 3), learners=(4,)))
    progress = alone.node.progress[4]
    assert (progress.mode, progress.next, progress.match) == (Mode.PROBE, 5, 0)
