"""The taxonomy and its synonyms, read once from the files that come with the code."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from services.partners.directory.domain.taxonomy import Taxonomy, Term

_DATA = Path(__file__).resolve().parent.parent / "data"
_TAXONOMY, _SYNONYMS = "taxonomy.json", "synonyms.json"


@cache
def taxonomy() -> Taxonomy:
    """Returns all codes, in the file's order."""
    synonyms = _read(_SYNONYMS)["needs"]
    return Taxonomy(
        Term(
            row["code"],
            row["parent"] or "",
            row["name"],
            tuple(row["htcds_spl_type"]),
            row["basis"],
            _tuples(synonyms.get(row["code"], {})),
        )
        for row in _read(_TAXONOMY)
    )


@cache
def type_synonyms() -> Mapping[str, str]:
    """Returns the synonyms of each kind of organisation, in all languages, by kind.

    For example, "nuns" is a synonym for a religious organisation.
    """
    synonyms = _read(_SYNONYMS)["organization_types"]
    return {
        type: " ".join(word for words in by_language.values() for word in words)
        for type, by_language in synonyms.items()
    }


@cache
def edition() -> str:
    """Returns a hash of the files. It changes when the search words of services change."""
    return hashlib.sha256(
        b"".join((_DATA / name).read_bytes() for name in (_TAXONOMY, _SYNONYMS))
    ).hexdigest()[:16]


def _read(name: str) -> Any:
    return json.loads((_DATA / name).read_text(encoding="utf-8"))


def _tuples(by_language: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {language: tuple(words) for language, words in by_language.items()}
