"""One member under test, whose peers are played by the test itself: it injects their messages and reads the answers."""

from __future__ import annotations

from collections.abc import Iterable

from raftkv.raft.messages import Append, AppendReply, Entry, EntryKind, RaftMessage, VoteReply, VoteRequest
from raftkv.raft.node import Node
from raftkv.raft.roles import Role
from tests.raft.harness import Cluster, Observer


def entries(first: int, *terms: int) -> list[Entry]:
    """Consecutive entries from index `first` with these terms; the data depends on index and term alone."""
    return [
        Entry(index, term, int(EntryKind.COMMANDS), b"%d/%d" % (index, term)) for index, term in enumerate(terms, first)
    ]


class Alone(Observer):
    """Member 1 of `count`, with a durable log of entries of these `terms`, in `term` (default: the last entry's)."""

    def __init__(self, terms: Iterable[int] = (), *, term: int | None = None, count: int = 3, **settings: int) -> None:
        self._sent: list[tuple[int, RaftMessage]] = []
        self.cluster = Cluster(count, observer=self, **settings)
        self.cluster.write_log(1, terms, term=term)

    @property
    def node(self) -> Node:
        return self.cluster[1]

    def on_sent(self, sender: int, receiver: int, message: RaftMessage) -> None:
        if sender == 1:
            self._sent.append((receiver, message))

    def sent(self, kind: type | None = None) -> list[tuple[int, RaftMessage]]:
        """What it has sent since the last call."""
        sent, self._sent = self._sent, []
        return [(to, message) for to, message in sent if kind is None or isinstance(message, kind)]

    def receives(self, sender: int, message: RaftMessage) -> list[RaftMessage]:
        """What it sends back to the sender at once."""
        self.sent()
        self.cluster.inject(sender, 1, message)
        return [message for to, message in self.sent() if to == sender]

    def answer(self, sender: int, message: RaftMessage) -> RaftMessage:
        """The one message that it sends back to the sender at once."""
        answers = self.receives(sender, message)
        assert len(answers) == 1, answers
        return answers[0]

    def time_passes(self, by_ms: int) -> None:
        self.cluster.tick(1, by_ms)

    def terms(self) -> list[int]:
        return self.cluster.terms_of(1)

    def restarts(self) -> None:
        self.cluster.restart(1)

    def becomes_candidate(self) -> int:
        """Its election timeout passes, and all others grant the pre-vote. Returns the new term."""
        self.cluster.campaign(1)
        for peer in self.node.peers:
            if self.node.role is Role.PRE_CANDIDATE:
                self.cluster.inject(peer, 1, VoteReply(self.node.term + 1, True, True))
        assert self.node.role is Role.CANDIDATE
        return self.node.term

    def becomes_leader(self) -> int:
        """It is elected by all others. Returns the term."""
        term = self.becomes_candidate()
        for peer in self.node.peers:
            self.cluster.inject(peer, 1, VoteReply(term, True, False))
        assert self.node.role is Role.LEADER
        return term

    def follows(self, leader: int, term: int) -> None:
        """It accepts an empty append at the start of the log from this leader."""
        answer = self.answer(leader, Append(term, 0, 0, 0, []))
        assert isinstance(answer, AppendReply)
        assert answer.accepted


def vote_request(term: int, last_index: int = 0, last_term: int = 0) -> VoteRequest:
    return VoteRequest(term, last_index, last_term, False)


def granted(answer: RaftMessage) -> bool:
    assert isinstance(answer, VoteReply)
    return answer.granted


def accepted(term: int, match_index: int) -> AppendReply:
    """What a follower says when an append that began at 0 made it equal up to `match_index`."""
    return AppendReply(term, True, 0, match_index, 0, 0)
