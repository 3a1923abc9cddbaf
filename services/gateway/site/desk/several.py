"""One step for several referrals at once.

The step is taken for each referral separately, on the version that the list showed. The page shows
the result for each referral, so that no failure is lost in a total.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask import redirect, render_template, request, url_for
from google.protobuf.message import Message

from chassis.errors import (
    Conflict,
    Exhausted,
    Invalid,
    NotAllowed,
    NotFound,
    Refusal,
    Reused,
    Stale,
    Unauthenticated,
    Unavailable,
)
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import ServiceFault, send
from services.gateway.site.backend import answer_or, directory, names
from services.gateway.site.language import _
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("several")

MAX_ROWS = 50  # one page of a list has no more rows
StepResult = tuple[str, r.Referral | None, str]
"""The result for one referral: its id, the referral as it is now, and why the step was not taken.

The referral is None if it cannot be read. The reason is "" if the step was taken.
"""


def ticked_rows() -> list[dict[str, Any]]:
    """Returns the ticked rows, each once; only one row if that row's own button was pressed.

    A row has the fields of a step's request: the id, the version that the list showed, and a
    request id, which stays the same if the form is sent again.
    """
    ticked_values = (
        [request.form["only"]] if request.form.get("only") else request.form.getlist("chosen")
    )
    return [
        {"id": id, "etag": etag, "request_id": f"{forms.text('request_id')}-{id}"}
        for id, _colon, etag in (value.partition(":") for value in dict.fromkeys(ticked_values))
        if id and etag
    ][:MAX_ROWS]


def take(step: Any) -> StepResult:
    """Takes the step for one referral. A refusal does not stop the steps for the others.

    If the session ends in the meantime, the form is offered again after the sign-in; the request
    ids prevent a step from being taken twice.
    """
    try:
        return step.id, send(step), ""
    except Unauthenticated:
        raise
    except (Refusal, ServiceFault) as error:
        return step.id, fetch_if_readable(step.id), reason(error)


def fetch_if_readable(identifier: str) -> r.Referral | None:
    """Returns a referral whose step was refused, as it is now.

    Returns None if the referral cannot be read; the result is shown all the same.
    """
    return answer_or(None, r.GetReferralRequest(id=identifier), Refusal, ServiceFault)


def reason(error: Exception) -> str:
    """Returns a text that says why a step failed, and what to do."""
    match error:
        case Stale():
            return _("Cambió mientras tanto. Mire cómo está y decida de nuevo.")
        case NotFound() | NotAllowed():
            return _("Ya no está a su alcance.")
        case Reused():
            return _("Ya se había enviado, con otros datos. Mire cómo está.")
        case Conflict() | Invalid() | Exhausted():
            return "; ".join(forms.problems(error).values())
        case Unavailable() if error.reason not in ("service_unreachable", "deadline_exceeded"):
            return _("Una parte del sistema no responde. No se hizo nada; pruebe en un minuto.")
    return _("No se sabe si se hizo: la respuesta no llegó. Mire cómo está antes de repetirlo.")


def results_page(
    verb: str, steps: Sequence[Message], endpoint: str, anchor: str | None = None, **filters: Any
) -> access.Answer:
    """Takes the steps, and renders the page with each result; failures come first.

    `endpoint`, `anchor` and `filters` name the list with the rows. Without steps, redirects to it.
    """
    if not steps:
        return redirect(url_for(endpoint, **filters, nothing=1, _anchor=anchor), 303)
    results = [take(step) for step in steps]
    try:
        page_names = names.names_of(
            referral for _id, referral, _failure in results if referral is not None
        )
    except (Unavailable, ServiceFault):
        page_names = names.Names()  # the results are shown without names
    return render_template(
        "several.html",
        step=verb,
        outcomes=sorted(results, key=lambda result: not result[2]),
        failed=sum(1 for _id, _referral, failure in results if failure),
        back=url_for(endpoint, **filters),
        names=page_names,
    )


@pages.post("/board/several", access.NETWORK)
def board() -> access.Answer:
    """Sends reminders at once; before re-routing, lets the coordinator choose services."""
    rows = ticked_rows()
    if rows and request.form.get("step") == "reroute":
        return choose(rows)
    return results_page(
        "remind", [r.RemindReferralRequest(**row) for row in rows], "board.board", anchor="queue"
    )


def choose(rows: Iterable[Mapping[str, Any]]) -> str:
    """Shows, for each referral, services that may fit, the best first. Nothing is changed yet."""
    referrals = [referral for row in rows if (referral := fetch_if_readable(row["id"])) is not None]
    return render_template(
        "several_reroute.html",
        referrals=referrals,
        offers={
            referral.id: directory.alternatives(referral)
            if "reroute" in referral.allowed_verbs
            else []
            for referral in referrals
        },
        names=names.names_of(referrals),
    )


@pages.post("/board/several/reroute", access.NETWORK)
def reroute() -> access.Answer:
    """Re-routes each referral for which a service was chosen."""
    steps = [
        r.RerouteReferralRequest(**row, service_id=service_id)
        for row in ticked_rows()
        if (service_id := forms.text(f"service.{row['id']}"))
    ]
    return results_page("reroute", steps, "board.board", anchor="queue")


@pages.post("/referrals/several/assign", access.MANAGERS)
def assign() -> access.Answer:
    """Makes one worker, or the desk as a whole, responsible for the chosen referrals.

    The worker belongs to the reader's organisation.
    """
    steps = [
        r.AssignReferralRequest(**row, responsible_worker_id=forms.text("responsible_worker_id"))
        for row in ticked_rows()
    ]
    return results_page("assign", steps, "referral.listing", box="inbox")
