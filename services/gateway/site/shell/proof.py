"""The step-up on pages: a small page asks for the proof that a service requires.

Afterwards, the form that required the proof is processed. The small page carries the form's
content, sealed (kept.py); no URL contains it. The page sends the content to the form's own
path, together with the proof. The proof is checked first; then the form is processed as if it had
been sent directly. If the refused request was a GET, the page
is opened again.
"""

from flask import g, make_response, render_template, request, url_for
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.wrappers import Response

from chassis.errors import Exhausted, Invalid
from protos.partners.v1 import accounts_pb2 as pb
from services.gateway.edge.clients import clients
from services.gateway.site.backend import devices
from services.gateway.site.language import _, words
from services.gateway.site.parts import forms
from services.gateway.site.shell import kept, session

REASON = "step_up_required"
PROVIDER_PROOF = "provider"
"""The value of the field `proof` if the worker gives the proof at her provider instead."""


def ask() -> Response:
    """Returns the step-up page for the request that was refused."""
    return (
        _page(kept.seal(kept.PROOF), request.path, 403)
        if request.method == "POST"
        else _page("", url_for("account.go_on"), 403, to=request.full_path.rstrip("?"))
    )


def check() -> Response | None:
    """Checks the proof from the step-up page, and restores the form that the page carried.

    Does nothing for a request without a proof. A proof at the provider has been checked already. If
    the proof is wrong, returns the step-up page again.
    """
    if g.me is None or "proof" not in request.form:
        return None
    sealed_form, to = request.form.get("kept", ""), request.form.get("to", "")
    if request.form["proof"] != PROVIDER_PROOF:
        devices.attach()
        try:
            clients().accounts.ProveSession(
                pb.ProveSessionRequest(
                    session_secret=session.me().secret,
                    challenge=forms.text("challenge"),
                    code=forms.text("code"),
                    passkey=forms.text("passkey"),
                    password=request.form.get("password", ""),
                )
            )
        except Invalid:
            return _page(
                sealed_form,
                request.path,
                422,
                _("No es correcto. Escríbalo otra vez; si es un código, espere al siguiente."),
                to,
            )
        except Exhausted as refusal:
            return _page(sealed_form, request.path, 429, words.wait(refusal.retry_after), to)
    form = (
        kept.unseal(sealed_form, session.me().worker_id, purpose=kept.PROOF)
        if sealed_form
        else None
    )
    if form is not None and form.path == request.path:
        request.form = ImmutableMultiDict(
            [("form_token", request.form["form_token"]), *form.fields]
        )
    return None


def _page(sealed_form: str, action: str, status: int, problem: str = "", to: str = "") -> Response:
    """Renders the step-up page.

    If there is neither a form nor a page to open (`to`), the typed values are lost, and the page
    says so.
    """
    return make_response(
        render_template(
            "proof.html",
            asked=clients().accounts.BeginProof(pb.BeginProofRequest()),
            kept=sealed_form,
            action=action,
            to=to,
            problem=problem,
        ),
        status,
    )
