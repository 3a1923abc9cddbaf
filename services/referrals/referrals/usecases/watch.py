"""Gives positions to new events, and wakes the streams that wait for the events."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chassis.announcements import listen, wait_for_input, wait_for_notification
from chassis.db import LOST, Database, Transaction
from chassis.errors import Conflict
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM, Caller
from chassis.wire import Cursor
from facts import outbox
from services.referrals.referrals.domain.filter import Filter
from services.referrals.referrals.store import referrals, watch
from services.referrals.referrals.store.watch import Change
from services.referrals.referrals.wire.messages import actor_of

_BATCH = 100
_MAX_WAIT = 1.0  # longest wait for a notification, in seconds
# Seconds between two rounds: at most _LONGEST_WAIT while a stream is open, even if no notification
# comes; at least _PAUSE_WITHOUT_STREAM while no stream is open. These latter rounds leave little to
# do for the first stream.
_LONGEST_WAIT, _PAUSE_WITHOUT_STREAM = 10.0, 60.0
# Shortest time between two rounds, in seconds. Each round gives positions and wakes all streams, so
# that events in quick succession are read together.
_PACE = 0.1


class Watch:
    """Gives positions to events, and lets the streams of this process wait for new positions.

    Each process has one Watch; only one process at a time gives positions. While a process has no
    stream, it gives positions at most once a minute.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last_position = 0
        self._position_given = threading.Condition()
        self._streams = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Counts a stream while it is open. Positions are up to date when the block begins."""
        with self._position_given:
            self._streams += 1
        try:
            count = 1
            while count:
                with self._database.transaction(SYSTEM) as tx:
                    count = watch.give_positions(tx)
            yield
        finally:
            with self._position_given:
                self._streams -= 1

    def begin(self, tx: Transaction, cursor: Cursor | None) -> tuple[str, int]:
        """Returns where a stream begins, as (store, position).

        The stream begins after the position `cursor`, or after the last event so far if `cursor` is
        None. Raises Conflict if `cursor` comes from another store.
        """
        store = outbox.store(tx)
        if cursor is None:
            return store, watch.last_position(tx)
        if cursor[0] != store:
            raise Conflict("resume_token_lost")
        return store, int(cursor[1])

    def changes(
        self, tx: Transaction, caller: Caller, query: Filter, after: int
    ) -> tuple[list[Change], int]:
        """Returns the next changes that the caller may see, and the position that they reach.

        Up to that position no change is missing.
        """
        until = min(watch.last_position(tx), after + watch.WINDOW)
        changes = watch.changes(tx, query, after, until, _BATCH)
        actor = actor_of(caller)
        visible_changes = [
            change for change in changes if change.referral.events_for(actor, [change.event])
        ]
        return visible_changes, changes[-1].position if len(changes) == _BATCH else until

    def wait(self, after: int, seconds: float) -> None:
        """Waits until a position after `after` has been given, but no longer than `seconds`."""
        with self._position_given:
            self._position_given.wait_for(lambda: self._last_position > after, seconds)

    def give_positions(self, connection: Transaction) -> None:
        """Gives positions to all events that have none, and wakes the waiting streams."""
        count = 1
        while count:
            with connection.transaction():
                count = watch.give_positions(connection)
        last_position = watch.last_position(connection)
        with self._position_given:
            if last_position != self._last_position:
                self._last_position = last_position
                self._position_given.notify_all()

    def loop(self) -> Loop:
        """Returns the loop that gives positions; it waits while the database is unavailable."""
        return Loop("places", self._work, waits_for=LOST)

    def _work(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            listen(connection, referrals.EVENTS)
            due, given_at = True, -math.inf
            while loop.turn():
                has_given, elapsed = False, time.monotonic() - given_at
                if (self._streams and (due or elapsed > _LONGEST_WAIT)) or (
                    due and elapsed > _PAUSE_WITHOUT_STREAM
                ):
                    self.give_positions(connection)
                    due, given_at = False, time.monotonic()
                    loop.wait(_PACE)
                    has_given = True
                if has_given or wait_for_input(connection, _MAX_WAIT):
                    while wait_for_notification(connection, 0.0):  # all that arrived meanwhile
                        due = True
