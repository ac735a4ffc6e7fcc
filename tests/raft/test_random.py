"""Random lives of small clusters, and the proof that the checkers which watch them see what they should.

Everything follows from `(seed, count)`; to replay one: ``Schedule(seed, count).run(STEPS)``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.raft import mutants
from tests.raft import test_membership_changes as outside
from tests.raft import test_paper_sections as lone
from tests.raft import test_snapshots as snapshots
from tests.raft.checkers import Violation
from tests.raft.harness import Cluster
from tests.raft.schedule import TIMING, Schedule

STEPS = 400
SEEDS = range(120)
SEEDS_FOR_MUTANTS = range(1000)
"""Most bugs show within the first dozen; the search ends at the first find."""


@pytest.mark.parametrize("count", [3, 4, 5])
def test_no_schedule_breaks_a_property(count: int) -> None:
    terms = committed = confirmed = 0
    for seed in SEEDS:
        schedule = Schedule(seed, count)
        try:
            schedule.run(STEPS)
        except Violation as violation:
            pytest.fail(f"Schedule({seed}, {count}).run({STEPS}): {violation}")
        terms += len(schedule.checkers.leader_of)
        committed += len(schedule.checkers.committed)
        confirmed += schedule.checkers.reads_confirmed
    # Schedules in which nothing happens would prove nothing.
    assert min(terms / 2, committed / 10, confirmed / 5) > len(SEEDS), (terms, committed, confirmed)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_no_schedule_with_changes_breaks_a_property(count: int) -> None:
    """The members change while everything else happens, followers need snapshots, leaders hand over."""
    changes = committed = transfers = snapshots = 0
    for seed in SEEDS:
        schedule = Schedule(seed, count, changing=True)
        try:
            schedule.run(STEPS)
        except Violation as violation:
            pytest.fail(f"Schedule({seed}, {count}, changing=True).run({STEPS}): {violation}")
        committed += len(schedule.checkers.committed)
        changes += schedule.changes
        transfers += schedule.transfers
        snapshots += schedule.checkers.snapshots_installed
    assert min(changes, committed / 10, transfers * 2, snapshots * 2) > len(SEEDS), (changes, transfers, snapshots)


def test_a_schedule_is_the_same_each_time_it_is_run() -> None:
    first, second = Schedule(7, 3), Schedule(7, 3)
    first.run(STEPS)
    second.run(STEPS)
    assert first.checkers.made == second.checkers.made
    assert first.checkers.vote_of == second.checkers.vote_of


@pytest.mark.parametrize(("mutant", "properties"), mutants.MUTANTS, ids=[m.__name__ for m, _ in mutants.MUTANTS])
def test_a_bug_put_back_is_seen(
    mutant: mutants.Mutant, properties: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    for seed in SEEDS_FOR_MUTANTS:
        try:
            Schedule(seed, 3 + seed % 3).run(STEPS)
        except Violation as violation:
            if violation.what in properties:
                return
    pytest.fail(f"no schedule noticed: {mutant.__doc__}")


CHANGING_MUTANTS = mutants.CHANGING_MUTANTS


@pytest.mark.parametrize(("mutant", "properties"), CHANGING_MUTANTS, ids=[m.__name__ for m, _ in CHANGING_MUTANTS])
def test_a_bug_of_changes_put_back_is_seen(
    mutant: mutants.Mutant, properties: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    for seed in SEEDS_FOR_MUTANTS:
        try:
            Schedule(seed, 1 + seed % 4, changing=True).run(STEPS)
        except Violation as violation:
            if violation.what in properties:
                return
    pytest.fail(f"no schedule noticed: {mutant.__doc__}")


RARE = [
    (
        mutants.only_voters_of_the_newest_membership_stand,
        outside.test_a_member_outside_of_an_uncommitted_configuration_can_still_be_elected,
    ),
    (mutants.lone_voter_leads_before_its_term_is_durable, lone.test_a_lone_member_leads_commits_and_reads_by_itself),
    (
        mutants.vouches_for_what_a_snapshot_replaced,
        snapshots.test_writes_under_way_do_not_vouch_for_what_comes_behind_the_snapshot,
    ),
    (
        mutants.writes_what_lies_below_the_base,
        snapshots.test_entries_that_are_not_written_yet_and_lie_below_the_base_are_not_written,
    ),
    (
        mutants.snapshot_needs_no_term,
        snapshots.test_a_member_that_has_the_snapshot_but_not_yet_the_term_begins_in_the_snapshots_term,
    ),
]
"""Bugs that hardly any schedule meets, each with the story that tells of it."""


@pytest.mark.parametrize(("mutant", "story"), RARE, ids=[mutant.__name__ for mutant, _ in RARE])
def test_a_rare_bug_put_back_spoils_its_story(
    mutant: mutants.Mutant, story: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        story()


def test_counting_an_old_term_loses_a_committed_entry_in_figure_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random schedules see the wrong rule; this shows that the rule is needed: a committed entry is replaced."""
    mutants.commits_an_old_term_by_counting(monkeypatch)
    with pytest.raises(Violation, match="leader completeness"):
        _old_term_entry_on_a_majority_is_replaced()


