"""Deletes expired rows from time to time; the next run makes up for a run that failed."""

from collections.abc import Callable
from datetime import datetime, timedelta

from chassis import idempotency
from chassis.clock import Clock
from chassis.db import Database, Transaction
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM

REQUEST_LIFETIME = timedelta(hours=25)
"""How long a repeated request gets its first response; the contract promises 24 hours.

The response may hold a PIN, so it is stored only slightly longer.
"""
_EVERY = 600.0  # seconds


class Sweeper:
    """Deletes requests with their responses after a day, and calls the service's own `sweep`, in
    one transaction.
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
        """Returns a loop that sweeps every ten minutes. Safe to run in each replica."""
        return Loop("sweeper", self._work)

    def sweep(self) -> None:
        """Sweeps once, now."""
        now = self._clock.now()
        with self._database.transaction(SYSTEM, timeout=30) as tx:  # there may be many rows
            idempotency.forget(tx, now - REQUEST_LIFETIME)
            if self._sweep is not None:
                self._sweep(tx, now)

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            self.sweep()
            loop.wait(_EVERY)
