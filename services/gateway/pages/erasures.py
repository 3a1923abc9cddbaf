"""Erasing a file: the proposal, the second person, and the proof."""

from collections.abc import Callable

from flask import Blueprint, redirect, render_template, url_for
from werkzeug.wrappers import Response

from chassis.errors import NotFound
from protos.referrals.v1 import erasures_pb2 as p
from protos.referrals.v1 import people_pb2
from services.gateway import access, forms, i18n, names, session
from services.gateway.clients import clients

blueprint = Blueprint("erasures", __name__)


@blueprint.get("/people/erasures")
@access.open_to(access.CARE)
def listing() -> str:
    """What waits for a second person."""
    return render_template("erasures.html", erasures=clients().erasures.ListErasures(p.ListErasuresRequest()).erasures)


@blueprint.get("/people/<identifier>/erasure")
@access.open_to(access.CARE)
def show(identifier: str) -> str:
    """How it stands; the proof, to read and to print."""
    return render(identifier, {})


def render(identifier: str, errors: dict[str, str]) -> str:
    """The page; whether a second person is asked for depends on who reads it."""
    file = clients().people.GetPerson(people_pb2.GetPersonRequest(id=identifier))
    try:
        erasure = clients().erasures.GetErasure(p.GetErasureRequest(person_id=identifier))
    except NotFound:
        erasure = p.Erasure()
    return render_template(
        "erasure.html",
        file=file,
        erasure=erasure,
        errors=errors,
        waits=i18n.moment(erasure.confirm_until_time) is not None,
        mine=erasure.proposed_by_worker_id == session.me().worker_id,
        names=names.names((), (), {erasure.proposed_by_worker_id, erasure.confirmed_by_worker_id}),
    )


@blueprint.post("/people/<identifier>/erasure")
@access.open_to(access.CARE)
def propose(identifier: str) -> Response | tuple[str, int]:
    """Proposes it; nothing changes yet."""
    question = p.ProposeErasureRequest(person_id=identifier, request_id=forms.request_id())
    return _asked(identifier, lambda: clients().erasures.ProposeErasure(question), "erasure_proposed")


@blueprint.post("/people/<identifier>/erasure/confirm")
@access.open_to(access.CARE)
def confirm(identifier: str) -> Response | tuple[str, int]:
    """Agrees as a second person: it is done."""
    question = p.ConfirmErasureRequest(person_id=identifier, request_id=forms.request_id())
    return _asked(identifier, lambda: clients().erasures.ConfirmErasure(question), "erased")


def _asked(identifier: str, act: Callable[[], object], done: str) -> Response | tuple[str, int]:
    try:
        act()
    except forms.SHOWN_IN_PLACE as refusal:
        return render(identifier, forms.problems(refusal)), 422
    return redirect(url_for("erasures.show", identifier=identifier, done=done), 303)
