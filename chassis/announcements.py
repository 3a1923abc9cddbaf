"""Announces work to the loops that wait for it, so that a loop queries the database only when there
is work to do.

The transaction that creates the work announces its due time on a channel (NOTIFY). A loop listens
to the channel. Since the clock may jump, the loop also looks at the clock once a second, without
sending a statement. PostgreSQL drops no notification while the loop's connection is open; a loop
whose connection is lost starts again and reads everything. Once a minute a loop reads without an
announcement, to find work that nobody announced, such as the work of a process that died.
"""

import math
import select
import time
from collections.abc import Callable
from datetime import UTC, datetime

from chassis.clock import Clock
from chassis.db import Database, Transaction, notify
from chassis.supervisor import Loop

AT_ONCE = datetime.min.replace(tzinfo=UTC)
"""The time of work that is due at once, whatever the clock says."""
READ_AGAIN = 60.0
"""Maximum seconds between two reads by a loop: the fallback in case an announcement is missing."""
_CLOCK_CHECK_EVERY = 1.0  # maximum seconds between two looks at the clock, or until a stop
# minimum seconds between two reads, so that due work that another transaction has locked is not
# read in a tight loop
_SHORTEST_WAIT = 0.05
_READ_TIMEOUT = 0.01  # seconds allowed for reading a notification that has arrived


def announce(tx: Transaction, channel: str, *times: datetime | None) -> None:
    """Announces the due time of work on a channel, once the transaction commits: the earliest of
    `times`. Announces nothing if all are None.

    If a time is removed or postponed, no announcement is needed: the loop merely finds nothing due.
    """
    earliest = min((time for time in times if time is not None), default=None)
    if earliest is not None:
        notify(tx, channel, earliest.isoformat())


def listen(connection: Transaction, channel: str) -> None:
    """Lets a connection receive the announcements of a channel from now on."""
    connection.execute(f"LISTEN {channel}")


def work_when_due(
    loop: Loop,
    database: Database,
    clock: Clock,
    channel: str,
    next_time: Callable[[Transaction], datetime | None],
    act: Callable[[], object],
    *,
    read_again: float = READ_AGAIN,
) -> None:
    """Calls `act` whenever work is due, until the loop is stopped.

    `next_time` reads when the next work is due; it is called at the start, after each call of
    `act`, after the clock was set back, and `read_again` seconds after its last call.
    """
    with database.dedicated() as connection:
        listen(connection, channel)
        read_at, next_due, last_look = -math.inf, None, AT_ONCE
        while loop.turn():
            has_read = False
            now = clock.now()
            if next_due is not None and next_due <= now:
                act()
                read_at, now = -math.inf, clock.now()
            if now < last_look or time.monotonic() - read_at > read_again:
                next_due, read_at = next_time(connection), time.monotonic()
                has_read = True
            last_look = now
            seconds = (next_due - now).total_seconds() if next_due else _CLOCK_CHECK_EVERY
            seconds = max(_SHORTEST_WAIT, min(seconds, _CLOCK_CHECK_EVERY))
            # psycopg has already read the notifications that arrived during the statement
            if not has_read and not wait_for_input(connection, seconds):
                continue
            timeout = _SHORTEST_WAIT if has_read else _READ_TIMEOUT
            for payload in read_notifications(connection, timeout):
                next_due = min(filter(None, (next_due, datetime.fromisoformat(payload))))


def wait_for_work(
    loop: Loop,
    connection: Transaction,
    is_due: Callable[[], bool] = lambda: False,
    *,
    read_again: float = READ_AGAIN,
) -> bool:
    """Waits until work is announced on the connection's channels or `is_due` returns True; then
    returns True. Returns False if `read_again` seconds have passed, or if the loop is stopped.

    `is_due` is called once a second, and must not send a statement.
    """
    end = time.monotonic() + read_again
    # notifications that arrived during an earlier statement
    has_arrived = bool(read_notifications(connection, _READ_TIMEOUT))
    while loop.turn() and not has_arrived:
        if is_due():
            return True
        remaining = end - time.monotonic()
        if remaining <= 0:
            return False
        if wait_for_input(connection, min(_CLOCK_CHECK_EVERY, remaining)):
            has_arrived = bool(read_notifications(connection, _READ_TIMEOUT))
    return has_arrived


def read_notifications(connection: Transaction, seconds: float) -> list[str]:
    """Waits at most `seconds` for notifications on the channels that the connection listens to.
    Returns the payloads of the notifications that arrived.
    """
    return [
        notification.payload for notification in connection.notifies(timeout=seconds, stop_after=1)
    ]


def wait_for_input(connection: Transaction, seconds: float) -> bool:
    """Waits until the server has sent something, or the connection is lost. Returns False if
    neither happens within `seconds`.

    Costs a tenth as much as `read_notifications`, but does not see notifications that arrived
    during a statement.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def wait_for_notification(connection: Transaction, seconds: float) -> bool:
    """Waits for a notification, at most `seconds`; returns True if one arrived."""
    return bool(read_notifications(connection, seconds))
