"""Reviews of emergency accesses, by the holder of the person's file and by auditors."""

from flask import render_template

from protos.referrals.v1 import emergencies_pb2 as em
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("emergencies")


@pages.get("/emergencies/<identifier>", access.CARE | access.NETWORK | access.AUDITORS)
def show(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows an emergency access.

    Readers who may read its note see the note, too; that access is recorded.
    """
    emergency = clients().emergencies.GetEmergency(em.GetEmergencyRequest(id=identifier))
    return render_template(
        "emergency.html",
        one=emergency,
        names=names.names({emergency.organization_id, emergency.file_organization_id}),
        errors=errors,
    )


pages.sends(
    "review",
    "/emergencies/<identifier>",
    access.CARE | access.AUDITORS,
    em.ReviewEmergencyRequest,
    again=show,
    then="emergencies.show",
    done="reviewed",
)
