"""The contract's list of areas (areas.json): departments by their ISO 3166-2 codes, each with its
municipalities by their own codes.
"""

import json
from pathlib import Path
from typing import Any

_AREAS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("areas.json").read_text("utf-8")
)
DEPARTMENTS: dict[str, str] = {code: area["name"] for code, area in _AREAS.items()}
"""The names of the departments by code; the same in all languages."""
MUNICIPALITIES: dict[str, dict[str, str]] = {
    code: area.get("municipalities", {}) for code, area in _AREAS.items()
}
"""The names of the municipalities of each department, by code."""
