"""Takes away now and then what is over; what fails now works the next time."""

from collections.abc import Callable
from datetime import datetime, timedelta

from chassis import idempotency
from chassis.clock import Clock
from chassis.db import Database, Transaction
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM

REQUESTS_KEPT = timedelta(hours=25)
"""How long a repeated request gets its first answer: the contract promises 24.

The answer may hold a PIN, so it is not kept much longer.
"""
_EVERY = 600.0  # seconds


class Sweeper:
    """Forgets answered requests after a day, and whatever else `sweep` takes away, in one
    transaction.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sweep: Callable[[Transaction, datetime], object] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sweep = sweep

    def loop(self) -> Loop:
        """Every ten minutes; several processes may do it, it is the same."""
        return Loop("sweeper", self._work)

    def sweep(self) -> None:
        """Once, now."""
        now = self._clock.now()
        with self._database.transaction(SYSTEM, timeout=30) as tx:  # there may be much of it
            idempotency.forget(tx, now - REQUESTS_KEPT)
            if self._sweep is not None:
                self._sweep(tx, now)

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            self.sweep()
            loop.wait(_EVERY)
