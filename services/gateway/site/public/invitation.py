"""Opens an account from an invitation.

The link's secret comes after its #, so that the browser never sends it in a request's address. A
script copies the secret into the form and removes it from the address; without a script, the reader
types the secret, or pastes it from the e-mail.
"""

from flask import redirect, render_template, request, url_for

from chassis.errors import Conflict, Unauthenticated
from protos.partners.v1.members_pb2 import AcceptInvitationRequest
from services.gateway.edge.clients import clients
from services.gateway.site.language import _
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("invitation")


@pages.get("/invitation", access.ANYBODY)
def form(errors: forms.Problems = forms.NO_PROBLEMS, problem: str = "") -> str:
    """Shows the form. The link is not checked before the form is sent."""
    return render_template("invitation.html", errors=errors, problem=problem)


@pages.post("/invitation", access.ANYBODY, again=form)
def accept() -> access.Answer:
    """Opens the account, and redirects to the sign-in."""
    rpc_request = AcceptInvitationRequest(
        token=forms.text("token"),
        name=forms.text("name"),
        password=request.form.get("password", ""),
        request_id=forms.request_id(),
    )
    try:
        clients().members.AcceptInvitation(rpc_request)
    except Unauthenticated:
        problem = _(
            "Esta invitación no sirve: ya se usó, venció, o el código no está completo."
            " Pida otra a quien la invitó."
        )
        return form(problem=problem), 401
    except Conflict as refusal:
        return form(problem=forms.problems(refusal)["_form"]), 409
    return redirect(url_for("signin.form", done="account"), 303)
