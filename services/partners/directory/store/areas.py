"""The areas that the directory knows, read once from the contract's list (protos/areas.json)."""

import json
from functools import cache
from pathlib import Path

import protos
from services.partners.directory.domain.area import Area, Areas


@cache
def areas() -> Areas:
    """Returns the departments, each followed by its municipalities, in the order of the file."""
    read = json.loads((Path(protos.__file__).parent / "areas.json").read_text(encoding="utf-8"))
    return Areas(
        area
        for code, entry in read.items()
        for area in (
            Area(code, code[:2], entry["name"]),
            *(Area(town, code, name) for town, name in entry.get("municipalities", {}).items()),
        )
    )
