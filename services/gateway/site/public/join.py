"""The form by which an organisation applies for membership, and the page of its letter.

The answer is the same whether the organisation is known or not. The secret of the letter's link
stands behind its #, as that of an invitation does; without a script it is pasted from the letter.
"""

from flask import render_template

from chassis.errors import Exhausted, Invalid, NotFound
from protos.partners.v1 import directory_pb2 as d
from services.gateway.edge import origin
from services.gateway.edge.clients import clients
from services.gateway.site.language import _, i18n
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("join")


@pages.get("/join", access.ANYBODY)
def form() -> str:
    """Shows the form."""
    return render_template("join.html", errors={}, problem="", answer=None)


@pages.post("/join", access.ANYBODY)
def apply() -> access.Answer:
    """Sends the application, and says that a letter is on its way."""
    origin.tell()
    request = forms.filled(
        d.ApplyForMembershipRequest(language=i18n.language(), request_id=forms.request_id())
    )
    try:
        answer = clients().directory.ApplyForMembership(request)
    except Invalid as refusal:
        return render_template(
            "join.html", errors=forms.problems(refusal), problem="", answer=None
        ), 422
    except Exhausted:
        problem = _(
            "Desde aquí, o con este correo, ya llegaron varios pedidos. No se guardó nada:"
            " pruebe en una hora, o escriba a la coordinación de la red."
        )
        return render_template("join.html", errors={}, problem=problem, answer=None), 429
    return render_template("join.html", errors={}, problem="", answer=answer)


@pages.get("/join/confirm", access.ANYBODY)
def opened() -> str:
    """Shows the page of the letter's link. The link is not checked before the form is sent."""
    return render_template("join_confirm.html", errors={}, problem="", answer=None)


@pages.post("/join/confirm", access.ANYBODY)
def confirm() -> str | tuple[str, int]:
    """Confirms the application, and says what comes next."""
    try:
        answer = clients().directory.ConfirmApplication(
            d.ConfirmApplicationRequest(token=forms.text("token"), request_id=forms.request_id())
        )
    except NotFound:
        problem = _(
            "Este enlace no sirve: ya se usó, venció, o el código no está completo."
            " Si nunca lo abrió, llene el pedido otra vez."
        )
        return render_template("join_confirm.html", errors={}, problem=problem, answer=None), 404
    except Invalid as refusal:
        return render_template(
            "join_confirm.html", errors=forms.problems(refusal), problem="", answer=None
        ), 422
    return render_template("join_confirm.html", errors={}, problem="", answer=answer)
