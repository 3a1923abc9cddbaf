"""Fires deadlines when they reach their levels.

Levels that deadlines reached while no process was running are fired later.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from chassis import audit, log, metrics
from chassis.announcements import work_when_due
from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction, savepoint
from chassis.errors import Late, Unavailable
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from services.referrals.network.domain.deadline import DeadlineKind
from services.referrals.network.store.deadlines import channel

# Maximum number of rows in one transaction: a larger batch waits for the disk less often, but keeps
# its rows locked for longer.
_BATCH = 100
_LIMIT = 10.0  # maximum number of seconds for a batch, or for a single row
_GRACE = 0.1  # seconds before the limit, in which the database may already cut off a transaction


PUT_ASIDE = timedelta(minutes=1)
"""The time until a failed deadline is tried again.

The time is short, so that a repaired deadline is fired soon, but long enough to make retries cheap.
"""


PUT_ASIDE_LATE = timedelta(minutes=10)
"""The time until the next try of a deadline that used up the time limit.

Each try can delay the other deadlines by the whole time limit.
"""


class FiredEvent(Protocol):
    """An event of a fired deadline."""

    @property
    def verb(self) -> str:
        """Returns the verb of the event."""

    @property
    def clock(self) -> DeadlineKind | None:
        """Returns the kind of the deadline; None if the event does not name one."""


AnyEvent = TypeVar("AnyEvent", bound=FiredEvent)
Item = TypeVar("Item")


@dataclass(frozen=True)
class DeadlineFired:
    """An event of an object that has only one deadline."""

    verb: str
    clock: DeadlineKind | None


class FiresDeadlines(Protocol):
    """A use case that fires the deadlines of one kind of object, such as referrals."""

    def fire_deadlines(self, tx: Transaction, now: datetime, limit: int) -> Sequence[FiredEvent]:
        """Locks some due rows and records the levels that they reached; returns the events."""


class RowFailed(Exception):
    """Raised if the connection was lost, or the time ran out, while a single row was fired.

    The row can be postponed in another transaction.
    """

    def __init__(self, identifier: str, loop: str, id_name: str, put_aside: "PutAside") -> None:
        super().__init__(loop)
        self._identifier = identifier
        self._loop = loop
        self._id_name = id_name
        self._put_aside = put_aside

    def put_aside(self, tx: Transaction, now: datetime, until: datetime) -> None:
        """Postpones the row until `until`, and logs this."""
        self._put_aside(tx, self._identifier, now, until)
        metrics.ROWS_PUT_ASIDE.labels(self._loop).inc()
        log.get().error("clocks_put_aside", **{self._id_name: self._identifier}, fault="late")


PutAside = Callable[[Transaction, str, datetime, datetime], None]


def fire_each(
    tx: Transaction,
    now: datetime,
    loop: str,
    id_name: str,
    identifiers: Sequence[str],
    fire: Callable[[Sequence[str]], list[tuple[str, list[AnyEvent]]]],
    put_aside: PutAside,
) -> list[AnyEvent]:
    """Fires the deadlines of each row; records the events on the trail and returns them.

    `fire` returns each identifier with its events; `id_name` is the name of the identifier in the
    log. First, all rows are fired in one savepoint. If that fails, each half gets a savepoint of
    its own, and so on until the faulty row is alone. `put_aside` (identifier, now, until) postpones
    that row, and every row without an event, so that they delay no other row. Raises RowFailed if
    the connection is lost while a single row is fired, since this transaction can then do nothing
    more.
    """

    def attempt(batch: Sequence[str]) -> list[tuple[str, list[AnyEvent]]]:
        try:
            with savepoint(tx):
                return fire(batch)
        except LOST as error:
            if len(batch) > 1:
                raise
            raise RowFailed(batch[0], loop, id_name, put_aside) from error
        except Exception as error:  # whatever fails, the other deadlines must be fired
            if half := len(batch) // 2:
                return attempt(batch[:half]) + attempt(batch[half:])
            metrics.ROWS_PUT_ASIDE.labels(loop).inc()
            log.get().error("clocks_put_aside", **{id_name: batch[0]}, fault=log.fault(error))
            return [(batch[0], [])]

    results = attempt(identifiers) if identifiers else []
    for identifier, events in results:
        if not events:
            put_aside(tx, identifier, now, now + PUT_ASIDE)
    audit.record(
        tx,
        SYSTEM,
        now,
        [
            Entry("fire_clock", identifier, "", (event.verb,))
            for identifier, events in results
            for event in events
        ],
    )
    return [event for _, events in results for event in events]


def fire_singly(
    fire: Callable[[str], list[AnyEvent]],
) -> Callable[[Sequence[str]], list[tuple[str, list[AnyEvent]]]]:
    """Returns a `fire` for `fire_each` that fires the rows one by one."""
    return lambda identifiers: [(identifier, fire(identifier)) for identifier in identifiers]


def fire_one_deadline(
    clock: DeadlineKind | None,
    lock: Callable[[str], Item],
    act: Callable[[Item], str],
    save: Callable[[Item, str], None],
) -> Callable[[Sequence[str]], list[tuple[str, list[DeadlineFired]]]]:
    """Returns a `fire` for `fire_each`, for objects with one deadline each, of the kind `clock`.

    `lock` locks and returns an object, `act` fires its deadline and returns the verb of the event
    (or ""), and `save` saves the object with the verb.
    """

    def fire(identifier: str) -> list[DeadlineFired]:
        item = lock(identifier)
        verb = act(item)
        if verb:
            save(item, verb)
        return [DeadlineFired(verb, clock)] if verb else []

    return fire_singly(fire)


class DeadlineScheduler:
    """Watches the deadlines of one kind of object.

    Several processes share the work by locking rows.
    """

    def __init__(
        self,
        usecase: FiresDeadlines,
        database: Database,
        clock: Clock,
        next_time: Callable[[Transaction], datetime | None],
        name: str,
    ) -> None:
        self._usecase = usecase
        self._database = database
        self._clock = clock
        self._next_time = next_time
        self._name = name

    def loop(self) -> Loop:
        """Returns the loop that watches deadlines; the loop waits while the database is down."""
        return Loop(self._name, self._work, waits_for=LOST)

    def fire(self, may_continue: Callable[[], bool] = lambda: True) -> int:
        """Fires all deadlines that have reached a level; returns the number of events.

        A batch that takes too long is fired again row by row. `may_continue` returns False to stop.
        """
        count, singles_left = 0, 0
        while may_continue():
            limit, singles_left = (1, singles_left - 1) if singles_left else (_BATCH, 0)
            try:
                events = self._fire_some(limit)
            except Late:
                if limit == 1:
                    raise
                singles_left = _BATCH
            except RowFailed as failure:
                self._put_aside(failure)
                singles_left = 0
            else:
                count += len(events)
                if not events and not singles_left:
                    break
        return count

    def _fire_some(self, limit: int) -> Sequence[FiredEvent]:
        """Fires some rows in one transaction.

        Raises RowFailed if a single row used up the time limit although the database responds.
        Raises Unavailable if the connection was lost before that, or the database does not respond.
        """
        start = time.monotonic()
        try:
            with self._database.transaction(SYSTEM, timeout=_LIMIT) as tx:
                events = self._usecase.fire_deadlines(tx, self._clock.now(), limit)
        except RowFailed as failure:
            if time.monotonic() - start < _LIMIT - _GRACE or not self._database.answers:
                raise Unavailable("store_unavailable") from failure
            raise
        for event in events:
            metrics.CLOCKS_FIRED.labels(event.clock.value if event.clock else "", event.verb).inc()
        return events

    def _put_aside(self, failure: RowFailed) -> None:
        now = self._clock.now()
        with self._database.transaction(SYSTEM) as tx:
            failure.put_aside(tx, now, now + PUT_ASIDE_LATE)

    def _work(self, loop: Loop) -> None:
        work_when_due(
            loop,
            self._database,
            self._clock,
            channel(self._name),
            self._next_time,
            lambda: self.fire(loop.turn),
        )
