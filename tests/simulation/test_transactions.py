"""Transactions with watched keys, while members crash and leaders change: what must hold stands in
raftkv/testing/transactions.py; the bugs put back to prove it are among the mutants."""

from __future__ import annotations

from raftkv.testing.simulation import Simulation
from tests.simulation.mutants import with_transactions


def test_no_increment_is_lost() -> None:
    carried_out = refused = 0
    for seed in range(11, 21):
        simulation = Simulation(with_transactions(seed))
        simulation.run()
        carried_out += simulation.transaction_clients.carried_out
        refused += simulation.transaction_clients.refused
    assert carried_out > 100
    assert refused > 20
