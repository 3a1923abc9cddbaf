"""The terms of a search in the directory: words and attributes, all of them optional."""

from dataclasses import dataclass
from datetime import datetime

from services.partners.directory.domain.service import Gender
from services.partners.directory.domain.taxonomy import Taxonomy
from services.partners.network.domain.check import Check


@dataclass(frozen=True)
class Near:
    """The surroundings of a point: coordinates in degrees (WGS 84), and a radius in kilometres."""

    latitude: float
    longitude: float
    radius_km: int


@dataclass(frozen=True)
class SearchTerms:
    """The terms of a search; empty and None mean "any"."""

    words: str = ""
    need_code: str = ""
    country: str = ""
    department: str = ""
    language: str = ""
    age: int | None = None
    gender: Gender | None = None
    dependants: int | None = None
    has_room: bool = False
    organization_id: str = ""
    open_at: datetime | None = None
    near: Near | None = None
    excluded_organization_ids: tuple[str, ...] = ()
    excluded_areas: tuple[str, ...] = ()
    count_country: str = ""
    """The country whose results are counted by department; if empty, nothing is counted."""

    def check(self, taxonomy: Taxonomy) -> None:
        """Raises Invalid if a term is wrong."""
        check = Check()
        if self.need_code and not taxonomy.knows(self.need_code):
            check.refuse("need_code", "unknown_code")
        check.department("department", self.department, self.country)
        check.done()


@dataclass(frozen=True)
class PublicSearchTerms:
    """The terms of a public search: page number (from 1), size of a page, and filters.

    Empty and None mean "any". `after`: only services whose public data has changed since this time;
    `id`: the id of a service at a place.
    """

    page_number: int
    size: int
    words: str = ""
    need: str = ""
    organization: str = ""
    after: datetime | None = None
    id: str = ""
    department: str = ""
