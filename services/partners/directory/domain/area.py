"""The tree of areas: countries (ISO 3166-1), their subdivisions (ISO 3166-2), and municipalities
with their name behind a dot (NI-CI.chichigalpa).
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Area:
    """An area one can name, and the one it lies in."""

    code: str
    parent: str
    name: str


class Areas:
    """The areas that the directory knows."""

    def __init__(self, areas: Iterable[Area]) -> None:
        self.areas = {area.code: area for area in areas}
        self._countries = {area.code[:2] for area in self.areas.values()}

    def knows(self, code: str) -> bool:
        """Whether there is such an area.

        Of a country whose subdivisions are not in the list none is refused.
        """
        return (
            code in self.areas
            or code in self._countries
            or (code[:2] not in self._countries and "." not in code)
        )

    @staticmethod
    def lies_in(code: str, other: str) -> bool:
        """Whether an area lies in another, or is it."""
        return not other or other in with_ancestors(code)


def with_ancestors(code: str) -> list[str]:
    """An area with those it lies in: NI-CI.chichigalpa, NI-CI, NI."""
    subdivision = code.partition(".")[0]
    return list(dict.fromkeys(area for area in (code, subdivision, subdivision[:2]) if area))
