"""The services that may be matched, kept in this process as matching needs them, and brought up to date in the transaction that asks.

Nothing stale is served: each question first reads what was committed since the last one (service_changes), and what it answers with is read and
judged anew. Limit: one that was left out wrongly would not be missed; that none is follows from service_changes alone.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from chassis import deadline
from chassis.db import Row, Transaction
from chassis.errors import Late
from services.partners.domain.location import Accessibility
from services.partners.domain.matching import Candidate, Match, Question, match
from services.partners.domain.ranking import Ranking
from services.partners.domain.service import Service
from services.partners.store import services
from services.partners.store.services import FROM, SEEN, capacity, eligibility

_AT_ONCE = 2000  # services, so that neither memory nor other threads suffer from many
_NEVER = 2**64 - 1  # a transaction that nothing is changed by
_PATIENCE = 30.0  # seconds for another's reading of everything; as long as keeping_up's own may take
_LOOKS = 3  # while services change under a question, or the database is not the one it was
_NEEDED = (
    "s.id, s.name_key, s.need_codes, s.department, s.country, s.languages, s.minimum_age, s.maximum_age, s.genders, s.takes_dependants,"
    " s.maximum_dependants, s.takes_pregnant, s.takes_with_addiction, s.takes_without_papers, s.maximum_age_of_boys,"
    " s.intake, s.available, s.maximum, s.unit, s.capacity_time, s.declined_time, s.assured_time, s.organization_id, s.shelter, s.area_codes,"
    " s.accessibility, s.kept, s.broken"
)


class Candidates:
    """The directory in order. Safe for all threads of a process."""

    def __init__(self) -> None:
        self._turn, self._loading = threading.Lock(), threading.Lock()
        self._ranking = Ranking()
        self._seen: int | None = None  # what was committed before this transaction is known
        self._place: int | None = None  # where the database keeps services
        self._numbers: dict[str, int] = {}  # which change of a service is known, of those that have changed

    def match(self, tx: Transaction, question: Question, now: datetime, size: int, *, sees_shelters: bool) -> list[tuple[Match, Service]]:
        """The first of all that may meet the need, best first, as they are now."""
        for look in range(1, _LOOKS + 1):
            ids = self._best(tx, question, now, size, sees_shelters=sees_shelters, anew=look == _LOOKS)
            rows = _rows(tx, question, ids, sees_shelters=sees_shelters)
            matches = match(question, map(_candidate, rows.values()), now)
            if look == _LOOKS or [one.candidate.service_id for one in matches] == ids:
                break
        return [(one, services.read(rows[one.candidate.service_id])) for one in matches]

    @property
    def loaded(self) -> bool:
        """Whether the directory has been read once: a match before that waits for it."""
        return self._place is not None

    def refresh(self, tx: Transaction, now: datetime, *, anew: bool = False) -> None:
        """Reads what was committed since the last time; everything the first time."""
        if anew or not self._read_few(tx, now):
            with self._alone():  # one reads very many, the others wait for that, and then there are few
                if anew or not self._read_few(tx, now):
                    self._read_many(tx, now, anew=anew)

    def _read_few(self, tx: Transaction, now: datetime) -> bool:
        """False, and nothing is read, where there is more than a part, or everything is to be read."""
        with self._turn:
            seen, place = self._seen, self._place
        if seen is None:
            return False
        news = _changes(tx, seen)
        if len(news) == _AT_ONCE or _is_another(news[0], seen, place):
            return False
        with self._turn:
            if self._place != place:
                return False
            self._take(news, now)
            self._known_until(news[0])
        return True

    def _read_many(self, tx: Transaction, now: datetime, *, anew: bool) -> None:
        with self._turn:
            seen, place = (None, None) if anew else (self._seen, self._place)
        news = _changes(tx, seen)
        at = news[0]
        if seen is None or _is_another(at, seen, place):
            self._load(tx, at, now)
            return
        while news:
            with self._turn:
                self._take(news, now)
            news = _changes(tx, seen, news[-1]["service_id"]) if len(news) == _AT_ONCE else []
        with self._turn:
            self._known_until(at)

    def _known_until(self, at: Row) -> None:
        self._seen = max(self._seen or 0, at["oldest"])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._loading.acquire(timeout=deadline.left(_PATIENCE)):
            raise Late
        try:
            yield
        finally:
            self._loading.release()

    def _take(self, rows: Sequence[Row], now: datetime) -> None:
        # Another thread may have read later, and been here first. A row without a service says that none has changed.
        news = [row for row in rows if row["service_id"] and row["number"] > self._numbers.get(row["service_id"], 0)]
        self._numbers |= {row["service_id"]: row["number"] for row in news}
        self._ranking.drop(row["service_id"] for row in news if not row["listed"])
        self._ranking.put([_candidate(row) for row in news if row["listed"]], now)

    def _load(self, tx: Transaction, at: Row, now: datetime) -> None:
        ranking, rows = Ranking(), _listed(tx, "")
        while rows:
            ranking.put(map(_candidate, rows), now)
            rows = _listed(tx, rows[-1]["id"])
        with self._turn:
            self._ranking, self._numbers, self._seen, self._place = ranking, {}, at["oldest"], at["place"]

    def _best(self, tx: Transaction, question: Question, now: datetime, size: int, *, sees_shelters: bool, anew: bool) -> list[str]:
        self.refresh(tx, now, anew=anew)
        with self._turn:
            self._ranking.advance(now)
            return self._ranking.best(question, size, sees_shelters=sees_shelters)


def _changes(tx: Transaction, seen: int | None, after: str = "") -> list[Row]:
    """What has changed since then, a part at a time; in each row, and if nothing has, too, what will be known with all of it."""
    return tx.execute(
        f"SELECT at.*, c.service_id, c.number, coalesce(s.listed, false) AS listed, {_NEEDED}"
        " FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest, pg_relation_filenode('services') AS place) AS at"
        " LEFT JOIN (service_changes AS c LEFT JOIN services AS s ON s.id = c.service_id)"
        " ON c.changed >= %s::text::xid8 AND c.service_id > %s ORDER BY c.service_id LIMIT %s",
        (str(_NEVER if seen is None else seen), after, _AT_ONCE),
    ).fetchall()


def _is_another(at: Row, seen: int, place: int | None) -> bool:
    """Whether it is another database: the count of transactions goes back, or the table lies elsewhere, only then."""
    return bool(at["place"] != place or at["oldest"] < seen)


def _listed(tx: Transaction, after: str) -> list[Row]:
    return tx.execute(
        f"SELECT {_NEEDED} FROM services AS s WHERE s.listed AND s.id > %s ORDER BY s.id LIMIT %s", (after, _AT_ONCE)
    ).fetchall()


def _rows(tx: Transaction, question: Question, ids: Sequence[str], *, sees_shelters: bool) -> dict[str, Row]:
    """Those of these that are offered now, and may be shown."""
    rows = tx.execute(
        f"SELECT {SEEN}, s.shelter, s.kept, s.broken FROM {FROM} WHERE s.id = ANY(%s) AND s.listed AND (%s OR NOT s.shelter)"
        " AND NOT s.organization_id = ANY(%s) AND NOT s.department = ANY(%s)",
        (list(ids), sees_shelters, list(question.excluded_organization_ids), [area for area in question.excluded_areas if area]),
    )
    return {row["id"]: row for row in rows}


def _candidate(row: Row) -> Candidate:
    return Candidate(
        service_id=row["id"],
        name_key=row["name_key"],
        need_codes=tuple(row["need_codes"]),
        department=row["department"],
        languages=tuple(row["languages"]),
        eligibility=eligibility(row),
        capacity=capacity(row),
        assured_time=row["assured_time"],
        organization_id=row["organization_id"],
        country=row["country"],
        shelter=row["shelter"],
        area_codes=tuple(row["area_codes"]),
        accessibility=tuple(Accessibility(word) for word in row["accessibility"]),
        kept=row["kept"],
        broken=row["broken"],
    )
