"""Accesses in the form in which a person learns of them.

Accesses are counted by day, kind of organisation and reason, and name neither the organisation nor
the worker.
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
    """The accesses of one kind of organisation on one day for one reason."""

    day: date
    organization_type: str
    need_group_code: str  # empty if the access was to continue with the person's call or file
    field_groups: tuple[str, ...]
    allowed: bool
    count: int = 0


def daily_readings(
    rows: Iterable[Mapping[str, Any]], types: Mapping[str, str], zone: tzinfo
) -> list[Reading]:
    """Returns rows of the trail as accesses counted by day, newest first.

    `types` are the types of the organisations, `zone` is the time zone of the person's days.
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
            counted[reading],
        )
        for reading in sorted(readings, key=lambda reading: reading.day, reverse=True)
    ]
