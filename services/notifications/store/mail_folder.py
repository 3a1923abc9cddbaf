"""The development outbox: a folder that stands for a mail server, on a developer's machine.

Each e-mail is a file named after the id of its delivery, so a repeat replaces the file. No e-mail
leaves the machine.
"""

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from chassis.clock import Clock
from services.notifications.domain.delivery import Outcome
from services.notifications.domain.texts import Mail

MAX_MAILS = 200  # e-mails that the development page shows; older files are deleted
_SPARE = 50  # e-mails stored between two deletions, since a deletion lists the whole folder


class MailFolder:
    """Stores the latest e-mails, to be read on the development page."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._until_deletion = 0

    def put(self, mail: Mail) -> Outcome:
        """Stores an e-mail, and returns the outcome of a successful attempt."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new_file = self._folder / f"{mail.id}.new"
        new_file.write_text(json.dumps(asdict(mail) | {"time": self._clock.now().isoformat()}))
        new_file.replace(self._folder / f"{mail.id}.json")
        self._until_deletion -= 1
        if self._until_deletion < 0:
            self._until_deletion = _SPARE
            for file in self._files()[MAX_MAILS:]:
                file.unlink(missing_ok=True)
        return Outcome()

    def close(self) -> None:
        """Does nothing: no connection is open."""

    def mails(self) -> list[tuple[Mail, datetime]]:
        """Returns the latest MAX_MAILS e-mails with the time of each, newest first.

        Leaves out files that a sender deletes meanwhile.
        """
        mails = []
        for file in self._files()[:MAX_MAILS]:
            with suppress(FileNotFoundError):
                fields = json.loads(file.read_text())
                time = datetime.fromisoformat(fields.pop("time"))
                mails.append((Mail(**fields), time))
        return mails

    def _files(self) -> list[Path]:
        times = {}
        for file in self._folder.glob("*.json"):
            with suppress(FileNotFoundError):
                times[file] = file.stat().st_mtime_ns
        return sorted(times, key=times.__getitem__, reverse=True)
