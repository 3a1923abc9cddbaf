"""The tree of areas: countries, their subdivisions, and municipalities.

Countries and subdivisions have the codes of ISO 3166-1 and ISO 3166-2. The code of a municipality
consists of the code of its department, a dot, and the municipality's name (NI-CI.chichigalpa).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# A country or subdivision of ISO 3166. No country has AA, QM to QZ, XA to XZ (except XK) or ZZ.
_ISO_CODE = re.compile(r"(?!AA|Q[M-Z]|X[A-JL-Z]|ZZ)[A-Z]{2}(-[A-Z0-9]{1,3})?")


@dataclass(frozen=True)
class Area:
    """An area: its code, the code of the area that contains it, and its name."""

    code: str
    parent: str
    name: str


class Areas:
    """The areas that the directory knows."""

    def __init__(self, areas: Iterable[Area]) -> None:
        self.areas = {area.code: area for area in areas}
        self._countries = {area.code[:2] for area in self.areas.values()}

    def knows(self, code: str) -> bool:
        """Returns whether the code names an area.

        For a country without areas in the list, its own code and any code of a subdivision are
        accepted.
        """
        return (
            code in self.areas
            or code in self._countries
            or (code[:2] not in self._countries and _ISO_CODE.fullmatch(code) is not None)
        )

    @staticmethod
    def lies_in(code: str, other: str) -> bool:
        """Returns whether an area is `other` or lies in it; always True if `other` is empty."""
        return not other or other in with_ancestors(code)


def with_ancestors(code: str) -> list[str]:
    """Returns the codes of an area and of all areas that contain it, smallest area first.

    For example, NI-CI.chichigalpa, NI-CI and NI.
    """
    subdivision = code.partition(".")[0]
    return list(dict.fromkeys(area for area in (code, subdivision, subdivision[:2]) if area))
