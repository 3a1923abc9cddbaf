"""Visibility of an entry by tier: each of the four tiers sees all that lower tiers see.

The contract sets a field's tier; a member may choose a higher tier.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Tier(IntEnum):
    """The tiers, with the numbers of the contract."""

    PUBLIC = 1
    PARTNER = 2
    COORDINATOR = 3
    NAMED = 4


@dataclass(frozen=True)
class Viewer:
    """The reader of an entry.

    Readers see at least as much of their own organisation's entries as coordinators do.
    """

    tier: Tier
    organization_id: str = ""

    def tier_of(self, organization_id: str) -> Tier:
        """Returns the tier at which the reader sees an entry of this organisation."""
        return (
            max(self.tier, Tier.COORDINATOR)
            if organization_id and organization_id == self.organization_id
            else self.tier
        )


ANYONE = Viewer(Tier.PUBLIC)


def sees(tier: Tier, field_tier: Tier, chosen_tier: Tier | None) -> bool:
    """Returns whether a reader sees a field.

    `tier`: the reader's tier; `field_tier`: the tier of the field in the contract; `chosen_tier`:
    the member's choice (None: no choice), which can only restrict the field further.
    """
    return tier >= max(field_tier, chosen_tier or field_tier)


NO_CHOSEN_TIERS: Mapping[str, Tier] = {}
