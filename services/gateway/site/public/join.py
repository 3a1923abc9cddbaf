"""The form with which an organisation applies for membership, and the page that confirms it.

The answer is the same whether the organisation is known or not. An e-mail has a link to the second
page. The link's secret comes after its #, as in an invitation's link; without a script, the reader
pastes the secret from the e-mail.
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
    """Shows the application form."""
    return render_template("join.html", errors={}, problem="", answer=None)


@pages.post("/join", access.ANYBODY)
def apply() -> access.Answer:
    """Sends the application, and announces an e-mail."""
    origin.attach()
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
    """Shows the page to which the e-mail's link leads.

    The link is not checked before the form is sent.
    """
    return render_template("join_confirm.html", errors={}, problem="", answer=None)


@pages.post("/join/confirm", access.ANYBODY)
def confirm() -> str | tuple[str, int]:
    """Confirms the application, and shows what comes next."""
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
