"""Accounts of workers: the invitation, the reset of a lost second factor, and the suspension."""

from collections.abc import Iterable

from flask import render_template

from chassis.errors import Conflict, Invalid
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients, send
from services.gateway.site.language import words
from services.gateway.site.parts import forms


def invite(roles: Iterable[str], organization_id: str = "") -> str | None:
    """Invites the worker named in the form, by default to the reader's own organisation.

    If the form asks for an invitation on paper, returns the page with the worker's link; else None.
    A network that sends no e-mails accepts only invitations on paper.
    """
    invitation = m.Invitation(
        organization_id=organization_id,
        email=forms.text("email"),
        roles=[words.number("role", role) for role in roles],
        language=forms.text("invited_language"),
        on_paper=forms.flag("on_paper"),
    )
    try:
        stored_invitation = clients().members.CreateInvitation(
            m.CreateInvitationRequest(invitation=invitation, request_id=forms.text("request_id"))
        )
    except Conflict as refusal:
        if refusal.reason != "no_mail":
            raise
        forms.refuse({"on_paper": words.conflict(refusal.reason)})
    return (
        render_template("invitation_paper.html", invitation=stored_invitation)
        if invitation.on_paper
        else None
    )


def reset_second_factor(identifier: str) -> None:
    """Removes the second factor that a worker lost.

    Raises Invalid unless the form confirms that somebody spoke with the worker. The worker herself
    must have asked for the reset.
    """
    if not forms.flag("spoke"):
        raise Invalid(("spoke", "required"))
    send(forms.filled(m.ResetSecondFactorRequest(id=identifier)))


def suspend(identifier: str) -> None:
    """Suspends a worker's account. Without a reason, the form is shown again."""
    request = forms.filled(m.SuspendWorkerRequest(id=identifier))
    forms.require("reason", request.reason)
    clients().members.SuspendWorker(request)
