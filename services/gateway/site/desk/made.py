"""What one's own account made since a day and what outlasts its sessions: shown after a change of
the password, to be ended if it was somebody else.
"""

from datetime import timedelta

from flask import redirect, render_template, request, url_for
from google.protobuf.timestamp_pb2 import Timestamp
from werkzeug.wrappers import Response

from chassis.errors import Invalid
from protos.partners.v1 import accounts_pb2 as pb
from protos.referrals.v1 import people_pb2 as p
from services.gateway.edge.clients import clients
from services.gateway.site.language import i18n
from services.gateway.site.parts import forms, lists
from services.gateway.site.shell import access, session

pages = access.Pages("made")
USUAL = timedelta(days=7)


@pages.get("/account/made", access.EVERYONE)
def show() -> str | tuple[str, int]:
    """The list since a day."""
    try:
        return page({})
    except Invalid as refusal:
        return page(forms.problems(refusal), "x"), 422


def page(errors: dict[str, str], since: str = "") -> str:
    """The list, since a day that is asked for; the last week, where none is or it is none."""
    day = since or request.values.get("since", "")
    stamp = _beginning(day)
    made = clients().accounts.ListMadeLately(pb.ListMadeLatelyRequest(since_time=stamp)).made
    return render_template(
        "made.html",
        made=made,
        exports=_exports(stamp),
        since=i18n.field_of(stamp)[:10],
        errors=errors,
    )


def _exports(since: Timestamp) -> lists.Listed[p.Export]:
    """Every sheet that left: whoever takes one may take many more after it."""
    if not session.me().may(*access.SENDERS):
        return lists.Listed()
    return lists.all_of(
        clients().people.ListOwnExports,
        p.ListOwnExportsRequest(since_time=since),
        lambda answer: answer.exports,
    )


def _beginning(day: str) -> Timestamp:
    """When a day begins here; a week ago for what is none."""
    try:
        stamp = i18n.local_to_stamp(day[:10])
    except OverflowError:
        stamp = None
    if stamp is None:
        stamp = Timestamp()
        stamp.FromDatetime(i18n.now() - USUAL)
    return stamp


@pages.post("/account/made", access.EVERYONE, again=page)
def end() -> Response:
    """Ends what was chosen, and shows what is left."""
    question = pb.EndMadeLatelyRequest(
        since_time=_beginning(forms.text("since")),
        ids=forms.texts("ids"),
        request_id=forms.request_id(),
    )
    clients().accounts.EndMadeLately(question)
    return redirect(url_for("made.show", since=forms.text("since"), done="made_ended"), 303)
