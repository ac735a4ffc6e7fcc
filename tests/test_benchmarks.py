"""The benchmark's arithmetic on made-up numbers, and the generator's parsers on bytes cut at every place.

The tests of ``loadgen.c`` exist only where a C compiler is on PATH (they are defined under that condition, not
skipped): without one the generator cannot be built and there is nothing to test.
"""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.loadgen import (
    SOURCE,
    GeneratorFailed,
    LoadResult,
    Workload,
    build,
    find_compiler,
    parse_redis_benchmark,
    parse_redis_benchmark_set,
)
from benchmarks.loads import NAMES, QUICK, Plan
from benchmarks.peers import PEERS
from benchmarks.report import load_rows, print_report, with_spread, write_json
from benchmarks.resp import as_mapping
from benchmarks.runner import chosen_peers, sample_of, schedule, share
from benchmarks.samples import Sample, Samples, Summary, summarize
from benchmarks.targets import Target, judge

RATE = "ops_per_second"


def rates(row: str, *numbers: float, load: str = "set", errors: int = 0) -> list[Sample]:
    return [
        Sample(row, load, at, {RATE: number}, errors, "-ERR no" if errors else "") for at, number in enumerate(numbers)
    ]


class TestSamples:
    def test_summary_is_median_and_range(self) -> None:
        assert summarize([5.0, 1.0, 3.0]) == Summary(3.0, 1.0, 5.0, 3)
        assert summarize([4.0, 1.0]) == Summary(2.5, 1.0, 4.0, 2)
        assert summarize([]) is None

    def test_ratio_divides_within_rounds(self) -> None:
        """Both are ten times slower in the second round; the ratio must not see it."""
        samples = Samples([*rates("raftkv", 200.0, 20.0, 200.0), *rates("redis", 100.0, 10.0, 100.0)])
        assert samples.ratio("raftkv", "redis", "set", RATE) == Summary(2.0, 2.0, 2.0, 3)

    def test_ratio_leaves_out_rounds_that_only_one_has(self) -> None:
        samples = Samples([*rates("raftkv", 30.0, 99.0), *rates("redis", 10.0)])
        assert samples.ratio("raftkv", "redis", "set", RATE) == Summary(3.0, 3.0, 3.0, 1)

    def test_ratio_of_two_loads_of_one_row(self) -> None:
        samples = Samples([*rates("raftkv", 10.0, 3.0, load="zadd"), *rates("raftkv", 20.0, 6.0)])
        assert samples.ratio_of_loads("raftkv", "zadd", "set", RATE) == Summary(0.5, 0.5, 0.5, 2)

    def test_ratio_of_what_was_not_measured_is_none(self) -> None:
        samples = Samples(rates("raftkv", 30.0))
        assert samples.ratio("raftkv", "redis", "set", RATE) is None
        assert samples.ratio("raftkv", "raftkv", "get", RATE) is None

    def test_ratio_never_divides_by_zero(self) -> None:
        samples = Samples([*rates("raftkv", 30.0), *rates("redis", 0.0)])
        assert samples.ratio("raftkv", "redis", "set", RATE) is None

    def test_several_samples_of_one_round_count_as_their_median(self) -> None:
        ours = [Sample("raftkv", "failover", 0, {"seconds": seconds}) for seconds in (1.0, 2.0, 9.0)]
        theirs = [Sample("etcd", "failover", 0, {"seconds": 4.0})]
        assert Samples([*ours, *theirs]).ratio("raftkv", "etcd", "failover", "seconds") == Summary(0.5, 0.5, 0.5, 1)

    def test_sample_of_divides_cpu_by_all_operations(self) -> None:
        result = LoadResult(1000.0, 10.0, 20.0, ops=400, total_ops=500, nils=50, cpu_seconds=0.5, wall_seconds=2.0)
        values = sample_of("raftkv", "get", 1, result, cpu_s=0.25).values
        assert values["cpu_s_per_100k"] == pytest.approx(50.0)
        assert values["nil_share"] == pytest.approx(0.1)
        assert values["generator_cpu_share"] == pytest.approx(0.25)


class TestTargets:
    AT_LEAST = Target("faster", "set", RATE, 2.0, other="redis")

    def test_bound_is_inclusive(self) -> None:
        samples = Samples([*rates("raftkv", 20.0), *rates("redis", 10.0)])
        assert [verdict.reached for verdict in judge(samples, [self.AT_LEAST])] == [True]

    def test_below_is_not_reached(self) -> None:
        samples = Samples([*rates("raftkv", 19.9), *rates("redis", 10.0)])
        assert [verdict.reached for verdict in judge(samples, [self.AT_LEAST])] == [False]

    def test_at_most(self) -> None:
        target = Target("quick", "failover", "seconds", 1.0, at_least=False)
        for seconds, reached in ((0.8, True), (1.2, False)):
            samples = Samples([Sample("raftkv", "failover", 0, {"seconds": seconds})])
            assert judge(samples, [target])[0].reached is reached

    def test_not_measured_is_neither(self) -> None:
        verdict = judge(Samples(), [self.AT_LEAST])[0]
        assert (verdict.reached, verdict.note) == (None, "not measured")

    @pytest.mark.parametrize("faulty", ["raftkv", "redis"])
    def test_errors_leave_no_figure(self, faulty: str) -> None:
        samples = Samples([s for row in ("raftkv", "redis") for s in rates(row, 50.0, errors=int(row == faulty))])
        verdict = judge(samples, [self.AT_LEAST])[0]
        assert verdict.reached is None
        assert "errors" in verdict.note

    def test_too_few_keys_leave_no_figure(self) -> None:
        target = Target("restart", "restart", "seconds", 15, at_least=False, keys_min=1_000_000)
        samples = Samples([Sample("raftkv", "restart", 0, {"seconds": 1.0, "keys": 50_000})])
        assert judge(samples, [target])[0].reached is None

    def test_each_target_names_a_load_and_a_peer_that_exist(self) -> None:
        for verdict in judge(Samples()):
            assert verdict.target.load in NAMES
            assert verdict.target.other in {"", *PEERS}


