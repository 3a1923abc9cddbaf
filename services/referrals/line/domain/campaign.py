"""Campaigns that advertise a country's line.

Each medium has a code, which a caller names to say how she heard of the line. The module also has
the rules for publishing the counts of calls.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.referrals.network.domain.codes import Check, new_checked_code
from services.referrals.network.domain.counts import published_count

UNASSESSED = "unassessed"
LENGTH = 4
"""The length of a code."""
Count = tuple[str, int]


@dataclass(frozen=True)
class Placement:
    """One medium of a campaign. `active` is True until the campaign ends."""

    code: str
    medium_code: str
    country: str
    campaign_id: str
    active: bool = True


@dataclass
class Campaign:
    """A campaign in one country, which coordinators start and end."""

    id: str
    name: str
    country: str
    create_time: datetime
    end_time: datetime | None = None
    placements: list[Placement] = field(default_factory=list)

    def assign_codes(self, media: Iterable[str]) -> None:
        """Gives each medium its own code. Refuses a repeated medium."""
        media = list(media)
        check = Check()
        check.require(len(set(media)) == len(media), "campaign.media_codes", "repeated")
        check.done()
        self.placements = [Placement(new_code(), medium, self.country, self.id) for medium in media]

    def end(self, now: datetime) -> None:
        """Ends the campaign; if it has already ended, its end time stays."""
        self.end_time = self.end_time or now
        self.placements = [replace(placement, active=False) for placement in self.placements]


@dataclass(frozen=True)
class PlacementCounts:
    """The published counts of the calls in which a placement's code was named.

    `contacts` is FEW if the counts are too small to be published.
    """

    placement: Placement
    contacts: int
    by_urgency: list[Count]
    by_outcome: list[Count]


def new_code() -> str:
    """Returns a code that can be said on the phone: three random characters and a check character.

    There are only 32,768 such codes; the store refuses a code that is already in use.
    """
    return new_checked_code(LENGTH)


def counts_of(
    placement: Placement, by_urgency: Mapping[str, int], by_outcome: Mapping[str, int]
) -> PlacementCounts:
    """Returns the counts of a placement in their published form.

    Small counts are left out, since a call from a small place could point to a person.
    """
    contacts = published_count(Counter(by_urgency).total())
    if contacts < 0:
        return PlacementCounts(placement, contacts, [], [])
    return PlacementCounts(
        placement, contacts, _published_counts(by_urgency), _published_counts(by_outcome)
    )


def _published_counts(counts: Mapping[str, int]) -> list[Count]:
    """Returns the published counts; leaves out counts below ten, so that nine looks like zero."""
    rounded_counts = ((code, published_count(count)) for code, count in sorted(counts.items()))
    return [(code, count) for code, count in rounded_counts if count > 0]
