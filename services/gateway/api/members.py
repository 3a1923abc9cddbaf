"""/invitations, /workers and /api-keys: who works for a member, and the keys of its systems."""

from typing import Any

from flask import Response
from marshmallow import Schema
from marshmallow.validate import Length

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, items, list_of, one, page_fields, page_of
from services.gateway.api.convert import from_json
from services.gateway.api.reading import if_match, request_key
from services.gateway.api.routes import MANAGER, PUBLIC, STEERING, Routes
from services.gateway.clients import clients

members = Routes("members", "Who works for a member, and the keys of its systems.")
SCOPES = (
    "directory.read",
    "directory.write",
    "referrals.read",
    "referrals.write",
    "referrals.override",
    "people.read",
    "people.write",
    "people.open",
    "contacts.write",
    "notifications",
)


class WorkerSchema(Schema):
    """A person with an account. The name is seen inside the organisation only."""

    id = fields.ident("The worker.", dump_only=True)
    etag = fields.etag()
    organization_id = fields.ident("Where she works; left out: your own organisation.")
    name = fields.text("Her name.", example="Trabajadora de prueba", required=True)
    email = fields.text("Her e-mail, with which she signs in.", 254, example="trabajadora@casa-esperanza.example", required=True)
    roles = fields.many(fields.word(contract_pb2.Role.DESCRIPTOR, "A role."), "What she does.", 10, required=True)
    language = fields.code("Her language, BCP 47.", example="es")
    status = fields.word(pb.WorkerStatus.DESCRIPTOR, "Whether the account is live.", dump_only=True)
    create_time = fields.created()
    update_time = fields.updated()


class InvitationSchema(Schema):
    """An invitation to open an account. The link goes to the address alone."""

    id = fields.ident("The invitation.", dump_only=True)
    organization_id = fields.ident("To which organisation; left out: your own.")
    email = fields.text("Where the link goes, and with what she will sign in.", 254, example="direccion@casa-nueva.example", required=True)
    roles = fields.many(fields.word(contract_pb2.Role.DESCRIPTOR, "A role."), "What she will do.", 10, required=True)
    language = fields.code("The language of e-mail and account, BCP 47.", example="es")
    create_time = fields.created()
    expire_time = fields.time("Until when it is good.", dump_only=True)


class AcceptanceSchema(Schema):
    """What opens the account."""

    token = fields.text("The secret of the link: what stands behind its #.", 200, required=True)
    name = fields.text("Your name; seen inside the organisation only.", example="Directora de prueba", required=True)
    password = fields.Text(
        required=True,
        load_only=True,
        validate=[Length(min=12, error="too_short"), Length(max=200, error="too_long")],
        metadata={"description": "A password of your own, at least 12 characters.", "format": "password"},
    )


class ApiKeySchema(Schema):
    """A key of a system. Its secret is shown once, when it is made."""

    id = fields.ident("The key.", dump_only=True)
    organization_id = fields.ident("Whose it is; left out: your own organisation.")
    label = fields.text("What it is for.", 100, example="Intake system", required=True)
    scopes = fields.many(fields.code("A right.", among=SCOPES), "What it may do.", 20, required=True)
    create_time = fields.created()
    expire_time = fields.time("When it ends; left out: in a year.")
    last_use_time = fields.time("When it was last used.", dump_only=True)
    revoke_time = fields.time("When it was revoked.", dump_only=True)
    worker_id = fields.ident("The manager with whom it stands and falls.", dump_only=True)
    unconfirmed = fields.flag("Whether it waits for a second manager, and is good for nothing until then.", dump_only=True)
    confirmed_by_worker_id = fields.ident("Who that was.", dump_only=True)


class NewApiKeySchema(ApiKeySchema):
    """A key with its secret."""

    secret = fields.text("The whole key, shown in this answer only.", example="enl_<id>_<secret>", dump_only=True)


@members.operation(
    "post",
    "/invitations",
    right=STEERING,
    answers=InvitationSchema,
    status=201,
    takes=InvitationSchema,
    once=True,
    wrapped="invitation",
    refuses=(404, 409),
)
def create_invitation(given: dict[str, Any]) -> Response:
    """Invite somebody to open an account

    The link goes to her by e-mail, and to nobody else; the answer is the same whether or not the address has an account. A coordinator invites the first
    manager of another organisation, while it has none."""
    request = pb.CreateInvitationRequest(invitation=from_json(given, pb.Invitation()), request_id=request_key())
    return one(clients().members.CreateInvitation(request), status=201)


