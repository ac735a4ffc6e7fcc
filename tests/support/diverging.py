"""A machine with a bug: on the member that is started with TEST_DIVERGES set, SET stores another value."""

from __future__ import annotations

import os

from raftkv.machines.interface import Context
from raftkv.machines.redis.machine import RedisMachine
from raftkv.machines.replies import Reply


class Diverging(RedisMachine):
    def handle_write(self, context: Context, commands: list[list[bytes]]) -> list[Reply]:
        if "TEST_DIVERGES" in os.environ:
            commands = [[*argv[:-1], b"wrong"] if argv[:2] == [b"SET", b"poisoned"] else argv for argv in commands]
        return super().handle_write(context, commands)