def test_figure_8_commits_nothing_that_is_replaced() -> None:
    _old_term_entry_on_a_majority_is_replaced()


def _old_term_entry_on_a_majority_is_replaced() -> None:
    cluster = Cluster(5, append_entries_max=1, **TIMING)
    for number, terms in {1: [1, 2], 2: [1, 2], 3: [1], 4: [1], 5: [1, 3]}.items():
        cluster.write_log(number, terms, term=3)
    # (c): 1 leads term 4 and brings entry 2/2 to a majority, its own no-op 3/4 only to itself and 2.
    cluster.partition([1, 2, 3])
    cluster.campaign(1)
    for number in (2, 3):  # pre-votes, then votes
        cluster.deliver(1, number)
        cluster.deliver(number, 1)
    for number in (2, 3):
        cluster.deliver(1, number)
        cluster.deliver(number, 1)
    while cluster.terms_of(3) != [1, 2]:
        cluster.deliver(1, 3, 1)
        cluster.deliver(3, 1)
    cluster.deliver(1, 2)
    cluster.deliver(2, 1)
    committed = cluster[1].log.commit
    # (d): 1 and 2 are gone, 5 is elected with its entry 2/3, which replaces 2/2.
    cluster.partition([3, 4, 5])
    cluster.forget_leaders()
    cluster.elect(5)
    assert cluster.terms_of(3)[1] == 3, "entry 2 was replaced, although a majority had it"
    if committed >= 2:
        raise Violation("leader completeness", "the replaced entry was committed")


def test_a_late_answer_confirms_no_newer_round(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _isolated_leader_confirms_a_read()
    mutants.confirms_reads_by_any_answer(monkeypatch)
    assert _isolated_leader_confirms_a_read(), "the scenario tells the two apart"


def _isolated_leader_confirms_a_read() -> bool:
    """Heartbeats are answered; before the answers arrive the leader is cut off and another one commits."""
    cluster = Cluster(3, **TIMING)
    cluster.elect(1)
    cluster.begin_read_round(1)
    for number in (2, 3):
        cluster.deliver(1, number)
    cluster.partition([2, 3], lose_under_way=False)
    for number in (2, 3):
        cluster.tick(number, cluster.settings.election_timeout_ms_min)
    cluster.campaign(2)
    for _ in range(3):
        cluster.deliver(2, 3)
        cluster.deliver(3, 2)
    assert cluster[2].leads_and_is_ready
    number = cluster.begin_read_round(1)
    for follower in (2, 3):
        cluster.deliver(follower, 1)
    return cluster[1].confirmed_round >= number
