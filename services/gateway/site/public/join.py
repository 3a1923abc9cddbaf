"""The form with which an organisation applies for membership, and the page that confirms it.

The answer is the same whether the organisation is known or not. An e-mail has a link to the second
page. The link's secret comes after its #, as in an invitation's link; without a script, the reader
pastes the secret from the e-mail.
"""

from flask import render_template

from chassis.errors import Exhausted, NotFound
from protos.partners.v1 import directory_pb2 as d
from services.gateway.edge import origin
from services.gateway.edge.clients import clients, send
from services.gateway.site.language import _, i18n
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("join")


@pages.get("/join", access.ANYBODY)
def form(
    errors: forms.Problems = forms.NO_PROBLEMS,
    problem: str = "",
    answer: d.ApplyForMembershipResponse | None = None,
) -> str:
    """Shows the application form; after an application, its `answer`."""
    return render_template("join.html", errors=errors, problem=problem, answer=answer)


@pages.post("/join", access.ANYBODY, again=form)
def apply() -> access.Answer:
    """Sends the application, and announces an e-mail."""
    origin.attach()
    request = forms.filled(
        d.ApplyForMembershipRequest(language=i18n.language(), request_id=forms.request_id())
    )
    try:
        return form(answer=clients().directory.ApplyForMembership(request))
    except Exhausted:
        problem = _(
            "Desde aquí, o con este correo, ya llegaron varios pedidos. No se guardó nada:"
            " pruebe en una hora, o escriba a la coordinación de la red."
        )
        return form(problem=problem), 429


@pages.get("/join/confirm", access.ANYBODY)
def opened(
    errors: forms.Problems = forms.NO_PROBLEMS,
    problem: str = "",
    answer: d.ConfirmApplicationResponse | None = None,
) -> str:
    """Shows the page to which the e-mail's link leads; after the confirmation, its `answer`.

    The link is not checked before the form is sent.
    """
    return render_template("join_confirm.html", errors=errors, problem=problem, answer=answer)


@pages.post("/join/confirm", access.ANYBODY, again=opened)
def confirm() -> str | tuple[str, int]:
    """Confirms the application, and shows what comes next."""
    try:
        return opened(answer=send(forms.filled(d.ConfirmApplicationRequest())))
    except NotFound:
        problem = _(
            "Este enlace no sirve: ya se usó, venció, o el código no está completo."
            " Si nunca lo abrió, llene el pedido otra vez."
        )
        return opened(problem=problem), 404
