"""Runs the transactions of a subscriber, and tries again while a part is unavailable."""

from collections.abc import Callable
from typing import TypeVar

from chassis import log
from chassis.db import Database, Transaction
from chassis.errors import Exhausted, Late, Stale, Unavailable
from chassis.store_faults import found_dead
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM

T = TypeVar("T")
_LIMIT = 10.0  # seconds that one transaction may take
# Number of late tries in a row while the database responds; then the handler counts as the cause.
_LATE_TRIES = 3


class Stopped(Exception):
    """Raised when the process is ending; the next process takes over the remaining records."""


class Retries:
    """Runs transactions of one consumer, each until it has committed or a handler is the cause of
    its failure.
    """

    def __init__(self, loop: Loop, database: Database, name: str) -> None:
        self._loop = loop
        self._database = database
        self._name = name

    def run(
        self,
        act: Callable[[Transaction], T],
        *,
        is_handling: Callable[[], bool] = lambda: False,
        late_tries: int = _LATE_TRIES,
    ) -> T:
        """Runs `act` in one transaction; retries while a part is unavailable, so that nothing is
        skipped.

        Raises Late if a handler was late `late_tries` times in a row while the database responded;
        `is_handling` returns True if the handler had started. Raises Stopped if the loop is asked
        to end.
        """
        delay, late_count, will_retry = 0.1, 0, True
        while True:
            try:
                with self._database.transaction(
                    SYSTEM, timeout=_LIMIT, by_key=True, will_retry=will_retry
                ) as tx:
                    return act(tx)
            except (Unavailable, Exhausted, Stale, Late) as refusal:
                if isinstance(refusal, Unavailable) and found_dead(refusal):
                    will_retry = False
                    continue
                late_count = (
                    late_count + 1
                    if isinstance(refusal, Late) and is_handling() and self._database.answers
                    else 0
                )
                if late_count == late_tries:
                    raise
                log.get().warning(
                    "subscriber_waits", consumer=self._name, reason=refusal.reason, delay_s=delay
                )
                if self._loop.wait(delay):
                    raise Stopped from refusal
                delay = min(delay * 2, 5.0)
