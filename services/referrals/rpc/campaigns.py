"""Campaigns of the line: between messages and use cases."""

from collections.abc import Iterable

from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, number, page_size, timestamp, word_list
from protos.referrals.v1 import campaigns_pb2 as pb
from protos.referrals.v1 import contacts_pb2
from protos.referrals.v1.referrals_pb2 import Figure
from services.referrals.domain.campaign import Campaign, Placement
from services.referrals.usecases import campaigns


class CampaignsServicer:
    """Answers the rpcs of this name."""

    def __init__(self, pages: PageTokens) -> None:
        self._pages = pages

    def CreateCampaign(self, request: pb.CreateCampaignRequest, call: Call) -> pb.LineCampaign:
        """See the .proto, as for every method here."""
        said = request.campaign
        media = word_list(contacts_pb2.Campaign, said.media_codes, "campaign.media_codes")
        return _campaign(campaigns.create(call.tx, call.caller, call.clock.now(), said.name.strip(), said.country, media))

    def ListCampaigns(self, request: pb.ListCampaignsRequest, call: Call) -> pb.ListCampaignsResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        page, more = campaigns.page(call.tx, size, after)
        return pb.ListCampaignsResponse(campaigns=[_campaign(each) for each in page], next_page_token=self._pages.token(request, more))

    def EndCampaign(self, request: pb.EndCampaignRequest, call: Call) -> pb.LineCampaign:
        return _campaign(campaigns.end(call.tx, call.clock.now(), object_id(request.id)))

    def GetPlacement(self, request: pb.GetPlacementRequest, call: Call) -> pb.Placement:
        return _placement(campaigns.placement(call.tx, request.code))

    def GetCampaignFigures(self, request: pb.GetCampaignFiguresRequest, call: Call) -> pb.CampaignFigures:
        rows = campaigns.figures(call.tx, object_id(request.id))
        return pb.CampaignFigures(
            placements=[
                pb.PlacementFigures(
                    placement=_placement(row.placement),
                    contacts=row.contacts,
                    by_urgency=_figures(row.by_urgency),
                    by_outcome=_figures(row.by_outcome),
                )
                for row in rows
            ]
        )


def _campaign(campaign: Campaign) -> pb.LineCampaign:
    return pb.LineCampaign(
        id=campaign.id,
        name=campaign.name,
        country=campaign.country,
        media_codes=[number(contacts_pb2.Campaign, each.medium_code) for each in campaign.placements],
        placements=[_placement(each) for each in campaign.placements],
        create_time=timestamp(campaign.create_time),
        end_time=timestamp(campaign.end_time),
    )


def _placement(placement: Placement) -> pb.Placement:
    return pb.Placement(
        code=placement.code,
        medium_code=number(contacts_pb2.Campaign, placement.medium_code),
        country=placement.country,
        campaign_id=placement.campaign_id,
        active=placement.active,
    )


def _figures(counts: Iterable[tuple[str, int]]) -> list[Figure]:
    return [Figure(code=code, count=count) for code, count in counts]
