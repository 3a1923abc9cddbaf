"""The campaign that makes the line known, with codes that stay the same; two callers named one."""

from datetime import datetime, timedelta

from chassis.db import Transaction
from demo.network import Network, id_of
from services.referrals.domain.campaign import Campaign, Placement
from services.referrals.domain.codes import check_character
from services.referrals.store import campaigns

CODES = {"poster": "7K2", "radio": "M4R", "tv": "T8V"}


def code(medium: str) -> str:
    """The whole code of a medium."""
    return CODES[medium] + check_character(CODES[medium])


def fill(tx: Transaction, network: Network, now: datetime) -> None:
    """The campaign of Nicaragua, begun six weeks ago."""
    campaign = Campaign(id_of("campaign", "llama-y-vive"), "Llama y Vive", "NI", now - timedelta(weeks=6))
    campaigns.add(tx, campaign, network.hand_of("coalicion"))
    for medium in CODES:
        campaigns.add_placement(tx, Placement(code(medium), medium, campaign.country, campaign.id))
