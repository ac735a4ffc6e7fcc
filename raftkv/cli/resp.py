"""A blocking RESP client of a few lines, for the commands that ask running members something.

redis-py would do, but is only a tool of the tests; hiredis is there anyway.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Self

import hiredis
import typer

from raftkv.errors import NotDone, ProtocolError, YourFault
from raftkv.settings import split_address
from raftkv.wire.resp_decode import NOTHING_YET

RECEIVE_BYTES = 1 << 20
LOOK_S = 0.5

Password = Annotated[str, typer.Option(envvar="RAFTKV_CLIENT_REQUIREPASS", help="For members with requirepass.")]


class Unreachable(NotDone):
    """Nobody answered there in time. `reason`: how that showed."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.reason = reason


class Refused(YourFault):
    """The member answered with an error."""

    @property
    def code(self) -> str:
        """The word it begins with: "ERR", "TRYAGAIN" ..."""
        return str(self).partition(" ")[0]


def full_address(text: str) -> str:
    """``:7001`` is on this machine. Raises BadParameter for what is no address."""
    address = f"127.0.0.1{text}" if text.startswith(":") else text
    try:
        split_address(address)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return address


class Connection:
    """To one member, speaking RESP3. Replies are text, or bytes with `raw`.

    Everything raises Unreachable, Refused (with the error line), ProtocolError or, for a bad address, YourFault.
    """

    def __init__(self, address: str, timeout_s: float, password: str = "", *, raw: bool = False) -> None:
        """`timeout_s` bounds each wait, not the whole."""
        self._address = address
        try:
            target = split_address(address)
        except ValueError as error:
            raise YourFault(str(error)) from error
        try:
            self._socket = socket.create_connection(target, timeout_s)
        except OSError as error:
            raise self._unreachable(error) from error
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(
            encoding=None if raw else "utf-8",
            errors="replace",
            protocolError=ProtocolError,
            replyError=Refused,
            notEnoughData=NOTHING_YET,
        )
        try:
            self.call("HELLO", "3", *(("AUTH", "default", password) if password else ()))
        except BaseException:
            self.close()
            raise

    def call(self, *words: str) -> Any:
        """The reply to one command."""
        self._send(words)
        reply = self._poll(self._timeout_s)
        if reply is NOTHING_YET:
            raise Unreachable(self._address, "timed out")
        return reply

    def call_patiently(self, *words: str, look: Callable[[], object]) -> Any:
        """The same for what may take any time. `look` is called again and again meanwhile, and ends it by raising: a
        member that has gone without closing its connections is not noticed otherwise."""
        self._send(words)
        while (reply := self._poll(LOOK_S)) is NOTHING_YET:
            look()
        return reply

    def _send(self, words: Sequence[str]) -> None:
        command: tuple[Any, ...] = tuple(words)
        try:
            self._socket.sendall(hiredis.pack_command(command))
        except OSError as error:
            raise self._unreachable(error) from error

    def _poll(self, wait_s: float) -> Any:
        """The next reply; NOTHING_YET when none has come after `wait_s`."""
        deadline = time.monotonic() + wait_s
        while (reply := self._reader.gets()) is NOTHING_YET:
            left = deadline - time.monotonic()
            if left <= 0:
                return NOTHING_YET
            self._receive(left)
        if isinstance(reply, Refused):
            raise reply
        return reply

    def _receive(self, wait_s: float) -> None:
        self._socket.settimeout(wait_s)
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except TimeoutError:
            return
        except OSError as error:
            raise self._unreachable(error) from error
        finally:
            self._socket.settimeout(self._timeout_s)
        if not data:
            raise Unreachable(self._address, "closed the connection")
        self._reader.feed(data)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unreachable(self, error: OSError) -> Unreachable:
        return Unreachable(self._address, error.strerror or str(error))
