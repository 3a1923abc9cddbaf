"""The hand-over of a shift: one sheet with everything that is open on the line.

The sheet also shows who took the line over, and when.
"""

from flask import render_template

from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import send
from services.gateway.site.backend import names, queues, referrals
from services.gateway.site.language import i18n
from services.gateway.site.shell import access

pages = access.Pages("shift")


@pages.get("/line/shift", access.LINE)
def sheet() -> str:
    """Shows the sheet.

    A referral in which another organisation has the turn is listed only if it is pressing; most
    such referrals go on for weeks.
    """
    waiting_referrals = referrals.matching(referrals.turn_of(r.BOX_MINE))
    pressing_referrals = referrals.matching(
        r.ReferralFilter(box=r.BOX_MINE, pressing=True, waiting_for_other=True)
    )
    take_overs = send(c.ListTakeOversRequest(page_size=5)).take_overs
    return render_template(
        "shift.html",
        contacts=queues.open_contacts(),
        calls=queues.calls_owed(),
        enquiries=queues.enquiries_sent(),
        referrals=waiting_referrals,
        pressing=pressing_referrals,
        with_others=send(
            r.CountReferralsRequest(filter=r.ReferralFilter(box=r.BOX_MINE, live=True))
        ).waiting_for_other,
        taken=take_overs,
        names=names.names_of([*waiting_referrals, *pressing_referrals]),
        workers=names.names(workers=[take_over.worker_id for take_over in take_overs]),
        date=f"{i18n.weekday_and_day(i18n.now())}, {i18n.time_of_day(i18n.now())}",
    )


pages.sends("take_over", "/line/shift", access.LINE, c.TakeOverLineRequest, then="shift.sheet")
