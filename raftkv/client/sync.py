"""The client for programs without trio: a thread of its own runs it, calls go there and wait.

    with raftkv.connect_sync(["127.0.0.1:7001"]) as client:
        client.call("SET", "greeting", "hello")

Any number of threads may call at the same time. A call that is interrupted (Ctrl-C) leaves neither
thread nor socket behind. The thread is a daemon: a program that dies does not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import trio

from raftkv.client.client import Client, connect
from raftkv.client.connection import Words
from raftkv.wire.words import Word


class SyncClient:
    """As `Client`, but its calls block the calling thread."""

    def __init__(self, client: Client, token: trio.lowlevel.TrioToken) -> None:
        self._client = client
        self._token = token

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._client.addresses

    @property
    def leader(self) -> str:
        return self._client.leader

    def call(self, *words: Word) -> Any:
        """See Client.call."""
        return trio.from_thread.run(self._client.call, *words, trio_token=self._token)

    def call_many(self, commands: Sequence[Words]) -> list[Any]:
        """See Client.call_many."""
        return trio.from_thread.run(self._client.call_many, commands, trio_token=self._token)


@contextmanager
def connect_sync(addresses: Sequence[str], **options: Any) -> Iterator[SyncClient]:
    """A client for threads; the options are those of `connect`."""
    started, abandoned = threading.Event(), threading.Event()
    made: list[SyncClient] = []
    failed: list[BaseException] = []
    stop = trio.Event()

    async def serve() -> None:
        async with connect(addresses, **options) as client:
            made.append(SyncClient(client, trio.lowlevel.current_trio_token()))
            started.set()
            if not abandoned.is_set():
                await stop.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="raftkv-client", daemon=True)
    try:
        thread.start()
        started.wait()
        if failed:
            raise _only(failed[0])
        yield made[0]
    finally:
        # Whoever presses Ctrl-C may do so before there is a client: the thread sees `abandoned`, or we see its client.
        abandoned.set()
        if made:
            with suppress(trio.RunFinishedError):
                made[0]._token.run_sync_soon(stop.set)
        if thread.ident is not None:
            thread.join()


def _only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
