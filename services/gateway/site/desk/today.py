"""Today, the start page: the work that needs this reader now, ordered by deadline.

Four numbers are shown above the rows. Each number links to exactly the rows that it counts.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from flask import render_template, request

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import directory, lists, names, queues, referrals
from services.gateway.site.language import i18n
from services.gateway.site.parts import due
from services.gateway.site.shell import access, session

pages = access.Pages("today")


HOUR = timedelta(hours=1)


def filter_of(show: str, box: r.Box.ValueType) -> r.ReferralFilter | None:
    """Returns the filter of the referrals that the number `show` counts; None if it is unknown.

    For a desk, the filters of `late`, `soon` and `new` find only the referrals that wait for it.
    """
    is_own = box != r.BOX_NETWORK
    return {
        "late": r.ReferralFilter(box=box, late=True, waiting_for_me=is_own),
        "soon": r.ReferralFilter(box=box, due_soon=True, waiting_for_me=is_own),
        "new": r.ReferralFilter(box=box, states=[r.STATE_SENT], waiting_for_me=is_own),
        "running": r.ReferralFilter(box=box, states=[r.STATE_IN_PROGRESS]),
        "waiting": r.ReferralFilter(box=box, live=True, waiting_for_other=True),
    }.get(show)


def returned_referrals(box: r.Box.ValueType) -> lists.Rows[r.Referral]:
    """Returns referrals that came back without help and still wait for another service.

    The most urgent come first; within the same urgency, those with the nearest deadline.
    """
    return referrals.matching(r.ReferralFilter(box=box, unanswered=True)).sorted_by(
        lambda row: (-row.urgency, not row.next_due_time.seconds, row.next_due_time.seconds)
    )


def within_the_hour(rows: Iterable[r.Referral]) -> tuple[list[r.Referral], list[r.Referral]]:
    """Returns the rows that can't wait, the most urgent first, and the others.

    A row can't wait if it is due within the hour, or if it is overdue and so urgent that a life may
    depend on it.
    """
    now_rows, later_rows, limit = list[r.Referral](), list[r.Referral](), i18n.now() + HOUR
    for row in rows:
        due_time = i18n.moment(row.next_due_time)
        is_pressing = (
            due_time is not None
            and due_time < limit
            and (due_time > i18n.now() or row.urgency >= r.URGENCY_EMERGENCY)
        )
        (now_rows if is_pressing else later_rows).append(row)
    return sorted(now_rows, key=lambda row: (-row.urgency, row.next_due_time.seconds)), later_rows


def count_referrals(**filters: Any) -> r.CountReferralsResponse:
    """Counts the referrals that match a filter.

    The filter must exclude referrals that are over: their number grows for ever, and the page does
    not show it.
    """
    return clients().referrals.CountReferrals(
        r.CountReferralsRequest(filter=r.ReferralFilter(**filters))
    )


def beds() -> list[d.Service]:
    """Returns the services of the reader's organisation whose places are counted in beds.

    Returns an empty list unless the reader is a worker or a manager.
    """
    if not session.me().may("worker", "manager"):
        return []
    return [
        service
        for service in directory.services_of(session.me().organization_id)
        if service.capacity.unit == d.CAPACITY_UNIT_BEDS
    ]


def fetch_other_rows() -> dict[str, lists.Rows[Any]]:
    """Returns the open work of the reader's desk besides its referrals, by kind.

    The kinds are the line's contacts and calls, the enquiries that the desk received or sent, and
    late steps of plans. Kinds that the reader may not see have no rows.
    """
    at_line, desk = session.me().may("operator"), session.me().may("worker", "operator")
    return {
        "contacts": queues.open_contacts() if at_line else lists.Rows(),
        "calls": queues.calls_owed() if at_line else lists.Rows(),
        "received": queues.enquiries_received() if desk else lists.Rows(),
        "asking": queues.enquiries_sent() if desk else lists.Rows(),
        "overdue": lists.all_of(pb.ListLateStepsRequest()) if desk else lists.Rows(),
    }


def is_counted(show: str, kind: str, row: Any) -> bool:
    """Returns whether the number `show` counts this row of `fetch_other_rows`."""
    if kind == "overdue":
        return show == "late"
    if kind == "asking" and int(row.turn) != int(row.side):
        return False
    deadline = due.of_enquiry(row) if kind in ("received", "asking") else due.due(row)
    return deadline is not None and deadline.level == show


@pages.get("/today", access.EVERYONE)
def today() -> str:
    """Shows the desk's work or, to a coordinator without a desk, the whole network by codes."""
    me = session.me()
    box = r.BOX_MINE if me.may("worker", "operator", "manager") else r.BOX_NETWORK
    show = request.args.get("show", "")
    filter_ = filter_of(show, box)
    if filter_ is None:
        show, filter_ = "", referrals.turn_of(box)
    answer = clients().referrals.ListReferrals(
        r.ListReferralsRequest(
            filter=filter_, page_size=50, page_token=request.args.get("page", "")
        )
    )
    is_network = box == r.BOX_NETWORK
    live_counts = count_referrals(box=box, live=True)
    # For a desk, only the referrals that wait for it are counted.
    waiting_counts = count_referrals(box=box, pressing=is_network, waiting_for_me=not is_network)
    returned_rows = (
        returned_referrals(r.BOX_NETWORK if is_network else r.BOX_OUTBOX)
        if not show and (me.may("worker", "operator") or is_network)
        else []
    )
    # A desk acts, too, when its person waits for somebody who is late, suspended or gone.
    pressing_rows = (
        []
        if show or is_network or not live_counts.waiting_for_other
        else referrals.matching(r.ReferralFilter(box=box, pressing=True, waiting_for_other=True))
    )
    returned_ids = {row.id for row in returned_rows}
    other_rows = fetch_other_rows()
    counted_rows = {
        number: {
            kind: lists.filter_rows(rows, partial(is_counted, number, kind))
            for kind, rows in other_rows.items()
        }
        for number in ("late", "soon")
    }
    now_rows, later_rows = within_the_hour(
        row for row in answer.referrals if row.id not in returned_ids
    )
    return render_template(
        "today.html",
        counts=waiting_counts,
        late=waiting_counts.late + sum(map(len, counted_rows["late"].values())),
        soon=waiting_counts.due_soon + sum(map(len, counted_rows["soon"].values())),
        # the other numbers count referrals only
        beside=counted_rows.get(show, {}) if show else other_rows,
        fresh=(live_counts if is_network else waiting_counts).fresh,
        live_counts=live_counts,
        now=[] if show else now_rows,
        later=list(answer.referrals) if show else later_rows,
        unanswered=returned_rows,
        pressing=pressing_rows,
        beds=[] if show else beds(),
        names=names.names_of([*answer.referrals, *returned_rows, *pressing_rows]),
        show=show,
        network=is_network,
        date=i18n.weekday_and_day(i18n.now()),
        next_page=answer.next_page_token,
    )
