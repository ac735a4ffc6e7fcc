"""How many are enough, and what so many have agreed on. Pure arithmetic, used for votes, commits and reads alike."""

from __future__ import annotations

from collections.abc import Iterable


def majority(voters: int, min_majority: int = 0) -> int:
    """More than half of the voters, or `min_majority` when that is larger.

    Two of four is not a majority: two halves of a split cluster would both elect and both commit.
    """
    return max(voters // 2 + 1, min_majority)


def agreed(values: Iterable[int], needed: int) -> int:
    """The highest number that at least `needed` of the voters' `values` have reached; 0 when there are too few.

    `values` are match indexes (then it is what may be committed) or read rounds (then what is confirmed).
    """
    ordered = sorted(values, reverse=True)
    return ordered[needed - 1] if len(ordered) >= needed else 0
