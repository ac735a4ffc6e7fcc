"""`make differential`: many sequences of each family in each mode, and all tables of cases, beside a real redis-server.

Prints how many there were of each, and the shortest sequence for each difference that was found: hypothesis shrinks it.
Another seed draws others. Exit code 1 if there was any difference.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.machines.casework import run_on_connection
from tests.machines.differential import DATABASES, FAMILIES, Argv
from tests.machines.side_by_side import MARKS, MODES, Marks, Mode, Sides
from tests.machines.test_against_redis import CASES
from tests.support.redis_server import RespConnection, start_redis_server

Sequence = list[tuple[int, Argv]]
Run = Callable[[Counter[str]], None]
"""Counts what it does; raises AssertionError where there is a difference."""


def runs(port: int, drawn_from: int, sequences: int) -> Iterator[tuple[str, str, Run]]:
    """(family, mode, what to do)"""
    for protocol in (2, 3):
        yield "tables of cases", f"RESP{protocol}", lambda counts, protocol=protocol: _cases(port, protocol, counts)
    for family, strategy in FAMILIES.items():
        for number, mode in enumerate(MODES):
            yield family, mode.name, _drawn(port, mode, strategy, drawn_from * len(MODES) + number, sequences)


def _cases(port: int, protocol: int, counts: Counter[str]) -> None:
    for case in CASES:
        counts.update(sequences=1, commands=sum(not line.startswith("@") for line, _ in case.steps))
        with RespConnection(port, protocol=protocol) as connection:
            run_on_connection(case, connection, protocol)


def _drawn(port: int, mode: Mode, strategy: st.SearchStrategy[Sequence], drawn_from: int, most: int) -> Run:
    def run(counts: Counter[str]) -> None:
        @seed(drawn_from)
        @settings(max_examples=most, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(sequence=strategy, marks=MARKS)
        def play(sequence: Sequence, marks: Marks) -> None:
            with Sides(port) as sides:
                try:
                    sides.play(mode, sequence, marks)
                finally:
                    counts.update(sequences=1, commands=sides.count)

        play()

    return run


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--sequences", type=int, default=100, help="of each family in each mode")
    given_options = options.parse_args()
    total: Counter[str] = Counter()
    print(f"{'family':16} {'mode':15} {'sequences':>9} {'commands':>9} {'failures':>8}")
    with start_redis_server("--databases", str(DATABASES)) as port:
        for family, mode, run in runs(port, given_options.seed, given_options.sequences):
            counts: Counter[str] = Counter()
            found = None
            try:
                run(counts)
            except AssertionError as error:
                found = error
                counts.update(failures=1)
            total += counts
            _print_row(family, mode, counts)
            if found is not None:
                print("    ", *getattr(found, "__notes__", ()), found, sep="\n    ", flush=True)
    _print_row("all", f"seed {given_options.seed}", total)
    return 1 if total["failures"] else 0


def _print_row(family: str, mode: str, counts: Counter[str]) -> None:
    numbers = f"{counts['sequences']:9,} {counts['commands']:9,} {counts['failures']:8}"
    print(f"{family:16} {mode:15} {numbers}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
