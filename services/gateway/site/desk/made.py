"""Things that the worker's own account made since a given day and that outlast its sessions.

The list is shown after a change of the password, so that the worker can end things that somebody
else made with her account.
"""

from datetime import timedelta

from flask import redirect, render_template, request, url_for
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Invalid
from chassis.wire import timestamp
from protos.partners.v1 import accounts_pb2 as pb
from protos.referrals.v1 import people_pb2 as p
from services.gateway.edge.clients import clients
from services.gateway.site.backend import lists
from services.gateway.site.language import i18n
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("made")
DEFAULT_SPAN = timedelta(days=7)


@pages.get("/account/made", access.EVERYONE)
def show() -> str | tuple[str, int]:
    """Shows the list from a given day on."""
    try:
        return page()
    except Invalid as refusal:
        return page(forms.problems(refusal), since="x"), 422


def page(errors: forms.Problems = forms.NO_PROBLEMS, since: str = "") -> str:
    """Renders the list from the requested day on; without a valid day, from a week ago."""
    day = since or request.values.get("since", "")
    stamp = _beginning(day)
    made = clients().accounts.ListMadeLately(pb.ListMadeLatelyRequest(since_time=stamp)).made
    return render_template(
        "made.html",
        made=made,
        exports=_exports(stamp),
        since=i18n.stamp_for_field(stamp)[:10],
        errors=errors,
    )


def _exports(since: Timestamp | None) -> lists.Listed[p.Export]:
    """Returns every sheet that the worker has exported since a time; none if she may not export.

    All pages of the list are read: an intruder who exports one sheet may export many more.
    """
    if not session.me().may(*access.SENDERS):
        return lists.Listed()
    return lists.all_of(p.ListOwnExportsRequest(since_time=since))


def _beginning(day: str) -> Timestamp | None:
    """Returns the beginning of a day in the reader's zone; a week ago for an invalid day."""
    return i18n.start_of_day(day) or timestamp(i18n.now() - DEFAULT_SPAN)


@pages.post("/account/made", access.EVERYONE, again=page)
def end() -> access.Answer:
    """Ends the chosen things, and shows the remaining ones."""
    clients().accounts.EndMadeLately(
        pb.EndMadeLatelyRequest(
            since_time=_beginning(forms.text("since")),
            ids=forms.texts("ids"),
            request_id=forms.request_id(),
        )
    )
    return redirect(url_for("made.show", since=forms.text("since"), done="made_ended"), 303)
