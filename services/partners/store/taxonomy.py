"""The taxonomy, read once from the file that comes with the code."""

import json
from functools import cache
from pathlib import Path

from services.partners.domain.codes import Taxonomy, Term

_FILE = Path(__file__).resolve().parent.parent / "data" / "taxonomy.json"


@cache
def taxonomy() -> Taxonomy:
    """All codes, in the file's order."""
    rows = json.loads(_FILE.read_text(encoding="utf-8"))
    return Taxonomy(Term(row["code"], row["parent"] or "", row["name"], tuple(row["htcds_spl_type"]), row["basis"]) for row in rows)
