"""An import as work that takes its time: accepted, read, written, and ended in one of three
ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from services.partners.directory.domain.imports import Encoding

MOST_WAITING = 5
"""Imports of an organisation that are not done yet."""
MOST_ATTEMPTS = 3
"""Times that an import is begun: a process that ends with it each time is ended by it."""
FILE_KEPT = timedelta(days=1)
"""How long after its end another import may use the same file."""
REPORT_KEPT = timedelta(days=30)


class ImportState(StrEnum):
    """How far an import is."""

    PENDING = "PENDING"
    READING = "READING"
    WRITING = "WRITING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass
class ImportJob:
    """An import.

    `importer_id`: the organisation that sent it; `organization_id`: whose services they are, "" for
    whichever each row names.

    `answers`: by file and row the id of the service that a row means, "" for a new one. `report`:
    what was done with each row, as a message.
    """

    id: str
    importer_id: str
    organization_id: str
    dry_run: bool
    create_time: datetime
    encoding: Encoding | None = None
    answers: Mapping[tuple[str, int], str] = field(default_factory=dict)
    state: ImportState = ImportState.PENDING
    rows_done: int = 0
    rows_total: int = 0
    failure_code: str = ""
    end_time: datetime | None = None
    cancel_time: datetime | None = None
    attempts: int = 0
    report: bytes = b""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.end_time is not None

    def cancel(self, now: datetime) -> None:
        """Asks for its end.

        One at which nobody works ends at once; one that has ended stays as it is.
        """
        if self.has_ended:
            return
        self.cancel_time = self.cancel_time or now
        if self.state is ImportState.PENDING:
            self.end(ImportState.CANCELLED, now)

    def end(self, state: ImportState, now: datetime, failure_code: str = "") -> None:
        """Ends it."""
        self.state, self.end_time, self.failure_code = state, now, failure_code
