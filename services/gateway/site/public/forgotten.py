"""A forgotten password: asking for a link says the same whatever the address is, and the secret of
the link stands behind its #, as an invitation's does.
"""

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.errors import Invalid, Unauthenticated
from protos.partners.v1 import accounts_pb2 as pb
from services.gateway.edge import origin
from services.gateway.edge.clients import clients
from services.gateway.site.language.i18n import _
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("forgotten")


@pages.get("/forgot", access.ANYBODY)
def form() -> str:
    """Where the link is asked for."""
    return render_template("forgot.html", errors={}, sent=False)


@pages.post("/forgot", access.ANYBODY)
def ask() -> str | tuple[str, int]:
    """Asks for it.

    What is said does not depend on whose address it is, or on how often it was asked for.
    """
    origin.tell()
    try:
        clients().accounts.RequestPasswordReset(
            pb.RequestPasswordResetRequest(email=forms.text("email"), request_id=forms.request_id())
        )
    except Invalid as refusal:
        return render_template("forgot.html", errors=forms.problems(refusal), sent=False), 422
    return render_template("forgot.html", errors={}, sent=True)


@pages.get("/reset", access.ANYBODY)
def choose() -> str:
    """Where another password is chosen; whether the link is good is not looked at before it is
    sent.
    """
    return render_template("reset.html", errors={}, problem="")


@pages.post("/reset", access.ANYBODY)
def change() -> Response | tuple[str, int]:
    """Changes it, and leads to the sign-in, which asks for the rest."""
    if request.form.get("password", "") != request.form.get("again", ""):
        return render_template(
            "reset.html", errors={"again": _("no es la misma que la de arriba")}, problem=""
        ), 422
    question = pb.ResetPasswordRequest(
        token=forms.text("token"),
        password=request.form.get("password", ""),
        request_id=forms.request_id(),
    )
    try:
        clients().accounts.ResetPassword(question)
    except Unauthenticated:
        problem = _(
            "Este enlace no sirve: ya se usó, venció, hay uno más nuevo, o el código no está"
            " completo. Pida otro."
        )
        return render_template("reset.html", errors={}, problem=problem), 401
    except Invalid as refusal:
        return render_template("reset.html", errors=forms.problems(refusal), problem=""), 422
    return redirect(url_for("signin.form", to=url_for("made.show"), done="password_reset"), 303)
