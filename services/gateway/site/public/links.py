"""Pages to which the links in e-mails lead, and the forms that request such an e-mail.

The links are those of an invitation, of a forgotten password, and of an organisation's application
for membership. A link's secret comes after its #, so that the browser never sends it in a URL. A
script copies the secret into the form and removes it from the address bar; without a script, the
reader types the secret, or pastes it from the e-mail. No link is checked before the form is sent.
The answer to a request is the same for every e-mail address and organisation, known or not.
"""

from flask import redirect, render_template, request, url_for

from chassis.errors import Conflict, Exhausted, NotFound, Unauthenticated
from protos.partners.v1 import accounts_pb2 as a
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1.members_pb2 import AcceptInvitationRequest
from services.gateway.edge import origin
from services.gateway.edge.clients import send
from services.gateway.site.backend import devices
from services.gateway.site.language import _, i18n
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("links")


@pages.get("/invitation", access.ANYBODY)
def invitation(errors: forms.Problems = forms.NO_PROBLEMS, problem: str = "") -> str:
    """Shows the form with which an invited person opens her account."""
    return render_template("invitation.html", errors=errors, problem=problem)


@pages.post("/invitation", access.ANYBODY, again=invitation)
def accept_invitation() -> access.Answer:
    """Opens the account, and redirects to the sign-in. The device is the account's first."""
    device = devices.attach()
    try:
        send(forms.filled(AcceptInvitationRequest()))
    except Unauthenticated:
        return invitation(
            problem=_(
                "Esta invitación no sirve: ya se usó, venció, o el código no está completo. Pida"
                " otra a quien se la envió."
            )
        ), 401
    except Conflict as refusal:
        return invitation(problem=forms.problems(refusal)["_form"]), 409
    response = redirect(url_for("signin.form", done="account"), 303)
    devices.remember(response, device)
    return response


@pages.get("/forgot", access.ANYBODY)
def forgotten(errors: forms.Problems = forms.NO_PROBLEMS, sent: bool = False) -> str:
    """Shows the form that requests a link for a new password.

    If `sent`, shows where the reader should look for the link instead.
    """
    return render_template("forgot.html", errors=errors, sent=sent)


@pages.post("/forgot", access.ANYBODY, again=forgotten)
def ask_for_reset() -> str:
    """Requests the link.

    The answer is the same for every e-mail address, and for any number of requests.
    """
    origin.attach()
    send(forms.filled(a.RequestPasswordResetRequest()))
    return forgotten(sent=True)


@pages.get("/reset", access.ANYBODY)
def reset(errors: forms.Problems = forms.NO_PROBLEMS, problem: str = "") -> str:
    """Shows the form for a new password."""
    return render_template("reset.html", errors=errors, problem=problem)


@pages.post("/reset", access.ANYBODY, again=reset)
def change_password() -> access.Answer:
    """Changes the password, and redirects to the sign-in, which asks for any further factor."""
    if request.form.get("password", "") != request.form.get("again", ""):
        forms.refuse({"again": _("no es la misma que la de arriba")})
    try:
        send(forms.filled(a.ResetPasswordRequest()))
    except Unauthenticated:
        return reset(
            problem=_(
                "Este enlace no sirve: ya se usó, venció, hay uno más nuevo, o el código no está"
                " completo. Pida otro."
            )
        ), 401
    return redirect(url_for("signin.form", to=url_for("account.made"), done="password_reset"), 303)


@pages.get("/join", access.ANYBODY)
def join(
    errors: forms.Problems = forms.NO_PROBLEMS,
    problem: str = "",
    answer: d.ApplyForMembershipResponse | None = None,
) -> str:
    """Shows the application form; after an application, its `answer`."""
    return render_template("join.html", errors=errors, problem=problem, answer=answer)


@pages.post("/join", access.ANYBODY, again=join)
def apply() -> access.Answer:
    """Sends the application, and announces an e-mail."""
    origin.attach()
    try:
        return join(
            answer=send(forms.filled(d.ApplyForMembershipRequest(language=i18n.language())))
        )
    except Exhausted:
        return join(
            problem=_(
                "Desde aquí, o con este correo, ya llegaron varios pedidos. No se guardó nada:"
                " pruebe en una hora."
            )
        ), 429


@pages.get("/join/confirm", access.ANYBODY)
def join_confirm(
    errors: forms.Problems = forms.NO_PROBLEMS,
    problem: str = "",
    answer: d.ConfirmApplicationResponse | None = None,
) -> str:
    """Shows the page that confirms an application; after the confirmation, its `answer`."""
    return render_template("join_confirm.html", errors=errors, problem=problem, answer=answer)


@pages.post("/join/confirm", access.ANYBODY, again=join_confirm)
def confirm_application() -> access.Answer:
    """Confirms the application, and shows what comes next."""
    try:
        return join_confirm(answer=send(forms.filled(d.ConfirmApplicationRequest())))
    except NotFound:
        return join_confirm(
            problem=_(
                "Este enlace no sirve: ya se usó, venció, o el código no está completo."
                " Si nunca lo abrió, llene el pedido otra vez."
            )
        ), 404
