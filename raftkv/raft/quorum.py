"""How many are enough, and what so many have agreed on. Pure arithmetic, used for votes, commits and reads alike.

Who must agree is told as *halves*: one, the voters; or two while a change of the voters is under way, the new ones and
the outgoing. Then everything needs enough of each half (joint consensus; paper, section 6).

`min_majority` holds for each half. It says on how many disks a committed entry is, and that must not sink for the time
of a change; a half with fewer voters than it can decide nothing, so a change that would lead there is refused.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import msgspec

from raftkv.raft.membership import Membership


class Half(msgspec.Struct, frozen=True):
    """peers: the voters other than this member. has_self: whether it is one of them. needed: so many must agree."""

    peers: tuple[int, ...]
    has_self: bool
    needed: int


def majority(voters: int, min_majority: int = 0) -> int:
    """More than half of the voters, or `min_majority` when that is larger.

    Two of four is not a majority: two halves of a split cluster would both elect and both commit.
    """
    return max(voters // 2 + 1, min_majority)


def halves_of(membership: Membership, member_id: int, min_majority: int) -> tuple[Half, ...]:
    """As seen by `member_id`, which need not be a voter: then it needs the agreement of others alone."""
    halves = (membership.voters, membership.outgoing) if membership.is_joint else (membership.voters,)
    return tuple(
        Half(
            tuple(voter for voter in voters if voter != member_id),
            member_id in voters,
            majority(len(voters), min_majority),
        )
        for voters in halves
    )


def agreed(values: Iterable[int], needed: int) -> int:
    """The highest number that at least `needed` of the voters' `values` have reached; 0 when there are too few.

    `values` are match indexes (then it is what may be committed) or read rounds (then what is confirmed).
    """
    ordered = sorted(values, reverse=True)
    return ordered[needed - 1] if len(ordered) >= needed else 0


def are_enough(halves: Iterable[Half], peers: Container[int], *, with_self: bool = True) -> bool:
    """Whether `peers`, and this member where it is a voter, are enough in each half."""
    return all(
        (half.has_self and with_self) + sum(peer in peers for peer in half.peers) >= half.needed for half in halves
    )
