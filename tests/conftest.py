"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A slow machine is no failure: hypothesis would fail an example that takes longer than 200 ms.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
