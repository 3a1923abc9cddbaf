"""The worker's own account: password, second factor, passkeys, sessions.

The redirects of a step-up are here, too; the step-up itself is in shell/proof.py.

After a change of the password, a list shows the things that the account made lately and that
outlast its sessions, so that the worker can end things that somebody else made with her account.
static/passkey.js asks the browser to create passkeys.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from flask import redirect, render_template, request, url_for
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Conflict, Invalid, NotFound
from chassis.wire import timestamp
from protos.partners.v1 import accounts_pb2 as pb
from protos.referrals.v1 import people_pb2 as p
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import devices, lists
from services.gateway.site.language import _, i18n
from services.gateway.site.parts import cookies, forms
from services.gateway.site.shell import access, session, signing_in

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
    return render_template(
        "account.html",
        sessions=send(pb.ListSessionsRequest(session_secret=session.me().secret)).sessions,
        factor=clients().accounts.GetSecondFactor(pb.GetSecondFactorRequest()),
        errors=errors,
        part=part,
        begun=begun,
        codes=list(codes),
        passkey=passkey,
        choices_of=lambda keys: [(key.id, key.label) for key in keys],
    )


@pages.post(
    "/account/password", access.EVERYONE, again=show, then="account.made", done="password_changed"
)
def password() -> None:
    """Changes the password; the worker's other sessions end.

    The next page shows what those sessions may have left behind.
    """
    if request.form.get("new_password", "") != request.form.get("again", ""):
        forms.refuse({"again": _("no es la misma que la de arriba")})
    devices.attach()
    send(forms.filled(pb.ChangePasswordRequest(session_secret=session.me().secret)))


# Ends one of the worker's sessions, or all sessions but the current one.
pages.sends(
    "end_sessions",
    "/account/sessions/end",
    access.EVERYONE,
    lambda: pb.EndSessionsRequest(id=forms.text("session"), session_secret=session.me().secret),
    then="account.show",
)


@pages.post("/account/second-factor", access.EVERYONE, again=partial(show, part="begin"))
def begin_second_factor() -> access.Answer:
    """Shows the secret for an authenticator app, once.

    The secret appears only in the answer to this form.
    """
    devices.attach()
    try:
        return show(part="code", begun=send(forms.filled(pb.BeginSecondFactorRequest())))
    except Conflict:  # the second factor is in use already: it was confirmed in another window
        return redirect(url_for("account.show"), 303)


@pages.post("/account/second-factor/confirm", access.EVERYONE, again=partial(show, part="code"))
def confirm_second_factor() -> access.Answer:
    """Confirms the second factor.

    The recovery codes, in case the app is lost, appear only in this answer.
    """
    try:
        answer = send(forms.filled(pb.ConfirmSecondFactorRequest()))
    except Conflict:
        return redirect(url_for("account.show"), 303)
    return show(part="code", codes=answer.recovery_codes)


@pages.post(
    "/account/second-factor/end",
    access.EVERYONE,
    again=partial(show, part="end"),
    then="account.show",
)
def end_second_factor() -> None:
    devices.attach()
    send(forms.filled(pb.EndSecondFactorRequest()))


@pages.post("/account/passkeys/begin", access.EVERYONE, again=partial(show, part="passkey"))
def begin_passkey() -> str:
    """Starts the creation of a passkey, and shows the page that asks the browser for it."""
    devices.attach()
    return show(part="passkey", passkey=send(forms.filled(pb.BeginPasskeyRequest())))


@pages.post(
    "/account/passkeys",
    access.EVERYONE,
    again=partial(show, part="passkey"),
    then="account.show",
)
def create_passkey() -> None:
    """Stores the passkey that the browser created."""
    rpc_request = forms.filled(pb.CreatePasskeyRequest(credential=forms.text("passkey")))
    rpc_request.label = rpc_request.label or _("Mi llave")
    try:
        clients().accounts.CreatePasskey(rpc_request)
    except Invalid:
        forms.refuse({"_form": _("La llave no se guardó. Empiece otra vez.")})


@pages.post(
    "/account/passkeys/end",
    access.EVERYONE,
    again=partial(show, part="end-passkey"),
    then="account.show",
)
def end_passkey() -> None:
    devices.attach()
    send(forms.filled(pb.EndPasskeyRequest(id=forms.text("passkey"))))


@pages.get("/account/made", access.EVERYONE)
def made() -> str | tuple[str, int]:
    """Shows what the account has made since a given day."""
    try:
        return page_of_made()
    except Invalid as refusal:
        return page_of_made(forms.problems(refusal), since="x"), 422


def page_of_made(errors: forms.Problems = forms.NO_PROBLEMS, since: str = "") -> str:
    """Renders the list from the requested day on; without a valid day, from a week ago.

    All pages of the exported sheets are read: an intruder who exports one sheet may export many
    more.
    """
    start = _beginning(since or request.values.get("since", ""))
    return render_template(
        "made.html",
        made=clients().accounts.ListMadeLately(pb.ListMadeLatelyRequest(since_time=start)).made,
        exports=lists.all_of(p.ListOwnExportsRequest(since_time=start))
        if session.me().may(*access.SENDERS)
        else lists.Rows(),
        since=i18n.stamp_for_field(start)[:10],
        errors=errors,
    )


def _beginning(day: str) -> Timestamp | None:
    """Returns the beginning of a day in the reader's zone; a week ago for an invalid day."""
    return i18n.start_of_day(day) or timestamp(i18n.now() - timedelta(days=7))


@pages.post("/account/made", access.EVERYONE, again=page_of_made)
def end_made() -> access.Answer:
    """Ends the chosen things, and shows the remaining ones."""
    since = forms.text("since")
    send(forms.filled(pb.EndMadeLatelyRequest(since_time=_beginning(since))))
    return redirect(url_for("account.made", since=since, done="made_ended"), 303)


@pages.post("/account/proof", access.EVERYONE)
def go_on() -> access.Answer:
    """Redirects to the page that required the step-up. The guard has already checked the proof."""
    return redirect(signing_in.safe_target(request.form.get("to", "")), 303)


@pages.get("/account/proof/provider", access.EVERYONE)
def leave_for_provider() -> access.Answer:
    """Redirects to the organisation's own provider, which asks the worker to sign in again."""
    proof = clients().accounts.BeginProof(pb.BeginProofRequest())
    if not proof.authorization_url:
        raise NotFound
    response = redirect(proof.authorization_url, 303)
    cookies.write(
        response,
        signing_in.PROVIDER_COOKIE,
        signing_in.PROOF + proof.challenge,
        signing_in.PROVIDER_COOKIE_AGE,
    )
    return response
