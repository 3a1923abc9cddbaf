"""Pages for development only: every component in each of its states, and the unsent e-mails.

Changes to the look should start on the components page.
"""

from datetime import timedelta

from flask import render_template

from chassis.wire import timestamp
from protos.notifications.v1.notifications_pb2 import DeliveryHour, ListDevelopmentMailsRequest
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import send
from services.gateway.site.backend import names
from services.gateway.site.language import i18n
from services.gateway.site.parts import due, pictures
from services.gateway.site.shell import access

pages = access.Pages("development")
EXAMPLE = "0" * 32
# Elapsed share of a deadline's time, and its length in minutes: calm, soon, nearly over, late.
DEADLINES = ((0.1, 7200), (0.5, 180), (0.9, 15), (2.9, 1440))


@pages.get("/components", access.EVERYONE)
def components() -> str:
    rows = [row(state) for state in list(r.State.values())[1:]]
    return render_template(
        "components.html",
        rows_=rows,
        names=names.names_of(rows),
        deadlines=[due.of_clock(clock(*deadline)) for deadline in DEADLINES],
        day_=pictures.day([hour(back) for back in range(pictures.HOURS)], i18n.now()),
        quiet=pictures.day([], i18n.now()),
    )


def row(state: int) -> r.Referral:
    """Returns a referral in this state, with alternating urgencies and deadlines."""
    return r.Referral(
        id=EXAMPLE,
        code="4BGZ42",
        state=r.State.ValueType(state),
        urgency=r.Urgency.ValueType(state % 5),
        need_code="HOU.EMG",
        side=r.Side.ValueType(state % 3 + 1),
        clocks=[clock(*DEADLINES[state % 4])] if state % 5 else [],
    )


def hour(hours_ago: int) -> DeliveryHour:
    """Returns the attempts of the hour that began `hours_ago` hours before the current hour."""
    start = i18n.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    return DeliveryHour(
        start_time=timestamp(start), delivered=hours_ago * 7 % 23, failed=max(0, hours_ago % 9 - 6)
    )


def clock(elapsed_share: float, minutes: int) -> r.Clock:
    start = i18n.now() - timedelta(minutes=elapsed_share * minutes)
    return r.Clock(
        kind=r.CLOCK_KIND_DECIDE,
        start_time=timestamp(start),
        due_time=timestamp(start + timedelta(minutes=minutes)),
    )


@pages.get("/outbox", access.EVERYONE)
def mails() -> str:
    """Shows the latest e-mails that would have been sent, the newest first.

    The e-mails are shown as text, because most of their links lead to pages that the reader may not
    open; the link of an invitation can be followed.
    """
    return render_template("outbox.html", mails=send(ListDevelopmentMailsRequest()).mails)
