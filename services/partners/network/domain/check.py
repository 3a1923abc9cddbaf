"""The collector of faults of an entry beyond its shape, so that all are reported at once.

The contract checks lengths, ranges and the shapes of codes before any method. NI-XX has the shape
of a department, yet is none.
"""

import re
from collections.abc import Sequence

from chassis.errors import Invalid

MAX_EMAIL = 254  # RFC 5321, 4.5.3.1.3

_E164 = re.compile(r"^\+[1-9][0-9]{6,14}\Z")
# One address as a mail server takes it, like the address of an invitation.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+\Z")


class Check:
    """Collects (field path, reason); `done` raises Invalid if there are any.

    `at` goes before each path.
    """

    def __init__(self, at: str = "") -> None:
        self._at = at
        self._wrong: list[tuple[str, str]] = []

    def say(self, path: str, reason: str) -> None:
        """Records that a field is wrong."""
        self._wrong.append((f"{self._at}.{path}" if self._at else path, reason))

    def done(self) -> None:
        """Raises Invalid if something was wrong."""
        if self._wrong:
            raise Invalid(*self._wrong)

    def department(self, path: str, value: str, country: str) -> None:
        """Checks that a department is one of the country, if one is given; may be empty."""
        if value and country and not value.startswith(f"{country}-"):
            self.say(path, "unknown_code")

    def listed(self, path: str, values: Sequence[str]) -> None:
        """Checks that no code stands twice in a list."""
        if len(set(values)) < len(values):
            self.say(path, "malformed")

    def phone(self, path: str, value: str) -> None:
        """Checks that a number is E.164, as numbers are stored; may be empty."""
        if value and not _E164.match(value):
            self.say(path, "malformed")

    def email(self, path: str, value: str) -> None:
        """Checks an e-mail address.

        A command may create an account, too, and no contract checks a command.
        """
        if not value:
            self.say(path, "required")
        elif len(value) > MAX_EMAIL or not _EMAIL.match(value):
            self.say(path, "malformed")
