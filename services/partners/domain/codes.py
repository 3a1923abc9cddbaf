"""The shapes of codes and texts, and the collector of what is wrong with a request, so that all of it is said at once.

It knows shapes, not lists: that NI-XX has the shape of a department does not make it one. The taxonomy is the one list that is known here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chassis.errors import Invalid

MAX_NAME = 200
MAX_DESCRIPTION = 2000
MAX_AGE = 120
MAX_CODES = 30  # of one list: needs, languages

_COUNTRY = re.compile(r"^[A-Z]{2}\Z")
_DEPARTMENT = re.compile(r"^[A-Z]{2}-[A-Z0-9]{1,3}\Z")
_LANGUAGE = re.compile(r"^([a-z]{2,3}|x)(-[A-Za-z0-9]{1,8})*\Z")
_E164 = re.compile(r"^\+[1-9][0-9]{6,14}\Z")
_DIALLED = re.compile(r"^[0-9*#+][0-9 *#-]{1,19}\Z")
# One address as a mail server takes it: what an account was invited by.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+\Z")
_URL = re.compile(r"^https?://[^\s/]+(/\S*)?\Z")
# What no database text holds (NUL) or what only a mistake puts into a text; line breaks and tabs are fine.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Check:
    """Collects (field path, reason); `done` refuses if there are any. `at` goes before each path."""

    def __init__(self, at: str = "") -> None:
        self._at = at
        self._wrong: list[tuple[str, str]] = []

    def say(self, path: str, reason: str) -> None:
        """Notes that a field is wrong."""
        self._wrong.append((f"{self._at}.{path}" if self._at else path, reason))

    def done(self) -> None:
        """Refuses with Invalid if something was wrong."""
        if self._wrong:
            raise Invalid(*self._wrong)

    def text(self, path: str, value: str, *, limit: int = MAX_NAME, required: bool = False) -> None:
        """A text for people."""
        if required and not value.strip():
            self.say(path, "required")
        elif len(value) > limit:
            self.say(path, "too_long")
        elif _CONTROL.search(value):
            self.say(path, "malformed")

    def country(self, path: str, value: str, *, required: bool = False) -> None:
        """ISO 3166-1 alpha-2."""
        self._shape(path, value, _COUNTRY, "unknown_code", required=required)

    def department(self, path: str, value: str, country: str) -> None:
        """ISO 3166-2, of this country if one is given; may be empty."""
        if value and (not _DEPARTMENT.match(value) or (country and not value.startswith(f"{country}-"))):
            self.say(path, "unknown_code")

    def language(self, path: str, value: str, *, required: bool = False) -> None:
        """BCP 47."""
        self._shape(path, value, _LANGUAGE, "unknown_code", required=required, limit=35)

    def languages(self, path: str, values: Sequence[str]) -> None:
        """Several of them, none twice."""
        self.listed(path, values)
        for number, value in enumerate(values):
            self.language(f"{path}.{number}", value, required=True)

    def listed(self, path: str, values: Sequence[str], *, limit: int = MAX_CODES) -> None:
        """A list of codes: not too long, none twice."""
        if len(values) > limit:
            self.say(path, "too_long")
        elif len(set(values)) < len(values):
            self.say(path, "malformed")

    def phone(self, path: str, value: str) -> None:
        """E.164; may be empty."""
        self._shape(path, value, _E164, "malformed")

    def dialled(self, path: str, value: str) -> None:
        """A number as it is dialled in its country, e.g. 133 or 000-1331; may be empty."""
        self._shape(path, value, _DIALLED, "malformed")

    def url(self, path: str, value: str) -> None:
        """A web address; may be empty."""
        self._shape(path, value, _URL, "malformed", limit=500)

    def email(self, path: str, value: str) -> None:
        """An e-mail address."""
        self._shape(path, value, _EMAIL, "malformed", required=True, limit=254)

    def within(self, path: str, value: int | None, least: int, most: int) -> None:
        """A number, if there is one."""
        if value is not None and not least <= value <= most:
            self.say(path, "out_of_range")

    def _shape(self, path: str, value: str, shape: re.Pattern[str], reason: str, *, required: bool = False, limit: int = 100) -> None:
        if not value:
            if required:
                self.say(path, "required")
        elif len(value) > limit:
            self.say(path, "too_long")
        elif not shape.match(value):
            self.say(path, reason)


@dataclass(frozen=True)
class Term:
    """A code of the taxonomy: a group (no parent) or a kind of help in it."""

    code: str
    parent: str
    names: Mapping[str, str]
    htcds_types: tuple[str, ...]
    legal_basis: str


class Taxonomy:
    """The kinds of help, in two levels."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self.terms = {term.code: term for term in terms}

    def knows(self, code: str) -> bool:
        """Whether there is such a code."""
        return code in self.terms

    def with_parents(self, codes: Iterable[str]) -> list[str]:
        """The codes and the groups they are in, each once."""
        return list(dict.fromkeys(code for c in codes for code in (c, self.parent(c)) if code))

    def parent(self, code: str) -> str:
        """The group of a code; empty for a group, and for a code that is no longer known."""
        return self.terms[code].parent if code in self.terms else ""

    def words(self, codes: Iterable[str]) -> str:
        """The names of the codes and their groups in all languages, for the search."""
        known = [self.terms[code] for code in self.with_parents(codes) if code in self.terms]
        return " ".join(name for term in known for name in term.names.values())
