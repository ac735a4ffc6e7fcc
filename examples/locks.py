"""A lock service with fencing tokens, whose locks end by themselves.

raftkv dev --machine locks:Locks
redis-cli -p 7001 lock.acquire printer alice TTL_MS 10000      -> 1, the token
redis-cli -p 7001 lock.acquire printer bob TTL_MS 10000        -> HELD by alice
redis-cli -p 7001 lock.release printer 1

Why tokens. No lock with a time limit is safe alone: whoever holds it may be stopped (a pause, a slow network) until the
time is over and somebody else has the lock, and then go on as if nothing had happened. So each holder gets a higher
number, sends it with everything it does, and what is protected refuses numbers below the highest it has seen:

    alice   acquires, token 33 ... stands still ............................ writes with 33: refused
    bob                            (33 has ended) acquires, token 34, writes with 34

Time is the log's (`self.time_ms`), the same on every member, and goes on across changes of the leader.
"""

import msgspec

import raftkv


class Lock(msgspec.Struct, frozen=True):
    owner: str
    token: int
    ends_ms: int


class Locks(raftkv.Machine):
    locks: raftkv.Map[str, Lock]
    ends: raftkv.Map[tuple[int, str], bool]
    """The locks by when they end, so that the next one is found at once."""

    last_token: int = 0

    @raftkv.write(name="lock.acquire")
    def acquire(self, key: str, owner: str, *, ttl_ms: int) -> int:
        """Take a lock for so long; returns the token to be sent with all that is done under it."""
        if not 0 < ttl_ms <= 3_600_000:
            raise raftkv.Refusal("a lock is held for 1 ms to an hour")
        held = self.locks.get(key)
        if held is not None:
            raise raftkv.Refusal(f"HELD by {held.owner}")
        self.last_token += 1
        self._hold(key, Lock(owner, self.last_token, self.time_ms + ttl_ms))
        return self.last_token

    @raftkv.write(name="lock.renew")
    def renew(self, key: str, token: int, *, ttl_ms: int) -> None:
        """Hold a lock longer."""
        lock = self._mine(key, token)
        self._let_go(key)
        self._hold(key, Lock(lock.owner, token, self.time_ms + ttl_ms))

    @raftkv.write(name="lock.release")
    def release(self, key: str, token: int) -> None:
        """Give a lock back."""
        self._mine(key, token)
        self._let_go(key)

    @raftkv.read(name="lock.holder")
    def holder(self, key: str) -> list[object] | None:
        """[owner, token] of a lock; null when it is free."""
        lock = self.locks.get(key)
        return None if lock is None else [lock.owner, lock.token]

    def deadline_ms(self) -> int | None:
        return next((ends_ms for ends_ms, _ in self.ends), None)

    def on_time(self) -> None:
        for ends_ms, key in list(self.ends):
            if ends_ms > self.time_ms:
                break
            self._let_go(key)

    def _hold(self, key: str, lock: Lock) -> None:
        self.locks[key] = lock
        self.ends[lock.ends_ms, key] = True

    def _let_go(self, key: str) -> None:
        lock = self.locks.pop(key)
        del self.ends[lock.ends_ms, key]

    def _mine(self, key: str, token: int) -> Lock:
        lock = self.locks.get(key)
        if lock is None or lock.token != token:
            raise raftkv.Refusal("LOST the lock is not held under this token any more")
        return lock
