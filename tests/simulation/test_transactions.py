"""Transactions with watched keys, while members crash and leaders change: what must hold stands in
raftkv/testing/transactions.py; the bugs put back to prove it are among the mutants."""

from __future__ import annotations

import pytest

from raftkv.testing.simulation import Simulation
from tests.simulation.mutants import with_transactions


@pytest.mark.parametrize("seed", range(11, 21))
def test_no_increment_is_lost(seed: int) -> None:
    simulation = Simulation(with_transactions(seed))
    simulation.run()
    clients = simulation.transaction_clients
    assert clients.carried_out > 10
    assert clients.refused > 0
