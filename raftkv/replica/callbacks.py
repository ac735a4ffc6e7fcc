"""The machine's callbacks outside the log: `init`, `transition`, `is_command`. What they raise harms no other member.

Fatal errors stop this member wherever they come from. Of the others only those of `init` do: the rest is reported, and
a client whose command could not be judged is told.
"""

from __future__ import annotations

from collections.abc import Callable

from raftkv.errors import Fatal, MemberFailed
from raftkv.machines.interface import Kind, StateMachine
from raftkv.machines.replies import Error
from raftkv.raft.roles import Role
from raftkv.replica.screen import internal_error

Report = Callable[[str, Exception], None]
"""(what the machine was asked, what it raised)"""


class Callbacks:
    def __init__(self, machine: StateMachine, report: Report) -> None:
        """Has the machine begin. Raises MemberFailed when its `init` raises."""
        self.judges_commands = type(machine).is_command is not StateMachine.is_command
        """Whether `is_command` is to be asked."""

        self._machine = machine
        self._report = report
        self._told_role = ""
        try:
            machine.init()
        except Fatal:
            raise
        except Exception as error:
            raise MemberFailed(
                f"init of the machine {machine.name!r} ({type(machine).__name__}) raised {error!r}"
            ) from error

    def tell_role(self, role: Role) -> None:
        """Standing for election counts from where it changes something: a pre-candidate is a follower still."""
        if role is Role.PRE_CANDIDATE or (role.value == self._told_role and role is not Role.CANDIDATE):
            return
        self._told_role = role.value
        try:
            self._machine.transition(role.value)
        except Fatal:
            raise
        except Exception as error:
            self._report("transition", error)

    def is_command(self, kind: Kind, argv: list[bytes]) -> Error | None:  # noqa: ARG002
        """Why the machine refuses a write (`screen.Check`)."""
        row = self._machine.commands.get(argv[0].lower()) if argv else None
        if row is None or row.kind is not Kind.WRITE:
            return None
        try:
            verdict = self._machine.is_command(argv)
        except (Fatal, MemoryError):
            raise
        except Exception as error:
            self._report("is_command", error)
            return internal_error(argv, error)
        if isinstance(verdict, Error):
            return verdict
        return None if verdict else Error(f"ERR the machine does not take this {row.name!r}; it was not carried out")
