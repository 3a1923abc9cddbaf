"""Departments (ISO 3166-2) and municipalities, from the contract's list (protos/areas.json).

The names are the same in all languages.
"""

import json
from pathlib import Path

import protos

_AREAS = json.loads((Path(protos.__file__).parent / "areas.json").read_text(encoding="utf-8"))
DEPARTMENTS: dict[str, str] = {code: area["name"] for code, area in _AREAS.items()}
MUNICIPALITIES: dict[str, dict[str, str]] = {
    code: area.get("municipalities", {}) for code, area in _AREAS.items()
}
"""Municipalities of each department, by code."""
