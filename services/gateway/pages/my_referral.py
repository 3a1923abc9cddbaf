"""For the person herself: what became of her request, by reference and PIN. Plain words; never a partner's name or place.

Reference and PIN travel in forms only, never in an address, and are not kept: each step on this page sends them again.
"""

from collections.abc import Callable

from flask import Blueprint, make_response, render_template
from werkzeug.wrappers import Response

from chassis.errors import Conflict, Exhausted, Invalid, Unauthenticated
from protos.referrals.v1 import contacts_pb2 as c
from services.gateway import access, forms, origin, words
from services.gateway.clients import clients
from services.gateway.i18n import gettext as _
from services.gateway.i18n import ngettext

blueprint = Blueprint("my_referral", __name__)


@blueprint.get("/my-referral")
@access.public
def form() -> str:
    """The form."""
    return asked_again("", "")


def asked_again(problem: str, reference: str) -> str:
    """The form, with what was wrong."""
    return render_template("my_referral.html", problem=problem, reference=reference)


def answered(
    ask: Callable[[str, str], c.ReferenceStatus],
    say: Callable[[c.ReferenceStatus], str] = lambda status: "",
    *,
    again: Callable[[str, str], str] = asked_again,
    contact_of: Callable[[str, str], str] = lambda reference, pin: "",
) -> Response | tuple[str, int]:
    """Asks with what the form brought, and says what came of it; wrong and unknown sound the same. `again` shows the form it came from."""
    reference, pin, device = forms.text("reference"), forms.text("pin"), origin.device()
    origin.tell(device)
    try:
        status = ask(reference, pin)
        said = say(status)
    except (Unauthenticated, Invalid):
        problem = _(
            "La referencia y el PIN no coinciden. Revise cada letra y número. Tras varios intentos hay que esperar; mientras tanto puede llamar."
        )
        return again(problem, reference), 401
    except Exhausted as refusal:
        return again(words.wait(refusal.retry_after), reference), 429
    except Conflict as refusal:
        said, status = words.conflict(refusal.reason), ask_status(reference, pin)
    contact_id = contact_of(reference, pin)
    response = make_response(
        render_template("my_status.html", status=status, reference=reference, pin=pin, said=said, contact_id=contact_id)
    )
    origin.remember(response, device)
    return response


def ask_status(reference: str, pin: str) -> c.ReferenceStatus:
    """How things stand."""
    return clients().references.GetReferenceStatus(c.GetReferenceStatusRequest(reference=reference, pin=pin))


@blueprint.post("/my-referral")
@access.public
def status() -> Response | tuple[str, int]:
    """How things stand, in plain words."""
    return answered(ask_status)


@blueprint.post("/my-referral/confirm")
@access.public
def confirm() -> Response | tuple[str, int]:
    """Says whether help came."""
    came = forms.text("help_came") == "yes"

    def ask(reference: str, pin: str) -> c.ReferenceStatus:
        return clients().references.ConfirmHelp(
            c.ConfirmHelpRequest(reference=reference, pin=pin, help_came=came, request_id=forms.request_id())
        )

    thanks = _("Gracias por decirlo.") if came else _("Gracias por decirlo. Ya avisamos de que la ayuda no le llegó.")
    return answered(ask, lambda status: thanks)


@blueprint.post("/my-referral/withdraw")
@access.public
def withdraw() -> Response | tuple[str, int]:
    """Takes back every consent."""

    def ask(reference: str, pin: str) -> c.ReferenceStatus:
        return clients().references.WithdrawConsentByReference(
            c.WithdrawConsentByReferenceRequest(reference=reference, pin=pin, request_id=forms.request_id())
        )

    return answered(ask, withdrawn)


def withdrawn(status: c.ReferenceStatus) -> str:
    """What her withdrawal came to: what is said follows from how things stand after it."""
    if status.organizations_with_access:
        return ngettext(
            "Se retiró su permiso, pero %(num)d organización todavía puede abrir sus datos. Llame a la línea para que la ayuden a cerrarlo.",
            "Se retiró su permiso, pero %(num)d organizaciones todavía pueden abrir sus datos. Llame a la línea para que la ayuden a cerrarlo.",
            status.organizations_with_access,
        )
    if status.file_count:
        return _("Listo: ninguna otra organización puede abrir ya sus datos. Quien abrió su expediente lo conserva y lo puede leer.")
    return _("Listo: sus datos no están compartidos con ninguna organización. La línea conserva la nota de su llamada.")
