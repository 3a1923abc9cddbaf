"""Handles the rpcs for campaigns of the line.

Coordinators manage the campaigns, and callers name the codes of posters, spots and pages. Counts of
calls are published if they are ten or more, rounded down to a multiple of five.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Invalid, NotFound
from chassis.ids import new_id, object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, number, page_size, timestamp, word_list
from protos.referrals.v1 import campaigns_pb2 as pb
from protos.referrals.v1 import contacts_pb2
from protos.referrals.v1.referrals_pb2 import Figure
from services.referrals.line.domain.campaign import (
    LENGTH,
    UNASSESSED,
    Campaign,
    Placement,
    counts_of,
    new_code,
)
from services.referrals.line.domain.triage import Triage
from services.referrals.line.store import campaigns
from services.referrals.network.domain.codes import checked_code


class Campaigns:
    """Handles the rpcs for campaigns, one method per rpc."""

    def __init__(self, pages: PageTokens) -> None:
        self._pages = pages

    def CreateCampaign(self, request: pb.CreateCampaignRequest, call: Call) -> pb.LineCampaign:
        """Starts a campaign, with a unique code for each medium."""
        media = word_list(
            contacts_pb2.Campaign, request.campaign.media_codes, "campaign.media_codes"
        )
        campaign = Campaign(
            new_id(), request.campaign.name.strip(), request.campaign.country, call.clock.now()
        )
        campaigns.add(call.tx, campaign, call.caller.id)
        campaign.assign_codes(media)
        for index, placement in enumerate(campaign.placements):
            while not campaigns.add_placement(call.tx, placement):
                placement = campaign.placements[index] = replace(placement, code=new_code())
        return _campaign_message(campaign)

    def ListCampaigns(
        self, request: pb.ListCampaignsRequest, call: Call
    ) -> pb.ListCampaignsResponse:
        """Lists all campaigns, newest first."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        page, next_cursor = campaigns.page(call.tx, size, after)
        return pb.ListCampaignsResponse(
            campaigns=[_campaign_message(campaign) for campaign in page],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def EndCampaign(self, request: pb.EndCampaignRequest, call: Call) -> pb.LineCampaign:
        """Ends a campaign; a second call changes nothing."""
        campaign = campaigns.get(call.tx, object_id(request.id))
        campaign.end(call.clock.now())
        campaigns.end(call.tx, campaign)
        return _campaign_message(campaign)

    def GetPlacement(self, request: pb.GetPlacementRequest, call: Call) -> pb.Placement:
        """Returns the placement with a code; raises NotFound for an unknown code."""
        return _placement_message(_placement(call.tx, request.code))

    def GetCampaignFigures(
        self, request: pb.GetCampaignFiguresRequest, call: Call
    ) -> pb.CampaignFigures:
        """Returns the published counts for each code of a campaign, across all lines."""
        campaign = campaigns.get(call.tx, object_id(request.id))
        elevate_to_system_scope(call.tx)
        by_urgency = defaultdict[str, Counter[str]](Counter)
        by_outcome = defaultdict[str, Counter[str]](Counter)
        for row in campaigns.count_contacts(call.tx, campaign):
            urgency = Triage(**row["triage"]).urgency()
            by_urgency[row["placement_code"]][urgency.value if urgency else UNASSESSED] += row[
                "count"
            ]
            by_outcome[row["placement_code"]][row["outcome_code"]] += row["count"]
        rows = [
            counts_of(placement, by_urgency[placement.code], by_outcome[placement.code])
            for placement in campaign.placements
        ]
        return pb.CampaignFigures(
            placements=[
                pb.PlacementFigures(
                    placement=_placement_message(row.placement),
                    contacts=row.contacts,
                    by_urgency=_figures(row.by_urgency),
                    by_outcome=_figures(row.by_outcome),
                )
                for row in rows
            ]
        )


def placement_of_code(tx: Transaction, code: str) -> Placement:
    """Returns the placement with the code that a caller named to an operator.

    Raises Invalid with the path of the field if the code is unknown.
    """
    try:
        return _placement(tx, code)
    except NotFound:
        raise Invalid(("contact.placement_code", "malformed")) from None


def _placement(tx: Transaction, code: str) -> Placement:
    placement = campaigns.placement(tx, checked_code(code, LENGTH))
    if placement is None:
        raise NotFound
    return placement


def _campaign_message(campaign: Campaign) -> pb.LineCampaign:
    return pb.LineCampaign(
        id=campaign.id,
        name=campaign.name,
        country=campaign.country,
        media_codes=[
            number(contacts_pb2.Campaign, placement.medium_code)
            for placement in campaign.placements
        ],
        placements=[_placement_message(placement) for placement in campaign.placements],
        create_time=timestamp(campaign.create_time),
        end_time=timestamp(campaign.end_time),
    )


def _placement_message(placement: Placement) -> pb.Placement:
    return pb.Placement(
        code=placement.code,
        medium_code=number(contacts_pb2.Campaign, placement.medium_code),
        country=placement.country,
        campaign_id=placement.campaign_id,
        active=placement.active,
    )


def _figures(counts: Iterable[tuple[str, int]]) -> list[Figure]:
    return [Figure(code=code, count=count) for code, count in counts]
