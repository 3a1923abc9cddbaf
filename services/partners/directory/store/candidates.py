"""The services that may meet a person's need, best first.

The index ranks all services. The services that are shown are read from the database and judged
again.
"""

from collections.abc import Sequence
from datetime import datetime

from chassis.db import Row, Transaction
from services.partners.directory.domain.matching import Match, Question
from services.partners.directory.domain.matching import match as judge
from services.partners.directory.domain.service import Service
from services.partners.directory.store import services
from services.partners.directory.store.directory_index import (
    MAX_ATTEMPTS,
    DirectoryIndex,
    candidate,
)
from services.partners.directory.store.services import FROM, READ_COLUMNS


def match(
    tx: Transaction,
    index: DirectoryIndex,
    question: Question,
    now: datetime,
    size: int,
    *,
    sees_shelters: bool,
) -> list[tuple[Match, Service]]:
    """Returns the best services that may meet the need, in their present state, best first."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with index.current_content(tx, now, reload=attempt == MAX_ATTEMPTS) as content:
            content.ranking.advance(now)
            ids = content.ranking.best(question, size, sees_shelters=sees_shelters)
        rows = _rows(tx, question, ids, sees_shelters=sees_shelters)
        matches = judge(question, (candidate(row, now) for row in rows.values()), now)
        if [hit.candidate.service_id for hit in matches] == ids:
            break
    return [(hit, services.read(rows[hit.candidate.service_id])) for hit in matches]


def _rows(
    tx: Transaction, question: Question, ids: Sequence[str], *, sees_shelters: bool
) -> dict[str, Row]:
    """Returns the rows of the services that are offered now and may be shown, by id."""
    rows = tx.execute(
        f"SELECT {READ_COLUMNS}, s.shelter FROM {FROM} WHERE s.id = ANY(%s) AND s.listed AND (%s"
        " OR NOT s.shelter)"
        " AND NOT s.organization_id = ANY(%s) AND NOT s.department = ANY(%s)",
        (
            list(ids),
            sees_shelters,
            list(question.excluded_organization_ids),
            [area for area in question.excluded_areas if area],
        ),
    )
    return {row["id"]: row for row in rows}
