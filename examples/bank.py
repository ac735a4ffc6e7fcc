"""A bank: money is moved whole or not at all, and none is made or lost.

raftkv dev --machine bank:Bank
redis-cli -p 7001 deposit alice 100
redis-cli -p 7002 transfer alice bob 30
redis-cli -p 7003 balance bob

A transfer that fails in the middle (see `transfer`: the withdrawal comes first) is undone by raftkv, on every member.
"""

import raftkv


class Bank(raftkv.Machine):
    accounts: raftkv.Map[str, int]
    transfers: int = 0

    @raftkv.write
    def deposit(self, account: str, amount: int) -> int:
        """Bring money in; opens the account when it is new. Returns its balance."""
        self._require_positive(amount)
        self.accounts[account] = self.accounts.get(account, 0) + amount
        return self.accounts[account]

    @raftkv.write
    def transfer(self, source: str, target: str, amount: int) -> None:
        """Move money between two accounts."""
        self._require_positive(amount)
        if self.accounts.get(source, 0) < amount:
            raise raftkv.Refusal(f"NOFUNDS {source} has less than {amount}")
        self.accounts[source] -= amount
        if target not in self.accounts:
            raise raftkv.Refusal(f"NOACCOUNT there is no {target}")
        self.accounts[target] += amount
        self.transfers += 1

    @raftkv.read
    def balance(self, account: str) -> int | None:
        """What is in an account; null when there is none."""
        return self.accounts.get(account)

    @raftkv.read
    def total(self) -> int:
        """All the money there is."""
        return sum(self.accounts.values())

    def _require_positive(self, amount: int) -> None:
        if amount <= 0:
            raise raftkv.Refusal("an amount must be positive")
