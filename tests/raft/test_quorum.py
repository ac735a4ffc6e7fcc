"""Quorum arithmetic against naive twins: definitions carried out by counting, slow and evidently right."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.membership import Membership
from raftkv.raft.quorum import agreed, are_enough, halves_of, majority
from raftkv.raft.replication import commit_what_a_quorum_has
from tests.raft.harness import Cluster

VALUES = st.lists(st.integers(0, 12), max_size=9)


@given(st.integers(1, 9))
def test_majority_is_the_smallest_size_of_which_any_two_groups_meet(voters: int) -> None:
    def always_meet(size: int) -> bool:
        groups = list(combinations(range(voters), size))
        return all(set(a) & set(b) for a in groups for b in groups)

    assert majority(voters) == next(size for size in range(1, voters + 1) if always_meet(size))


@given(st.integers(1, 99), st.integers(0, 99))
def test_min_majority_only_raises(voters: int, min_majority: int) -> None:
    assert majority(voters, min_majority) == max(majority(voters), min_majority)


def test_half_is_not_a_majority() -> None:
    assert [majority(voters) for voters in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


@given(VALUES, st.integers(1, 9))
def test_agreed_is_the_highest_number_that_enough_have_reached(values: list[int], needed: int) -> None:
    reached = [x for x in range(13) if sum(value >= x for value in values) >= needed]
    assert agreed(values, needed) == max(reached, default=0)


@given(VALUES, st.integers(1, 9), st.randoms())
def test_agreed_does_not_depend_on_the_order(values: list[int], needed: int, random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert agreed(shuffled, needed) == agreed(values, needed)


@given(VALUES, st.integers(1, 9), st.integers(0, 8), st.integers(0, 5))
def test_agreed_never_falls_when_a_member_advances(values: list[int], needed: int, who: int, by: int) -> None:
    advanced = [value + by if place == who else value for place, value in enumerate(values)]
    assert agreed(advanced, needed) >= agreed(values, needed)


@given(VALUES)
def test_more_needed_than_there_are_agree_on_nothing(values: list[int]) -> None:
    assert agreed(values, len(values) + 1) == 0


# ---- two halves, while the voters change

IDS = st.frozensets(st.integers(1, 7), min_size=1, max_size=5)


def twin_is_enough(membership: Membership, who: frozenset[int], min_majority: int) -> bool:
    """By definition: more than half, and at least so many, of the voters, and of the outgoing ones if there are any."""
    halves = [set(membership.voters)] + ([set(membership.outgoing)] if membership.outgoing else [])
    return all(2 * len(half & who) > len(half) and len(half & who) >= min_majority for half in halves)


@given(IDS, st.one_of(st.just(frozenset[int]()), IDS), st.frozensets(st.integers(1, 9)), st.integers(0, 4))
def test_enough_are_enough_of_each_half(
    voters: frozenset[int], outgoing: frozenset[int], who: frozenset[int], min_majority: int
) -> None:
    """As each member sees it who is among them; learners and strangers (8, 9) change nothing."""
    membership = Membership(tuple(sorted(voters)), tuple(sorted(outgoing)), learners=(8,))
    expected = twin_is_enough(membership, who, min_majority)
    for me in who:
        assert are_enough(halves_of(membership, me, min_majority), who - {me}) is expected


@given(IDS, IDS, st.integers(0, 3))
def test_any_two_that_are_enough_meet_in_each_half(old: frozenset[int], new: frozenset[int], min_majority: int) -> None:
    """So neither the old nor the new voters can decide anything that the joint ones do not hear of."""
    joint = Membership(tuple(sorted(new)), tuple(sorted(old)))
    everybody = sorted(old | new)
    groups = [frozenset(g) for size in range(len(everybody) + 1) for g in combinations(everybody, size)]
    enough = [group for group in groups if twin_is_enough(joint, group, min_majority)]
    for single in (Membership(joint.voters), Membership(joint.outgoing)):
        alone = [group for group in groups if twin_is_enough(single, group, min_majority)]
        assert all(a & b for a in enough for b in alone)


@given(st.lists(st.integers(0, 5), min_size=6, max_size=6), IDS, IDS)
def test_what_is_committed_is_on_enough_of_each_half(
    values: list[int], new: frozenset[int], old: frozenset[int]
) -> None:
    """Member 1 leads, whether it is a voter or not; `values` say up to where each of 2 to 7 has the log."""
    cluster = Cluster(1, spares=6)
    cluster.elect(1)
    cluster.slow_disk(1)
    node = cluster[1]
    node.memberships.append(node.log.last_index, Membership(tuple(sorted(new)), tuple(sorted(old))))
    node._adopt()
    node.is_changing = False
    for _ in range(4):
        node.propose(b"")
    assert (node.term_start, node.log.commit, node.log.synced) == (1, 1, 1)
    for peer, value in enumerate(values, 2):
        if peer in node.progress:
            node.progress[peer].match = value
    commit_what_a_quorum_has(node)
    has = {1: node.log.synced, **dict(enumerate(values, 2))}
    expected = [
        index
        for index in range(1, 6)
        if twin_is_enough(node.membership, frozenset(member for member in has if has[member] >= index), 0)
    ]
    assert node.log.commit == max(expected, default=1)
