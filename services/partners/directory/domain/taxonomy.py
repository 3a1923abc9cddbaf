"""The taxonomy: the kinds of help, in two levels. Partners has no other list of these codes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Term:
    """A code in the taxonomy: a group (no parent) or a kind of help in a group."""

    code: str
    parent: str
    names: Mapping[str, str]
    htcds_types: tuple[str, ...]
    legal_basis: str
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Everyday words and short phrases for the kind of help, by language."""


class Taxonomy:
    """The kinds of help, in two levels."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self.terms = {term.code: term for term in terms}

    def knows(self, code: str) -> bool:
        """Returns whether the code is in the taxonomy."""
        return code in self.terms

    def with_parents(self, codes: Iterable[str]) -> list[str]:
        """Returns the codes and their groups, without duplicates."""
        return list(dict.fromkeys(code for c in codes for code in (c, self.parent(c)) if code))

    def parent(self, code: str) -> str:
        """Returns the group of a code; "" for a group, and for an unknown code."""
        return self.terms[code].parent if code in self.terms else ""

    def words(self, codes: Iterable[str]) -> str:
        """Returns the names of the codes and their groups in all languages, for the search."""
        return " ".join(name for term in self._known(codes) for name in term.names.values())

    def synonyms(self, codes: Iterable[str]) -> str:
        """Returns the synonyms of the codes and their groups in all languages, for the search."""
        return " ".join(
            word
            for term in self._known(codes)
            for words in term.synonyms.values()
            for word in words
        )

    def _known(self, codes: Iterable[str]) -> list[Term]:
        return [self.terms[code] for code in self.with_parents(codes) if code in self.terms]
