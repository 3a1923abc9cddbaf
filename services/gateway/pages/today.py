"""Today, the start: what needs this reader now, in one list ordered by the clock, under four numbers that are links."""

from flask import Blueprint, render_template, request

from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import access, names, session
from services.gateway.clients import clients
from services.gateway.i18n import N_

blueprint = Blueprint("today", __name__)


def chosen(show: str, box: r.Box.ValueType) -> r.ReferralFilter | None:
    """The filter behind one of the four numbers; None where there is no such number."""
    return {
        "late": r.ReferralFilter(box=box, late=True),
        "soon": r.ReferralFilter(box=box, due_soon=True),
        "waiting": r.ReferralFilter(box=box, live=True, waiting_for_other=True),
        "new": r.ReferralFilter(box=box, states=[r.STATE_SENT]),
    }.get(show)


def turn_of(box: r.Box.ValueType) -> r.ReferralFilter:
    """What is this organisation's turn; in the network, where it is nobody's own, all that lives."""
    return r.ReferralFilter(box=box, live=True, waiting_for_me=box != r.BOX_NETWORK)


def came_back(box: r.Box.ValueType) -> list[r.Referral]:
    """Referrals that came back without help and still wait for another service: the most urgent first, of those the nearest deadline."""
    unanswered = r.ReferralFilter(box=box, unanswered=True)
    rows = clients().referrals.ListReferrals(r.ListReferralsRequest(filter=unanswered, page_size=200)).referrals
    return sorted(rows, key=lambda row: (-row.urgency, not row.next_due_time.seconds, row.next_due_time.seconds))


@blueprint.get("/today")
@access.open_to(access.EVERYONE, navigation=N_("Hoy"))
def today() -> str:
    """The page. A coordinator without a desk of her own sees the whole network, by codes."""
    me = session.me()
    box = r.BOX_MINE if me.may("worker", "operator", "manager") else r.BOX_NETWORK
    show = request.args.get("show", "")
    wanted = chosen(show, box)
    if wanted is None:
        show, wanted = "", turn_of(box)
    counts = clients().referrals.CountReferrals(r.CountReferralsRequest(filter=r.ReferralFilter(box=box)))
    answer = clients().referrals.ListReferrals(r.ListReferralsRequest(filter=wanted, page_size=50, page_token=request.args.get("page", "")))
    rows = list(answer.referrals)
    watched = not show and (me.may("worker", "operator") or box == r.BOX_NETWORK)
    unanswered = came_back(r.BOX_OUTBOX if box == r.BOX_MINE else box) if watched else []
    return render_template(
        "today.html",
        counts=counts,
        rows_=rows,
        unanswered=unanswered,
        names=names.names_of([*rows, *unanswered]),
        show=show,
        network=box == r.BOX_NETWORK,
        next_page=answer.next_page_token,
    )
