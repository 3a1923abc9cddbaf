"""Today, the start: what needs this reader now, in groups by the clock, under four numbers each of which opens exactly the rows it counts."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from flask import render_template, request

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import access, i18n, lists, names, session
from services.gateway.clients import clients
from services.gateway.i18n import N_
from services.gateway.pages.directory import own_services
from services.gateway.pages.enquiries import asking, received
from services.gateway.pages.line import still_open

pages = access.Pages("today")


HOUR = timedelta(hours=1)


def chosen(show: str, box: r.Box.ValueType) -> r.ReferralFilter | None:
    """The filter behind one of the numbers: of a desk what waits for it, in the network whatever lives; None where there is no such number."""
    mine = box != r.BOX_NETWORK
    return {
        "late": r.ReferralFilter(box=box, late=True, waiting_for_me=mine),
        "soon": r.ReferralFilter(box=box, due_soon=True, waiting_for_me=mine),
        "new": r.ReferralFilter(box=box, states=[r.STATE_SENT], waiting_for_me=mine),
        "running": r.ReferralFilter(box=box, states=[r.STATE_IN_PROGRESS]),
        "waiting": r.ReferralFilter(box=box, live=True, waiting_for_other=True),
    }.get(show)


def turn_of(box: r.Box.ValueType) -> r.ReferralFilter:
    """What is this organisation's turn; in the network, where it is nobody's own, all that lives."""
    mine = box != r.BOX_NETWORK
    return r.ReferralFilter(box=box, live=not mine, waiting_for_me=mine)


def came_back(box: r.Box.ValueType) -> lists.Listed[r.Referral]:
    """Referrals that came back without help and still wait for another service: the most urgent first, of those the nearest deadline."""
    unanswered = r.ReferralFilter(box=box, unanswered=True)
    rows = lists.all_of(clients().referrals.ListReferrals, r.ListReferralsRequest(filter=unanswered), lambda answer: answer.referrals)
    rows.sort(key=lambda row: (-row.urgency, not row.next_due_time.seconds, row.next_due_time.seconds))
    return rows


def within_the_hour(rows: Iterable[r.Referral]) -> tuple[list[r.Referral], list[r.Referral]]:
    """What can't wait: due within the hour, or past due where a life may hang on it; and the others."""
    now, later, limit = list[r.Referral](), list[r.Referral](), i18n.now() + HOUR
    for row in rows:
        due = i18n.moment(row.next_due_time)
        pressing = due is not None and due < limit and (due > i18n.now() or row.urgency >= r.URGENCY_EMERGENCY)
        (now if pressing else later).append(row)
    return sorted(now, key=lambda row: (-row.urgency, row.next_due_time.seconds)), later


def counted(**wanted: Any) -> r.CountReferralsResponse:
    """The numbers of what a filter finds. Always one for what is not over: what is grows for ever, and is not looked at here."""
    return clients().referrals.CountReferrals(r.CountReferralsRequest(filter=r.ReferralFilter(**wanted)))


def beds() -> list[d.Service]:
    """The services of the reader's organisation that say how many beds they have."""
    if not session.me().may("worker", "manager"):
        return []
    return [service for service in own_services() if service.capacity.unit == d.CAPACITY_UNIT_BEDS]


def overdue() -> list[pb.LateStep]:
    """Steps of the plans of the reader's organisation that are past their time."""
    if not session.me().may("worker", "operator"):
        return []
    return lists.all_of(clients().plans.ListLateSteps, pb.ListLateStepsRequest(), lambda answer: answer.steps)


@pages.get("/today", access.EVERYONE, navigation=N_("Hoy"))
def today() -> str:
    """The page. A coordinator without a desk of her own sees the whole network, by codes."""
    me = session.me()
    box = r.BOX_MINE if me.may("worker", "operator", "manager") else r.BOX_NETWORK
    show = request.args.get("show", "")
    wanted = chosen(show, box)
    if wanted is None:
        show, wanted = "", turn_of(box)
    answer = clients().referrals.ListReferrals(r.ListReferralsRequest(filter=wanted, page_size=50, page_token=request.args.get("page", "")))
    network = box == r.BOX_NETWORK
    live_counts = counted(box=box, live=True)
    counts = counted(box=box, pressing=network, waiting_for_me=not network)  # of a desk only what is its own turn
    watched = not show and (me.may("worker", "operator") or network)
    unanswered = came_back(r.BOX_OUTBOX if box == r.BOX_MINE else box) if watched else []
    open_needs = {row.id for row in unanswered}
    desk = me.may("worker", "operator")
    now, later = within_the_hour(row for row in answer.referrals if row.id not in open_needs)
    return render_template(
        "today.html",
        counts=counts,
        fresh=(live_counts if network else counts).fresh,
        live_counts=live_counts,
        now=[] if show else now,
        later=list(answer.referrals) if show else later,
        unanswered=unanswered,
        overdue=overdue() if not show else [],
        beds=[] if show else beds(),
        received=received() if desk and not show else [],
        asking=asking() if desk and not show else [],
        contacts=still_open() if me.may("operator") and not show else [],
        names=names.names_of([*answer.referrals, *unanswered]),
        show=show,
        network=network,
        date=i18n.long_day(i18n.now()),
        next_page=answer.next_page_token,
    )
