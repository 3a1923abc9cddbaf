"""How often a secret that people choose may be guessed: budgets that refill, reserved before the
secret is looked at.

A guess counts against the account and against the address that it comes from; one that a member's
desk makes, for whoever asks it to, against the account at that desk: strangers do not use up what
it has. Whoever was right once from a device has a budget of her own there, so that nobody else's
guesses keep her out (OWASP calls it device cookies). Where a kind has `Lanes`, an address that was
wrong about an account is soon stopped for it, and when the account's budget is used up an address
that was never wrong about it has another: strangers make her wait, and don't keep her out. What
exists and what does not is counted alike.

Only a comparison that was made is a guess. `begin` reserves one, so that many at once are all
counted; `settle` counts a wrong one and gives a right one back; of a call that ended between the
two (late, or without its database) the reservation lapses as soon as no call can be under way any
more. A time in the store that lies further ahead than honest guesses lead was written by a clock
that was wrong, and is bounded when it is read. An address is the gateway's word or the connection's
(chassis/rpc.py). Limit: who has many addresses has many budgets, so the account's bounds guessing.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis import deadline
from chassis.db import Database, Row, Transaction
from chassis.errors import Exhausted
from chassis.tokens import SYSTEM
from keys.sealing import Keyring

UNDER_WAY = timedelta(seconds=15)
"""How long a guess may be under way: longer than any call lasts, with its comparison and what is
noted of it.
"""
_SETTLING = 3.0  # seconds to note how a comparison went, also when the time of its call is over
DEVICE_KEPT = timedelta(days=180)
"""How long a device is known after somebody was right from it."""


@dataclass(frozen=True)
class Budget:
    """`burst` guesses at once and one more `every` so often; after `most` wrong ones, one in
    `then`. Forgotten when `kept` has passed without one.
    """

    burst: int
    every: timedelta
    kept: timedelta
    most: int | None = None
    then: timedelta = timedelta(0)

    def step(self, wrong: int) -> timedelta:
        """What one guess costs after so many wrong ones."""
        return self.every if self._fresh(wrong) else self.then

    def take(self, row: Row, now: datetime, under_way: int = 0) -> tuple[datetime, timedelta]:
        """Returns when the budget is whole after one more guess beside those `under_way`, and how
        long that guess has to wait; zero if it need not.
        """
        step = self.step(row["wrong"] + under_way)
        before = max(min(row["whole_time"], now + self._owed(row["wrong"])), now) + step * under_way
        room = step * (self.burst if self._fresh(row["wrong"] + under_way) else 1)
        return before + step, max(before + step - now - room, timedelta(0))

    def _owed(self, wrong: int) -> timedelta:
        """Returns the most that so many wrong guesses can have cost, all of them made just now."""
        return (
            self.every * min(wrong, self.burst)
            if self._fresh(wrong)
            else max(self.then, self.every * self.burst)
        )

    def _fresh(self, wrong: int) -> bool:
        return self.most is None or wrong < self.most


@dataclass(frozen=True)
class Lanes:
    """Budgets of one account beside its own: `at_address` of the guesses from one address, which
    stops it there; `newcomer` of addresses that were not wrong about it before, when its own is
    used up; `desk` of each organisation whose workers guess for her.
    """

    at_address: Budget
    newcomer: Budget
    desk: Budget


@dataclass(frozen=True)
class Origin:
    """Where a guess comes from, as far as it is known: an address (of IPv6 the network of 64 bits),
    a secret that the device keeps, and the organisation whose worker or key made it.
    """

    address: str = ""
    device: str = ""
    organization_id: str = ""


@dataclass(frozen=True)
class Guess:
    """One that is under way: which budget of which mark it takes from, the device, and when it
    began.
    """

    budgets: dict[bytes, Budget]
    device: bytes | None
    time: datetime


class Guesses:
    """The count for one kind of secret."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        kind: str,
        account: Budget,
        address: Budget,
        lanes: Lanes | None = None,
    ) -> None:
        """`database` is for counting in transactions of their own: a refusal must not undo the
        count.
        """
        self._database = database
        self._keyring = keyring
        self._kind = kind
        self._account = account
        self._address = address
        self._lanes = lanes

    def begin(self, account: str, origin: Origin, now: datetime) -> Guess:
        """Reserves a guess, to be settled by its comparison.

        Raises Exhausted too_many_attempts, and then reserves nothing.
        """
        return self._take(account, origin, now, counted=False)

    def count(self, account: str, origin: Origin, now: datetime) -> None:
        """Counts what is never given back, as how often somebody asks.

        Raises Exhausted too_many_attempts, and then counts nothing.
        """
        self._take(account, origin, now, counted=True)

    def settle(self, guess: Guess, right: bool, now: datetime) -> None:
        """Notes how the comparison went, in a time of its own: a wrong one is counted; after a
        right one the device is known from now on. What others guessed wrong stays counted.
        """
        with deadline.until(time.monotonic() + _SETTLING), self._database.transaction(SYSTEM) as tx:
            for row in _lock(tx, guess.budgets, now):
                under_way = _under_way(row, now)
                if guess.time in under_way:
                    under_way.remove(guess.time)
                if right:
                    _note(tx, row, under_way, now)
                else:
                    _count(tx, row, guess.budgets[row["mark"]], under_way, now)
            if right and guess.device:
                tx.execute(
                    "INSERT INTO guesses (mark, whole_time, known, forget_time)"
                    " VALUES (%(mark)s, %(now)s, true, %(until)s)"
                    " ON CONFLICT (mark) DO UPDATE SET whole_time = %(now)s, wrong = 0, known ="
                    " true, forget_time = %(until)s",
                    {"mark": guess.device, "now": now, "until": now + DEVICE_KEPT},
                )

    def _take(self, account: str, origin: Origin, now: datetime, *, counted: bool) -> Guess:
        device = self._mark("device", account, origin.device) if origin.device else None
        with self._database.transaction(SYSTEM) as tx:
            budgets = (
                {device: self._account}
                if device and _is_known(tx, device, now)
                else self._budgets(account, origin)
            )
            rows = self._in_lane(_lock(tx, budgets, now), account, origin, now)
            wait = timedelta(0)
            for row in rows:
                budget, under_way = budgets[row["mark"]], _under_way(row, now)
                wait = max(wait, _wait(row, budget, now))
                if counted:
                    _count(tx, row, budget, under_way, now)
                else:
                    _note(tx, row, [*under_way, now], now + UNDER_WAY)
            if wait:
                raise Exhausted("too_many_attempts", wait.total_seconds())
        return Guess({row["mark"]: budgets[row["mark"]] for row in rows}, device, now)

    def _budgets(self, account: str, origin: Origin) -> dict[bytes, Budget]:
        """Returns what a guess from a device that is not known may take from."""
        address = {self._mark("address", origin.address): self._address} if origin.address else {}
        if origin.organization_id:
            return {
                self._mark("desk", account, origin.organization_id): self._lanes.desk
                if self._lanes
                else self._account
            } | address
        own = {self._mark("account", account): self._account}
        if self._lanes and origin.address:
            own[self._mark("newcomer", account)] = self._lanes.newcomer
            own[self._mark("here", account, origin.address)] = self._lanes.at_address
        return own | address

    def _in_lane(self, rows: list[Row], account: str, origin: Origin, now: datetime) -> list[Row]:
        """Leaves out the account's own budget, or that of newcomers, which a guess takes from in
        its place.
        """
        by_mark = {row["mark"]: row for row in rows}
        here = by_mark.get(self._mark("here", account, origin.address))
        if here is None:
            return rows
        own = self._mark("account", account)
        is_new = not here["wrong"] and not _under_way(here, now)
        left_out = (
            own
            if is_new and _wait(by_mark[own], self._account, now)
            else self._mark("newcomer", account)
        )
        return [row for row in rows if row["mark"] != left_out]

    def _mark(self, *parts: str) -> bytes:
        return self._keyring.fingerprint("\0".join((self._kind, *parts)).encode(), "guesses")


