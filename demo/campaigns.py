"""The helpline's campaign, with fixed placement codes.

Two of the demo's callers each quote one of these codes.
"""

from datetime import datetime, timedelta

from chassis.db import Transaction
from demo.network import Network, id_of
from services.referrals.line.domain.campaign import Campaign, Placement
from services.referrals.line.store import campaigns
from services.referrals.network.domain.codes import check_character

_ID = id_of("campaign", "llama-y-vive")
_AGE = timedelta(weeks=6)
CODES = {"poster": "7K2", "radio": "M4R", "tv": "T8V"}


def code(medium: str) -> str:
    """Returns the placement code of a medium, with its check character."""
    return CODES[medium] + check_character(CODES[medium])


def begin_time(tx: Transaction) -> datetime | None:
    """Returns the time of the first run of the demo; None if there was no run yet.

    The first run wrote the campaign, with a creation time six weeks before the time of the run.
    """
    row = tx.execute("SELECT create_time FROM campaigns WHERE id = %s", (_ID,)).fetchone()
    return row["create_time"] + _AGE if row else None


def fill(tx: Transaction, network: Network, now: datetime) -> None:
    """Writes the Nicaraguan campaign, created six weeks before `now`, and its placements."""
    campaign = Campaign(_ID, "Llama y Vive", "NI", now - _AGE)
    campaigns.add(tx, campaign, network.acting_worker_id("coalicion"))
    for medium in CODES:
        campaigns.add_placement(tx, Placement(code(medium), medium, campaign.country, campaign.id))
