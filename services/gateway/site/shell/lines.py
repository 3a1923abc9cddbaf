"""The numbers of the lines, kept in the gateway: they stand wherever a page says "call", with
everything behind it away too.

Known are, in this order: the directory's last answer, the answer that an earlier process left in
the file, the configured numbers. Limit: a changed number is shown by each process within
AGE_SECONDS.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from flask import current_app, request

from chassis import log
from chassis.errors import Refusal
from protos.partners.v1.directory_pb2 import Hotline, ListHotlinesRequest
from services.gateway.edge.clients import Clients, ServiceFault, clients

AGE_SECONDS = 30.0
TRY_AGAIN_SECONDS = 5.0  # after a failure
# a page with a number that is half a minute old is better than one that comes late
PATIENCE_SECONDS = 1.0


class Lines:
    """The process's knowledge of the lines, by country."""

    def __init__(
        self,
        configured: Mapping[str, str],
        file: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._clock = file, clock
        self._numbers = self._saved() or dict(configured)
        self._configured = dict(configured)
        self._ask_again_at = -1.0
        self._asking = threading.Lock()
        self.complete = False
        """Whether the directory has answered this process: only then is a country that is not among
        them one without a line.
        """

    def known(self, clients: Clients) -> list[Hotline]:
        """Returns the lines; asks the directory first when the answer is old.

        One request asks at a time, the others take what is known.
        """
        if self._clock() >= self._ask_again_at and self._asking.acquire(blocking=not self._numbers):
            try:
                if self._clock() >= self._ask_again_at:
                    self._ask_again_at = self._clock() + (
                        AGE_SECONDS if self._ask(clients) else TRY_AGAIN_SECONDS
                    )
            finally:
                self._asking.release()
        return [
            Hotline(country=country, number=number) for country, number in self._numbers.items()
        ]

    def _ask(self, clients: Clients) -> bool:
        """Takes over the directory's answer; False if there was none."""
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

    def _saved(self) -> dict[str, str]:
        """Reads the file; {} where there is none, or none that can be read."""
        try:
            saved = json.loads(self._file.read_text()) if self._file else {}
            return {str(country): str(number) for country, number in saved.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _save(self, answer: Mapping[str, str]) -> None:
        """Replaces the file as a whole.

        One that can't be written costs a restart its numbers, and nobody a page.
        """
        if not self._file:
            return
        written = self._file.with_suffix(f".{threading.get_ident()}")
        try:
            written.write_text(json.dumps(answer))
            written.replace(self._file)
        except OSError as error:
            log.get().warning("lines_not_saved", error=type(error).__name__)


def lines() -> Lines:
    """Returns the process's lines, within a request."""
    known: Lines = current_app.extensions["lines"]
    return known


def hotlines() -> list[Hotline]:
    """Returns the lines: that of the reader's country first, as far as the browser says it, then
    Nicaragua's. Never raises.
    """
    here = country_of_the_browser()
    return sorted(
        lines().known(clients()),
        key=lambda line: (line.country != here, line.country != "NI", line.country),
    )


def country_of_the_browser() -> str:
    """Returns the region of the browser's language (es-CR: CR); "" if it names none.

    Nobody is looked up by address.
    """
    regions = (
        tag.replace("_", "-").rpartition("-")[2].upper()
        for tag in request.accept_languages.values()
        if "-" in tag or "_" in tag
    )
    return next((region for region in regions if len(region) == 2), "")
