"""The step-up on pages: where a service wants proof of who is at the page, a small page asks for
it, and the act goes on with what was typed.

What was typed is carried in that page, sealed (kept.py), and in no address. The page sends it to
where the form went, with the proof beside it: the proof is looked at first, and then the form is as
it was. A page that is only read is opened again.
"""

from flask import g, make_response, render_template, request, url_for
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.wrappers import Response

from chassis.errors import Exhausted, Invalid, Refusal
from protos.partners.v1 import accounts_pb2 as pb
from services.gateway.edge import origin
from services.gateway.edge.clients import clients
from services.gateway.site.language import words
from services.gateway.site.language.i18n import _
from services.gateway.site.parts import forms
from services.gateway.site.shell import kept, session

REASON = "step_up_required"
AT_PROVIDER = "provider"
"""As the page says how she proves it, when that is done in another window."""


def ask() -> Response:
    """The page, for the request that was refused."""
    if request.method == "POST":
        return _page(kept.sealed(kept.PROOF), request.path, 403)
    return _page("", url_for("proof.go_on"), 403, to=request.full_path.rstrip("?"))


def check() -> Response | None:
    """Has the session proved by what the page brought, if this request comes from it, and puts the
    form that it carries in the place of its own.

    Returns the page again where the proof was wrong.
    """
    if g.me is None or "proof" not in request.form:
        return None
    carried, to = request.form.get("kept", ""), request.form.get("to", "")
    if request.form["proof"] != AT_PROVIDER:
        origin.tell(origin.device())
        try:
            clients().accounts.ProveSession(_answer())
        except Invalid:
            return _page(
                carried,
                request.path,
                422,
                _("No es correcto. Escríbalo otra vez; si es un código, espere al siguiente."),
                to,
            )
        except Exhausted as refusal:
            return _page(carried, request.path, 429, words.wait(refusal.retry_after), to)
    form = kept.opened(carried, session.me().worker_id, purpose=kept.PROOF) if carried else None
    if form is not None and form.path == request.path:
        request.form = ImmutableMultiDict(
            [("form_token", request.form["form_token"]), *form.fields]
        )
    return None


def _answer() -> pb.ProveSessionRequest:
    return pb.ProveSessionRequest(
        session_secret=session.me().secret,
        challenge=forms.text("challenge"),
        code=forms.text("code"),
        passkey=forms.text("passkey"),
        password=request.form.get("password", ""),
    )


def _page(carried: str, action: str, status: int, problem: str = "", to: str = "") -> Response:
    """`carried`: the form, sealed; without one and without a page to open (`to`) what was typed is
    lost, and the page says so.
    """
    asked = clients().accounts.BeginProof(pb.BeginProofRequest())
    return make_response(
        render_template(
            "proof.html", asked=asked, kept=carried, action=action, to=to, problem=problem
        ),
        status,
    )


def page_for(refusal: Refusal) -> bool:
    """Whether a refusal is answered by this page."""
    return refusal.reason == REASON and g.get("me") is not None
