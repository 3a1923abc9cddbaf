"""The taxonomy, and the collector of what is wrong with an entry beyond its shape, so that all of
it is said at once.

Lengths, ranges and the shapes of codes are the contract's to check, before any method. That NI-XX
has the shape of a department does not make it one: the taxonomy is the one list that is known here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chassis.errors import Invalid

MAX_EMAIL = 254  # RFC 5321, 4.5.3.1.3

_E164 = re.compile(r"^\+[1-9][0-9]{6,14}\Z")
# One address as a mail server takes it: what an account was invited by.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+\Z")


class Check:
    """Collects (field path, reason); `done` refuses if there are any.

    `at` goes before each path.
    """

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

    def department(self, path: str, value: str, country: str) -> None:
        """One of this country, if one is given; may be empty."""
        if value and country and not value.startswith(f"{country}-"):
            self.say(path, "unknown_code")

    def listed(self, path: str, values: Sequence[str]) -> None:
        """A list of codes, none of them twice."""
        if len(set(values)) < len(values):
            self.say(path, "malformed")

    def phone(self, path: str, value: str) -> None:
        """E.164, as numbers are kept; may be empty."""
        if value and not _E164.match(value):
            self.say(path, "malformed")

    def email(self, path: str, value: str) -> None:
        """An e-mail address; an account may also be made by a command, which no contract checks."""
        if not value:
            self.say(path, "required")
        elif len(value) > MAX_EMAIL or not _EMAIL.match(value):
            self.say(path, "malformed")


@dataclass(frozen=True)
class Term:
    """A code of the taxonomy: a group (no parent) or a kind of help in it."""

    code: str
    parent: str
    names: Mapping[str, str]
    htcds_types: tuple[str, ...]
    legal_basis: str
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By language what people say who mean it: everyday words and short phrases."""


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
        return " ".join(name for term in self._known(codes) for name in term.names.values())

    def synonyms(self, codes: Iterable[str]) -> str:
        """What people say for the codes and their groups, in all languages, for the search."""
        return " ".join(
            word
            for term in self._known(codes)
            for words in term.synonyms.values()
            for word in words
        )

    def _known(self, codes: Iterable[str]) -> list[Term]:
        return [self.terms[code] for code in self.with_parents(codes) if code in self.terms]
