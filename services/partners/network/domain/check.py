"""Collects what is wrong with an entry, so that all faults are reported at once.

Lengths, ranges and the shapes of codes are checked earlier, by the contract. A Check finds further
faults, such as a department that lies in another country.
"""

import re
from collections.abc import Callable, Sequence

from chassis.errors import Invalid

MAX_EMAIL = 254  # RFC 5321, 4.5.3.1.3

_E164 = re.compile(r"^\+[1-9][0-9]{6,14}\Z")
# A single address in the form that a mail server accepts.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+\Z")


class Check:
    """Collects faults as (field path, reason); `done` raises Invalid if there are any.

    `at` is the prefix of each path.
    """

    def __init__(self, at: str = "") -> None:
        self._at = at
        self._faults: list[tuple[str, str]] = []

    def refuse(self, path: str, reason: str) -> None:
        """Records the reason why a field is wrong."""
        self._faults.append((f"{self._at}.{path}" if self._at else path, reason))

    def done(self) -> None:
        """Raises Invalid if a fault was recorded."""
        if self._faults:
            raise Invalid(*self._faults)

    def department(
        self,
        path: str,
        value: str,
        country: str,
        is_area: Callable[[str], bool] = lambda code: True,
    ) -> None:
        """Checks that a department, which may be empty, belongs to the country, if one is given.

        `is_area` returns whether an area has this code.
        """
        if value and not (value.startswith(f"{country}-" if country else "") and is_area(value)):
            self.refuse(path, "unknown_code")

    def distinct(self, path: str, values: Sequence[str]) -> None:
        """Checks that a list does not contain the same code twice."""
        if len(set(values)) < len(values):
            self.refuse(path, "malformed")

    def phone(self, path: str, value: str) -> None:
        """Checks that a number, which may be empty, has the stored form (E.164)."""
        if value and not _E164.match(value):
            self.refuse(path, "malformed")

    def email(self, path: str, value: str) -> None:
        """Checks an e-mail address.

        The check is needed because commands create accounts, too, and the contract does not check
        commands.
        """
        if not value:
            self.refuse(path, "required")
        elif len(value) > MAX_EMAIL or not _EMAIL.match(value):
            self.refuse(path, "malformed")


CONTACT_FIELDS = (
    "name",
    "description",
    "phone",
    "phones",
    "contacts",
    "url",
    "address",
    "transportation",
    "latitude",
    "longitude",
)
"""The fields of entries that tell readers whom to call and where to go."""


def check_contact(at: str, before: object, after: object, *more_fields: str) -> None:
    """Raises Invalid if one of CONTACT_FIELDS or `more_fields` has a new value.

    A value, or some of several phones or contacts, may be removed. `at`: the prefix of each path;
    `before`: the former entry; None for a new entry.
    """

    def values(entry: object, name: str) -> set[object]:
        value = getattr(entry, name, None)
        if isinstance(value, tuple):
            return {*value}
        return {value} if value or isinstance(value, float) else set()  # 0.0 is a coordinate

    check = Check(at)
    for name in (*CONTACT_FIELDS, *more_fields):
        if not values(after, name) <= values(before, name):
            check.refuse(name, "member_only")
    check.done()
