"""One step for several referrals at once.

The step is taken for each referral separately, on the version that the list showed. The page shows
the result for each referral, so that no failure is lost in a total.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import redirect, render_template, request, url_for

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
from services.gateway.edge.clients import ServiceFault, clients
from services.gateway.site.backend import directory, names, referrals
from services.gateway.site.language import _, words
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("several")

MOST = 50  # maximum number of rows; one page of a list has no more


@dataclass(frozen=True)
class TickedRow:
    """A ticked row: the referral, and the version that the list showed."""

    id: str
    etag: str

    @property
    def request_id(self) -> str:
        """Returns the request id for the row.

        The id stays the same if the form is sent again, and differs from row to row.
        """
        return f"{forms.request_id()}-{self.id}"


@dataclass(frozen=True)
class StepResult:
    """The result for one referral.

    `why` is the reason if the step was not taken, else "". `referral` is the referral as it is now;
    None if it cannot be read.
    """

    id: str
    referral: r.Referral | None
    why: str = ""


def ticked_rows() -> list[TickedRow]:
    """Returns the ticked rows, each once; only one row if that row's own button was pressed."""
    ticked = [request.form["only"]] if request.form.get("only") else request.form.getlist("chosen")
    rows = [TickedRow(*value.partition(":")[::2]) for value in dict.fromkeys(ticked)]
    return [row for row in rows if row.id and row.etag][:MOST]


def take(step: Callable[[Any], r.Referral], rpc_request: Any) -> StepResult:
    """Takes the step for one referral. A refusal does not stop the steps for the others.

    If the session ends in the meantime, the form is offered again after the sign-in; the request
    ids prevent a step from being taken twice.
    """
    try:
        return StepResult(rpc_request.id, step(rpc_request))
    except Unauthenticated:
        raise
    except (Refusal, ServiceFault) as error:
        return StepResult(rpc_request.id, fetch_if_readable(rpc_request.id), reason(error))


def fetch_if_readable(identifier: str) -> r.Referral | None:
    """Returns a referral whose step was refused, as it is now.

    Returns None if the referral cannot be read; the result is shown all the same.
    """
    try:
        return referrals.fetch(identifier)
    except (Refusal, ServiceFault):
        return None


def reason(error: Exception) -> str:
    """Returns a text with the reason for a failure and with what to do."""
    match error:
        case Stale():
            return _("Cambió mientras tanto. Mire cómo está y decida de nuevo.")
        case Conflict():
            return words.conflict(error.reason, error.about)
        case NotFound() | NotAllowed():
            return _("Ya no está a su alcance.")
        case Reused():
            return _("Ya se había enviado, con otros datos. Mire cómo está.")
        case Invalid():
            return "; ".join(words.violation(why, path) for path, why in error.violations)
        case Exhausted():
            return words.wait(error.retry_after)
        case Unavailable() if error.reason not in ("service_unreachable", "deadline_exceeded"):
            return _("Una parte del sistema no responde. No se hizo nada; pruebe en un minuto.")
    return _("No se sabe si se hizo: la respuesta no llegó. Mire cómo está antes de repetirlo.")


def results_page(step: str, done: list[StepResult], back: str) -> str:
    """Renders the page with the result for each referral; failures come first."""
    try:
        known = names.names_of(outcome.referral for outcome in done if outcome.referral is not None)
    except (Unavailable, ServiceFault):
        known = names.Names()  # the results are shown without names
    return render_template(
        "several.html",
        step=step,
        outcomes=sorted(done, key=lambda outcome: not outcome.why),
        failed=sum(1 for outcome in done if outcome.why),
        back=back,
        names=known,
    )


@pages.post("/board/several", access.NETWORK)
def board() -> access.Answer:
    """Sends reminders at once; before re-routing, lets the coordinator choose services."""
    rows = ticked_rows()
    if not rows:
        return redirect(url_for("board.board", nothing=1, _anchor="queue"), 303)
    if request.form.get("step") == "reroute":
        return choose(rows)
    requests = [
        r.RemindReferralRequest(id=row.id, etag=row.etag, request_id=row.request_id) for row in rows
    ]
    remind = clients().referrals.RemindReferral
    return results_page(
        "remind", [take(remind, rpc_request) for rpc_request in requests], url_for("board.board")
    )


def choose(rows: list[TickedRow]) -> str:
    """Shows, for each referral, services that may fit, the best first. Nothing is changed yet."""
    referrals = [referral for row in rows if (referral := fetch_if_readable(row.id)) is not None]
    offers = {
        referral.id: directory.alternatives(referral) if "reroute" in referral.allowed_verbs else []
        for referral in referrals
    }
    return render_template(
        "several_reroute.html", referrals=referrals, offers=offers, names=names.names_of(referrals)
    )


@pages.post("/board/several/reroute", access.NETWORK)
def reroute() -> access.Answer:
    """Re-routes each referral for which a service was chosen."""
    services = {row.id: forms.text(f"service.{row.id}") for row in ticked_rows()}
    rows = [row for row in ticked_rows() if services[row.id]]
    if not rows:
        return redirect(url_for("board.board", nothing=1, _anchor="queue"), 303)
    requests = [
        r.RerouteReferralRequest(
            id=row.id, etag=row.etag, service_id=services[row.id], request_id=row.request_id
        )
        for row in rows
    ]
    reroute = clients().referrals.RerouteReferral
    return results_page(
        "reroute", [take(reroute, rpc_request) for rpc_request in requests], url_for("board.board")
    )


@pages.post("/referrals/assign", access.MANAGERS)
def assign() -> access.Answer:
    """Makes one worker, or the desk as a whole, responsible for the chosen referrals.

    The worker belongs to the reader's organisation.
    """
    rows, worker = ticked_rows(), forms.text("responsible_worker_id")
    if not rows:
        return redirect(url_for("referral.listing", box="inbox", nothing=1), 303)
    requests = [
        r.AssignReferralRequest(
            id=row.id, etag=row.etag, responsible_worker_id=worker, request_id=row.request_id
        )
        for row in rows
    ]
    done = [take(clients().referrals.AssignReferral, rpc_request) for rpc_request in requests]
    return results_page("assign", done, url_for("referral.listing", box="inbox"))
