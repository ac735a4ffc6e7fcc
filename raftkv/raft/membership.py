"""Who belongs to the cluster, as an entry of the log, and which of these entries counts (paper, section 6; thesis, 4).

The newest membership in the log counts, committed or not. A leader that appends one goes by it at once, a follower
from when it has accepted it; when a conflicting suffix is cut, the one before counts again. So `Memberships` keeps all
that the log has, with the one that was in force at the log's base in front.

While `outgoing` is not empty two majorities are needed for everything, one of the voters and one of the outgoing
(joint consensus): at no moment can the old and the new voters decide without each other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from raftkv.errors import InvalidMembership, LastServer, ProtocolError
from raftkv.raft.messages import EntryKind

MEMBERSHIP: Final = int(EntryKind.MEMBERSHIP)
"""The kind of an entry that carries one; plain, because each entry's kind is compared with it."""


class Membership(msgspec.Struct, array_like=True, frozen=True):
    """
    voters     ascending; the new ones while joint
    outgoing   the old voters while joint; empty: not joint
    learners   receive the log, count nowhere
    joining    those learners that the leader makes voters as soon as they have caught up
    addresses  id -> peer address host:port, of all members
    removed    ids that were members once; they are never used again, for a late message of the old holder would
               pass for one of the new
    """

    voters: tuple[int, ...]
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    joining: tuple[int, ...] = ()
    addresses: dict[int, str] = {}
    removed: tuple[int, ...] = ()

    @classmethod
    def founding(cls, addresses: Mapping[int, str]) -> Membership:
        """That of a new cluster: all of these are voters."""
        return cls(tuple(sorted(addresses)), addresses=dict(sorted(addresses.items())))

    @property
    def is_joint(self) -> bool:
        return bool(self.outgoing)

    @property
    def members(self) -> frozenset[int]:
        return frozenset(self.voters + self.outgoing + self.learners)

    def encode(self) -> bytes:
        """The same bytes for the same membership: `_following` keeps the addresses in the order of ids."""
        return _encoder.encode(self)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Membership)


def decode_membership(data: bytes) -> Membership:
    """Raises ProtocolError: no leader appends what is none."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"an entry's membership is not decodable: {error}") from error


def first_step(now: Membership, target: Membership) -> Membership:
    """What to append when `target` (not joint) is to follow `now` (not joint): the joint membership when the voters
    differ, otherwise `target` itself. `removed` is kept here, whatever the target says."""
    if target.voters == now.voters:
        return _following(now, target)
    return _following(now, msgspec.structs.replace(target, outgoing=now.voters))


def last_step(joint: Membership) -> Membership:
    """What to append once `joint` is committed: the same without the outgoing voters."""
    return _following(joint, msgspec.structs.replace(joint, outgoing=()))


def _following(now: Membership, then: Membership) -> Membership:
    members = then.members
    addresses = {**now.addresses, **then.addresses}
    return msgspec.structs.replace(
        then,
        addresses={member: addresses[member] for member in sorted(members) if member in addresses},
        removed=tuple(sorted({*now.removed, *(now.members - members)})),
    )


def check_target(now: Membership, target: Membership, min_majority: int) -> None:
    """Raises LastServer or InvalidMembership when `target` must not follow `now`."""
    if not target.voters:
        raise LastServer("the last voter of a cluster cannot be removed from it")
    if len(target.voters) < min_majority:
        raise InvalidMembership(
            f"{len(target.voters)} voters would be fewer than cluster.min_majority = {min_majority}"
        )
    back = target.members & set(now.removed)
    if back:
        raise InvalidMembership(f"member {min(back)} was removed once, and its id is never used again: take a new id")
    both = set(target.voters) & set(target.learners)
    if both or not set(target.joining) <= set(target.learners):
        raise InvalidMembership("a member is voter or learner, not both, and only learners can be joining")
    for ids in (target.voters, target.learners, target.joining):
        if list(ids) != sorted(set(ids)):
            raise InvalidMembership(f"ids must be ascending, each once: {ids}")


class Memberships:
    """All memberships that the log has, oldest first; in front the one in force at the log's base."""

    def __init__(self, base_index: int, base: Membership, later: Iterable[tuple[int, Membership]] = ()) -> None:
        self._indexes = [base_index]
        self._memberships = [base]
        for index, membership in later:
            self.append(index, membership)

    @property
    def index(self) -> int:
        """Where the newest one is in the log (or the log's base)."""
        return self._indexes[-1]

    @property
    def newest(self) -> Membership:
        return self._memberships[-1]

    @property
    def before_newest(self) -> Membership | None:
        return self._memberships[-2] if len(self._memberships) > 1 else None

    def at(self, index: int) -> Membership:
        """The one in force when the entry at `index` had just been appended; `index` not below the base."""
        return self._memberships[bisect_right(self._indexes, index) - 1]

    def append(self, index: int, membership: Membership) -> None:
        self._indexes.append(index)
        self._memberships.append(membership)

    def cut_from(self, index: int) -> None:
        """The log was cut from `index` on. The base's own stays."""
        while len(self._indexes) > 1 and self._indexes[-1] >= index:
            self._indexes.pop()
            self._memberships.pop()

    def compact(self, index: int) -> None:
        """The log begins behind `index` now: of all up to there only the newest is still needed."""
        place = bisect_right(self._indexes, index) - 1
        if place > 0:
            del self._indexes[:place], self._memberships[:place]
