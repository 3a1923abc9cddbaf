"""Today, the start: what needs this reader now, in one list ordered by the clock, under four numbers that are links."""

from datetime import timedelta

from flask import Blueprint, render_template, request
from google.protobuf.timestamp_pb2 import Timestamp

from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import i18n, names, session, steps
from services.gateway.clients import clients
from services.gateway.due import SOON, due

blueprint = Blueprint("today", __name__)
FORGOTTEN = timedelta(days=14)  # after that it is a matter for the board, not for tonight
SHOWN = ("late", "soon", "waiting", "new")


def stamp(offset: timedelta) -> Timestamp:
    """Now and a little more."""
    at = Timestamp()
    at.FromDatetime((i18n.now() + offset).replace(tzinfo=None))
    return at


def chosen(show: str, box: r.Box.ValueType) -> r.ReferralFilter:
    """The filter behind one of the four numbers; without a number, what is this organisation's turn."""
    if show == "late":
        return r.ReferralFilter(box=box, live=True, due_before=stamp(timedelta(0)))
    if show == "soon":
        return r.ReferralFilter(box=box, live=True, due_before=stamp(SOON))
    if show == "waiting":
        return r.ReferralFilter(box=box, live=True, waiting_for_other=True)
    if show == "new":
        return r.ReferralFilter(box=box, states=[r.STATE_SENT])
    return r.ReferralFilter(box=box, live=True, waiting_for_me=box != r.BOX_NETWORK)


def to_reroute() -> list[r.Referral]:
    """Own referrals that came back with a no and for which nothing new was begun yet: nobody's clock watches them, so Today must."""
    since = stamp(-FORGOTTEN)
    exits = r.ReferralFilter(box=r.BOX_OUTBOX, states=sorted(steps.REROUTE), modified_after=since)
    came_back = clients().referrals.ListReferrals(r.ListReferralsRequest(filter=exits, page_size=50)).referrals
    if not came_back:
        return []
    recent = r.ReferralFilter(box=r.BOX_OUTBOX, modified_after=since)
    begun = {
        other.based_on_id for other in clients().referrals.ListReferrals(r.ListReferralsRequest(filter=recent, page_size=200)).referrals
    }
    return [referral for referral in came_back if referral.id not in begun]


@blueprint.get("/today")
def today() -> str:
    """The page. A coordinator without a desk of her own sees the whole network, by codes."""
    me = session.me()
    box = r.BOX_MINE if me.may("worker", "operator", "manager") else r.BOX_NETWORK
    show = request.args.get("show", "")
    show = show if show in SHOWN else ""
    counts = clients().referrals.CountReferrals(r.CountReferralsRequest(filter=r.ReferralFilter(box=box, live=True)))
    answer = clients().referrals.ListReferrals(
        r.ListReferralsRequest(filter=chosen(show, box), page_size=50, page_token=request.args.get("page", ""))
    )
    rows = list(answer.referrals)
    if show == "soon":  # "due within four hours" and "late" are two numbers: what is late is not soon
        rows = [row for row in rows if (clock := due(row)) and clock.level == "soon"]
    unanswered = to_reroute() if not show and box == r.BOX_MINE and me.may("worker", "operator") else []
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
