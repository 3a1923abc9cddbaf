"""Limits guesses at secrets that people choose, with budgets that refill. A guess is reserved
before the secret is compared.

A guess counts against the account and against the address it comes from. If a worker at a member's
desk makes the guess on behalf of the account's owner, the guess counts against the account's budget
at that desk, which strangers cannot use up, instead of the account's own budget. A device that once
gave the right secret has a budget of its own, so that other people's guesses do not lock its owner
out (OWASP calls this device cookies).

With `Lanes`, an address that guessed wrong about an account is soon blocked for that account. When
the account's budget is used up, an address that never guessed wrong has another budget, so
strangers can delay the owner, but cannot lock her out. Guesses at accounts that do not exist are
counted in the same way.

Only a comparison that took place counts as a guess. `begin` reserves a guess, so that parallel
guesses are all counted. `settle` counts a wrong guess, and cancels the reservation of a right one.
If the call ends before `settle` (its deadline passed, or the database was lost), the reservation
expires when the call can't be running any more. If a stored time lies further in the future than
real guesses could have moved it, a clock was wrong; the time is capped when read.

Limitation: somebody with many addresses has as many address budgets; then the account's budgets are
the only limit.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis import deadline
from chassis.db import Database, Row, Transaction
from chassis.errors import Exhausted
from chassis.limits import DEVICE_LIFETIME
from chassis.tokens import SYSTEM
from keys.sealing import Keyring

LONGEST_GUESS = timedelta(seconds=15)
"""The longest time that a guess can take, including its comparison and the recording of its result:
longer than any call.
"""
_SETTLE_LIMIT = 3.0  # seconds for recording a result, even after the deadline of the call


@dataclass(frozen=True)
class Budget:
    """A budget of guesses: `burst` at once, and one more after each `interval`. After `wrong_limit`
    wrong guesses, only one guess per `slow_interval` is allowed. The budget is forgotten when it
    has been full for `kept_for`.
    """

    burst: int
    interval: timedelta
    kept_for: timedelta
    wrong_limit: int | None = None
    slow_interval: timedelta = timedelta(0)

    def cost(self, wrong: int) -> timedelta:
        """Returns the cost of one guess, as a duration, after `wrong` wrong guesses."""
        return self.interval if self._is_below_limit(wrong) else self.slow_interval

    def after_guess(
        self, row: Row, now: datetime, under_way: int = 0
    ) -> tuple[datetime, timedelta]:
        """Returns when the budget will be full again, counting this guess and the guesses that are
        still running (`under_way`), and how long this guess must wait (zero if not at all).
        """
        cost = self.cost(row["wrong"] + under_way)
        before = (
            max(min(row["whole_time"], now + self._highest_cost(row["wrong"])), now)
            + cost * under_way
        )
        room = cost * (self.burst if self._is_below_limit(row["wrong"] + under_way) else 1)
        return before + cost, max(before + cost - now - room, timedelta(0))

    def _highest_cost(self, wrong: int) -> timedelta:
        """Returns the highest cost, as a duration, that `wrong` wrong guesses can have if all of
        them were made just now.
        """
        return (
            self.interval * min(wrong, self.burst)
            if self._is_below_limit(wrong)
            else max(self.slow_interval, self.interval * self.burst)
        )

    def _is_below_limit(self, wrong: int) -> bool:
        return self.wrong_limit is None or wrong < self.wrong_limit


@dataclass(frozen=True)
class Lanes:
    """Further budgets of one account: `at_address` limits the guesses from one address; `newcomer`
    serves addresses without a wrong guess when the account's own budget is used up; `desk` limits
    each organisation whose workers guess on behalf of the account's owner.
    """

    at_address: Budget
    newcomer: Budget
    desk: Budget


@dataclass(frozen=True)
class Origin:
    """The source of a guess: the address (an IPv6 network of 64 bits), a secret stored on the
    device, and the organisation of the worker or API key that made the guess. Unknown parts are
    empty.
    """

    address: str = ""
    device: str = ""
    organization_id: str = ""


@dataclass(frozen=True)
class Guess:
    """A reserved guess: its budgets by mark, its device, and its time."""

    budgets: dict[bytes, Budget]
    device: bytes | None
    time: datetime


class Guesses:
    """Counts guesses at one kind of secret."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        kind: str,
        account: Budget,
        address: Budget,
        lanes: Lanes | None = None,
    ) -> None:
        """Guesses are counted in transactions of their own in `database`, so that a refusal does
        not undo the count.
        """
        self._database = database
        self._keyring = keyring
        self._kind = kind
        self._account = account
        self._address = address
        self._lanes = lanes

    def begin(self, account: str, origin: Origin, now: datetime) -> Guess:
        """Reserves a guess, to be settled after its comparison.

        Raises Exhausted too_many_attempts, in which case nothing is reserved.
        """
        return self._take(account, origin, now, counted=False)

    def count(self, account: str, origin: Origin, now: datetime) -> None:
        """Counts an attempt for good, without a comparison, e.g. a request for an e-mail.

        Raises Exhausted too_many_attempts, in which case nothing is counted.
        """
        self._take(account, origin, now, counted=True)

    def settle(self, guess: Guess, right: bool, now: datetime) -> None:
        """Records the result of the comparison, within a time limit of its own. A wrong guess is
        counted. After a right guess, the device is remembered, if there is one; earlier wrong
        guesses from elsewhere stay counted.
        """
        with (
            deadline.until(time.monotonic() + _SETTLE_LIMIT),
            self._database.transaction(SYSTEM) as tx,
        ):
            for row in _lock(tx, guess.budgets, now):
                under_way = _under_way(row, now)
                if guess.time in under_way:
                    under_way.remove(guess.time)
                if right:
                    _store_under_way(tx, row, under_way, now)
                else:
                    _count(tx, row, guess.budgets[row["mark"]], under_way, now)
            if right and guess.device:
                tx.execute(
                    "INSERT INTO guesses (mark, whole_time, known, forget_time)"
                    " VALUES (%(mark)s, %(now)s, true, %(until)s)"
                    " ON CONFLICT (mark) DO UPDATE SET whole_time = %(now)s, wrong = 0, known ="
                    " true, forget_time = %(until)s",
                    {"mark": guess.device, "now": now, "until": now + DEVICE_LIFETIME},
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
                wait = max(wait, _waiting_time(row, budget, now))
                if counted:
                    _count(tx, row, budget, under_way, now)
                else:
                    _store_under_way(tx, row, [*under_way, now], now + LONGEST_GUESS)
            if wait:
                raise Exhausted("too_many_attempts", wait.total_seconds())
        return Guess({row["mark"]: budgets[row["mark"]] for row in rows}, device, now)

    def _budgets(self, account: str, origin: Origin) -> dict[bytes, Budget]:
        """Returns the budgets that a guess from an unknown device may take from."""
        address = {self._mark("address", origin.address): self._address} if origin.address else {}
        if origin.organization_id:
            return {
                self._mark("desk", account, origin.organization_id): self._lanes.desk
                if self._lanes
                else self._account
            } | address
        budgets = {self._mark("account", account): self._account}
        if self._lanes and origin.address:
            budgets[self._mark("newcomer", account)] = self._lanes.newcomer
            budgets[self._mark("here", account, origin.address)] = self._lanes.at_address
        return budgets | address

    def _in_lane(self, rows: list[Row], account: str, origin: Origin, now: datetime) -> list[Row]:
        """Returns the rows of the budgets that this guess uses: of the account's own budget and the
        newcomers' budget, it uses only one.
        """
        by_mark = {row["mark"]: row for row in rows}
        address_row = by_mark.get(self._mark("here", account, origin.address))
        if address_row is None:
            return rows
        account_mark = self._mark("account", account)
        is_new = not address_row["wrong"] and not _under_way(address_row, now)
        unused_mark = (
            account_mark
            if is_new and _waiting_time(by_mark[account_mark], self._account, now)
            else self._mark("newcomer", account)
        )
        return [row for row in rows if row["mark"] != unused_mark]

    def _mark(self, *parts: str) -> bytes:
        return self._keyring.fingerprint("\0".join((self._kind, *parts)).encode(), "guesses")


def forget(tx: Transaction, now: datetime) -> int:
    """Deletes expired rows; returns how many it deleted."""
    return tx.execute("DELETE FROM guesses WHERE forget_time < %s", (now,)).rowcount


def _waiting_time(row: Row, budget: Budget, now: datetime) -> timedelta:
    """Returns the time that a guess has to wait. Guesses that are still running delay it by at most
    the longest time that they can take.
    """
    return max(
        budget.after_guess(row, now)[1],
        min(budget.after_guess(row, now, len(_under_way(row, now)))[1], LONGEST_GUESS),
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
    """Charges a guess to the budget of a row, as a wrong guess."""
    whole_time = budget.after_guess(row, now)[0]
    tx.execute(
        "UPDATE guesses SET whole_time = %s, wrong = wrong + 1 WHERE mark = %s",
        (whole_time, row["mark"]),
    )
    _store_under_way(tx, row, under_way, whole_time + budget.kept_for)


def _store_under_way(
    tx: Transaction, row: Row, under_way: list[datetime], kept_until: datetime
) -> None:
    tx.execute(
        "UPDATE guesses SET under_way = %s, forget_time = greatest(forget_time, %s)"
        " WHERE mark = %s",
        (under_way, kept_until, row["mark"]),
    )


def _under_way(row: Row, now: datetime) -> list[datetime]:
    """Returns the start times of guesses that may still be running. A start time may lie in the
    future, since the clocks of two processes may differ.
    """
    return [start for start in row["under_way"] if abs(now - start) < LONGEST_GUESS]


def _lock(tx: Transaction, budgets: dict[bytes, Budget], now: datetime) -> list[Row]:
    """Returns the rows of these budgets, locked in one order so that parallel guesses do not
    deadlock. Creates missing rows, and resets expired rows.
    """
    return tx.execute(
        "INSERT INTO guesses AS old (mark, whole_time, forget_time) SELECT mark, %(now)s, %(now)s"
        " FROM unnest(%(marks)s::bytea[]) AS mark ORDER BY mark"
        " ON CONFLICT (mark) DO UPDATE SET whole_time = CASE"
        " WHEN old.forget_time < %(now)s THEN %(now)s ELSE old.whole_time END,"
        " wrong = CASE WHEN old.forget_time < %(now)s THEN 0 ELSE old.wrong END RETURNING *",
        {"now": now, "marks": list(budgets)},
    ).fetchall()