def forget(tx: Transaction, now: datetime) -> int:
    """Takes away what is over; returns how many."""
    return tx.execute("DELETE FROM guesses WHERE forget_time < %s", (now,)).rowcount


def _wait(row: Row, budget: Budget, now: datetime) -> timedelta:
    """How long a guess has to wait; for those that are under way no longer than they can be."""
    return max(
        budget.take(row, now)[1],
        min(budget.take(row, now, len(_under_way(row, now)))[1], UNDER_WAY),
    )


def _is_known(tx: Transaction, device: bytes, now: datetime) -> bool:
    return (
        tx.execute(
            "SELECT FROM guesses WHERE mark = %s AND known AND forget_time >= %s", (device, now)
        ).fetchone()
        is not None
    )


def _count(
    tx: Transaction, row: Row, budget: Budget, under_way: list[datetime], now: datetime
) -> None:
    """Takes a wrong guess from the budget of a row."""
    whole_time = budget.take(row, now)[0]
    tx.execute(
        "UPDATE guesses SET whole_time = %s, wrong = wrong + 1 WHERE mark = %s",
        (whole_time, row["mark"]),
    )
    _note(tx, row, under_way, whole_time + budget.kept)


def _note(tx: Transaction, row: Row, under_way: list[datetime], kept_until: datetime) -> None:
    tx.execute(
        "UPDATE guesses SET under_way = %s, forget_time = greatest(forget_time, %s)"
        " WHERE mark = %s",
        (under_way, kept_until, row["mark"]),
    )


def _under_way(row: Row, now: datetime) -> list[datetime]:
    """When those guesses began that may still be under way; the clocks of two processes may
    differ.
    """
    return [began for began in row["under_way"] if abs(now - began) < UNDER_WAY]


def _lock(tx: Transaction, budgets: dict[bytes, Budget], now: datetime) -> list[Row]:
    """The rows of these marks, locked in one order so that two guesses at once do not end each
    other; one whose time is over begins anew.
    """
    return tx.execute(
        "INSERT INTO guesses AS old (mark, whole_time, forget_time) SELECT mark, %(now)s, %(now)s"
        " FROM unnest(%(marks)s::bytea[]) AS mark ORDER BY mark"
        " ON CONFLICT (mark) DO UPDATE SET whole_time = CASE"
        " WHEN old.forget_time < %(now)s THEN %(now)s ELSE old.whole_time END,"
        " wrong = CASE WHEN old.forget_time < %(now)s THEN 0 ELSE old.wrong END RETURNING *",
        {"now": now, "marks": list(budgets)},
    ).fetchall()
