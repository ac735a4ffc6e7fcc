"""Named counters: the smallest service that is of use.

raftkv dev --machine counter:Counter
redis-cli -p 7001 incr visits
redis-cli -p 7002 get visits
"""

import raftkv


class Counter(raftkv.Machine):
    counts: raftkv.Map[str, int]

    @raftkv.write
    def incr(self, name: str, by: int = 1) -> int:
        """Add to a counter and return its new value."""
        self.counts[name] = self.counts.get(name, 0) + by
        return self.counts[name]

    @raftkv.read
    def get(self, name: str) -> int:
        """The value of a counter; 0 when nobody has counted yet."""
        return self.counts.get(name, 0)
