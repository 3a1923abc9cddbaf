"""A forgotten password: the request for a link, and the choice of a new password.

The answer to the request is the same for every address. The link's secret comes after its #, as in
an invitation's link.
"""

from flask import redirect, render_template, request, url_for

from chassis.errors import Unauthenticated
from protos.partners.v1 import accounts_pb2 as pb
from services.gateway.edge import origin
from services.gateway.edge.clients import clients
from services.gateway.site.language import _
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("forgotten")


@pages.get("/forgot", access.ANYBODY)
def form(errors: forms.Problems = forms.NO_PROBLEMS, sent: bool = False) -> str:
    """Shows the form that requests the link; if it was `sent`, where to look for the link."""
    return render_template("forgot.html", errors=errors, sent=sent)


@pages.post("/forgot", access.ANYBODY, again=form)
def ask() -> str:
    """Requests the link.

    The answer depends neither on whose address was entered, nor on the number of requests.
    """
    origin.attach()
    clients().accounts.RequestPasswordReset(forms.filled(pb.RequestPasswordResetRequest()))
    return form(sent=True)


@pages.get("/reset", access.ANYBODY)
def choose(errors: forms.Problems = forms.NO_PROBLEMS, problem: str = "") -> str:
    """Shows the form for a new password. The link is not checked before the form is sent."""
    return render_template("reset.html", errors=errors, problem=problem)


@pages.post("/reset", access.ANYBODY, again=choose)
def change() -> access.Answer:
    """Changes the password, and redirects to the sign-in, which asks for any further factor."""
    if request.form.get("password", "") != request.form.get("again", ""):
        forms.refuse({"again": _("no es la misma que la de arriba")})
    rpc_request = pb.ResetPasswordRequest(
        token=forms.text("token"),
        password=request.form.get("password", ""),
        request_id=forms.request_id(),
    )
    try:
        clients().accounts.ResetPassword(rpc_request)
    except Unauthenticated:
        problem = _(
            "Este enlace no sirve: ya se usó, venció, hay uno más nuevo, o el código no está"
            " completo. Pida otro."
        )
        return choose(problem=problem), 401
    return redirect(url_for("signin.form", to=url_for("account.made"), done="password_reset"), 303)
