"""Passkeys of the worker's own account, and sign-in with a passkey alone.

static/passkey.js asks the browser to create passkeys and to sign in with them. Without the script,
a worker can use codes instead.
"""

from functools import partial

from flask import render_template, request

from chassis.errors import Conflict, Invalid
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1.members_pb2 import BeginPasskeySignInRequest
from services.gateway.edge import origin
from services.gateway.edge.clients import clients
from services.gateway.site.desk import account
from services.gateway.site.language import _
from services.gateway.site.parts import devices, forms
from services.gateway.site.shell import access

pages = access.Pages("passkeys")


@pages.post("/sign-in/passkey", access.ANYBODY)
def sign_in() -> str | tuple[str, int]:
    """Starts a sign-in and shows the page that asks the browser for a passkey of any account.

    Shows the sign-in page with the reason, as a 422, if partners refuses.
    """
    to, kept = request.form.get("to", ""), request.form.get("kept", "")
    try:
        challenge = clients().tokens.BeginPasskeySignIn(BeginPasskeySignInRequest())
    except Conflict as refusal:
        return render_template(
            "signin.html", to=to, ended=None, problem=forms.problems(refusal)["_form"], kept=kept
        ), 422
    return render_template("signin_code.html", to=to, kept=kept, asked=challenge, problem="")


@pages.post("/account/passkeys/begin", access.EVERYONE, again=partial(account.show, part="passkey"))
def begin() -> str:
    """Starts the creation of a passkey, and shows the page that asks the browser for it."""
    origin.attach(devices.secret())
    rpc_request = pb.BeginPasskeyRequest(
        password=request.form.get("password", ""), request_id=forms.request_id()
    )
    return account.show(part="passkey", passkey=clients().accounts.BeginPasskey(rpc_request))


@pages.post(
    "/account/passkeys",
    access.EVERYONE,
    again=partial(account.show, part="passkey"),
    then="account.show",
)
def create() -> None:
    """Stores the passkey that the browser created."""
    rpc_request = pb.CreatePasskeyRequest(
        challenge=forms.text("challenge"),
        credential=forms.text("passkey"),
        label=forms.text("label") or _("Mi llave"),
        request_id=forms.request_id(),
    )
    try:
        clients().accounts.CreatePasskey(rpc_request)
    except Invalid:
        forms.refuse({"_form": _("La llave no se guardó. Empiece otra vez.")})


@pages.post(
    "/account/passkeys/end",
    access.EVERYONE,
    again=partial(account.show, part="end-passkey"),
    then="account.show",
)
def end() -> None:
    """Removes a passkey."""
    origin.attach(devices.secret())
    rpc_request = pb.EndPasskeyRequest(
        id=forms.text("passkey"),
        password=request.form.get("password", ""),
        request_id=forms.request_id(),
    )
    clients().accounts.EndPasskey(rpc_request)
