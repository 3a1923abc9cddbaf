"""The lines' campaigns, for coordinators: codes, and the contacts that mention each code."""

from flask import render_template, request

from protos.referrals.v1 import campaigns_pb2 as pb
from services.gateway.edge.clients import clients, send
from services.gateway.site.language import words
from services.gateway.site.parts import due, forms, poster
from services.gateway.site.shell import access, lines

pages = access.Pages("line_campaigns")


@pages.get("/campaigns", access.NETWORK)
def listing(errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows all campaigns, and the form for a new one."""
    answer = clients().campaigns.ListCampaigns(
        pb.ListCampaignsRequest(page_token=request.args.get("page", ""))
    )
    return render_template(
        "campaigns.html",
        campaigns=answer.campaigns,
        next_page=answer.next_page_token,
        countries=[(line.country, words.country(line.country)) for line in lines.hotlines()],
        errors=errors,
        NAME=poster.CAMPAIGN_NAME,
    )


pages.sends(
    "create",
    "/campaigns",
    access.NETWORK,
    lambda: pb.CreateCampaignRequest(campaign=pb.LineCampaign()),
    again=listing,
    then="line_campaigns.show",
)


@pages.get("/campaigns/<identifier>", access.NETWORK)
def show(identifier: str) -> str:
    """Shows the figures for each code of a campaign."""
    return render_template(
        "campaign_figures.html",
        rows=send(pb.GetCampaignFiguresRequest(id=identifier)).placements,
        urgencies=[*due.URGENCIES, "unassessed"],
    )


pages.sends(
    "end",
    "/campaigns/<identifier>/end",
    access.NETWORK,
    pb.EndCampaignRequest,
    then="line_campaigns.listing",
)
