"""Streams: what a caller is told as it comes about, on threads of their own, so that however many
there are, calls are answered.

A stream goes on no longer than the token that it was opened with: who was revoked is out of it as
soon as out of any call (docs/decisions/0019). Whoever has no room for more does not fill this side:
the next is read when the last was taken, and who takes nothing for too long is cut off.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Protocol

from chassis import deadline, metrics
from chassis.admission import CallPool
from chassis.clock import Clock
from chassis.db import Transaction
from chassis.errors import Exhausted
from chassis.tokens import LEEWAY, LIFETIME, Caller

MOST = 32  # at once in a process
EACH = 4  # of an organisation
TURNS = 4  # that read at once: as many connections the database has for them
_LOOK = 5.0  # seconds for one transaction
_LATE = 5.0  # seconds past its end after which one that is stuck in sending is cut off


class Line(Protocol):
    """To whom it is told."""

    def is_active(self) -> bool:
        """Whether somebody is there."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Has it called when it ends, for whatever reason; False when it has."""

    def cancel(self) -> object:
        """Hangs up, also while something is being sent."""


class Stream:
    """One stream under way: who is told, until when, and how to look at the database between two
    messages.
    """

    def __init__(
        self,
        caller: Caller,
        until: datetime,
        clock: Clock,
        goes_on: Callable[[], bool],
        transact: Callable[[], AbstractContextManager[Transaction]],
    ) -> None:
        self.caller = caller
        self._until = until
        self.clock = clock
        self._goes_on = goes_on
        self._transact = transact

    def goes_on(self) -> bool:
        """Whether there may be another message: somebody is there, the token is good, and the
        service does not stop.
        """
        return self._goes_on() and self.left > 0

    @property
    def left(self) -> float:
        """Seconds until the token has ended."""
        return (self._until - self.clock.now()).total_seconds()

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction in the caller's scope, whose standing is looked at anew; never to be held
        open while a message is sent.
        """
        return self._transact()


class Streams:
    """The room for streams in a process."""

    def __init__(self) -> None:
        self.pool = CallPool(MOST, MOST)
        self._turns = threading.BoundedSemaphore(TURNS)
        self._counting = threading.Lock()
        self._open = Counter[str]()

    def stop(self) -> None:
        """Those under way end at their next turn, and none begins."""
        self.pool.turn_away()

    @contextmanager
    def opened(
        self,
        caller: Caller,
        until: datetime,
        clock: Clock,
        line: Line,
        transact: Callable[[], AbstractContextManager[Transaction]],
    ) -> Iterator[Stream]:
        """Room for one more, which is given back at the end; `until` is when the token ends.

        Raises Exhausted too_many_requests.
        """

        @contextmanager
        def in_turn() -> Iterator[Transaction]:
            with self._turns, deadline.until(deadline.after(_LOOK)), transact() as tx:
                yield tx

        self._count(caller.organization_id, line)
        late = threading.Timer(LIFETIME.total_seconds() + LEEWAY + _LATE, line.cancel)
        late.daemon = True
        late.start()
        try:
            end = until + timedelta(seconds=LEEWAY)
            yield Stream(
                caller, end, clock, lambda: line.is_active() and not self.pool.stopping, in_turn
            )
        finally:
            late.cancel()

    def _count(self, organization_id: str, line: Line) -> None:
        """Until the line has ended, which is known before the thread looks up from its wait: who
        comes again at once has room.
        """

        def ended() -> None:
            metrics.STREAMS.dec()
            with self._counting:
                self._open -= Counter([organization_id])  # who has none is forgotten

        with self._counting:
            if self._open[organization_id] >= EACH:
                raise Exhausted("too_many_requests", LIFETIME.total_seconds())
            self._open[organization_id] += 1
        metrics.STREAMS.inc()
        if not line.add_callback(ended):
            ended()
