"""The state of a request by its reference and PIN.

The person who made the request enters both, or a worker to whom she tells them.
"""

from collections.abc import Callable

from flask import make_response, render_template
from werkzeug.wrappers import Response

from chassis.errors import Conflict, Exhausted, Invalid, Refusal, Unauthenticated
from protos.referrals.v1 import contacts_pb2 as c
from services.gateway.edge import origin
from services.gateway.edge.clients import clients
from services.gateway.site.language import words
from services.gateway.site.language.i18n import _
from services.gateway.site.parts import forms


def answered(
    ask: Callable[[str, str], c.ReferenceStatus],
    say: Callable[[c.ReferenceStatus], str] = lambda status: "",
    *,
    again: Callable[[str, str], str],
    contact_of: Callable[[str, str], str] = lambda reference, pin: "",
    readings_of: Callable[[str, str], list[c.ReferenceReading] | None] = lambda reference, pin: (
        None
    ),
) -> Response | tuple[str, int]:
    """Reads the state of a request with the form's reference and PIN, and renders it.

    `say` acts on the request, and its result stands on the page. A wrong PIN and an unknown
    reference give the same answer. `again` renders the form again after a refusal.
    """
    reference, pin, device = forms.text("reference"), forms.text("pin"), origin.device()
    origin.tell(device)
    try:
        status, text, refused = outcome_of(ask, say, reference, pin)
    except Exhausted as refusal:
        return again(problem_of(refusal), reference), 429
    except (Unauthenticated, Invalid) as refusal:
        return again(problem_of(refusal), reference), 401
    response = make_response(
        render_template(
            "my_status.html",
            status=status,
            reference=reference,
            pin=pin,
            said=text,
            refused=refused,
            contact_id=contact_of(reference, pin),
            readings=readings_of(reference, pin),
        )
    )
    origin.remember(response, device)
    return response


def outcome_of(
    ask: Callable[[str, str], c.ReferenceStatus],
    say: Callable[[c.ReferenceStatus], str],
    reference: str,
    pin: str,
) -> tuple[c.ReferenceStatus, str, bool]:
    """Returns the state, the result of `say`, and whether `say` was refused.

    None of the three is returned without a right PIN.
    """
    try:
        status = ask(reference, pin)
        return status, say(status), False
    except (
        Invalid,
        Conflict,
    ) as refusal:  # The service rejects an incomplete form before it checks the PIN.
        return ask_status(reference, pin), "; ".join(forms.problems(refusal).values()), True


def problem_of(refusal: Refusal) -> str:
    """Returns the text for a rejected reference and PIN, the same for wrong and unknown."""
    if isinstance(refusal, Exhausted):
        return words.wait(refusal.retry_after)
    return _(
        "La referencia y el PIN no coinciden. Revise cada letra y número."
        " Tras varios intentos hay que esperar; mientras tanto puede llamar."
    )


def ask_status(reference: str, pin: str) -> c.ReferenceStatus:
    """Returns the state of a request."""
    return clients().references.GetReferenceStatus(
        c.GetReferenceStatusRequest(reference=reference, pin=pin)
    )
