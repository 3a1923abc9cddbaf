"""One's own account: another password, and where it is signed in."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.errors import Exhausted, Invalid
from protos.partners.v1 import accounts_pb2 as pb
from services.gateway import access, forms, origin, session, words
from services.gateway.clients import clients
from services.gateway.i18n import gettext as _

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@access.open_to(access.EVERYONE)
def show() -> str:
    """Sessions, and the form for another password."""
    return page({})


def page(errors: dict[str, str]) -> str:
    """The same, with what was wrong with a password."""
    found = clients().accounts.ListSessions(pb.ListSessionsRequest(session_secret=session.me().secret)).sessions
    return render_template("account.html", sessions=found, errors=errors)


@blueprint.post("/account/password")
@access.open_to(access.EVERYONE)
def password() -> Response | tuple[str, int]:
    """Changes it; her other sessions end."""
    if request.form.get("new_password", "") != request.form.get("again", ""):
        return page({"again": _("no es la misma que la de arriba")}), 422
    origin.tell(origin.device())
    question = pb.ChangePasswordRequest(
        password=request.form.get("password", ""),
        new_password=request.form.get("new_password", ""),
        session_secret=session.me().secret,
        request_id=forms.request_id(),
    )
    try:
        clients().accounts.ChangePassword(question)
    except Invalid as refusal:
        return page(forms.problems(refusal)), 422
    except Exhausted as refusal:
        return page({"password": words.wait(refusal.retry_after)}), 429
    return redirect(url_for("account.show", done="password_changed"), 303)


@blueprint.post("/account/sessions/end")
@access.open_to(access.EVERYONE)
def end_sessions() -> Response:
    """Ends one of her sessions, or all but this one."""
    question = pb.EndSessionsRequest(id=forms.text("session"), session_secret=session.me().secret, request_id=forms.request_id())
    clients().accounts.EndSessions(question)
    return redirect(url_for("account.show", done="saved"), 303)
