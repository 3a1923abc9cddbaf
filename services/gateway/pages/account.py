"""One's own account: another password, and where it is signed in."""

from collections.abc import Iterable

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.errors import Conflict, Exhausted, Invalid, Refusal
from protos.partners.v1 import accounts_pb2 as pb
from services.gateway import access, forms, origin, session, words
from services.gateway.clients import clients
from services.gateway.i18n import gettext as _

blueprint = Blueprint("account", __name__)
REFUSED = (Invalid, Exhausted)


@blueprint.get("/account")
@access.open_to(access.EVERYONE)
def show() -> str:
    """Sessions, and the form for another password."""
    return page({})


def page(
    errors: dict[str, str],
    part: str = "password",
    begun: pb.BeginSecondFactorResponse | None = None,
    codes: Iterable[str] = (),
    passkey: pb.BeginPasskeyResponse | None = None,
) -> str:
    """The same, with what was wrong in a `part`; `begun`, `codes` and `passkey` only right after they were made."""
    found = clients().accounts.ListSessions(pb.ListSessionsRequest(session_secret=session.me().secret)).sessions
    factor = clients().accounts.GetSecondFactor(pb.GetSecondFactorRequest())
    shown = {"begun": begun, "codes": list(codes), "passkey": passkey, "names_of": lambda keys: [(key.id, key.label) for key in keys]}
    return render_template("account.html", sessions=found, factor=factor, errors=errors, part=part, **shown)


def refused(refusal: Refusal, part: str, guessed: str = "password") -> tuple[str, int]:
    """The page with what was wrong in a part; `guessed` is its field of which there were too many."""
    if isinstance(refusal, Exhausted):
        return page({guessed: words.wait(refusal.retry_after)}, part), 429
    return page(forms.problems(refusal), part), 422


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
    except REFUSED as refusal:
        return refused(refusal, "password")
    return redirect(url_for("account.show", done="password_changed"), 303)


@blueprint.post("/account/sessions/end")
@access.open_to(access.EVERYONE)
def end_sessions() -> Response:
    """Ends one of her sessions, or all but this one."""
    question = pb.EndSessionsRequest(id=forms.text("session"), session_secret=session.me().secret, request_id=forms.request_id())
    clients().accounts.EndSessions(question)
    return redirect(url_for("account.show", done="saved"), 303)


@blueprint.post("/account/second-factor")
@access.open_to(access.EVERYONE)
def begin_second_factor() -> Response | str | tuple[str, int]:
    """Shows the secret of an app, once: the answer to this form is the only place where it stands."""
    origin.tell(origin.device())
    question = pb.BeginSecondFactorRequest(password=request.form.get("password", ""), request_id=forms.request_id())
    try:
        begun = clients().accounts.BeginSecondFactor(question)
    except Conflict:  # in another window it is in use already
        return redirect(url_for("account.show"), 303)
    except REFUSED as refusal:
        return refused(refusal, "begin")
    return page({}, "code", begun)


@blueprint.post("/account/second-factor/confirm")
@access.open_to(access.EVERYONE)
def confirm_second_factor() -> Response | str | tuple[str, int]:
    """Takes it into use; the codes for the day on which the app is gone stand in this answer only."""
    question = pb.ConfirmSecondFactorRequest(code=forms.text("code"), request_id=forms.request_id())
    try:
        codes = clients().accounts.ConfirmSecondFactor(question).recovery_codes
    except Conflict:
        return redirect(url_for("account.show"), 303)
    except REFUSED as refusal:
        return refused(refusal, "code", "code")
    return page({}, "code", codes=codes)


@blueprint.post("/account/second-factor/end")
@access.open_to(access.EVERYONE)
def end_second_factor() -> Response | tuple[str, int]:
    """Ends its use."""
    question = pb.EndSecondFactorRequest(password=request.form.get("password", ""), request_id=forms.request_id())
    origin.tell(origin.device())
    try:
        clients().accounts.EndSecondFactor(question)
    except REFUSED as refusal:
        return refused(refusal, "end")
    return redirect(url_for("account.show", done="saved"), 303)
