"""How often a secret that people choose may be guessed: budgets that refill, counted before the secret is looked at.

A guess counts against the account and against the address that it comes from; one that a member's desk makes, for whoever asks it to, against the account
at that desk: strangers do not use up what it has. Whoever was right once from a device has a budget of her own there, so
that nobody else's guesses keep her out (OWASP calls it device cookies). What exists and what does not is counted alike, and a right guess is given
back. Limit: a caller that asks this service directly may say any address and any device, so the account's budget is what bounds guessing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.db import Database, Row, Transaction
from chassis.errors import Exhausted
from chassis.sealing import Keyring
from chassis.tokens import SYSTEM

DEVICE_KEPT = timedelta(days=180)
"""How long a device is known after somebody was right from it."""


@dataclass(frozen=True)
class Budget:
    """`burst` guesses at once and one more `every` so often; after `most` wrong ones, one in `then`. Forgotten when `kept` has passed without one."""

    burst: int
    every: timedelta
    kept: timedelta
    most: int | None = None
    then: timedelta = timedelta(0)

    def step(self, wrong: int) -> timedelta:
        """What one guess costs after so many wrong ones."""
        return self.every if self._fresh(wrong) else self.then

    def take(self, row: Row, now: datetime) -> tuple[datetime, timedelta]:
        """When the budget is whole after one more guess, and how long that guess has to wait; zero if it need not."""
        before, step = max(row["whole_time"], now), self.step(row["wrong"])
        room = step * (self.burst if self._fresh(row["wrong"]) else 1)
        return before + step, max(before + step - now - room, timedelta(0))

    def _fresh(self, wrong: int) -> bool:
        return self.most is None or wrong < self.most


@dataclass(frozen=True)
class Origin:
    """Where a guess comes from, as far as it is known: an address (of IPv6 the network of 64 bits), a secret that the device keeps, and the organisation
    whose worker or key made it."""

    address: str = ""
    device: str = ""
    organization_id: str = ""


@dataclass(frozen=True)
class Guess:
    """One that was counted: by these marks, each with what it cost."""

    taken: dict[bytes, timedelta]
    device: bytes | None


class Guesses:
    """The count for one kind of secret."""

    def __init__(self, database: Database, keyring: Keyring, kind: str, account: Budget, address: Budget) -> None:
        """`database` is for counting in transactions of their own: a refusal must not undo the count."""
        self._database = database
        self._keyring = keyring
        self._kind = kind
        self._account = account
        self._address = address

    def begin(self, account: str, origin: Origin, now: datetime) -> Guess:
        """Counts a guess, so that many at once are all counted. Raises Exhausted too_many_attempts, and then counts nothing."""
        device = self._mark("device", account, origin.device) if origin.device else None
        with self._database.transaction(SYSTEM) as tx:
            if device and _is_known(tx, device, now):
                budgets = {device: self._account}
            else:
                desk = ("desk", account, origin.organization_id) if origin.organization_id else ("account", account)
                budgets = {self._mark(*desk): self._account}
                if origin.address:
                    budgets[self._mark("address", origin.address)] = self._address
            taken, wait = {}, timedelta(0)
            for row in _lock(tx, budgets, now):
                budget = budgets[row["mark"]]
                whole_time, longer = budget.take(row, now)
                taken[row["mark"]], wait = budget.step(row["wrong"]), max(wait, longer)
                tx.execute(
                    "UPDATE guesses SET whole_time = %s, wrong = %s, forget_time = greatest(forget_time, %s) WHERE mark = %s",
                    (whole_time, row["wrong"] + 1, whole_time + budget.kept, row["mark"]),
                )
            if wait:
                raise Exhausted("too_many_attempts", wait.total_seconds())
        return Guess(taken, device)

    def right(self, guess: Guess, now: datetime) -> None:
        """It was no guess: it is given back, and the device is known from now on. What others guessed wrong stays counted."""
        with self._database.transaction(SYSTEM) as tx:
            for mark in sorted(guess.taken):
                tx.execute(
                    "UPDATE guesses SET whole_time = whole_time - %s, wrong = greatest(wrong - 1, 0) WHERE mark = %s",
                    (guess.taken[mark], mark),
                )
            if guess.device:
                tx.execute(
                    "INSERT INTO guesses (mark, whole_time, known, forget_time) VALUES (%(mark)s, %(now)s, true, %(until)s)"
                    " ON CONFLICT (mark) DO UPDATE SET whole_time = %(now)s, wrong = 0, known = true, forget_time = %(until)s",
                    {"mark": guess.device, "now": now, "until": now + DEVICE_KEPT},
                )

    def _mark(self, *parts: str) -> bytes:
        return self._keyring.fingerprint("\0".join((self._kind, *parts)).encode(), "guesses")


def forget(tx: Transaction, now: datetime) -> int:
    """Takes away what is over; returns how many."""
    return tx.execute("DELETE FROM guesses WHERE forget_time < %s", (now,)).rowcount


def _is_known(tx: Transaction, device: bytes, now: datetime) -> bool:
    return tx.execute("SELECT FROM guesses WHERE mark = %s AND known AND forget_time >= %s", (device, now)).fetchone() is not None


def _lock(tx: Transaction, budgets: dict[bytes, Budget], now: datetime) -> list[Row]:
    """The rows of these marks, locked in one order so that two guesses at once do not end each other; one whose time is over begins anew."""
    return tx.execute(
        "INSERT INTO guesses AS old (mark, whole_time, forget_time) SELECT mark, %(now)s, %(now)s FROM unnest(%(marks)s::bytea[]) AS mark ORDER BY mark"
        " ON CONFLICT (mark) DO UPDATE SET whole_time = CASE WHEN old.forget_time < %(now)s THEN %(now)s ELSE old.whole_time END,"
        " wrong = CASE WHEN old.forget_time < %(now)s THEN 0 ELSE old.wrong END RETURNING *",
        {"now": now, "marks": list(budgets)},
    ).fetchall()
