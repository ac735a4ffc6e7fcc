"""Where large containers end: what nobody refers to any more is freed some members at a time.

Freeing ten million members at once takes a second, in which the member neither answers nor sends heartbeats. However a
large value comes to its end (DEL, SET over it, FLUSHALL, its deadline), the container with its members is put here by
the finalizer of its owner, and each log entry frees a slice. So memory comes back while the cluster is written to.

One for the process, not for each machine: a finalizer knows no machine. It is no part of the state.
"""

from __future__ import annotations

from sys import getrefcount
from typing import Any, Final

LARGE_MEMBERS: Final = 4096
"""Below it a container is freed at once: a quarter of a millisecond."""

FREED_MEMBERS_MAX: Final = 4096
"""So many go with one log entry."""

_waiting: Final[list[dict[Any, Any] | list[Any]]] = []


def bury(container: dict[Any, Any] | list[Any]) -> None:
    """Take over a container that nobody else refers to; a small one may go by itself."""
    if len(container) > LARGE_MEMBERS:
        _waiting.append(container)


def bury_parts(parts: list[list[Any]]) -> None:
    """The same for one that lies in many lists: those of them that nobody else has too."""
    if len(parts) > 1:
        ending = _not_shared(parts)
        if sum(map(len, ending)) > LARGE_MEMBERS:
            _waiting.extend(ending)


def _not_shared(parts: list[list[Any]]) -> list[list[Any]]:
    return [part for part, references in _references(parts) if references == _ALONE]


def _references(parts: list[list[Any]]) -> list[tuple[list[Any], int]]:
    return [(part, getrefcount(part)) for part in parts]


_ALONE: Final = _references([[]])[0][1]
"""Counted, as it is not the same for each version of Python."""


def free_some() -> None:
    """Free a slice of what waits here."""
    budget = FREED_MEMBERS_MAX
    while _waiting and budget:
        container = _waiting[-1]
        part = min(budget, len(container))
        if isinstance(container, list):
            del container[len(container) - part :]
        else:
            for _ in range(part):
                container.popitem()
        budget -= part
        if not container:
            _waiting.pop()


def members_waiting() -> int:
    """How many members are still to be freed."""
    return sum(map(len, _waiting))