@members.operation("get", "/invitations", right=MANAGER, answers=list_of(InvitationSchema, "Invitations"))
def list_invitations() -> Response:
    """List the invitations to your organisation that can still be accepted"""
    return items(clients().members.ListInvitations(pb.ListInvitationsRequest()).invitations)


@members.operation("post", "/invitations/<opaque:invitation_id>/revoke", right=MANAGER, answers=InvitationSchema, once=True, refuses=(409,))
def revoke_invitation(invitation_id: str) -> Response:
    """Revoke an invitation at once"""
    return one(clients().members.RevokeInvitation(pb.RevokeInvitationRequest(id=invitation_id, request_id=request_key())))


@members.operation(
    "post", "/invitations/accept", right=PUBLIC, answers=None, status=204, takes=AcceptanceSchema, once=True, refuses=(401, 409)
)
def accept_invitation(given: dict[str, Any]) -> Response:
    """Open the account you were invited to

    With a name and password of your own. The link is good for once; one that is used, replaced, too old or unknown is refused in the same way."""
    clients().members.AcceptInvitation(pb.AcceptInvitationRequest(**given, request_id=request_key()))
    return Response(status=204)


@members.operation("get", "/workers", right=MANAGER, answers=page_of(WorkerSchema, "WorkerPage"), query=PageQuery)
def list_workers(given: dict[str, Any]) -> Response:
    """List your organisation's workers"""
    page = clients().members.ListWorkers(pb.ListWorkersRequest(**page_fields(given)))
    return items(page.workers, page.next_page_token)


@members.operation("post", "/workers/<opaque:worker_id>/suspend", right=MANAGER, answers=WorkerSchema, once=True, etag=True, refuses=(409,))
def suspend_worker(worker_id: str) -> Response:
    """Suspend a worker

    Her sessions end at once."""
    return one(clients().members.SuspendWorker(pb.SuspendWorkerRequest(id=worker_id, etag=if_match(), request_id=request_key())))


@members.operation(
    "post", "/api-keys", right=MANAGER, answers=NewApiKeySchema, status=201, takes=ApiKeySchema, once=True, refuses=(404, 409)
)
def create_api_key(given: dict[str, Any]) -> Response:
    """Make an API key

    The secret is in this answer only. Two live keys at most, so that one can be changed for the other without a pause."""
    created = clients().members.CreateApiKey(from_json({**given, "request_id": request_key()}, pb.CreateApiKeyRequest()))
    return one(created.api_key, status=201, more={"secret": created.secret})


@members.operation("get", "/api-keys", right=MANAGER, answers=list_of(ApiKeySchema, "ApiKeys"))
def list_api_keys() -> Response:
    """List your organisation's keys, without secrets"""
    return items(clients().members.ListApiKeys(pb.ListApiKeysRequest()).api_keys)


@members.operation("post", "/api-keys/<opaque:api_key_id>/confirm", right=MANAGER, answers=ApiKeySchema, once=True, refuses=(409,))
def confirm_api_key(api_key_id: str) -> Response:
    """Confirm a key as the second manager

    A key that may do more than its maker could do in person is good for nothing until then."""
    return one(clients().members.ConfirmApiKey(pb.ConfirmApiKeyRequest(id=api_key_id, request_id=request_key())))


@members.operation("post", "/api-keys/<opaque:api_key_id>/transfer", right=MANAGER, answers=ApiKeySchema, once=True, refuses=(409,))
def transfer_api_key(api_key_id: str) -> Response:
    """Take a key over from another manager

    A key falls with the manager with whom it stands; from now on that is the caller."""
    return one(clients().members.TransferApiKey(pb.TransferApiKeyRequest(id=api_key_id, request_id=request_key())))


@members.operation("post", "/api-keys/<opaque:api_key_id>/revoke", right=MANAGER, answers=ApiKeySchema, once=True)
def revoke_api_key(api_key_id: str) -> Response:
    """Revoke a key at once"""
    return one(clients().members.RevokeApiKey(pb.RevokeApiKeyRequest(id=api_key_id, request_id=request_key())))
