"""The coordinator's board: unanswered needs, deadlines, response times, urgent referrals.

The board shows codes and counts of the whole network, never a person's name.
"""

from collections.abc import Sequence
from datetime import timedelta

from flask import render_template, request

from chassis.wire import timestamp
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import lists, names, referrals
from services.gateway.site.language import _, i18n
from services.gateway.site.parts import pictures
from services.gateway.site.shell import access

pages = access.Pages("board")

COUNTRY = "NI"
LOOKAHEAD = timedelta(hours=12)
SLOWEST = 8  # number of organisations whose response times are shown unfolded


@pages.get("/board", access.NETWORK)
def board() -> str:
    """Shows the board; from the second page on, only the queue."""
    token = request.args.get("page", "")
    pressing_filter = r.ReferralFilter(box=r.BOX_NETWORK, pressing=True)
    answer = clients().referrals.ListReferrals(
        r.ListReferralsRequest(
            filter=pressing_filter, order_by=r.ORDER_URGENCY, page_size=50, page_token=token
        )
    )
    # The counts leave out referrals that are over, because their number grows for ever, and the
    # board does not show it.
    counts = clients().referrals.CountReferrals(r.CountReferralsRequest(filter=pressing_filter))
    queue = {
        "queue": answer,
        "callee": callee,
        "pressing": counts.total,
        "none_chosen": "nothing" in request.args,
    }
    if token:
        return render_template(
            "board.html", **queue, names=names.names_of(answer.referrals), first=False
        )
    live_counts = clients().referrals.CountReferrals(
        r.CountReferralsRequest(filter=r.ReferralFilter(box=r.BOX_NETWORK, live=True))
    )
    times = clients().statistics.GetResponseTimes(r.GetResponseTimesRequest()).organizations
    now, needs = i18n.now(), pictures.heat(counts.unanswered)
    upcoming = referrals.matching(
        r.ReferralFilter(
            box=r.BOX_NETWORK, due_after=timestamp(now), due_before=timestamp(now + LOOKAHEAD)
        )
    )
    emergencies = lists.all_of(em.ListEmergenciesRequest(waiting=True))
    page_names = names.names_of(
        answer.referrals,
        {time.organization_id for time in times}
        | {emergency.organization_id for emergency in emergencies},
    )
    return render_template(
        "board.html",
        **queue,
        names=page_names,
        first=True,
        counts=counts,
        emergencies=emergencies,
        running=sum(live_counts.live_by_need_group.values()),
        needs=needs,
        map_=pictures.map_of(COUNTRY, dict(needs["by_department"])),
        upcoming=upcoming,
        strip_=pictures.strip(upcoming, now, LOOKAHEAD),
        times=bars(times, page_names),
        slowest=SLOWEST,
        probation=lists.all_of(d.ListOrganizationsRequest(status=d.ORGANIZATION_STATUS_PROBATION)),
        unmet=clients().enquiries.ListUnmetNeeds(e.ListUnmetNeedsRequest()).needs,
    )


def bars(times: Sequence[r.ResponseTime], page_names: names.Names) -> list[pictures.Bar]:
    """Returns, for each organisation, a bar that shows how soon it answers.

    The bar shows the median time, the number of referrals sent to the organisation, and how many of
    them it answered.
    """
    longest = max((time.median_seconds for time in times), default=0) or 1
    return [
        pictures.Bar(
            page_names.organization(time.organization_id),
            _(
                "%(span)s · %(answered)d de %(sent)d",
                span=i18n.span(timedelta(seconds=time.median_seconds)),
                answered=time.answered,
                sent=time.sent,
            )
            if time.answered
            else _("ninguna de %(sent)d", sent=time.sent),
            round(time.median_seconds / longest * 100, 1),
        )
        for time in times
    ]


def callee(referral: r.Referral, page_names: names.Names) -> tuple[str, str] | None:
    """Returns the name and the phone number of the desk whose turn it is, if they are known.

    Returns None if the receiving service is confidential or not visible to the reader.
    """
    if referral.turn == r.TURN_SENDER:
        organization = page_names.organizations.get(referral.sender_organization_id)
        phone = organization.phone if organization else ""
    elif referral.turn == r.TURN_RECEIVER:
        organization = page_names.organizations.get(referral.receiver_organization_id)
        service = page_names.services.get(referral.service_id)
        phone = (
            ""
            if service is None or service.confidential
            else service.phone or (organization.phone if organization else "")
        )
    else:
        return None
    return (organization.name, phone) if organization and phone else None
