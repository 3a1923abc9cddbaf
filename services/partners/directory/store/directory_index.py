"""The directory, kept in this process as matching and searching need it, and brought up to date in
the transaction that asks.

Nothing stale is served: each question first reads what was committed since the last one
(service_changes), and what it answers with is read anew. Limit: one that was left out wrongly would
not be missed; that none is follows from service_changes alone.
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
from services.partners.directory.store.services import FIGURE, eligibility, others_figure
from services.partners.network.domain.time_step import time_step_of

LOOKS = 3  # while services change under a question, or the database is not the one it was
_AT_ONCE = 2000  # services, so that neither memory nor other threads suffer from many
_NEVER = 2**64 - 1  # a transaction that nothing is changed by
_NEVER_YET = datetime.min.replace(tzinfo=UTC)
# seconds for another's reading of everything; as long as keeping_up's own may take
_PATIENCE = 30.0
_MANY_HOURS = 1000  # that nobody has any more; so many are a megabyte
_READ = (
    "s.id, s.name_key, s.need_codes, s.department, s.country, s.languages, s.minimum_age,"
    " s.maximum_age, s.genders, s.takes_dependants,"
    " s.maximum_dependants, s.takes_pregnant, s.takes_with_addiction, s.takes_without_papers,"
    " s.maximum_age_of_boys,"
    f" s.intake, s.available, s.maximum, s.unit, s.capacity_time, s.declined_time, {FIGURE},"
    " s.assured_time, s.organization_id, s.shelter, s.area_codes,"
    " s.accessibility, s.listed, s.facets, s.document::text AS document,"
    " hash_multirange_extended(s.open_hours, 0) AS hours"
)
Hours = tuple[list[float], list[float]]
Begin = Callable[[], AbstractContextManager[Transaction]]


@dataclass
class Content:
    """What is known of all services."""

    seen: int  # what was committed before this transaction is known
    filenode: int  # where the database keeps services
    ranking: Ranking = field(default_factory=Ranking)
    search: SearchIndex = field(default_factory=SearchIndex)
    hours: dict[int, Hours] = field(default_factory=dict)
    """When those are open that say it, each said once, by a number: beginnings and ends, Unix
    seconds.
    """
    # which change of a service is known, of those that have changed
    numbers: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, datetime] = field(default_factory=dict)
    """Shelters whose figure has changed, with the step of time in which it did: others see it from
    the next one on.
    """
    latest: datetime = _NEVER_YET

    @property
    def outgrown(self) -> bool:
        """Whether it is better read anew."""
        return (
            self.search.outgrown
            or len(self.hours) > 2 * len(self.search.values("hours")) + _MANY_HOURS
        )

    def is_of_another(self, at: Row) -> bool:
        """Whether it was read of another database: the count of transactions goes back, or the
        table lies elsewhere, only then.
        """
        return bool(at["filenode"] != self.filenode or at["oldest"] < self.seen)

    def open_at(self, time: datetime) -> list[int]:
        """The numbers of the hours in which that is."""
        at = time.timestamp()
        return [
            number
            for number, (begins, ends) in self.hours.items()
            if (last := bisect_right(begins, at)) and at < ends[last - 1]
        ]

    def fill(self, pages: Iterable[tuple[Sequence[Row], dict[int, Hours]]], now: datetime) -> None:
        """Takes all, which come in the order of their names."""

        def entries() -> Iterator[Entry]:
            for rows, hours in pages:
                self.hours |= hours
                self._rank(rows, now)
                yield from (_entry(row, now) for row in rows)

        self.latest = now
        self.search.fill(entries())

    def take(self, rows: Sequence[Row], hours: dict[int, Hours], now: datetime) -> None:
        """Takes what has changed."""
        # Another thread may have read later, and been here first. What waited for its step is read
        # again without another change.
        now = self.latest = max(now, self.latest)
        news = [
            row
            for row in rows
            if row["number"]
            > self.numbers.get(row["service_id"], 0) - (row["service_id"] in self.waiting)
        ]
        for row in news:
            self.waiting.pop(row["service_id"], None)
        self.numbers |= {row["service_id"]: row["number"] for row in news}
        self.hours |= hours
        self.ranking.drop(row["service_id"] for row in news if not row["listed"])
        self._rank(news, now)
        self.search.drop(row["service_id"] for row in news if not row["id"])
        self.search.put(_entry(row, now) for row in news if row["id"])

    def due(self, now: datetime) -> list[str]:
        """Returns the shelters whose new figure others see by now."""
        return sorted(id for id, step in self.waiting.items() if step < time_step_of(now))

    def _rank(self, rows: Sequence[Row], now: datetime) -> None:
        readable = []
        self.waiting |= {
            row["id"]: row["figure_step"]
            for row in rows
            if row["shelter"] and row["figure_step"] == time_step_of(now)
        }
        for row in rows:
            if row["listed"]:
                try:
                    readable.append(candidate(row, now))
                except ValueError:
                    # a word that this process does not know yet: all others are still matched and
                    # found
                    log.get().error("service_unreadable", service_id=row["id"])
                    self.ranking.drop([row["id"]])
        self.ranking.put(readable, now)


class DirectoryIndex:
    """The directory in order. Safe for all threads of a process."""

    def __init__(self) -> None:
        self._turn, self._loading = threading.Lock(), threading.Lock()
        self._content: Content | None = None

    @property
    def loaded(self) -> bool:
        """Whether the directory has been read once: a question before that waits for it."""
        return self._content is not None

    @contextmanager
    def current(self, tx: Transaction, now: datetime, *, anew: bool = False) -> Iterator[Content]:
        """What is known with all that was committed, for a moment and for nobody else."""
        self.refresh(tx, now, anew=anew)
        with self._turn:
            assert self._content is not None
            yield self._content

    def refresh(self, tx: Transaction, now: datetime, *, anew: bool = False) -> None:
        """Reads what was committed since the last time; everything the first time."""
        self._read(lambda: nullcontext(tx), now, anew=anew)

    def keep_up(self, begin: Begin, now: datetime) -> None:
        """The same, before anybody waits for it, in as many transactions as it takes."""
        self._read(begin, now, anew=self._content is not None and self._content.outgrown)

    def _read(self, begin: Begin, now: datetime, *, anew: bool) -> None:
        if not anew and self._read_few(begin, now):
            return
        with self._alone():  # one reads very many, the others wait for that, and then there are few
            if anew or not self._read_few(begin, now):
                self._read_many(begin, now, anew=anew)

    def _read_few(self, begin: Begin, now: datetime) -> bool:
        """False, and nothing is read, where there is more than a part, or everything is to be
        read.
        """
        content = self._content
        if content is None:
            return False
        with begin() as tx:
            at, due = _state(tx, content.seen), content.due(now)
            news = _changes(tx, content.seen, due=due) if at["changed"] or due else []
            if len(news) == _AT_ONCE or content.is_of_another(at):
                return False
            hours = _new_hours(tx, content, news)
        with self._turn:
            if self._content is not content:
                return False
            content.take(news, hours, now)
            content.seen = max(content.seen, at["oldest"])
        return True

    def _read_many(self, begin: Begin, now: datetime, *, anew: bool) -> None:
        content, oldest, after = self._content, 0, ""
        due = content.due(now) if content else []
        while not anew and content is not None and not content.outgrown:
            with begin() as tx:
                at = _state(tx, content.seen)
                news = _changes(tx, content.seen, after, due)
                hours = _new_hours(tx, content, news)
            if content.is_of_another(at):
                break
            oldest = oldest or at["oldest"]
            with self._turn:
                content.take(news, hours, now)
                if len(news) < _AT_ONCE:
                    content.seen = max(content.seen, oldest)
                    return
            after = news[-1]["service_id"]
        self._load(begin, now)

    def _load(self, begin: Begin, now: datetime) -> None:
        with begin() as tx:
            at = _state(tx, _NEVER)
        content = Content(at["oldest"], at["filenode"])

        def pages() -> Iterator[tuple[list[Row], dict[int, Hours]]]:
            after = "", ""
            while True:
                with begin() as tx:
                    rows = _by_name(tx, *after)
                    hours = _new_hours(tx, content, rows)
                if not rows:
                    return
                yield rows, hours
                after = rows[-1]["name_key"], rows[-1]["id"]

        content.fill(pages(), now)
        with self._turn:
            self._content = content

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._loading.acquire(timeout=deadline.left(_PATIENCE)):
            raise Late
        try:
            yield
        finally:
            self._loading.release()


def candidate(row: Row, now: datetime) -> Candidate:
    """A row as it is matched."""
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
        kept=figure.kept,
        broken=figure.broken,
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
            room.intake is Intake.OPEN and (room.available or 0) > 0 and room.declined_time is None,
        )
    ]
    facts += [
        ("ages", (row["minimum_age"], row["maximum_age"])),
        ("genders", tuple(row["genders"])),
    ]
    facts += [("dependants", (row["takes_dependants"], row["maximum_dependants"]))]
    return Entry(
        row["id"], row["name_key"], _facets(tuple(row["facets"])).union(facts), row["document"]
    )


@lru_cache(10_000)  # many have the same ones
def _facets(said: tuple[str, ...]) -> frozenset[Fact]:
    return frozenset((kind, value) for kind, _, value in (facet.partition(":") for facet in said))


def _state(tx: Transaction, seen: int) -> Row:
    """What is known with all that is committed now, where the database keeps services, and whether
    any has changed since then.
    """
    row = tx.execute(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,"
        " pg_relation_filenode('services') AS filenode,"
        # By the last one, for of a condition the planner believes that a third meet it, and reads
        # them all.
        " coalesce((SELECT changed FROM service_changes ORDER BY changed DESC"
        " LIMIT 1) >= %s::text::xid8, false) AS changed",
        (str(seen),),
    ).fetchone()
    assert row is not None
    return row


def _changes(tx: Transaction, seen: int, after: str = "", due: Sequence[str] = ()) -> list[Row]:
    """What has changed since then or is `due`, a part at a time; without an id those that are no
    more.
    """
    return tx.execute(
        f"SELECT c.service_id, c.number, {_READ} FROM service_changes AS c LEFT"
        " JOIN services AS s ON s.id = c.service_id"
        f" WHERE (c.changed >= %s::text::xid8{' OR c.service_id = ANY(%s)' if due else ''})"
        " AND c.service_id > %s ORDER BY c.service_id LIMIT %s",
        (str(seen), *([list(due)] if due else []), after, _AT_ONCE),
    ).fetchall()


def _by_name(tx: Transaction, name_key: str, id: str) -> list[Row]:
    return tx.execute(
        f"SELECT {_READ} FROM services AS s WHERE (s.name_key, s.id) > (%s, %s)"
        " ORDER BY s.name_key, s.id LIMIT %s",
        (name_key, id, _AT_ONCE),
    ).fetchall()


def _new_hours(tx: Transaction, content: Content, rows: Sequence[Row]) -> dict[int, Hours]:
    """The hours of these that are not known.

    Of each service is asked, for any of them may have others by now: those it is asked for anew.
    """
    ids = [
        row["id"] for row in rows if row["hours"] is not None and row["hours"] not in content.hours
    ]
    if not ids:
        return {}
    spans = tx.execute(
        "SELECT said.hours, array_agg(extract(epoch FROM lower(time))::float8"
        " ORDER BY time) AS begins,"
        " array_agg(extract(epoch FROM upper(time))::float8 ORDER BY time) AS ends"
        " FROM (SELECT DISTINCT ON (hours) hash_multirange_extended(open_hours, 0) AS hours,"
        " open_hours FROM services WHERE id = ANY(%s)) AS said,"
        " unnest(said.open_hours) AS time GROUP BY said.hours",
        (ids,),
    )
    return {row["hours"]: (row["begins"], row["ends"]) for row in spans}
