"""Takes away now and then what is over: a thread that is in no hurry, and what fails now works the next time."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from chassis import log, once
from chassis.clock import Clock
from chassis.db import Database, Transaction
from chassis.errors import Refusal
from chassis.tokens import SYSTEM

REQUESTS_KEPT = timedelta(hours=25)
"""How long a repeated request gets its first answer: the contract promises 24. The answer may hold a PIN, so it is not kept much longer."""
_EVERY = 600.0  # seconds


class Sweeper(threading.Thread):
    """Forgets answered requests after a day, and whatever else `sweep` takes away, in one transaction."""

    def __init__(self, database: Database, clock: Clock, sweep: Callable[[Transaction, datetime], object] | None = None) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._database = database
        self._clock = clock
        self._sweep = sweep
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends after the sweep under way."""
        self._stopping.set()

    def run(self) -> None:
        """Every ten minutes until stopped."""
        while not self._stopping.wait(_EVERY):
            try:
                self.sweep()
            except Refusal as refusal:
                log.get().warning("sweep_failed", reason=refusal.reason)

    def sweep(self) -> None:
        """Once, now."""
        now = self._clock.now()
        with self._database.transaction(SYSTEM) as tx:
            once.forget(tx, now - REQUESTS_KEPT)
            if self._sweep is not None:
                self._sweep(tx, now)
