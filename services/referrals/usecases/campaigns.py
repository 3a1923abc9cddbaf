"""Campaigns of the line: begun and ended by the coordination, named by callers, counted in tens."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Invalid, NotFound
from chassis.ids import new_id
from chassis.tokens import Caller
from chassis.wire import Position
from services.referrals.domain.campaign import LENGTH, UNASSESSED, Brought, Campaign, Placement, brought, new_code
from services.referrals.domain.codes import checked_code
from services.referrals.domain.triage import Triage
from services.referrals.store import campaigns


def create(tx: Transaction, caller: Caller, now: datetime, name: str, country: str, media: Sequence[str]) -> Campaign:
    """Begins a campaign, with a code for each medium that no other has."""
    campaign = Campaign(new_id(), name, country, now)
    campaigns.add(tx, campaign, caller.id)
    campaign.place(media)
    for index, placement in enumerate(campaign.placements):
        while not campaigns.add_placement(tx, placement):
            placement = campaign.placements[index] = replace(placement, code=new_code())
    return campaign


def page(tx: Transaction, limit: int, after: Position | None) -> tuple[list[Campaign], Position | None]:
    """All of them, newest first."""
    return campaigns.page(tx, limit, after)


def end(tx: Transaction, now: datetime, identifier: str) -> Campaign:
    """Ends one; a second time changes nothing."""
    campaign = campaigns.get(tx, identifier)
    campaign.end(now)
    campaigns.end(tx, campaign)
    return campaign


def placement(tx: Transaction, code: str) -> Placement:
    """What a code stands for; NotFound for any other."""
    stored = campaigns.placement(tx, checked_code(code, LENGTH))
    if stored is None:
        raise NotFound
    return stored


def named(tx: Transaction, code: str) -> Placement:
    """The same for what an operator was told; refused at its field."""
    try:
        return placement(tx, code)
    except NotFound:
        raise Invalid(("contact.placement_code", "malformed")) from None


def figures(tx: Transaction, identifier: str) -> list[Brought]:
    """What each of its codes brought, of all lines, as it may be told."""
    campaign = campaigns.get(tx, identifier)
    elevate_to_system_scope(tx)
    by_urgency, by_outcome = defaultdict[str, Counter[str]](Counter), defaultdict[str, Counter[str]](Counter)
    for row in campaigns.named(tx, campaign):
        urgency = Triage(**row["triage"]).urgency()
        by_urgency[row["placement_code"]][urgency.value if urgency else UNASSESSED] += row["count"]
        by_outcome[row["placement_code"]][row["outcome_code"]] += row["count"]
    return [brought(each, by_urgency[each.code], by_outcome[each.code]) for each in campaign.placements]
