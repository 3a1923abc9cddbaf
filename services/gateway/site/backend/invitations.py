"""The invitation of a worker, and the way back in for one who lost what her sign-in asks for."""

from flask import render_template

from chassis.errors import Conflict, Invalid
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients
from services.gateway.site.language import words
from services.gateway.site.parts import forms


def send(invitation: m.Invitation) -> str | None:
    """Invites her.

    Returns the page with her link where the network sends no e-mail and paper was asked for.
    """
    invitation.on_paper = forms.flag("on_paper")
    try:
        made = clients().members.CreateInvitation(
            m.CreateInvitationRequest(invitation=invitation, request_id=forms.request_id())
        )
    except Conflict as refusal:
        if refusal.reason != "no_mail":
            raise
        forms.refuse({"on_paper": words.conflict(refusal.reason)})
    return (
        render_template("invitation_paper.html", invitation=made) if invitation.on_paper else None
    )


def reset_second_factor(worker_id: str) -> None:
    """Asks for it; Invalid, if nobody says that she asked."""
    if not forms.flag("spoke"):
        raise Invalid(("spoke", "required"))
    clients().members.ResetSecondFactor(
        m.ResetSecondFactorRequest(id=worker_id, request_id=forms.request_id())
    )
