"""The outbox: durable effects that are not known to have been carried out. Part of the ledger; see `effects.py`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from raftkv.machines.interface import Effect


class Outbox:
    """Durable effects that are not known to have been carried out, oldest first. Changes by committed entries alone."""

    def __init__(self) -> None:
        self.waiting: dict[str, Effect] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def put(self, effect_id: str, effect: Effect) -> None:
        # By way of its bytes: a member that was restored must not have a list where others have a tuple.
        self.waiting[effect_id] = msgspec.msgpack.decode(msgspec.msgpack.encode(effect), type=Effect)

    def remove(self, effect_ids: Iterable[str]) -> None:
        for effect_id in effect_ids:
            self.waiting.pop(effect_id, None)
