"""The façade for threads under Ctrl-C: a real signal, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
import trio

from tests.client.fake import SILENCE, FakeCluster
from tests.client.test_client import CLUSTERDOWN

PROGRAM = """
import os, signal, sys, threading
import raftkv, trio

def left():
    sockets = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            sockets += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except FileNotFoundError:
            pass  # that of the listing itself
    return sorted(thread.name for thread in threading.enumerate()), sockets

def interrupted_run(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    return run(*arguments)

run = trio.run
if sys.argv[2] == "start":
    trio.run = interrupted_run
assert left() == (["MainThread"], 0), left()
try:
    with raftkv.connect_sync([sys.argv[1]], exactly_once=sys.argv[2] == "once") as client:
        client.call(*sys.argv[3:])
except KeyboardInterrupt:
    print("interrupted", *left())
"""


@pytest.fixture
async def one(nursery: trio.Nursery) -> FakeCluster:
    cluster = FakeCluster()
    await cluster.start(nursery)
    return cluster


@pytest.mark.parametrize("reply", [SILENCE, CLUSTERDOWN])
@pytest.mark.parametrize("mode", ["plain", "once"])
async def test_an_interrupted_call_leaves_no_thread_and_no_socket(one: FakeCluster, reply: Any, mode: str) -> None:
    """Whether it waits for a reply, or for the next attempt."""
    asked = trio.Event()

    def answer(argv: list[bytes]) -> Any:
        if argv[:2] == [b"RAFT.SESSION", b"OPEN"]:
            return 1
        if b"SET" in argv:
            asked.set()
            return reply
        return b"OK"

    one.members[0].answer = answer
    arguments = [sys.executable, "-c", PROGRAM, one.addresses[0], mode, "SET", "a", "1"]
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            await asked.wait()
            process.send_signal(signal.SIGINT)
            sent_s = trio.current_time()
            assert process.stdout is not None
            said = b"".join([part async for part in process.stdout])
        finally:
            process.kill()
            await process.wait()
    assert trio.current_time() - sent_s < 5, "not as long as a silent member may take (silence_ms_max)"
    assert said.decode() == "interrupted ['MainThread'] 0\n"


async def test_an_interrupted_start_leaves_no_thread_and_no_socket(one: FakeCluster) -> None:
    arguments = [sys.executable, "-c", PROGRAM, one.addresses[0], "start", "SET", "a", "1"]
    with trio.fail_after(60):
        done = await trio.run_process(arguments, capture_stdout=True, stderr=subprocess.STDOUT)
    assert done.stdout.decode() == "interrupted ['MainThread'] 0\n"
    assert one.members[0].asked == []
