"""Visibility of an entry by tier: each of four tiers sees all that the tiers before it see.

The contract names a field's tier; a member may narrow it.
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

    A reader sees everything visible in entries of its own organisation.
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


def sees(tier: Tier, stated: Tier, narrowed: Tier | None) -> bool:
    """Tells whether a reader of a tier sees a field of another.

    The member's choice narrows the contract's and never widens it.
    """
    return tier >= max(stated, narrowed or stated)


NOTHING_NARROWED: Mapping[str, Tier] = {}
