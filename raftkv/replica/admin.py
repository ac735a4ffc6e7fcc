"""Changes of the members, and of the leader, asked for by operators: carried out by the leader, answered when done.

A request is a work of kind ADMIN: it comes from a client's command or from another member, which carries it to the
leader as it does with writes. What it asks for is a *state to be reached* ("member 4 is a voter"), so asking again is
harmless, and a request whose leader was lost may simply be repeated::

    RAFT.NODE ADD 4 host:port           4 gets the log, and is a voter once it has caught up
    RAFT.NODE ADD 4 host:port LEARNER   4 gets the log
    RAFT.NODE PROMOTE 4                 learner -> voter, once it has caught up
    RAFT.NODE DEMOTE 4                  voter -> learner
    RAFT.NODE REMOVE 4                  4 is no member any more; its number is never used again
    RAFT.TRANSFER_LEADER [4]            4, or whoever has the most of the log, leads

Each turn looks at every waiting request: is its state reached and committed? Then it is answered. Is a change missing
and none under way? Then it is proposed. So requests that come together go one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from raftkv.errors import InvalidMembership, LastServer, NotDone, RaftkvError, YourFault
from raftkv.machines.numbers import parse_integer
from raftkv.machines.replies import OK, Error, Reply
from raftkv.raft.membership import Membership
from raftkv.raft.node import Node
from raftkv.raft.roles import Role
from raftkv.replica.system_commands import SYNTAX
from raftkv.replica.work import LEADERSHIP_LOST, Work
from raftkv.settings import ID_MAX, split_address

BAD_ID: Final = Error("ERR invalid member id: a number from 1 on is wanted")
BAD_ADDRESS: Final = Error("ERR invalid address: host:port is wanted")
LEADER_CHANGED: Final = Error(
    "TRYAGAIN The leader changed while the change was under way; it may still be completed, asking again is harmless"
)

Goal = Callable[[Membership], Membership]
"""The membership that is wanted instead of the present one, which does not do; the same one: it is on its way."""


class _Request(msgspec.Struct, eq=False):
    """`goal`: None for a transfer to `target`; otherwise what `member_id` is to become. `is_reached`: judges a
    membership that is committed and not joint."""

    work: Work
    goal: Goal | None = None
    is_reached: Callable[[Membership], bool] = lambda membership: True  # noqa: ARG005
    target: int | None = None
    member_id: int = 0
    begun: bool = False
    position: tuple[int, int] | None = None
    """How far the member was when it was looked at, and moved last at `moved_ms`."""
    moved_ms: int = 0


class Admin:
    def __init__(self, patience_ms: int, snapshot_offset: Callable[[int], int]) -> None:
        """A member that is to become a voter, and comes no further for `patience_ms`, is not waited for any longer.
        `snapshot_offset(member)`: so many bytes of a snapshot it has been sent."""
        self._patience_ms = patience_ms
        self._snapshot_offset = snapshot_offset
        self._requests: list[_Request] = []

    def __len__(self) -> int:
        return len(self._requests)

    # ---- requests

    def take(self, work: Work) -> None:
        """Take in a request on the leader; one that is malformed is answered at once."""
        request = _parse(work)
        if isinstance(request, Error):
            work.sink.on_replies([request] * len(work.commands), 0, len(work.commands))
        else:
            self._requests.append(request)

    def settle(self, node: Node) -> None:
        """Answer what is reached, and do what is missing. Once per turn; costs nothing while nobody asks."""
        requests, self._requests = self._requests, []
        # What is reached is answered before anything is proposed: of two requests that want the opposite, the first
        # would otherwise undo each time what the second has come to, and fill the log for ever.
        for request in [each for each in requests if _is_reached(each, node)]:
            requests.remove(request)
            _answer(request.work, OK)
        for request in requests:
            reply = self._transfer(request, node) if request.goal is None else self._change(request, request.goal, node)
            if reply is None:
                self._requests.append(request)
            else:
                _answer(request.work, reply)

    def _change(self, request: _Request, goal: Goal, node: Node) -> Reply | None:
        present = node.membership
        if node.role is not Role.LEADER:
            return LEADER_CHANGED if request.begun else LEADERSHIP_LOST
        if not _is_settled(node) or not node.leads_and_is_ready:
            return None
        if request.member_id in present.joining and self._is_stuck(request, node):
            return _comes_no_further(request.member_id, self._patience_ms, node)
        try:
            wanted = goal(present)
            if wanted != present:
                node.propose_membership(wanted)
            request.begun = True  # also when somebody else has asked for it: it is on its way
        except NotDone:
            return None  # another change, or not yet ready: next turn
        except YourFault as error:
            return Error(f"ERR {error}")
        return None

    def _is_stuck(self, request: _Request, node: Node) -> bool:
        position = node.progress[request.member_id].match, self._snapshot_offset(request.member_id)
        if position != request.position:
            request.position, request.moved_ms = position, node.now_ms
        return node.now_ms - request.moved_ms >= self._patience_ms

    def _transfer(self, request: _Request, node: Node) -> Reply | None:
        target, leader_id = request.target, node.leader_id
        if request.begun and leader_id is not None and leader_id != node.id and node.transferring is None:
            return OK if target in (None, leader_id) else _not_handed_over(leader_id)
        if node.role is not Role.LEADER:
            return None if request.begun else LEADERSHIP_LOST
        if target == node.id:
            return OK
        if request.begun:
            return _not_handed_over(node.id) if node.transferring is None else None
        if not node.leads_and_is_ready or node.transferring is not None:
            return None
        try:
            node.transfer_leadership(target)
        except RaftkvError as error:
            return Error(f"ERR {error}")
        request.begun = True
        return None

    def give_up_older_than(self, since_ms: int) -> None:
        """What is not begun after so long, for instance since this leader has no quorum, is not done."""
        late = [each for each in self._requests if not each.begun and each.work.since_ms < since_ms]
        self._requests = [each for each in self._requests if each not in late]
        for each in late:
            each.work.sink.on_not_done(LEADERSHIP_LOST)


def _is_settled(node: Node) -> bool:
    return node.membership_is_committed and not node.membership.outgoing


def _is_reached(request: _Request, node: Node) -> bool:
    return request.goal is not None and _is_settled(node) and request.is_reached(node.membership)


def _comes_no_further(member_id: int, patience_ms: int, node: Node) -> Error:
    is_heard = node.now_ms - node.progress[member_id].heard_ms < patience_ms
    return Error(
        f"TIMEOUT Member {member_id} is a learner, but {'came no further' if is_heard else 'was not heard'} for"
        f" {patience_ms // 1000} s{': see its log' if is_heard else ''}; once it has caught up it becomes a voter by"
        f" itself. RAFT.NODE REMOVE {member_id} takes it back, for ever"
    )


def _not_handed_over(leader_id: int) -> Error:
    return Error(f"ERR leadership was not handed over in time; member {leader_id} leads")


def _answer(work: Work, reply: Reply) -> None:
    work.sink.on_replies([reply], 0, 1)


def _parse(work: Work) -> _Request | Error:
    if len(work.commands) != 1 or not work.commands[0]:
        return SYNTAX  # of no member of ours, which sends each alone
    [[name, *words]] = work.commands
    name = name.lower()
    if name == b"raft.transfer_leader":
        target = _member_id(words[0]) if words else None
        return BAD_ID if words and target is None else _Request(work, target=target)
    action = words[0].lower() if words else b""
    member_id = _member_id(words[1]) if len(words) > 1 else None
    if member_id is None:
        return BAD_ID if len(words) > 1 else SYNTAX
    if action == b"add":
        return _parse_add(work, member_id, words[2:])
    if len(words) != 2 or action not in _CHANGES:
        return SYNTAX
    goal, is_reached = _CHANGES[action]
    return _Request(
        work,
        lambda present: goal(present, member_id),
        lambda present: is_reached(present, member_id),
        member_id=member_id,
    )


def _parse_add(work: Work, member_id: int, words: list[bytes]) -> _Request | Error:
    as_learner = [word.lower() for word in words[1:]] == [b"learner"]
    if not words or (len(words) > 1 and not as_learner):
        return SYNTAX
    address = words[0].decode(errors="replace")
    try:
        split_address(address)
    except ValueError:
        return BAD_ADDRESS

    def goal(present: Membership) -> Membership:
        if member_id in present.removed:
            raise InvalidMembership(f"member {member_id} was removed once, and its number is never used again")
        addresses = {**present.addresses, member_id: address}
        if member_id in present.voters:
            return msgspec.structs.replace(present, addresses=addresses)
        return msgspec.structs.replace(
            present,
            learners=_with(present.learners, member_id),
            joining=present.joining if as_learner else _with(present.joining, member_id),
            addresses=addresses,
        )

    def is_reached(present: Membership) -> bool:
        there = present.addresses.get(member_id) == address
        return there and (member_id in present.voters or (as_learner and member_id in present.learners))

    return _Request(work, goal, is_reached, member_id=member_id)


def _member_id(word: bytes) -> int | None:
    number = parse_integer(word)
    return number if number is not None and 1 <= number <= ID_MAX else None


def _with(ids: tuple[int, ...], member_id: int) -> tuple[int, ...]:
    return tuple(sorted({*ids, member_id}))


def _without(ids: tuple[int, ...], member_id: int) -> tuple[int, ...]:
    return tuple(each for each in ids if each != member_id)


def _remove(present: Membership, member_id: int) -> Membership:
    if member_id not in present.voters and member_id not in present.learners:
        raise InvalidMembership(f"there is no member {member_id}")
    if present.voters == (member_id,):
        raise LastServer("the only voter cannot be removed")
    return msgspec.structs.replace(
        present,
        voters=_without(present.voters, member_id),
        learners=_without(present.learners, member_id),
        joining=_without(present.joining, member_id),
    )


def _promote(present: Membership, member_id: int) -> Membership:
    if member_id not in present.learners:
        raise InvalidMembership(f"there is no learner {member_id}")
    return msgspec.structs.replace(present, joining=_with(present.joining, member_id))


def _demote(present: Membership, member_id: int) -> Membership:
    if member_id in present.learners:
        return msgspec.structs.replace(present, joining=_without(present.joining, member_id))
    if member_id not in present.voters:
        raise InvalidMembership(f"there is no member {member_id}")
    if present.voters == (member_id,):
        raise LastServer("the only voter cannot be made a learner")
    return msgspec.structs.replace(
        present, voters=_without(present.voters, member_id), learners=_with(present.learners, member_id)
    )


_CHANGES: Final[dict[bytes, tuple[Callable[[Membership, int], Membership], Callable[[Membership, int], bool]]]] = {
    b"remove": (_remove, lambda present, member_id: member_id in present.removed),
    b"promote": (_promote, lambda present, member_id: member_id in present.voters),
    b"demote": (
        _demote,
        lambda present, member_id: member_id in present.learners and member_id not in present.joining,
    ),
}
