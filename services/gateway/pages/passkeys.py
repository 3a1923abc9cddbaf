"""Passkeys of one's own account, and signing in with one alone. A browser makes them and signs with them by static/passkey.js; without it there are codes."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.errors import Conflict, Invalid
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1.members_pb2 import BeginPasskeySignInRequest
from services.gateway import access, forms, origin
from services.gateway.clients import clients
from services.gateway.i18n import gettext as _
from services.gateway.pages import account

blueprint = Blueprint("passkeys", __name__)


@blueprint.post("/sign-in/passkey")
@access.public
def sign_in() -> str | tuple[str, int]:
    """Asks for a passkey, of whoever it is."""
    to, kept = request.form.get("to", ""), request.form.get("kept", "")
    try:
        asked = clients().tokens.BeginPasskeySignIn(BeginPasskeySignInRequest())
    except Conflict as refusal:
        return render_template("signin.html", to=to, ended=None, problem=forms.problems(refusal)["_form"], kept=kept), 422
    return render_template("signin_code.html", to=to, kept=kept, asked=asked, problem="")


@blueprint.post("/account/passkeys/begin")
@access.open_to(access.EVERYONE)
def begin() -> str | tuple[str, int]:
    """Asks the browser for a new one."""
    origin.tell(origin.device())
    question = pb.BeginPasskeyRequest(password=request.form.get("password", ""), request_id=forms.request_id())
    try:
        begun = clients().accounts.BeginPasskey(question)
    except (*account.REFUSED, Conflict) as refusal:
        return account.refused(refusal, "passkey")
    return account.page({}, "passkey", passkey=begun)


@blueprint.post("/account/passkeys")
@access.open_to(access.EVERYONE)
def create() -> Response | tuple[str, int]:
    """Keeps the one that the browser made."""
    question = pb.CreatePasskeyRequest(
        challenge=forms.text("challenge"),
        credential=forms.text("passkey"),
        label=forms.text("label") or _("Mi llave"),
        request_id=forms.request_id(),
    )
    try:
        clients().accounts.CreatePasskey(question)
    except Invalid:
        return account.page({"_form": _("La llave no se guardó. Empiece otra vez.")}, "passkey"), 422
    except Conflict as refusal:
        return account.refused(refusal, "passkey")
    return redirect(url_for("account.show", done="saved"), 303)


@blueprint.post("/account/passkeys/end")
@access.open_to(access.EVERYONE)
def end() -> Response | tuple[str, int]:
    """Takes one away."""
    origin.tell(origin.device())
    question = pb.EndPasskeyRequest(id=forms.text("passkey"), password=request.form.get("password", ""), request_id=forms.request_id())
    try:
        clients().accounts.EndPasskey(question)
    except account.REFUSED as refusal:
        return account.refused(refusal, "end-passkey")
    return redirect(url_for("account.show", done="saved"), 303)
