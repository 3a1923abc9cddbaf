"""The team: the manager's workers, and the keys of the organisation's systems."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis import wire
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as m
from services.gateway import access, forms, session, words
from services.gateway.clients import clients
from services.gateway.i18n import N_

blueprint = Blueprint("members", __name__)
SCOPES = wire.words(contract_pb2.Scope.DESCRIPTOR)
GIVEN_ROLES = ("worker", "operator", "manager", "emergency")  # what a manager may give; the network's roles are the coordinator's


@blueprint.get("/members")
@access.open_to(access.MANAGERS, navigation=N_("Equipo"), section="organization")
def listing() -> str:
    """Workers and keys."""
    return render("", {})


def render(part: str, errors: dict[str, str], secret: str = "") -> str:
    """The page; right after a key was made, with its secret."""
    answer = clients().members.ListWorkers(m.ListWorkersRequest(page_size=100, page_token=request.args.get("page", "")))
    invitations = clients().members.ListInvitations(m.ListInvitationsRequest()).invitations
    keys = clients().members.ListApiKeys(m.ListApiKeysRequest()).api_keys
    return render_template(
        "team.html",
        workers=answer.workers,
        next_page=answer.next_page_token,
        invitations=invitations,
        keys=keys,
        part=part,
        errors=errors,
        secret=secret,
        SCOPES=SCOPES,
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
        return render("worker", forms.problems(refusal)), 422
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


@blueprint.post("/members/keys")
@access.open_to(access.MANAGERS)
def create_key() -> str | tuple[str, int]:
    """Makes a key and shows its secret, once."""
    question = forms.filled(m.CreateApiKeyRequest(organization_id=session.me().organization_id))
    try:
        return render("key", {}, clients().members.CreateApiKey(question).secret)
    except forms.SHOWN_IN_PLACE as refusal:
        return render("key", forms.problems(refusal)), 422


@blueprint.post("/members/keys/<identifier>/confirm")
@access.open_to(access.MANAGERS)
def confirm_key(identifier: str) -> Response:
    """Agrees to a key as the second manager."""
    clients().members.ConfirmApiKey(m.ConfirmApiKeyRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("members.listing", done="saved"), 303)


@blueprint.post("/members/keys/<identifier>/transfer")
@access.open_to(access.MANAGERS)
def transfer_key(identifier: str) -> Response:
    """Takes a key over, so that it does not fall with another manager."""
    clients().members.TransferApiKey(m.TransferApiKeyRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("members.listing", done="saved"), 303)


@blueprint.post("/members/keys/<identifier>/revoke")
@access.open_to(access.MANAGERS)
def revoke(identifier: str) -> Response:
    """Revokes a key at once."""
    clients().members.RevokeApiKey(m.RevokeApiKeyRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("members.listing", done="saved"), 303)
