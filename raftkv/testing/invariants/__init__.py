"""What must hold at every moment of every run, one property in each file."""

from raftkv.testing.invariants.base import Facts, Invariant, Watchers
from raftkv.testing.invariants.bounded_waiting import BoundedWaiting
from raftkv.testing.invariants.commitment import Commitment
from raftkv.testing.invariants.durable_promises import DurablePromises
from raftkv.testing.invariants.election_safety import ElectionSafety
from raftkv.testing.invariants.leader_completeness import LeaderCompleteness
from raftkv.testing.invariants.log_matching import LogMatching
from raftkv.testing.invariants.log_time import LogTime
from raftkv.testing.invariants.membership_in_force import MembershipInForce
from raftkv.testing.invariants.state_machine_safety import StateMachineSafety

ALL_INVARIANTS: tuple[type[Invariant], ...] = (
    ElectionSafety,
    LogMatching,
    DurablePromises,
    Commitment,
    LeaderCompleteness,
    StateMachineSafety,
    LogTime,
    MembershipInForce,
    BoundedWaiting,
)

__all__ = ["ALL_INVARIANTS", "Facts", "Invariant", "Watchers"]
