"""Accesses to a person's data, as they are shown to that person.

Accesses are counted by day, kind of organisation, reason, field groups and outcome. Neither the
organisation nor the worker is named.
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
    """The number of similar accesses by organisations of one kind on one day."""

    day: date
    organization_type: str
    need_group_code: str  # empty for an access that was not made for a need
    field_groups: tuple[str, ...]
    allowed: bool
    count: int = 0


def daily_readings(
    rows: Iterable[Mapping[str, Any]], types: Mapping[str, str], zone: tzinfo
) -> list[Reading]:
    """Counts equal rows of the trail, and returns the counts as Readings, newest day first.

    `types` maps the id of an organisation to its type. `zone` is the time zone of the days.
    """
    counts = Counter(
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
        counts,
        key=lambda reading: (
            reading.organization_type,
            reading.need_group_code,
            reading.field_groups,
            reading.allowed,
        ),
    )
    return [
        Reading(
            reading.day,
            reading.organization_type,
            reading.need_group_code,
            reading.field_groups,
            reading.allowed,
            counts[reading],
        )
        for reading in sorted(readings, key=lambda reading: reading.day, reverse=True)
    ]
