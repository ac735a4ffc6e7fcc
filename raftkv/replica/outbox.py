"""The outbox: durable effects that are not known to have been carried out. Part of the ledger; see `effects.py`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from raftkv.machines.interface import Effect

_encode = msgspec.msgpack.Encoder().encode


class Outbox:
    """Durable effects that are not known to have been carried out, oldest first. Changes by committed entries alone."""

    def __init__(self) -> None:
        self.waiting: dict[str, Effect] = {}
        self.size_bytes = 0
        """Of their names and arguments, encoded."""

    def __len__(self) -> int:
        return len(self.waiting)

    def put(self, effect_id: str, effect: Effect) -> None:
        # By way of its bytes: a member that was restored must not have a list where others have a tuple.
        encoded = _encode(effect)
        self.waiting[effect_id] = msgspec.msgpack.decode(encoded, type=Effect)
        self.size_bytes += len(encoded)

    def remove(self, effect_ids: Iterable[str]) -> None:
        for effect_id in effect_ids:
            effect = self.waiting.pop(effect_id, None)
            if effect is not None:
                self.size_bytes -= len(_encode(effect))

    def restore(self, waiting: dict[str, Effect]) -> None:
        self.waiting = waiting
        self.size_bytes = sum(map(len, map(_encode, waiting.values())))
