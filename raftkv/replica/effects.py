"""Which effects this member has to carry out, and whose replies wait for that.

An effect is something to be done outside once an entry is committed (`machines.interface.Effect`). Two promises::

    plain     at most once. Handed out by the member that proposed the entry, when it applies it as leader of the same
              term. Nobody else ever does: the proposal is in the memory of one process, and is used up there.
    durable   at least once. Every member keeps it in the outbox (replicated, part of the ledger) until an entry says
              that it has been carried out. A leader hands out what is in the outbox: when it takes office, and as it
              comes in. If the leader dies in between, the next one carries it out again, under the same id.

Replay after a restart hands out nothing plain, and nothing at all before this member leads.

A reply that is to wait for an effect (`before_reply`) is held here until the effect has ended, well or badly: the write
is done in any case. It is held no longer than the request timeout, and not beyond this leadership.

The ids are "<index>.<number>" of the entry and of the effect in it: the same on every member and in every repeat.
"""

from __future__ import annotations

import itertools

import msgspec

from raftkv.machines.interface import Effect
from raftkv.machines.replies import Reply
from raftkv.replica.outbox import Outbox
from raftkv.replica.work import Work, answer, apart

DONE_MAX = 1000
"""So many ids go into one entry, at most: ten thousand effects that end together must not make one of megabytes."""


class Due(msgspec.Struct, frozen=True):
    """An effect to be carried out now."""

    id: str
    effect: Effect


class _Held(msgspec.Struct):
    """A work whose replies wait for effects."""

    work: Work
    replies: list[Reply]
    effect_ids: set[str]

    def answer(self) -> None:
        answer([self.work], self.replies)


class EffectDesk:
    def __init__(self, outbox: Outbox) -> None:
        self.stirred = False
        """Something is due, or leadership was lost: whoever carries effects out should look."""

        self.leading = False
        self.office = 0
        """Counts the times that leadership was won or lost: what was handed out before is not to be begun any more."""

        self._outbox = outbox
        self._due: list[Due] = []
        self._begun: set[str] = set()
        self._done: dict[str, None] = {}
        self._held: dict[str, _Held] = {}

    def on_leading(self, leading: bool) -> None:
        """This member has become a leader that may act, or is none any more."""
        self.leading = leading
        self.office += 1
        self.stirred = True
        self._due = [due for due in self._due if not due.effect.durable]
        self._begun.clear()
        self._done.clear()
        self.release_all()
        if leading:
            for effect_id, effect in self._outbox.waiting.items():
                self._hand_out(effect_id, effect)

    def on_applied(self, index: int, effects: list[tuple[int, Effect]], *, is_own: bool) -> dict[int, list[str]]:
        """The entry at `index` wants these. `is_own`: this member has proposed it, and leads in its term. Returns
        position of a command -> the effects that its reply has to wait for."""
        awaited: dict[int, list[str]] = {}
        for number, (position, effect) in enumerate(effects):
            effect_id = f"{index}.{number}"
            if effect.durable:
                self._outbox.put(effect_id, effect)
            if self.leading if effect.durable else is_own:
                self._hand_out(effect_id, effect)
                if effect.before_reply:
                    awaited.setdefault(position, []).append(effect_id)
        return awaited

    def _hand_out(self, effect_id: str, effect: Effect) -> None:
        if effect.durable:
            self._begun.add(effect_id)
        self._due.append(Due(effect_id, effect))
        self.stirred = True

    def take_due(self) -> list[Due]:
        """What is to be carried out; each is handed out once in a leadership. Answer with `on_ended`."""
        due, self._due = self._due, []
        self.stirred = False
        return due

    def on_ended(self, effect_id: str, well: bool) -> bool:
        """An effect has been carried out, or has failed. Returns whether there is news for the outbox."""
        held = self._held.pop(effect_id, None)
        if held is not None:
            held.effect_ids.discard(effect_id)
            if not held.effect_ids:
                held.answer()
        if well and effect_id in self._begun:
            self._done[effect_id] = None
            return True
        return False

    def done(self) -> list[str]:
        """Durable effects that have been carried out and are still in the outbox: as many as one entry should tell."""
        self._done = {effect_id: None for effect_id in self._done if effect_id in self._outbox.waiting}
        return list(itertools.islice(self._done, DONE_MAX))

    # ---- replies

    def answer(self, works: list[Work], replies: list[Reply], awaited: dict[int, list[str]]) -> None:
        """Answer the works of an entry, but hold back those with commands at the positions of `awaited`."""
        start = 0
        for work in itertools.chain.from_iterable(map(apart, works)):  # each client waits for its own effects only
            stop = start + work.admitted
            effect_ids = {each for position in range(start, stop) for each in awaited.get(position, ())}
            held = _Held(work, replies[start:stop], effect_ids)
            if effect_ids:
                self._held.update(dict.fromkeys(effect_ids, held))
            else:
                held.answer()
            start = stop

    def release_all(self) -> None:
        """Answer everything that is held: their writes are done, whatever becomes of the effects."""
        for held in {id(held): held for held in self._held.values()}.values():
            held.answer()
        self._held.clear()

    def release_older_than(self, since_ms: int) -> None:
        """Replies of works that came before `since_ms` have waited long enough."""
        for effect_id, held in list(self._held.items()):
            if held.work.since_ms < since_ms and self._held.get(effect_id) is held:
                for each in held.effect_ids:
                    del self._held[each]
                held.answer()
