"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A slow machine is no failure: hypothesis would fail an example that takes longer than 200 ms.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """`raftkv serve` and the workers of applications take over signals, and do not give them back. Ctrl-C is to end the
    tests, not a server that is gone."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
