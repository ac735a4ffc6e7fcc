"""The lives of a member, one after another: what fails is begun again from the log (ExRaft's supervisor).

A life that ends with an exception of the machine or of raftkv is followed by another one with a new state machine,
which gets the log's entries again. Replies are given by the life that took the command in, so nothing is answered
twice. Clients' connections end with the life: what became of their commands is for them to find out.

Not followed by another: a life that ended with a `Fatal` error, since what is on disk is then unknown or wrong, and
the next life would trust it; a start that failed; and one failure too many (`supervision.restarts_max`), for a machine
that raises at an entry of the log will raise there for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import trio

from raftkv.cluster import founding
from raftkv.errors import Fatal, MemberFailed, RaftkvError, Removed
from raftkv.machines.interface import StateMachine
from raftkv.server import driver as clock
from raftkv.server.entrance import Request
from raftkv.server.hub import Hub
from raftkv.server.member import Member, Plan, open_stores
from raftkv.server.ports import Ports
from raftkv.server.session import Session
from raftkv.settings import Supervision
from raftkv.storage.files import Files

NORMAL: Final = "normal"


def set_aside(plan: Plan) -> None:
    """Keep the data of a member that was removed under another name: it must not come back as a member by itself, and
    what only it had is not to be lost."""
    data_dir = plan.settings.node.data_dir
    try:
        kept = founding.set_aside(Files(), data_dir, f"removed-{clock.wall_ms()}")
    except OSError as error:
        plan.log.warning("data_not_set_aside", data_dir=data_dir, reason=str(error))
    else:
        plan.log.warning("data_set_aside", data_dir=data_dir, kept_as=kept)


class RestartPolicy:
    def __init__(self, settings: Supervision) -> None:
        self._settings = settings
        self._restarts_ms: deque[int] = deque()

    def wait_ms(self, now_ms: int) -> int | None:
        """How long to wait before the restart that is due at `now_ms`; None: there must not be one."""
        settings, recent = self._settings, self._restarts_ms
        while recent and recent[0] <= now_ms - settings.window_ms:
            recent.popleft()
        if settings.restart == "never" or len(recent) >= settings.restarts_max:
            return None
        recent.append(now_ms)
        return settings.backoff_ms << (len(recent) - 1)

    @property
    def limit(self) -> str:
        """Why there is no further restart, in words."""
        settings = self._settings
        if settings.restart == "never":
            return "supervision.restart is never"
        return f"{settings.restarts_max} restarts within {settings.window_ms} ms did not help"


class Supervisor:
    """`make_machine` is called for each life. `stop_reason` is what the machine is told when the last one ends."""

    def __init__(
        self, plan: Plan, ports: Ports, make_machine: Callable[[], StateMachine], make_hub: Callable[[], Hub]
    ) -> None:
        self.member: Member | None = None
        """The present life; None before the first, between two and after the last one."""

        self.started = trio.Event()
        self.life_changed = trio.Event()
        """Set, and replaced by a new one, when a life has begun or ended."""

        self.restarts = 0
        self.member_id = plan.identity.member_id
        self.stop_reason = NORMAL
        self._entering: tuple[Request, list[Session]] | None = None
        """What the first life in a cluster takes over from the one that waited."""

        self._applied = 0
        self._plan = plan
        self._ports = ports
        self._make_machine = make_machine
        self._make_hub = make_hub
        self._policy = RestartPolicy(plan.settings.supervision)

    @property
    def waits(self) -> bool:
        """Whether the member belongs to no cluster yet."""
        return self._plan.waits

    @property
    def members(self) -> Mapping[int, str]:
        """Peer address of every member, as far as the present life knows."""
        member = self.member
        return self._plan.identity.members if member is None else member.replica.node.membership.addresses

    async def run(self) -> None:
        """Live until cancelled. Raises Fatal, or whatever RaftkvError the start failed with."""
        try:
            while True:
                try:
                    await self._live()
                except Exception as error:
                    await self._after(_worst(error))
        finally:
            for session in self._entering[1] if self._entering else []:
                session.sock.close()

    def on_stopping(self, reason: str) -> None:
        """The present life is to be the last one."""
        self.stop_reason = reason
        if reason != NORMAL:
            self._plan.log.error("stopping", reason=reason)

    async def _live(self) -> None:
        plan, ports = self._plan, self._ports
        machine = self._make_machine()
        store, snapshots = await trio.to_thread.run_sync(open_stores, plan, machine.name)
        hub = self._make_hub()
        try:
            member = Member(plan, machine, store, snapshots, hub)
        except BaseException:
            hub.close()
            store.close()
            raise
        self._take_over(member)
        self._change_to(member)
        self.started.set()
        reason = ""
        try:
            await member.run(ports)
            self._enter(member)
        except Exception as error:
            reason = repr(_worst(error))
            raise
        finally:
            self._applied = member.replica.applied
            self._change_to(None)
            member.close(reason or self.stop_reason)

    def _enter(self, member: Member) -> None:
        """A life that waited has ended since it is decided where the member belongs; its clients stay."""
        if member.decided is not None:
            request, began = member.decided
            self._plan = self._plan.begun(began)
            self._entering = request, member.server.release_sessions()

    def _take_over(self, member: Member) -> None:
        if self._entering is not None:
            (request, sessions), self._entering = self._entering, None
            for session in sessions:
                member.server.adopt(session)
            member.server.entrance.requests.take(request)

    def _change_to(self, member: Member | None) -> None:
        self.member = member
        self.life_changed.set()
        self.life_changed = trio.Event()

    async def _after(self, failure: Exception) -> None:
        """Wait until the next life may begin. Raises when there must not be one."""
        member_id, log = self._plan.identity.member_id, self._plan.log
        was_started = self.started.is_set()
        if isinstance(failure, Removed):
            await trio.to_thread.run_sync(set_aside, self._plan)
        if isinstance(failure, Fatal) or (isinstance(failure, RaftkvError) and not was_started):
            raise failure
        log.error("member_failed", reason=repr(failure), applied=self._applied, exc_info=failure)
        if not was_started:
            raise MemberFailed(f"member {member_id} could not start: {failure!r}") from failure
        wait_ms = self._policy.wait_ms(clock.now_ms())
        if wait_ms is None:
            what = f"member {member_id} failed at entry {self._applied}: {failure!r}"
            raise MemberFailed(f"{what}; {self._policy.limit}") from failure
        self.restarts += 1
        log.warning("member_restarts", restarts=self.restarts, wait_ms=wait_ms)
        await trio.sleep(wait_ms / 1000)


def _worst(error: Exception) -> Exception:
    """The one exception of a group that says what must follow: a Fatal one, or else the first."""
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, Fatal)), leaves[0])


def _leaves(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
