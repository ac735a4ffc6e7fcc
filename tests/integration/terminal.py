"""A program on a terminal of its own, for what it does only when a person sits before it: prompts, hints, bars.

`type` and `wait_shown` take turns as a person does. redis-cli throws away what was typed before its prompt is there,
so whoever types ahead waits for an answer in vain: always wait for the prompt first.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Self

ROWS, COLUMNS = 50, 200
"""redis-cli cuts hints at the right edge, and asks a terminal that does not tell its width for it."""
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Colours and movements of the cursor. What a line that is drawn anew showed before stays in the text."""


class Terminal:
    """`home`: an empty directory for the history that redis-cli keeps."""

    def __init__(self, home: Path, *argv: str) -> None:
        self._keyboard, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        env = {**os.environ, "TERM": "xterm", "HOME": str(home)}
        self._process = subprocess.Popen(
            argv, stdin=screen, stdout=screen, stderr=screen, env=env, start_new_session=True
        )
        os.close(screen)
        self._raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._keyboard)

    def type(self, text: str) -> None:
        """Press keys; what was shown before is forgotten."""
        self._raw = b""
        os.write(self._keyboard, text.encode())

    def wait_shown(self, text: str, timeout_s: float = 15.0) -> str:
        """Until `text` is there. Returns all that has been shown since the last keys."""
        deadline = time.monotonic() + timeout_s
        while text not in (shown := _CONTROL.sub("", self._raw.decode(errors="replace"))):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self._keyboard], [], [], left_s)[0]:
                raise AssertionError(f"waited {timeout_s} s in vain for {text!r}, shown is {shown!r}")
            self._raw += os.read(self._keyboard, 65536)
        return shown
