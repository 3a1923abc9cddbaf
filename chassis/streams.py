"""Streams: responses that a caller receives as events happen, on threads of their own, so that open
streams do not block calls.

A stream ends with the token that it was opened with, so a revoked caller loses her streams as soon
as her calls are refused (docs/decisions/0019). A slow reader does not fill the memory: the next
message is made only after the previous message was taken. A reader that takes nothing for too long
is disconnected.
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

MAX_STREAMS = 32  # the maximum number of open streams in a process
MAX_PER_ORGANIZATION = 4  # the maximum number of open streams of one organisation in a process
MAX_READERS = 4  # streams that may read at once, each with a database connection
_TRANSACTION_LIMIT = 5.0  # seconds that one transaction of a stream may take
# a stream that is stuck sending is cut off this many seconds after its latest possible end
_LATE = 5.0


class Connection(Protocol):
    """The connection of a stream: the part of gRPC's ServicerContext that streams use."""

    def is_active(self) -> bool:
        """Returns True while the caller is connected."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Registers a callback for the end of the connection; returns False if it has ended
        already.
        """

    def cancel(self) -> object:
        """Disconnects, even while a message is being sent."""


class Stream:
    """An open stream: its caller, its end, and its transactions."""

    def __init__(
        self,
        caller: Caller,
        until: datetime,
        clock: Clock,
        is_open: Callable[[], bool],
        transact: Callable[[], AbstractContextManager[Transaction]],
    ) -> None:
        self.caller = caller
        self._until = until
        self.clock = clock
        self._is_open = is_open
        self._transact = transact

    def is_open(self) -> bool:
        """Returns True while the caller is connected, the token is valid, and the service is not
        stopping.
        """
        return self._is_open() and self.left > 0

    @property
    def left(self) -> float:
        """Seconds until the token expires, its leeway included; below 0 after that."""
        return (self._until - self.clock.now()).total_seconds()

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Opens a transaction in the caller's scope, after checking the caller's standing again.
        Never hold it open while a message is sent.
        """
        return self._transact()


class Streams:
    """The streams of a process, limited in total and by organisation."""

    def __init__(self) -> None:
        self.pool = CallPool(MAX_STREAMS, MAX_STREAMS)
        self._reader_slots = threading.BoundedSemaphore(MAX_READERS)
        self._lock = threading.Lock()
        self._open_counts = Counter[str]()

    def stop(self) -> None:
        """Makes every open stream end soon, and refuses new ones."""
        self.pool.refuse_waiting()

    @contextmanager
    def open_stream(
        self,
        caller: Caller,
        until: datetime,
        clock: Clock,
        connection: Connection,
        transact: Callable[[], AbstractContextManager[Transaction]],
    ) -> Iterator[Stream]:
        """Yields a stream; `until` is when the token expires.

        Raises Exhausted too_many_requests if the organisation has too many streams.
        """

        @contextmanager
        def read_transaction() -> Iterator[Transaction]:
            with (
                self._reader_slots,
                deadline.until(deadline.after(_TRANSACTION_LIMIT)),
                transact() as tx,
            ):
                yield tx

        self._count(caller.organization_id, connection)
        cut_off = threading.Timer(LIFETIME.total_seconds() + LEEWAY + _LATE, connection.cancel)
        cut_off.daemon = True
        cut_off.start()
        try:
            end = until + timedelta(seconds=LEEWAY)
            yield Stream(
                caller,
                end,
                clock,
                lambda: connection.is_active() and not self.pool.stopping,
                read_transaction,
            )
        finally:
            cut_off.cancel()

    def _count(self, organization_id: str, connection: Connection) -> None:
        """Counts the stream until its connection has ended. The end is noticed even before the
        stream's thread wakes from a wait, so there is room for a caller who reconnects at once.
        """

        def uncount() -> None:
            metrics.STREAMS.dec()
            with self._lock:
                self._open_counts -= Counter(
                    [organization_id]
                )  # drops organisations without streams

        with self._lock:
            if self._open_counts[organization_id] >= MAX_PER_ORGANIZATION:
                raise Exhausted("too_many_requests", LIFETIME.total_seconds())
            self._open_counts[organization_id] += 1
        metrics.STREAMS.inc()
        if not connection.add_callback(uncount):
            uncount()
