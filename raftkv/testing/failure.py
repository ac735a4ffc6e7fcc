"""How a simulation fails: with the rule that was broken, and the one command that shows it again."""

from __future__ import annotations


class RuleBroken(AssertionError):
    """`rule` is the name of the invariant or check, `what` the numbers that disagree."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule
        self.what = what


class SimulationFailed(AssertionError):
    """A run from `seed` broke `rule`. `trace` holds the last events before it, oldest first."""

    def __init__(self, seed: int, rule: str, what: str, now_us: int, trace: list[str]) -> None:
        super().__init__(
            f"seed {seed}, after {now_us / 1e6:.3f} simulated seconds: {rule}: {what}\n"
            f"replay: python -m raftkv.testing {seed}    (or: make sim SEED={seed})"
        )
        self.seed = seed
        self.rule = rule
        self.trace = trace
