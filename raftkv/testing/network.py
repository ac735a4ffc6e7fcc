"""The simulated network: links that behave as TCP connections do, cuts, and datagrams for Raft's own messages.

A link is two ordered streams. What is sent arrives later, in order, until the link breaks; then a prefix of what was
under way still arrives, both ends hear of it at times of their own, and a new link is made when both can reach each
other. A cut direction delivers nothing: its stream stands still, and goes on when the cut is healed in time, as TCP
does; otherwise the link breaks.

With `Scenario.datagrams` Raft's messages do not use the links: each travels alone, may be lost, repeated or arrive very
late, even after a crash of either end. The consensus core must stand all of that. Forwarded commands always use
links: they count on arriving at most once and in order.

With `Scenario.frames` what travels is bytes, cut at random places and sometimes damaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Protocol

from raftkv.raft.messages import RaftMessage
from raftkv.testing.scenario import Scenario
from raftkv.testing.schedule import Schedule
from raftkv.wire.peer import FrameParser, PeerMessage, encode_frame

RAFT_MESSAGES: tuple[type, ...] = RaftMessage.__args__


class Endpoint(Protocol):
    """What the network knows of a member."""

    id: int

    @property
    def is_up(self) -> bool: ...

    @property
    def is_responsive(self) -> bool: ...

    def on_link_up(self, peer: int, link: Link) -> None: ...

    def on_link_down(self, peer: int, link: Link) -> None: ...

    def on_arrival(self, peer: int, link: Link, what: PeerMessage | bytes) -> None: ...

    def on_datagram(self, peer: int, what: PeerMessage | bytes) -> None: ...


class Stream:
    """One direction of a link. `floor_us`: nothing arrives before it, so that order is kept."""

    __slots__ = ("arrives_until_us", "floor_us", "parser", "stalled")

    def __init__(self, floor_us: int) -> None:
        self.floor_us = floor_us
        self.arrives_until_us = 1 << 62
        self.stalled: list[PeerMessage | bytes] = []
        self.parser = FrameParser()


class Link:
    """`number` tells it from earlier links of the same pair; `streams` are by sender."""

    __slots__ = ("alive", "number", "pair", "streams")

    def __init__(self, number: int, pair: tuple[int, int], now_us: int) -> None:
        self.number = number
        self.pair = pair
        self.alive = True
        self.streams = {member: Stream(now_us) for member in pair}


class Network:
    def __init__(self, schedule: Schedule, random: Random, scenario: Scenario) -> None:
        self._schedule = schedule
        self._random = random
        self._scenario = scenario
        self._members: Mapping[int, Endpoint] = {}
        self._links: dict[tuple[int, int], Link] = {}
        self._cut: set[tuple[int, int]] = set()
        self._count = 0
        self.rough = True
        """Whether datagrams get lost and frames damaged."""

    def attach(self, members: Mapping[int, Endpoint]) -> None:
        self._members = members
        for a in members:
            for b in members:
                if a < b:
                    self._schedule.after(self._delay_us(), self._connect, (a, b))

    # ---- cuts

    def cut(self, sender: int, receiver: int) -> None:
        """From now on nothing gets from `sender` to `receiver`."""
        self._cut.add((sender, receiver))
        link = self._links.get(_pair(sender, receiver))
        if link is not None:
            self._schedule.after(self._random.randint(200_000, 3_000_000), self._break_if_cut, link)

    def heal(self, sender: int, receiver: int) -> None:
        self._cut.discard((sender, receiver))
        link = self._links.get(_pair(sender, receiver))
        if link is not None and link.alive:
            stalled, link.streams[sender].stalled = link.streams[sender].stalled, []
            for what in stalled:
                # At once: anything later would be overtaken by what is still under way.
                self._members[receiver].on_arrival(sender, link, what)

    def heal_all(self) -> None:
        for sender, receiver in sorted(self._cut):
            self.heal(sender, receiver)

    def _is_cut(self, pair: tuple[int, int]) -> bool:
        return pair in self._cut or (pair[1], pair[0]) in self._cut

    # ---- links

    def break_link(self, a: int, b: int) -> None:
        link = self._links.get(_pair(a, b))
        if link is not None:
            self._break(link)

    def on_crash(self, member: int) -> None:
        for link in [link for link in self._links.values() if member in link.pair]:
            self._break(link)

    def _break_if_cut(self, link: Link) -> None:
        if link.alive and self._is_cut(link.pair):
            self._break(link)

    def _break(self, link: Link) -> None:
        if not link.alive:
            return
        link.alive = False
        del self._links[link.pair]
        now_us = self._schedule.now_us
        for sender, receiver in (link.pair, link.pair[::-1]):
            is_cut = (sender, receiver) in self._cut
            until_us = now_us + self._random.choice((0, 0 if is_cut else self._delay_us()))
            link.streams[sender].arrives_until_us = until_us
            # Sometimes an end notices late: it goes on sending into nothing.
            heard_us = until_us + self._random.choice((1, 1, 1, self._random.randint(1, 400_000)))
            self._schedule.at(heard_us, self._members[receiver].on_link_down, sender, link)
        self._schedule.after(self._random.randint(1000, 150_000), self._connect, link.pair)

    def _connect(self, pair: tuple[int, int]) -> None:
        """The member with the lower id dials. A process that is stopped does not shake hands."""
        if pair in self._links:
            return
        dialler, acceptor = (self._members[member] for member in pair)
        if not (dialler.is_responsive and acceptor.is_responsive) or self._is_cut(pair):
            self._schedule.after(self._random.randint(10_000, 80_000), self._connect, pair)
            return
        self._count += 1
        link = self._links[pair] = Link(self._count, pair, self._schedule.now_us)
        acceptor.on_link_up(dialler.id, link)
        stream = link.streams[acceptor.id]
        stream.floor_us += self._delay_us()  # the answer to the greeting, ahead of everything else
        self._schedule.at(stream.floor_us, self._greeted, link, dialler, acceptor)

    def _greeted(self, link: Link, dialler: Endpoint, acceptor: Endpoint) -> None:
        if link.alive:
            dialler.on_link_up(acceptor.id, link)

    # ---- messages

    def send(self, sender: int, receiver: int, message: PeerMessage, link: Link | None) -> None:
        """`link` is the one that the sender believes to have."""
        if self._scenario.datagrams and isinstance(message, RAFT_MESSAGES):
            self._send_datagram(sender, receiver, message)
        elif link is not None and link.alive:
            if not self._scenario.frames:
                self._stream(link, sender, receiver, message)
                return
            for piece in self._pieces(encode_frame(message)):
                self._stream(link, sender, receiver, piece)

    def _pieces(self, frame: bytes) -> list[bytes]:
        random = self._random
        if self.rough and self._scenario.damage and random.random() < self._scenario.damage:
            damaged = bytearray(frame)
            damaged[random.randrange(len(frame))] ^= 1 << random.randrange(8)
            frame = bytes(damaged)
        if random.random() < 0.8:
            return [frame]
        middle = random.randrange(len(frame))
        return [frame[:middle], frame[middle:]]

    def _stream(self, link: Link, sender: int, receiver: int, what: PeerMessage | bytes) -> None:
        stream = link.streams[sender]
        stream.floor_us = max(stream.floor_us + 1, self._schedule.now_us + self._delay_us())
        self._schedule.at(stream.floor_us, self._arrive, link, sender, receiver, what)

    def _arrive(self, link: Link, sender: int, receiver: int, what: PeerMessage | bytes) -> None:
        stream = link.streams[sender]
        if self._schedule.now_us > stream.arrives_until_us:
            return
        if link.alive and (sender, receiver) in self._cut:
            stream.stalled.append(what)
        else:
            self._members[receiver].on_arrival(sender, link, what)

    def _send_datagram(self, sender: int, receiver: int, message: PeerMessage) -> None:
        scenario, random = self._scenario, self._random
        copies = 1
        if self.rough:
            if (sender, receiver) in self._cut or random.random() < scenario.loss:
                return
            copies += random.random() < scenario.repeat
        what = encode_frame(message) if scenario.frames else message
        for _ in range(copies):
            delay_us = self._delay_us()
            if self.rough and random.random() < scenario.straggle:
                delay_us += random.randint(1000, 1_500_000)
            self._schedule.after(delay_us, self._members[receiver].on_datagram, sender, what)

    def _delay_us(self) -> int:
        return self._random.randint(*self._scenario.delay_us)


def _pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
