"""An import as a background job.

An import starts as pending, is read and written, and ends as done, unless it fails or is cancelled
first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from services.partners.directory.domain.imports import Encoding

MAX_UNFINISHED = 5
"""The maximum number of unfinished imports that an organisation may have at once."""
MAX_ATTEMPTS = 3
"""The maximum number of attempts at an import, since an import may crash the process."""
FILE_RETENTION = timedelta(days=1)
"""How long a file is stored after its import has ended, so that another import can use the file."""
REPORT_RETENTION = timedelta(days=30)


class ImportState(StrEnum):
    """The progress of an import."""

    PENDING = "PENDING"
    READING = "READING"
    WRITING = "WRITING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass
class ImportJob:
    """An import.

    `importer_id`: the organisation that sent the file. `organization_id`: the organisation to which
    all services in the file belong, "" if each row names the owner of its service. `answers`: the
    importer's answers about ambiguous rows: for (file, row), the id of the service that the row
    means, "" for a new service. `report`: the outcome of each row, as a serialised message.
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
        """Returns whether the import has reached a final state."""
        return self.end_time is not None

    def cancel(self, now: datetime) -> None:
        """Requests the cancellation of the import.

        A pending import ends at once; a running import ends when its process next checks for
        cancellation. An import that has ended stays as it is.
        """
        if self.has_ended:
            return
        self.cancel_time = self.cancel_time or now
        if self.state is ImportState.PENDING:
            self.end(ImportState.CANCELLED, now)

    def end(self, state: ImportState, now: datetime, failure_code: str = "") -> None:
        """Moves the import to a final state."""
        self.state, self.end_time, self.failure_code = state, now, failure_code
