"""What changed of an entry: who, when, what a field was and is."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, time
from typing import Any


@dataclass(frozen=True)
class FieldChange:
    """One field of one subject.

    Of what nobody may read in a list there are no values: it changed.
    """

    field: str
    time: datetime
    worker_id: str
    old: Any
    new: Any


def changes_of(
    before: Any,
    after: Any,
    worker_id: str,
    now: datetime,
    without_values: Collection[str] = (),
    *,
    part: str = "",
) -> list[FieldChange]:
    """Between two entries of one kind; `part`: of which field of the subject they are.

    Times at which something was said are none of what was said.
    """
    old, new = (
        {field.name: _plain(asdict(entry)[field.name]) for field in fields(entry)}
        for entry in (before, after)
    )
    return [
        FieldChange(
            f"{part}{name}",
            now,
            worker_id,
            *((None, None) if name in without_values else (old[name], new[name])),
        )
        for name in new
        if old[name] != new[name] and not name.endswith("_time")
    ]


def _plain(value: Any) -> Any:
    """As JSON has it; what is empty says nothing."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value] or None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, time):
        return f"{value:%H:%M}"
    return None if value == "" else value
