"""The watch: fires the clocks of referrals and enquiries as their levels are reached, also those reached while nobody was running."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from chassis import audit, log, metrics
from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction, wait_for_notice
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from services.referrals.domain.deadline import DeadlineKind
from services.referrals.store import referrals

_BATCH = 50
_LONGEST_WAIT = 1.0  # seconds; behind LISTEN, so that a change of the machine's time is noticed too
_SHORTEST_WAIT = 0.05  # a due row that a caller holds just now is asked for again, but not in a tight loop


PUT_ASIDE = timedelta(minutes=1)
"""When what could not be fired is looked at again: soon after it is mended, and rarely enough to cost nothing."""


class Fired(Protocol):
    """What a clock did."""

    @property
    def verb(self) -> str:
        """What became true."""

    @property
    def clock(self) -> DeadlineKind | None:
        """Which clock."""


AnyFired = TypeVar("AnyFired", bound=Fired)
Held = TypeVar("Held")


@dataclass(frozen=True)
class ClockFired:
    """What the one clock of something did."""

    verb: str
    clock: DeadlineKind | None


class Watched(Protocol):
    """What has clocks."""

    def fire_clocks(self, tx: Transaction, now: datetime, limit: int) -> Sequence[Fired]:
        """Notes what is reached, claims its rows, returns the events."""


def fire_each(
    tx: Transaction,
    now: datetime,
    loop: str,
    called: str,
    identifiers: Sequence[str],
    fire: Callable[[Sequence[str]], list[tuple[str, list[AnyFired]]]],
    put_aside: Callable[[str, datetime, datetime], None],
) -> list[AnyFired]:
    """Fires the clocks of each; returns the events, which are on the trail. `fire` tells those of each identifier; `called` is what the log calls an identifier.

    All in one savepoint; where one can't be read or kept each half has its own, until that one is alone: it is put aside (identifier, now, until) and holds
    up no other.
    """

    def attempt(chosen: Sequence[str]) -> list[tuple[str, list[AnyFired]]]:
        try:
            with tx.transaction():
                return fire(chosen)
        except LOST:
            raise
        except Exception as error:  # whatever it is, the others' clocks must go on
            if half := len(chosen) // 2:
                return attempt(chosen[:half]) + attempt(chosen[half:])
            metrics.ROWS_PUT_ASIDE.labels(loop).inc()
            log.get().error("clocks_put_aside", **{called: chosen[0]}, fault=log.fault(error))
            return [(chosen[0], [])]

    fired = attempt(identifiers) if identifiers else []
    for identifier, events in fired:
        if not events:
            put_aside(identifier, now, now + PUT_ASIDE)
    audit.record(tx, SYSTEM, now, [Entry("fire_clock", identifier, "", (event.verb,)) for identifier, events in fired for event in events])
    return [event for _, events in fired for event in events]


def singly(fire: Callable[[str], list[AnyFired]]) -> Callable[[Sequence[str]], list[tuple[str, list[AnyFired]]]]:
    """For `fire_each`, of what is read and written one by one."""
    return lambda identifiers: [(identifier, fire(identifier)) for identifier in identifiers]


def with_one_clock(
    clock: DeadlineKind | None, hold: Callable[[str], Held], act: Callable[[Held], str], keep: Callable[[Held, str], None]
) -> Callable[[Sequence[str]], list[tuple[str, list[ClockFired]]]]:
    """For `fire_each`, of what has one clock: it is held, fired (`act` returns what it says, or nothing), and kept with what it says."""

    def fire(identifier: str) -> list[ClockFired]:
        held = hold(identifier)
        verb = act(held)
        if verb:
            keep(held, verb)
        return [ClockFired(verb, clock)] if verb else []

    return singly(fire)


class DeadlineScheduler:
    """Several processes share the work by claiming rows."""

    def __init__(
        self,
        watched: Watched,
        database: Database,
        clock: Clock,
        next_time: Callable[[Transaction], datetime | None] = referrals.next_clock_time,
        name: str = "clocks",
    ) -> None:
        self._watched = watched
        self._database = database
        self._clock = clock
        self._next_time = next_time
        self._name = name

    def loop(self) -> Loop:
        """Until stopped; a database that went away is waited for."""
        return Loop(self._name, self._work, waits_for=LOST)

    def fire(self) -> int:
        """Tells every level that is reached by now; returns how many."""
        told = 0
        while True:
            with self._database.transaction(SYSTEM) as tx:
                events = self._watched.fire_clocks(tx, self._clock.now(), _BATCH)
            for event in events:
                metrics.CLOCKS_FIRED.labels(event.clock.value if event.clock else "", event.verb).inc()
            told += len(events)
            if not events:
                return told

    def _work(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            connection.execute("LISTEN clocks")
            while loop.turn():
                self.fire()
                following = self._next_time(connection)
                seconds = (following - self._clock.now()).total_seconds() if following else _LONGEST_WAIT
                wait_for_notice(connection, max(_SHORTEST_WAIT, min(seconds, _LONGEST_WAIT)))
