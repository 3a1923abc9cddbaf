"""Who looked, as a person hears it: by day, kind of organisation and reason; neither which
organisation nor who.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Any

from services.referrals.files.domain.person import FieldGroup

_GROUPS = [group.value for group in FieldGroup]


@dataclass(frozen=True)
class Reading:
    """What one kind of organisation read on one day for one reason."""

    day: date
    organization_type: str
    need_group_code: str  # empty: to go on with her call, or with her file
    field_groups: tuple[str, ...]
    allowed: bool
    count: int = 0


def told_plainly(
    rows: Iterable[Mapping[str, Any]], types: Mapping[str, str], zone: tzinfo
) -> list[Reading]:
    """Rows of the trail, newest first; `types`: of the organisations; `zone`: in which she counts
    days.
    """
    counted = Counter(
        Reading(
            row["time"].astimezone(zone).date(),
            types.get(row["organization_id"], ""),
            row["purpose_code"][:3],
            tuple(group for group in _GROUPS if group in row["detail_codes"]),
            row["allowed"],
        )
        for row in rows
    )
    readings = sorted(
        counted,
        key=lambda each: (
            each.organization_type,
            each.need_group_code,
            each.field_groups,
            each.allowed,
        ),
    )
    return [
        Reading(
            each.day,
            each.organization_type,
            each.need_group_code,
            each.field_groups,
            each.allowed,
            counted[each],
        )
        for each in sorted(readings, key=lambda each: each.day, reverse=True)
    ]
