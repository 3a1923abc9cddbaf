"""Who sees how much of an entry: four tiers, each of which sees what those before it see.

What a field's tier is the contract says; a member may narrow it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Tier(IntEnum):
    """By number of the contract."""

    PUBLIC = 1
    PARTNER = 2
    COORDINATOR = 3
    NAMED = 4


@dataclass(frozen=True)
class Viewer:
    """Who looks. Of what its own organisation has entered it sees all that anybody does."""

    tier: Tier
    organization_id: str = ""

    def tier_of(self, organization_id: str) -> Tier:
        """How much it sees of what is this organisation's."""
        return (
            max(self.tier, Tier.COORDINATOR)
            if organization_id and organization_id == self.organization_id
            else self.tier
        )


ANYONE = Viewer(Tier.PUBLIC)


def sees(tier: Tier, said: Tier, narrowed: Tier | None) -> bool:
    """Whether who has a tier sees a field of another; a member's word narrows the contract's and
    never widens it.
    """
    return tier >= max(said, narrowed or said)


NOTHING_NARROWED: Mapping[str, Tier] = {}
