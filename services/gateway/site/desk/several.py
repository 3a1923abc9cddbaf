"""One step for several referrals at once.

Each is asked for by itself, on the version that was seen, and what became of each is said: no row
is lost in a sum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

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
from services.gateway.site.language import words
from services.gateway.site.language.i18n import _
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("several")

MOST = 50  # a page of a list


@dataclass(frozen=True)
class Chosen:
    """A row that was ticked: the referral, and the version that the list showed."""

    id: str
    etag: str

    @property
    def request_id(self) -> str:
        """The same for each time this form is sent, another for each row of it."""
        return f"{forms.request_id()}-{self.id}"


@dataclass(frozen=True)
class Done:
    """What became of one: `why` it was not done, empty if it was; the referral as it is now, None
    if that can't be had.
    """

    id: str
    referral: r.Referral | None
    why: str = ""


def chosen() -> list[Chosen]:
    """The rows of the form, each once; or the one whose own button was pressed."""
    ticked = [request.form["only"]] if request.form.get("only") else request.form.getlist("chosen")
    rows = [Chosen(*each.partition(":")[::2]) for each in dict.fromkeys(ticked)]
    return [row for row in rows if row.id and row.etag][:MOST]


def each(rows: Sequence[Chosen], take: Callable[[Chosen], r.Referral]) -> list[Done]:
    """Takes the step for one after another; a no to one keeps no other from it.

    When the session ends meanwhile the form is offered again behind the sign-in, and by its request
    ids nothing is done twice.
    """
    done = list[Done]()
    for row in rows:
        try:
            done.append(Done(row.id, take(row)))
        except Unauthenticated:
            raise
        except (Refusal, ServiceFault) as error:
            done.append(Done(row.id, now(row.id), reason(error)))
    return done


def now(identifier: str) -> r.Referral | None:
    """How a referral stands that was not moved; what is said of it is worth showing without."""
    try:
        return referrals.fetch(identifier)
    except (Refusal, ServiceFault):
        return None


def reason(error: Exception) -> str:
    """Why one was not done, and what to do."""
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


def said(step: str, done: list[Done], back: str) -> str:
    """The page that says what became of each, those that were not done first."""
    try:
        known = names.names_of(one.referral for one in done if one.referral is not None)
    except (Unavailable, ServiceFault):
        known = names.Names()  # what was done is said without them
    listed = sorted(done, key=lambda one: not one.why)
    return render_template(
        "several.html",
        step=step,
        outcomes=listed,
        failed=sum(1 for one in done if one.why),
        back=back,
        names=known,
    )


@pages.post("/board/several", access.NETWORK)
def board() -> Response | str:
    """Reminds at once; of those that are to be asked of another service each is chosen first."""
    rows = chosen()
    if not rows:
        return redirect(url_for("board.board", nothing=1, _anchor="queue"), 303)
    if request.form.get("step") == "reroute":
        return choose(rows)

    def take(row: Chosen) -> r.Referral:
        return clients().referrals.RemindReferral(
            r.RemindReferralRequest(id=row.id, etag=row.etag, request_id=row.request_id)
        )

    return said("remind", each(rows, take), url_for("board.board"))


def choose(rows: list[Chosen]) -> str:
    """For each the services that may fit, the best first; nothing is done yet."""
    referrals = [referral for row in rows if (referral := now(row.id)) is not None]
    offers = {
        referral.id: directory.alternatives(referral) if "reroute" in referral.allowed_verbs else []
        for referral in referrals
    }
    return render_template(
        "several_reroute.html", referrals=referrals, offers=offers, names=names.names_of(referrals)
    )


@pages.post("/board/several/reroute", access.NETWORK)
def reroute() -> Response | str:
    """Asks another service for each for which one was chosen."""
    services = {row.id: forms.text(f"service.{row.id}") for row in chosen()}
    rows = [row for row in chosen() if services[row.id]]
    if not rows:
        return redirect(url_for("board.board", nothing=1, _anchor="queue"), 303)

    def take(row: Chosen) -> r.Referral:
        asked = r.RerouteReferralRequest(
            id=row.id, etag=row.etag, service_id=services[row.id], request_id=row.request_id
        )
        return clients().referrals.RerouteReferral(asked)

    return said("reroute", each(rows, take), url_for("board.board"))


@pages.post("/referrals/assign", access.MANAGERS)
def assign() -> Response | str:
    """Has one worker of the reader's organisation answer for what it received, or its desk."""
    rows, worker = chosen(), forms.text("responsible_worker_id")
    if not rows:
        return redirect(url_for("referral.listing", box="inbox", nothing=1), 303)

    def take(row: Chosen) -> r.Referral:
        asked = r.AssignReferralRequest(
            id=row.id, etag=row.etag, responsible_worker_id=worker, request_id=row.request_id
        )
        return clients().referrals.AssignReferral(asked)

    return said("assign", each(rows, take), url_for("referral.listing", box="inbox"))
