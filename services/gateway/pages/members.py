"""The team: the manager's workers, who is invited, and who lost what her sign-in asks for."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.errors import Invalid
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as m
from services.gateway import access, forms, words
from services.gateway.clients import clients
from services.gateway.i18n import N_

blueprint = Blueprint("members", __name__)
GIVEN_ROLES = ("worker", "operator", "manager", "emergency")  # what a manager may give; the network's roles are the coordinator's


@blueprint.get("/members")
@access.open_to(access.MANAGERS, navigation=N_("Equipo"), section="organization")
def listing() -> str:
    """Workers and open invitations."""
    return render({})


def render(errors: dict[str, str]) -> str:
    """The page."""
    answer = clients().members.ListWorkers(m.ListWorkersRequest(page_size=100, page_token=request.args.get("page", "")))
    invitations = clients().members.ListInvitations(m.ListInvitationsRequest()).invitations
    return render_template(
        "team.html",
        workers=answer.workers,
        next_page=answer.next_page_token,
        invitations=invitations,
        errors=errors,
        GIVEN_ROLES=GIVEN_ROLES,
    )


@blueprint.post("/members/workers")
@access.open_to(access.MANAGERS)
def invite() -> Response | tuple[str, int]:
    """Invites somebody to the team; she gets the link by e-mail and chooses her own password."""
    roles = [contract_pb2.Role.ValueType(words.number("role", role)) for role in forms.texts("roles") if role in GIVEN_ROLES]
    invitation = m.Invitation(email=forms.text("email"), roles=roles, language=forms.text("language"))
    try:
        clients().members.CreateInvitation(m.CreateInvitationRequest(invitation=invitation, request_id=forms.request_id()))
    except forms.SHOWN_IN_PLACE as refusal:
        return render(forms.problems(refusal)), 422
    return redirect(url_for("members.listing", done="invited"), 303)


@blueprint.post("/members/invitations/<identifier>/revoke")
@access.open_to(access.MANAGERS)
def revoke_invitation(identifier: str) -> Response:
    """Ends an invitation that went wrong."""
    clients().members.RevokeInvitation(m.RevokeInvitationRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("members.listing", done="saved"), 303)


@blueprint.post("/members/workers/<identifier>/suspend")
@access.open_to(access.MANAGERS)
def suspend(identifier: str) -> Response:
    """Ends a worker's access at once."""
    clients().members.SuspendWorker(m.SuspendWorkerRequest(id=identifier, etag=forms.etag(), request_id=forms.request_id()))
    return redirect(url_for("members.listing", done="saved"), 303)


@blueprint.post("/members/workers/<identifier>/second-factor")
@access.open_to(access.MANAGERS)
def reset_second_factor(identifier: str) -> Response | tuple[str, int]:
    """Takes off what her sign-in asks for beside the password, once it is said that it is she who asks."""
    try:
        taken_off(identifier)
    except forms.SHOWN_IN_PLACE as refusal:
        return render(forms.problems(refusal)), 422
    return redirect(url_for("members.listing", done="second_factor_reset"), 303)


def taken_off(worker_id: str) -> None:
    """Asks for it; Invalid, if nobody says that she asked."""
    if not forms.flag("spoke"):
        raise Invalid(("spoke", "required"))
    clients().members.ResetSecondFactor(m.ResetSecondFactorRequest(id=worker_id, request_id=forms.request_id()))
