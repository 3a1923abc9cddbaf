"""The directory in the memory of this process, in the form that matching and searching need.

Nothing stale is served. Each query first reads, in its own transaction, the changes that were
committed since the last query (service_changes). It then looks for services in memory, and reads
the services that it found from the database. Limitation: the index contains a change only if
service_changes does; nothing else would notice that a service is missing.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from chassis import deadline, log
from chassis.db import Row, Transaction
from chassis.errors import Late
from services.partners.directory.domain.location import Accessibility
from services.partners.directory.domain.matching import Candidate
from services.partners.directory.domain.ranking import Ranking
from services.partners.directory.domain.service import Intake
from services.partners.directory.store.search_index import Entry, Fact, SearchIndex
from services.partners.directory.store.services import (
    FIGURE,
    eligibility,
    language_facets,
    others_figure,
)
from services.partners.network.domain.time_step import time_step_of

CHANGES = "service_changes"
"""The channel on which a database trigger announces changes to services."""
# Maximum number of attempts at a query. A query is repeated if its results changed before it could
# read them; the last attempt first reads the whole directory again.
MAX_ATTEMPTS = 3
# maximum number of services that are read at once, so that they need little memory and hold up
# other threads only briefly
_BATCH = 2000
_MAX_TRANSACTION_ID = 2**64 - 1  # an id greater than that of any transaction
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
# maximum number of seconds to wait for another thread that is reading many changes or everything
_MAX_WAIT = 30.0
# this many opening hours, about a megabyte, may be stored beyond twice the number in use
_SPARE_HOURS = 1000
_READ_COLUMNS = (
    "s.id, s.name_key, s.need_codes, s.department, s.country, s.minimum_age,"
    " s.languages || s.place_languages AS languages,"
    " s.maximum_age, s.genders, s.takes_dependants,"
    " s.maximum_dependants, s.takes_pregnant, s.takes_with_addiction, s.takes_without_papers,"
    " s.maximum_age_of_boys,"
    f" s.intake, s.available, s.maximum, s.unit, s.capacity_time, s.declined_time, {FIGURE},"
    " s.assured_time, s.organization_id, s.shelter, s.area_codes,"
    " s.accessibility, s.listed, s.facets,"
    " (s.document || s.place_document)::text AS document,"
    " hash_multirange_extended(s.open_hours, 0) AS hours"
)
Hours = tuple[list[float], list[float]]
BeginTransaction = Callable[[], AbstractContextManager[Transaction]]


@dataclass
class Content:
    """All services, indexed for matching and for searching."""

    read_below: int  # the changes of all committed transactions with lower ids are in the content
    filenode: int  # identifies the file in which the database stores the table of services
    ranking: Ranking = field(default_factory=Ranking)
    search: SearchIndex = field(default_factory=SearchIndex)
    hours: dict[int, Hours] = field(default_factory=dict)
    """The distinct opening hours by hash, as (beginnings, ends) in Unix seconds."""
    # the ids of services that have changed, with the number of the last change applied to each
    numbers: dict[str, int] = field(default_factory=dict)
    waiting_shelters: dict[str, datetime] = field(default_factory=dict)
    """The ids of shelters with a new figure, with the time step in which the figure changed.

    Other organisations see the new figure from the next time step on.
    """
    first_step: datetime = _LATEST  # the earliest time step in `waiting_shelters`
    latest_time: datetime = _EARLIEST  # the latest time for which rows were applied

    @property
    def is_outgrown(self) -> bool:
        """Returns whether reading everything again is cheaper than keeping this content."""
        return (
            self.search.is_outgrown
            or len(self.hours) > 2 * len(self.search.values("hours")) + _SPARE_HOURS
        )

    def is_of_another_database(self, state: Row) -> bool:
        """Returns whether the given state belongs to another database than the content.

        A lower transaction id, or another file for the table of services, means that the database
        was replaced (or that the table was rewritten).
        """
        return bool(state["filenode"] != self.filenode or state["oldest"] < self.read_below)

    def open_at(self, time: datetime) -> list[int]:
        """Returns the hashes of the opening hours (see `hours`) that contain the time."""
        seconds = time.timestamp()
        return [
            key
            for key, (begins, ends) in self.hours.items()
            if (last := bisect_right(begins, seconds)) and seconds < ends[last - 1]
        ]

    def fill(self, pages: Iterable[tuple[Sequence[Row], dict[int, Hours]]], now: datetime) -> None:
        """Adds all services. They must come in the order of their names."""

        def entries() -> Iterator[Entry]:
            for rows, hours in pages:
                self.hours |= hours
                self._put_into_ranking(rows, now)
                yield from (_entry(row, now) for row in rows)

        self.latest_time = now
        self.search.fill(entries())

    def apply(self, rows: Sequence[Row], hours: dict[int, Hours], now: datetime) -> None:
        """Applies the rows of changed services, with their new opening hours."""
        # Another thread may have read later than this thread and applied its changes first, so
        # only rows with a newer change are applied. A shelter in `waiting_shelters` may have been
        # read again because of the time alone; its row is applied even if it has no newer change.
        now = self.latest_time = max(now, self.latest_time)
        newer_rows = [
            row
            for row in rows
            if row["number"]
            > self.numbers.get(row["service_id"], 0) - (row["service_id"] in self.waiting_shelters)
        ]
        for row in newer_rows:
            self.waiting_shelters.pop(row["service_id"], None)
        if newer_rows:
            self.first_step = min(self.waiting_shelters.values(), default=_LATEST)
        self.numbers |= {row["service_id"]: row["number"] for row in newer_rows}
        self.hours |= hours
        self.ranking.drop(row["service_id"] for row in newer_rows if not row["listed"])
        self._put_into_ranking(newer_rows, now)
        self.search.drop(row["service_id"] for row in newer_rows if not row["id"])
        self.search.put(_entry(row, now) for row in newer_rows if row["id"])

    def due_ids(self, now: datetime) -> list[str]:
        """Returns the ids of shelters whose new figure is now visible to other organisations."""
        current_step = time_step_of(now)
        if self.first_step >= current_step:  # every query asks, and thousands may wait
            return []
        return sorted(id for id, step in self.waiting_shelters.items() if step < current_step)

    def _put_into_ranking(self, rows: Sequence[Row], now: datetime) -> None:
        candidates = []
        current_step = time_step_of(now)
        new_figures = {
            row["id"]: current_step
            for row in rows
            if row["shelter"] and row["figure_step"] == current_step
        }
        if new_figures:
            self.waiting_shelters |= new_figures
            self.first_step = min(self.first_step, current_step)
        for row in rows:
            if row["listed"]:
                try:
                    candidates.append(candidate(row, now))
                except ValueError:
                    # The row has a value that this version does not know. All other services are
                    # still matched and found.
                    log.get().error("service_unreadable", service_id=row["id"])
                    self.ranking.drop([row["id"]])
        self.ranking.put(candidates, now)


class DirectoryIndex:
    """Keeps the content up to date with the database. Thread-safe."""

    def __init__(self) -> None:
        self._content_lock, self._loading_lock = threading.Lock(), threading.Lock()
        self._content: Content | None = None

    @property
    def is_loaded(self) -> bool:
        """Returns whether the directory has been read. Until then, queries wait."""
        return self._content is not None

    @contextmanager
    def current_content(
        self, tx: Transaction, now: datetime, *, reload: bool = False
    ) -> Iterator[Content]:
        """Yields the content, refreshed with everything committed so far.

        Holds the lock until the block ends.
        """
        self.refresh(tx, now, reload=reload)
        with self._content_lock:
            assert self._content is not None
            yield self._content

    def refresh(self, tx: Transaction, now: datetime, *, reload: bool = False) -> None:
        """Reads the changes committed since the last refresh.

        Reads everything the first time, and with `reload`.
        """
        self._read(lambda: nullcontext(tx), now, reload=reload)

    def keep_up(self, begin_transaction: BeginTransaction, now: datetime) -> None:
        """Refreshes the content in as many transactions as necessary.

        A loop calls this method, so that queries have little left to read. `begin_transaction`
        begins a transaction. Reads everything again if the content is outgrown.
        """
        self._read(
            begin_transaction, now, reload=self._content is not None and self._content.is_outgrown
        )

    def has_due(self, now: datetime) -> bool:
        """Returns whether a shelter's new figure has become visible since the last refresh.

        Does not query the database.
        """
        with self._content_lock:
            return self._content is not None and bool(self._content.due_ids(now))

    def _read(self, begin_transaction: BeginTransaction, now: datetime, *, reload: bool) -> None:
        if not reload and self._read_few(begin_transaction, now):
            return
        # One thread reads many changes while the other threads wait. After that, the other threads
        # have only a few changes left to read.
        with self._one_loader():
            if reload or not self._read_few(begin_transaction, now):
                self._read_many(begin_transaction, now, reload=reload)

    def _read_few(self, begin_transaction: BeginTransaction, now: datetime) -> bool:
        """Applies the changes and returns True if there are fewer than _BATCH of them.

        Otherwise changes nothing and returns False. Also returns False if everything must be read,
        or if another thread has just read everything.
        """
        content = self._content
        if content is None:
            return False
        with begin_transaction() as tx:
            state, due = _state(tx, content.read_below), content.due_ids(now)
            rows = _changes(tx, content.read_below, due=due) if state["changed"] or due else []
            if len(rows) == _BATCH or content.is_of_another_database(state):
                return False
            hours = _new_hours(tx, content, rows)
        with self._content_lock:
            if self._content is not content:
                return False
            content.apply(rows, hours, now)
            content.read_below = max(content.read_below, state["oldest"])
        return True

    def _read_many(
        self, begin_transaction: BeginTransaction, now: datetime, *, reload: bool
    ) -> None:
        content, oldest, after = self._content, 0, ""
        due = content.due_ids(now) if content else []
        while not reload and content is not None and not content.is_outgrown:
            with begin_transaction() as tx:
                state = _state(tx, content.read_below)
                rows = _changes(tx, content.read_below, after, due)
                hours = _new_hours(tx, content, rows)
            if content.is_of_another_database(state):
                break
            oldest = oldest or state["oldest"]
            with self._content_lock:
                content.apply(rows, hours, now)
                if len(rows) < _BATCH:
                    content.read_below = max(content.read_below, oldest)
                    return
            after = rows[-1]["service_id"]
        self._load(begin_transaction, now)

    def _load(self, begin_transaction: BeginTransaction, now: datetime) -> None:
        with begin_transaction() as tx:
            state = _state(tx, _MAX_TRANSACTION_ID)
        content = Content(state["oldest"], state["filenode"])

        def pages() -> Iterator[tuple[list[Row], dict[int, Hours]]]:
            after = "", ""
            while True:
                with begin_transaction() as tx:
                    rows = _by_name(tx, *after)
                    hours = _new_hours(tx, content, rows)
                if not rows:
                    return
                yield rows, hours
                after = rows[-1]["name_key"], rows[-1]["id"]

        content.fill(pages(), now)
        with self._content_lock:
            self._content = content

    @contextmanager
    def _one_loader(self) -> Iterator[None]:
        if not self._loading_lock.acquire(timeout=deadline.left(_MAX_WAIT)):
            raise Late
        try:
            yield
        finally:
            self._loading_lock.release()


def candidate(row: Row, now: datetime) -> Candidate:
    """Returns the candidate that a row describes."""
    figure = others_figure(row, now)
    return Candidate(
        service_id=row["id"],
        name_key=row["name_key"],
        need_codes=tuple(row["need_codes"]),
        department=row["department"],
        languages=tuple(row["languages"]),
        eligibility=eligibility(row),
        capacity=figure.capacity,
        assured_time=row["assured_time"],
        organization_id=row["organization_id"],
        country=row["country"],
        shelter=row["shelter"],
        area_codes=tuple(row["area_codes"]),
        accessibility=tuple(Accessibility(word) for word in row["accessibility"]),
        promises_kept=figure.kept,
        promises_broken=figure.broken,
    )


def _entry(row: Row, now: datetime) -> Entry:
    room = others_figure(row, now).capacity
    facts: list[Fact] = [
        ("listed", row["listed"]),
        ("shelter", row["shelter"]),
        ("organization", row["organization_id"]),
    ]
    facts += [("department", row["department"]), ("hours", row["hours"])]
    facts += [
        (
            "room",
            room.intake is Intake.OPEN and room.available != 0 and room.declined_time is None,
        )
    ]
    facts += [
        ("ages", (row["minimum_age"], row["maximum_age"])),
        ("genders", tuple(row["genders"])),
    ]
    facts += [("dependants", (row["takes_dependants"], row["maximum_dependants"]))]
    facets = _facets((*row["facets"], *language_facets(row["languages"])))
    return Entry(row["id"], row["name_key"], facets.union(facts), row["document"])


@lru_cache(10_000)  # many services have the same facets
def _facets(texts: tuple[str, ...]) -> frozenset[Fact]:
    return frozenset((kind, value) for kind, _, value in (facet.partition(":") for facet in texts))


def _state(tx: Transaction, read_below: int) -> Row:
    """Returns the state of the database now.

    `oldest`: the id of the oldest running transaction; transactions with lower ids have all ended;
    `filenode`: the file that stores services; `changed`: whether the transaction `read_below` or a
    later transaction changed a service.
    """
    row = tx.execute(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,"
        " pg_relation_filenode('services') AS filenode,"
        # Compares the last change only: for a condition on all rows, the planner assumes that a
        # third of them match, and reads the whole table.
        " coalesce((SELECT changed FROM service_changes ORDER BY changed DESC"
        " LIMIT 1) >= %s::text::xid8, false) AS changed",
        (str(read_below),),
    ).fetchone()
    assert row is not None
    return row


def _changes(
    tx: Transaction, read_below: int, after: str = "", due: Sequence[str] = ()
) -> list[Row]:
    """Returns at most _BATCH services that have changed or are `due`, ordered by id.

    A service has changed if the transaction `read_below` or a later transaction changed it.
    `after`: only services with higher ids. A row without an id is a service that was deleted.
    """
    return tx.execute(
        f"SELECT c.service_id, c.number, {_READ_COLUMNS} FROM service_changes AS c LEFT"
        " JOIN services AS s ON s.id = c.service_id"
        f" WHERE (c.changed >= %s::text::xid8{' OR c.service_id = ANY(%s)' if due else ''})"
        " AND c.service_id > %s ORDER BY c.service_id LIMIT %s",
        (str(read_below), *([list(due)] if due else []), after, _BATCH),
    ).fetchall()


def _by_name(tx: Transaction, name_key: str, id: str) -> list[Row]:
    return tx.execute(
        f"SELECT {_READ_COLUMNS} FROM services AS s WHERE (s.name_key, s.id) > (%s, %s)"
        " ORDER BY s.name_key, s.id LIMIT %s",
        (name_key, id, _BATCH),
    ).fetchall()


def _new_hours(tx: Transaction, content: Content, rows: Sequence[Row]) -> dict[int, Hours]:
    """Returns, by hash, the opening hours of these services that the content does not have yet.

    The hours are read from the services as they are now. If a service's hours have changed since
    its row was read, the next refresh reads the service again.
    """
    ids = [
        row["id"] for row in rows if row["hours"] is not None and row["hours"] not in content.hours
    ]
    if not ids:
        return {}
    spans = tx.execute(
        "SELECT distinct_hours.hours, array_agg(extract(epoch FROM lower(time))::float8"
        " ORDER BY time) AS begins,"
        " array_agg(extract(epoch FROM upper(time))::float8 ORDER BY time) AS ends"
        " FROM (SELECT DISTINCT ON (hours) hash_multirange_extended(open_hours, 0) AS hours,"
        " open_hours FROM services WHERE id = ANY(%s)) AS distinct_hours,"
        " unnest(distinct_hours.open_hours) AS time GROUP BY distinct_hours.hours",
        (ids,),
    )
    return {row["hours"]: (row["begins"], row["ends"]) for row in spans}
