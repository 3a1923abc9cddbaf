"""The areas that the directory knows: those of the contract's list."""

from functools import cache

from protos.areas import DEPARTMENTS, MUNICIPALITIES
from services.partners.directory.domain.area import Area, Areas


@cache
def areas() -> Areas:
    """Returns the departments, each followed by its municipalities, in the order of the list."""
    return Areas(
        area
        for code, name in DEPARTMENTS.items()
        for area in (
            Area(code, code[:2], name),
            *(
                Area(town_code, code, town_name)
                for town_code, town_name in MUNICIPALITIES[code].items()
            ),
        )
    )
