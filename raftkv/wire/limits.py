"""How much a stranger may make this process hold, and why just that much.

These are the defaults of the settings of the same names; Redis has the same numbers, so a client that
stays within what Redis takes is never refused here.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

BULK_BYTES_MAX: Final = 512 * MIB
"""One argument. Redis's `proto-max-bulk-len`."""

MULTIBULK_COUNT_MAX: Final = 1024 * 1024
"""Arguments of one command, its name included."""

INLINE_BYTES_MAX: Final = 64 * KIB
"""One line: an inline command or the header of a count or length. Without it, a client that never sends a
line end would be read for ever."""

UNAUTHENTICATED_COUNT_MAX: Final = 10
"""Arguments of one command before AUTH: enough for HELLO and AUTH, useless for filling the memory."""

UNAUTHENTICATED_BULK_BYTES_MAX: Final = 16 * KIB
"""One argument before AUTH."""

FRAME_BYTES_MAX: Final = 64 * MIB
"""The payload of one peer frame: some of the largest log entries and all that rides along with them."""
