"""The public form by which an organisation applies for membership. The answer is the same whether it is known or not."""

from flask import render_template
from werkzeug.wrappers import Response

from chassis.errors import Exhausted, Invalid
from protos.partners.v1 import directory_pb2 as d
from services.gateway import access, forms, i18n
from services.gateway.clients import clients
from services.gateway.i18n import gettext as _

pages = access.Pages("join")


@pages.get("/join", access.ANYBODY)
def form() -> str:
    """The form."""
    return render_template("join.html", errors={}, problem="", answer=None)


@pages.post("/join", access.ANYBODY)
def apply() -> Response | str | tuple[str, int]:
    """Sends it, and says what comes next."""
    asked = forms.filled(d.ApplyForMembershipRequest(language=i18n.language(), request_id=forms.request_id()))
    try:
        answer = clients().directory.ApplyForMembership(asked)
    except Invalid as refusal:
        return render_template("join.html", errors=forms.problems(refusal), problem="", answer=None), 422
    except Exhausted:
        problem = _("Ahora llegan demasiados pedidos. No se guardó nada: pruebe mañana, o escriba a la coordinación de la red.")
        return render_template("join.html", errors={}, problem=problem, answer=None), 429
    return render_template("join.html", errors={}, problem="", answer=answer)
