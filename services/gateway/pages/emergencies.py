"""Emergency accesses, as whoever holds the file, or checks the network, reviews them."""

from flask import Blueprint, redirect, render_template, url_for
from werkzeug.wrappers import Response

from protos.referrals.v1 import emergencies_pb2 as em
from services.gateway import access, forms, names
from services.gateway.clients import clients

blueprint = Blueprint("emergencies", __name__)


@blueprint.get("/emergencies/<identifier>")
@access.open_to(access.CARE | access.NETWORK | access.AUDITORS)
def show(identifier: str) -> str:
    """One, with what was written of it for those who may read that: it is on record."""
    return render(identifier, {})


def render(identifier: str, errors: dict[str, str]) -> str:
    """The page, with a review that came back."""
    one = clients().emergencies.GetEmergency(em.GetEmergencyRequest(id=identifier))
    return render_template("emergency.html", one=one, names=names.names({one.organization_id}), errors=errors)


@blueprint.post("/emergencies/<identifier>")
@access.open_to(access.CARE | access.AUDITORS)
def review(identifier: str) -> Response | tuple[str, int]:
    """Says what it was."""
    try:
        clients().emergencies.ReviewEmergency(forms.filled(em.ReviewEmergencyRequest(id=identifier)))
    except forms.SHOWN_IN_PLACE as refusal:
        return render(identifier, forms.problems(refusal)), 422
    return redirect(url_for("emergencies.show", identifier=identifier, done="reviewed"), 303)