class TestSchedule:
    def test_peers_are_interleaved(self) -> None:
        visits = schedule(chosen_peers(["redis", "etcd"]), {"set"}, Plan(rounds=2))
        assert [(visit.peer.name, visit.part, visit.round) for visit in visits] == [
            ("redis", "loads", 0),
            ("etcd", "loads", 0),
            ("redis", "loads", 1),
            ("etcd", "loads", 1),
        ]

    def test_only_what_was_asked_for(self) -> None:
        visits = schedule(chosen_peers(["redis", "etcd"]), {"failover"}, QUICK)
        assert [(visit.peer.name, visit.part) for visit in visits] == [("etcd", "failover")]

    @pytest.mark.parametrize(("total", "parts"), [(10, 3), (2, 5), (0, 2), (9, 3)])
    def test_shares_add_up(self, total: int, parts: int) -> None:
        shares = [share(total, parts, at) for at in range(parts)]
        assert sum(shares) == total
        assert max(shares) - min(shares) <= 1

    def test_unknown_peer_is_named(self) -> None:
        with pytest.raises(ValueError, match="unknown peer mongo"):
            chosen_peers(["redis", "mongo"])


class TestReport:
    SAMPLES = Samples([*rates("raftkv", 300.0, 500.0, 400.0), *rates("redis", 100.0, 100.0, 100.0, errors=2)])

    def test_spread(self) -> None:
        assert with_spread(Summary(12345.4, 11000.0, 13000.0, 3)) == "12,345 (11,000 - 13,000)"
        assert with_spread(Summary(1.5, 1.5, 1.5, 1), 2) == "1.50"
        assert with_spread(None) == "-"

    def test_rows_have_ratio_and_remarks(self) -> None:
        ours, theirs = load_rows(self.SAMPLES, "set")
        assert ours[:3] == ["raftkv", "400 (300 - 500)", "-"]
        assert theirs[:3] == ["redis", "100 (100 - 100)", "4.00 (3.00 - 5.00)"]
        assert theirs[-1] == "6 errors (-ERR no)"

    def test_whole_report_prints_conditions_and_failures(self) -> None:
        console = Console(file=io.StringIO(), width=200)
        print_report(console, self.SAMPLES, judge(self.SAMPLES), {"kernel": "Tux 1.0"}, {"etcd": "not on [PATH]"})
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        for part in ("SET, 50 clients", "400 (300 - 500)", "Tux 1.0", "not on [PATH]", "not measured"):
            assert part in text

    def test_json_has_every_sample(self, tmp_path: Path) -> None:
        write_json(tmp_path / "raw.json", self.SAMPLES, judge(self.SAMPLES), {"kernel": "Tux"}, {})
        document = json.loads((tmp_path / "raw.json").read_text())
        assert [each["values"][RATE] for each in document["samples"]] == [300.0, 500.0, 400.0, 100.0, 100.0, 100.0]
        assert document["conditions"] == {"kernel": "Tux"}


class TestOtherPrograms:
    def test_redis_benchmark_csv(self) -> None:
        text = (
            '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"\n'
            '"SET","25000.50","0.4","0.1","0.375","0.6","0.9","2.0"\n'
        )
        result = parse_redis_benchmark(text)
        assert (result.ops_per_second, result.p50_us, result.p99_us) == (25000.5, 375.0, 900.0)

    def test_redis_benchmark_s_whole_set(self) -> None:
        text = (
            '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"\n'
            '"LPUSH","20000.00","0.4","0.1","0.5","0.6","0.9","2.0"\n'
            '"LPUSH (needed to benchmark LRANGE)","1.00","0.4","0.1","0.5","0.6","0.9","2.0"\n'
            '"LRANGE_100 (first 100 elements)","10000.00","0.4","0.1","0.5","0.6","0.9","2.0"\n'
        )
        rates = {test: result.ops_per_second for test, result in parse_redis_benchmark_set(text).items()}
        assert rates == {"LPUSH": 20_000.0, "LRANGE_100": 10_000.0}

    def test_redis_benchmark_without_figures(self) -> None:
        with pytest.raises(GeneratorFailed, match="printed no figures"):
            parse_redis_benchmark("ERROR: could not connect\n")

    def test_status_as_flat_array_and_as_map(self) -> None:
        assert as_mapping([b"role", b"leader", b"term", 3]) == {b"role": b"leader", b"term": 3}
        assert as_mapping({b"role": b"leader"}) == {b"role": b"leader"}
        assert as_mapping(None) == {}


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


