"""The state of a request, looked up by its reference and PIN.

Reference and PIN are entered by the person who made the request, or by a worker to whom she gives
them.
"""

from collections.abc import Callable, Sequence

from flask import make_response, render_template
from werkzeug.wrappers import Response

from chassis.errors import Conflict, Exhausted, Invalid, Refusal, Unauthenticated
from protos.referrals.v1 import contacts_pb2 as c
from services.gateway.edge.clients import clients
from services.gateway.site.backend import devices
from services.gateway.site.language import _, words
from services.gateway.site.parts import forms


def show_status(
    ask: Callable[[], c.ReferenceStatus],
    say: Callable[[c.ReferenceStatus], str] = lambda status: "",
    *,
    again: Callable[[str, str], str],
    contact_of: Callable[[], str] = lambda: "",
    readings_of: Callable[[], Sequence[c.ReferenceReading] | None] = lambda: None,
) -> Response | tuple[str, int]:
    """Reads the state of a request with the form's reference and PIN, and renders it.

    `ask` reads the request, or acts on it, and returns its state; `say` describes the result. A
    wrong PIN and an unknown reference give the same answer. `again` renders the form again after a
    refusal. `contact_of` returns the id of the contact with this reference, if the reader may open
    it; `readings_of` returns the accesses to her data, if she asked for them.
    """
    reference, device = forms.text("reference"), devices.attach()
    try:
        contact_id = contact_of()
        status, text, errors = outcome_of(ask, say)
    except Exhausted as refusal:
        return again(problem_of(refusal), reference), 429
    except (Unauthenticated, Invalid) as refusal:
        return again(problem_of(refusal), reference), 401
    response = make_response(
        render_template(
            "my_status.html",
            status=status,
            reference=reference,
            pin=forms.text("pin"),
            confirmation=text,
            errors=errors,
            contact_id=contact_id,
            readings=readings_of(),
        )
    )
    devices.remember(response, device)
    return response


def outcome_of(
    ask: Callable[[], c.ReferenceStatus], say: Callable[[c.ReferenceStatus], str]
) -> tuple[c.ReferenceStatus, str, dict[str, str]]:
    """Returns the state, the result of `say`, and the problems if the action of `ask` was refused.

    Without the right PIN, raises the refusal instead.
    """
    try:
        status = ask()
        return status, say(status), {}
    except (Invalid, Conflict) as refusal:
        # The service rejects an incomplete form before it checks the PIN.
        return ask_status(), "", forms.problems(refusal)


def problem_of(refusal: Refusal) -> str:
    """Returns the text for a rejected reference and PIN.

    The text does not show whether the reference is unknown or the PIN is wrong.
    """
    if isinstance(refusal, Exhausted):
        return words.wait(refusal.retry_after)
    return _(
        "La referencia y el PIN no coinciden. Revise cada letra y número."
        " Tras varios intentos hay que esperar; mientras tanto puede llamar."
    )


def ask_status() -> c.ReferenceStatus:
    """Returns the state of the request with the form's reference and PIN."""
    return clients().references.GetReferenceStatus(forms.filled(c.GetReferenceStatusRequest()))
