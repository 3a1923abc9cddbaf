"""The numbers of the helplines, cached in the gateway.

A page can show the numbers even when all services are down. The sources are, in this order: the
directory's last answer, the answer that an earlier process saved in the file, and the configured
numbers. Limitation: a process may show an old number for AGE_SECONDS after a change, and for longer
while the directory cannot be reached.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from flask import current_app, request

from chassis import log
from chassis.errors import Refusal
from chassis.ids import new_id
from protos.partners.v1.directory_pb2 import Hotline, ListHotlinesRequest
from services.gateway.edge.clients import Clients, ServiceFault, clients

AGE_SECONDS = 30.0
TRY_AGAIN_SECONDS = 5.0  # time after a failure until the directory is asked again
# maximum time that a page waits for the directory; a number that is half a minute old is better
# than a slow page
PATIENCE_SECONDS = 1.0
CAMPAIGN_COUNTRIES = ("NI", "CR", "SV", "EC", "PE")
"""The countries of the campaign, each with a helpline.

A visitor whose country is unknown chooses among the departments of all five.
"""


class Lines:
    """The process's copy of the lines, by country."""

    def __init__(
        self,
        configured: Mapping[str, str],
        file: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._clock = file, clock
        self._numbers = self._read_file() or dict(configured)
        self._configured = dict(configured)
        self._ask_again_at = -1.0
        self._ask_lock = threading.Lock()
        self.complete = False
        """Whether the directory has answered this process.

        If not, a country that is not listed may still have a line.
        """

    def hotlines(self, clients: Clients) -> list[Hotline]:
        """Returns the lines.

        If the directory's last answer is old, asks the directory first. Only one request does so at
        a time; other requests get the current copy, or wait if it is empty.
        """
        if self._clock() >= self._ask_again_at and self._ask_lock.acquire(
            blocking=not self._numbers
        ):
            try:
                if self._clock() >= self._ask_again_at:
                    self._ask_again_at = self._clock() + (
                        AGE_SECONDS if self._ask(clients) else TRY_AGAIN_SECONDS
                    )
            finally:
                self._ask_lock.release()
        return [
            Hotline(country=country, number=number) for country, number in self._numbers.items()
        ]

    def _ask(self, clients: Clients) -> bool:
        """Asks the directory, and adopts its answer. Returns whether there was an answer."""
        try:
            lines = clients.directory.ListHotlines(
                ListHotlinesRequest(), timeout=PATIENCE_SECONDS
            ).hotlines
        except (Refusal, ServiceFault):
            return False
        answer = {line.country: line.number for line in lines}
        self.complete = True
        if answer and answer != self._numbers:
            self._save(answer)
        self._numbers = answer or self._configured
        return True

    def _read_file(self) -> dict[str, str]:
        """Reads the file. Returns {} if it is missing or can't be read."""
        try:
            saved_numbers = json.loads(self._file.read_text()) if self._file else {}
            return {str(country): str(number) for country, number in saved_numbers.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _save(self, answer: Mapping[str, str]) -> None:
        """Replaces the file as a whole.

        If the file can't be written, the next process starts without these numbers, but no page
        fails.
        """
        if not self._file:
            return
        temporary_file = self._file.with_suffix(f".{new_id()}")
        try:
            temporary_file.write_text(json.dumps(answer))
            temporary_file.replace(self._file)
        except OSError as error:
            log.get().warning("lines_not_saved", error=type(error).__name__)


def lines() -> Lines:
    """Returns the process's lines, from within a request."""
    process_lines: Lines = current_app.extensions["lines"]
    return process_lines


def hotlines() -> list[Hotline]:
    """Returns the lines; the line of the reader's country comes first, then Nicaragua's.

    The reader's country is taken from the browser's language. Never raises.
    """
    country = country_of_the_browser()
    return sorted(
        lines().hotlines(clients()),
        key=lambda line: (line.country != country, line.country != "NI", line.country),
    )


def country_of_the_browser() -> str:
    """Returns the region in the browser's languages (CR for es-CR); "" if none names a region.

    The reader's IP address is never used to locate her.
    """
    regions = (
        tag.replace("_", "-").rpartition("-")[2].upper()
        for tag in request.accept_languages.values()
        if "-" in tag or "_" in tag
    )
    return next((region for region in regions if len(region) == 2), "")
