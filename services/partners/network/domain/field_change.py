"""Changes to an entry: applying them, and the record of each with its worker and values."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime, time
from typing import Any, TypeVar

from chassis.errors import Invalid

E = TypeVar("E")


@dataclass(frozen=True)
class FieldChange:
    """A change to one field of one subject.

    If the field's values must not appear in a list of changes, the change is recorded without them.
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
    prefix: str = "",
) -> list[FieldChange]:
    """Returns the changes between two states of an entry, in the order of its fields.

    `without_values`: the fields whose values are not recorded. `prefix`: a prefix for the names of
    the fields, such as "capacity.". Fields whose names end in "_time" are left out.
    """
    old, new = (
        {field.name: _plain(asdict(entry)[field.name]) for field in fields(entry)}
        for entry in (before, after)
    )
    return [
        FieldChange(
            f"{prefix}{name}",
            now,
            worker_id,
            *((None, None) if name in without_values else (old[name], new[name])),
        )
        for name in new
        if old[name] != new[name] and not name.endswith("_time")
    ]


def _plain(value: Any) -> Any:
    """Returns a value in a form that JSON can represent; None for an empty text or list."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] or None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, time):
        return f"{value:%H:%M}"
    return None if value == "" else value


def with_changes(entry: E, changes: Mapping[str, Any], at: str) -> E:
    """Returns the entry with the given fields replaced.

    Raises Invalid if `changes` is empty or names a field that the entry does not have. `at`: the
    prefix of such a field's path.
    """
    field_names = {field.name for field in fields(entry)}  # type: ignore[arg-type]
    if not changes:
        raise Invalid(("update_mask", "required"))
    unknown = sorted(changes.keys() - field_names)
    if unknown:
        raise Invalid(*((f"{at}.{path}", "unknown_code") for path in unknown))
    return replace(entry, **changes)  # type: ignore[type-var]
