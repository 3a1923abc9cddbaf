"""Erasing a file: the proposal, the second person, and the proof."""

from flask import render_template

from chassis.errors import NotFound
from protos.referrals.v1 import erasures_pb2 as p
from protos.referrals.v1 import people_pb2
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names, people
from services.gateway.site.language import i18n
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("erasures")


@pages.get("/people/erasures", access.CARE)
def listing() -> str:
    """What waits for a second person."""
    return render_template("erasures.html", erasures=people.waiting_erasures())


@pages.get("/people/<identifier>/erasure", access.CARE)
def show(identifier: str) -> str:
    """How it stands; the proof, to read and to print."""
    return render({}, identifier)


def render(errors: dict[str, str], identifier: str) -> str:
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


@pages.post(
    "/people/<identifier>/erasure",
    access.CARE,
    again=render,
    then="erasures.show",
    done="erasure_proposed",
)
def propose(identifier: str) -> None:
    """Proposes it; nothing changes yet."""
    clients().erasures.ProposeErasure(
        p.ProposeErasureRequest(person_id=identifier, request_id=forms.request_id())
    )


@pages.post(
    "/people/<identifier>/erasure/confirm",
    access.CARE,
    again=render,
    then="erasures.show",
    done="erased",
)
def confirm(identifier: str) -> None:
    """Agrees as a second person: it is done."""
    clients().erasures.ConfirmErasure(
        p.ConfirmErasureRequest(person_id=identifier, request_id=forms.request_id())
    )