RESP_REPLIES = [
    # bytes, replies, errors, nils
    (b"+OK\r\n", 1, 0, 0),
    (b":1\r\n+OK\r\n$3\r\nxxx\r\n", 3, 0, 0),
    (b"$-1\r\n*-1\r\n_\r\n", 3, 0, 3),
    (b"$0\r\n\r\n$4\r\na\r\nb\r\n", 2, 0, 0),
    (b"-ERR no\r\n+OK\r\n", 2, 1, 0),
    (b"*2\r\n$1\r\na\r\n*1\r\n:5\r\n*0\r\n", 2, 0, 0),
    (b"%1\r\n+a\r\n-ERR inside\r\n,1.5\r\n#t\r\n(123\r\n~1\r\n:1\r\n", 5, 0, 0),
]
RESP_PARTS = [b"+OK", b"$5\r\nab", b"*2\r\n:1\r\n"]

# Settings, a ping, one good answer (headers, message, trailers), one without message, one reset.
GRPC_ANSWERS = (
    frame(4, 0, 0, b"\x00\x04\x00\x10\x00\x00")
    + frame(6, 0, 0, b"12345678")
    + frame(1, 4, 1, b"\x88")
    + frame(0, 0, 1, b"\x00\x00\x00\x00\x02\x0a\x00")
    + frame(1, 5, 1, b"\xbf")
    + frame(1, 5, 3, b"\x88")
    + frame(3, 0, 5, b"\x00\x00\x00\x08")
)

if find_compiler() is not None:

    @pytest.fixture(scope="module")
    def loadgen(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return build(tmp_path_factory.mktemp("loadgen"))

    def parsed(loadgen: Path, protocol: str, data: bytes, chunk: int) -> dict[str, int | str]:
        command = [str(loadgen), "--parse", protocol, "--chunk", str(chunk)]
        done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=30)
        result: dict[str, int | str] = json.loads(done.stdout)
        return result

    @pytest.mark.parametrize(("data", "replies", "errors", "nils"), RESP_REPLIES)
    def test_resp_replies_however_cut(loadgen: Path, data: bytes, replies: int, errors: int, nils: int) -> None:
        for chunk in range(1, len(data) + 1):
            found = parsed(loadgen, "resp", data, chunk)
            assert (found["replies"], found["errors"], found["nils"]) == (replies, errors, nils)
            assert found["operations"] == replies - errors
            assert found["bytes_left"] == 0

    @pytest.mark.parametrize("data", RESP_PARTS)
    def test_a_part_of_a_reply_is_no_reply(loadgen: Path, data: bytes) -> None:
        assert parsed(loadgen, "resp", data, len(data))["replies"] == 0

    def test_first_error_is_kept_printable(loadgen: Path) -> None:
        found = parsed(loadgen, "resp", b'-ERR "quoted"\\\r\n-ERR second\r\n', 100)
        assert (found["errors"], found["first_error"]) == (2, "-ERR ?quoted????")

    def test_not_resp_at_all_ends_the_run(loadgen: Path) -> None:
        done = subprocess.run(
            [str(loadgen), "--parse", "resp"], input=b"HTTP/1.1 400\r\n", capture_output=True, check=False
        )
        assert done.returncode == 1
        assert b"not a RESP reply" in done.stderr

    def test_grpc_answers_however_cut(loadgen: Path) -> None:
        for chunk in range(1, len(GRPC_ANSWERS) + 1):
            found = parsed(loadgen, "grpc", GRPC_ANSWERS, chunk)
            assert (found["replies"], found["operations"], found["errors"]) == (3, 1, 2)
            # An acknowledgement of the settings (9 bytes) and of the ping (17) wait to be sent.
            assert (found["bytes_left"], found["bytes_to_send"]) == (0, 26)

    def test_build_is_cached_by_content(loadgen: Path) -> None:
        before = loadgen.stat().st_mtime_ns
        assert build(loadgen.parent) == loadgen
        assert loadgen.stat().st_mtime_ns == before

    def test_unknown_option_is_refused(loadgen: Path) -> None:
        done = subprocess.run([str(loadgen), "--host", "192.0.2.1"], capture_output=True, check=False)
        assert done.returncode == 1
        assert b"unknown option" in done.stderr


def test_workload_arguments() -> None:
    assert Workload("SET __key__ x", suffix="WAIT 1 0").arguments() == [
        "--request",
        "SET __key__ x",
        "--suffix",
        "WAIT 1 0",
    ]
    assert Workload(grpc_method="Put").arguments() == ["--grpc", "Put"]


def test_the_generator_can_only_reach_this_machine() -> None:
    """It has no option for a host: the one address in it is the loopback one."""
    source = SOURCE.read_text()
    assert source.count("s_addr = ") == 1
    assert "INADDR_LOOPBACK" in source
