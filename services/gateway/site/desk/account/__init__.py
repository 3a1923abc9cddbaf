"""The worker's own account: change of the password, second factor, and open sessions."""

from collections.abc import Iterable
from functools import partial

from flask import redirect, render_template, request, url_for

from chassis.errors import Conflict
from protos.partners.v1 import accounts_pb2 as pb
from services.gateway.edge import origin
from services.gateway.edge.clients import clients
from services.gateway.site.language import _
from services.gateway.site.parts import devices, forms
from services.gateway.site.shell import access, session

pages = access.Pages("account")


@pages.get("/account", access.EVERYONE)
def show(
    errors: forms.Problems = forms.NO_PROBLEMS,
    part: str = "password",
    begun: pb.BeginSecondFactorResponse | None = None,
    codes: Iterable[str] = (),
    passkey: pb.BeginPasskeyResponse | None = None,
) -> str:
    """Shows the sessions, the second factor, the passkeys, and the form for a new password.

    The problems belong to the form named by `part`. `begun`, `codes` and `passkey` are passed only
    right after they were made.
    """
    sessions = (
        clients()
        .accounts.ListSessions(pb.ListSessionsRequest(session_secret=session.me().secret))
        .sessions
    )
    factor = clients().accounts.GetSecondFactor(pb.GetSecondFactorRequest())
    shown = {
        "begun": begun,
        "codes": list(codes),
        "passkey": passkey,
        "names_of": lambda keys: [(key.id, key.label) for key in keys],
    }
    return render_template(
        "account.html", sessions=sessions, factor=factor, errors=errors, part=part, **shown
    )


@pages.post(
    "/account/password", access.EVERYONE, again=show, then="made.show", done="password_changed"
)
def password() -> None:
    """Changes the password; the worker's other sessions end.

    The next page shows what those sessions may have left behind.
    """
    if request.form.get("new_password", "") != request.form.get("again", ""):
        forms.refuse({"again": _("no es la misma que la de arriba")})
    origin.attach(devices.secret())
    rpc_request = pb.ChangePasswordRequest(
        password=request.form.get("password", ""),
        new_password=request.form.get("new_password", ""),
        session_secret=session.me().secret,
        request_id=forms.request_id(),
    )
    clients().accounts.ChangePassword(rpc_request)


@pages.post("/account/sessions/end", access.EVERYONE, then="account.show")
def end_sessions() -> None:
    """Ends one of the worker's sessions, or all sessions but the current one."""
    rpc_request = pb.EndSessionsRequest(
        id=forms.text("session"), session_secret=session.me().secret, request_id=forms.request_id()
    )
    clients().accounts.EndSessions(rpc_request)


@pages.post("/account/second-factor", access.EVERYONE, again=partial(show, part="begin"))
def begin_second_factor() -> access.Answer:
    """Shows the secret for an authenticator app, once.

    The secret appears only in the answer to this form.
    """
    origin.attach(devices.secret())
    rpc_request = pb.BeginSecondFactorRequest(
        password=request.form.get("password", ""), request_id=forms.request_id()
    )
    try:
        begun = clients().accounts.BeginSecondFactor(rpc_request)
    except Conflict:  # the second factor is in use already: it was confirmed in another window
        return redirect(url_for("account.show"), 303)
    return show(part="code", begun=begun)


@pages.post("/account/second-factor/confirm", access.EVERYONE, again=partial(show, part="code"))
def confirm_second_factor() -> access.Answer:
    """Confirms the second factor.

    The recovery codes, for the case that the app is lost, appear only in this answer.
    """
    rpc_request = pb.ConfirmSecondFactorRequest(
        code=forms.text("code"), request_id=forms.request_id()
    )
    try:
        codes = clients().accounts.ConfirmSecondFactor(rpc_request).recovery_codes
    except Conflict:
        return redirect(url_for("account.show"), 303)
    return show(part="code", codes=codes)


@pages.post(
    "/account/second-factor/end",
    access.EVERYONE,
    again=partial(show, part="end"),
    then="account.show",
)
def end_second_factor() -> None:
    """Removes the second factor."""
    origin.attach(devices.secret())
    rpc_request = pb.EndSecondFactorRequest(
        password=request.form.get("password", ""), request_id=forms.request_id()
    )
    clients().accounts.EndSecondFactor(rpc_request)
