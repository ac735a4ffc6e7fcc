"""`make differential`: many sequences of each family in each mode, and all tables of cases, beside a real redis-server.

Prints how many there were of each, and the shortest sequence for each difference that was found: hypothesis shrinks it.
Another seed draws others. Exit code 1 if there was any difference.
"""

from __future__ import annotations

import argparse
import sys

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.machines.casework import run_on_connection, run_on_machine
from tests.machines.differential import DATABASES, FAMILIES, Argv
from tests.machines.side_by_side import MARKS, MODES, Marks, Mode, Sides
from tests.machines.test_against_redis import CASES
from tests.support.redis_server import RespConnection, start_redis_server

Sequence = list[tuple[int, Argv]]


class Tally:
    """sequences: until the first that failed. failures: what each difference was."""

    def __init__(self) -> None:
        self.sequences = self.commands = 0
        self.failures: list[str] = []

    def add(self, other: Tally) -> None:
        self.sequences += other.sequences
        self.commands += other.commands
        self.failures += other.failures


def play_cases(port: int, protocol: int) -> Tally:
    """On the machine and on the real server: each has to answer what the table says."""
    tally = Tally()
    for case in CASES:
        tally.sequences += 1
        tally.commands += sum(not line.startswith("@") for line, _ in case.steps)
        with RespConnection(port, protocol=protocol) as connection:
            try:
                run_on_machine(case)
                run_on_connection(case, connection, protocol)
            except AssertionError as error:
                tally.failures.append(str(error))
    return tally


def play_drawn(port: int, mode: Mode, strategy: st.SearchStrategy[Sequence], drawn_from: int, most: int) -> Tally:
    tally = Tally()
    is_shrinking = False

    @seed(drawn_from)
    @settings(max_examples=most, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(sequence=strategy, marks=MARKS)
    def play(sequence: Sequence, marks: Marks) -> None:
        nonlocal is_shrinking
        with Sides(port, mode.at) as sides:
            try:
                sides.play(mode, sequence, marks)
            except AssertionError:
                is_shrinking = True
                raise
            finally:
                if not is_shrinking:
                    tally.sequences += 1
                    tally.commands += sides.count

    try:
        play()
    except AssertionError as error:
        tally.failures.append("\n".join([*getattr(error, "__notes__", ()), str(error)]))
    return tally


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--sequences", type=int, default=100, help="of each family in each mode")
    options.add_argument("--family", choices=FAMILIES, help="this one alone")
    given_options = options.parse_args()
    total = Tally()
    print(f"{'family':16} {'mode':15} {'sequences':>9} {'commands':>9} {'failures':>8}")
    with start_redis_server("--databases", str(DATABASES)) as port:
        for protocol in (2, 3) if given_options.family is None else ():
            _show("tables of cases", f"RESP{protocol}", play_cases(port, protocol), total)
        for family, strategy in FAMILIES.items():
            if given_options.family not in (None, family):
                continue
            for number, mode in enumerate(MODES):
                drawn_from = given_options.seed * len(MODES) + number
                _show(family, mode.name, play_drawn(port, mode, strategy, drawn_from, given_options.sequences), total)
    _show("all", f"seed {given_options.seed}", total, Tally())
    for failure in total.failures:
        print(f"\n{failure}")
    return 1 if total.failures else 0


def _show(family: str, mode: str, tally: Tally, total: Tally) -> None:
    total.add(tally)
    numbers = f"{tally.sequences:9,} {tally.commands:9,} {len(tally.failures):8}"
    print(f"{family:16} {mode:15} {numbers}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
