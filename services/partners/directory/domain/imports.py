"""The content of a file of services and places, row by row, and the outcome of each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from services.partners.directory.domain.location import LocationEntry, Phone
from services.partners.directory.domain.schedule import Schedule
from services.partners.directory.domain.service import ServiceEntry

MAX_ROWS = 5000
MAX_ID_LENGTH = 200
"""The maximum number of characters of an id in a file."""
_GROUP = "eligibility"
_AGES = ("minimum_age", "maximum_age")


class Outcome(StrEnum):
    """The outcome of a row."""

    CREATED = "CREATED"
    CHANGED = "CHANGED"
    UNCHANGED = "UNCHANGED"
    REFUSED = "REFUSED"
    ASKED = "ASKED"


class Encoding(StrEnum):
    """The encodings of a file's text."""

    UTF_8 = "UTF_8"
    UTF_16 = "UTF_16"
    WINDOWS_1252 = "WINDOWS_1252"
    MACINTOSH = "MACINTOSH"
    IBM850 = "IBM850"


@dataclass(frozen=True)
class Problem:
    """A fault in a cell."""

    column: str
    field: str
    reason: str


@dataclass
class Line:
    """A row of the file with its outcome. `columns`: the column of each field."""

    file: str
    row: int
    columns: Mapping[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    outcome: Outcome | None = None
    subject_id: str = ""
    candidate_ids: tuple[str, ...] = ()

    def refuse(self, field: str, reason: str) -> None:
        """Records the fault of a field and marks the row as refused."""
        top, _, inner = field.partition(".")
        name = inner.partition(".")[0] if top == _GROUP and inner else top
        if name in _AGES and name not in self.columns and "ages" in self.columns:
            name = "ages"
        self.outcome = Outcome.REFUSED
        # one fault per cell is enough
        if all(problem.field != name for problem in self.problems):
            self.problems.append(Problem(self.columns.get(name, ""), name, reason))

    def mark_ambiguous(self, candidate_ids: Sequence[str]) -> None:
        """Marks the row as ambiguous and records the services that it may refer to."""
        self.record(Outcome.ASKED)
        self.candidate_ids = tuple(candidate_ids)

    def record(self, outcome: Outcome) -> None:
        """Records an outcome. A row with several outcomes keeps the most serious."""
        order = (
            None,
            Outcome.UNCHANGED,
            Outcome.CHANGED,
            Outcome.CREATED,
            Outcome.ASKED,
            Outcome.REFUSED,
        )
        if order.index(outcome) > order.index(self.outcome):
            self.outcome = outcome


@dataclass
class PlaceDraft:
    """A place as a file describes it. `stated_fields` names the fields that the file states."""

    line: Line
    source_id: str
    entry: LocationEntry
    stated_fields: frozenset[str]

    def hide(self) -> None:
        """Makes the place confidential, whatever the file states."""
        self.entry = replace(self.entry, confidential=True)
        self.stated_fields |= {"confidential"}


@dataclass
class ServiceAtPlace:
    """A service at a place, as a file describes it; None means "not stated"."""

    place: PlaceDraft
    phones: tuple[Phone, ...] | None = None
    schedules: tuple[Schedule, ...] | None = None
    languages: tuple[str, ...] | None = None


@dataclass
class ServiceDraft:
    """A service as a file describes it.

    `stated_fields`: the names of the fields that the file states, with paths for the fields of the
    eligibility. `has_area`: the file states the area, or that the service is for the whole country;
    a new service needs one of them.
    """

    line: Line
    source_id: str
    organization_id: str
    organization_name: str
    entry: ServiceEntry
    stated_fields: frozenset[str]
    places: list[ServiceAtPlace] = field(default_factory=list)
    has_area: bool = True

    def changes(self, stored_entry: ServiceEntry) -> dict[str, Any]:
        """Returns the fields whose value would change, with their new values.

        A field that the file does not state keeps its value.
        """
        eligibility_fields = {
            path.partition(".")[2] for path in self.stated_fields if path.startswith(f"{_GROUP}.")
        }
        new_values = {
            name: getattr(self.entry, name) for name in self.stated_fields if "." not in name
        }
        if eligibility_fields:
            new_values[_GROUP] = replace(
                stored_entry.eligibility,
                **{name: getattr(self.entry.eligibility, name) for name in eligibility_fields},
            )
        return {
            name: value
            for name, value in new_values.items()
            if value != getattr(stored_entry, name)
        }


@dataclass
class ParsedFile:
    """A file that has been read.

    `decoding`: how its text was decoded; None where the format prescribes the encoding.
    """

    lines: list[Line] = field(default_factory=list)
    services: list[ServiceDraft] = field(default_factory=list)
    ignored_columns: list[str] = field(default_factory=list)
    decoding: "DecodingInfo | None" = None


@dataclass(frozen=True)
class DecodingInfo:
    """How the text of a file was decoded.

    `guessed`: neither the file nor the caller states the encoding. `samples`: words that would
    differ in another encoding.
    """

    encoding: Encoding
    guessed: bool = False
    samples: tuple[str, ...] = ()


@dataclass
class Report:
    """The outcome of each row. If `written` is False, the rows were only checked."""

    lines: list[Line]
    written: bool
    ignored_columns: list[str]
    decoding: DecodingInfo | None = None

    def count(self, outcome: Outcome) -> int:
        """Returns the number of rows with this outcome."""
        return sum(line.outcome is outcome for line in self.lines)


def id_error(source_id: str) -> str:
    """Returns the reason why an id in a file can't be stored; "" if it can."""
    if len(source_id) > MAX_ID_LENGTH:
        return "too_long"
    return "" if source_id.isprintable() and "\ufffd" not in source_id else "malformed"
