"""The areas that the directory knows, read once from the list that the contract has
(protos/areas.json).
"""

import json
from functools import cache
from pathlib import Path

import protos
from services.partners.directory.domain.area import Area, Areas


@cache
def areas() -> Areas:
    """By country, then as the file has them."""
    read = json.loads((Path(protos.__file__).parent / "areas.json").read_text(encoding="utf-8"))
    return Areas(
        area
        for code, said in read.items()
        for area in (
            Area(code, code[:2], said["name"]),
            *(Area(town, code, name) for town, name in said.get("municipalities", {}).items()),
        )
    )
