"""Log lines: structured, one event a line, for people on a terminal and as JSON elsewhere.

The level is looked at for each line, so that CONFIG SET can change it while the member runs.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from raftkv.settings import Log

LIBRARY_LOGGER = "raftkv"
_LEVELS = logging.getLevelNamesMapping()
_least = logging.INFO


def set_level(name: str) -> None:
    """Write what is at least as important as `name` (a value of log.level) from now on."""
    global _least
    _least = _LEVELS[name.upper()]


def _drop_unimportant(logger: Any, method: str, event: Any) -> Any:  # noqa: ARG001
    if _LEVELS.get(method.upper(), logging.CRITICAL) < _least:
        raise structlog.DropEvent
    return event


def open_log(settings: Log, member_id: int) -> Any:
    """A logger that writes to standard error, with the member's id in each line."""
    set_level(settings.level)
    plain = settings.format == "plain" or (settings.format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if plain
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[
            _drop_unimportant,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger().bind(member=member_id)


def library_log(member_id: int) -> Any:
    """A logger for a member inside of somebody else's program: it writes to `logging`'s logger "raftkv", one event a
    line. What is shown, and where, is that program's to configure; nothing of the process is changed."""
    return structlog.wrap_logger(
        logging.getLogger(LIBRARY_LOGGER),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event", "member"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    ).bind(member=member_id)
