"""/invitations, /workers and /api-keys: who works for a member, and the keys of its systems."""

from marshmallow import Schema
from marshmallow.validate import Length

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, list_of, page_of
from services.gateway.api.routes import Routes

members = Routes("members", "Who works for a member, and the keys of its systems.", pb.DESCRIPTOR.services_by_name["Members"])


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
    scopes = fields.many(fields.word(contract_pb2.Scope.DESCRIPTOR, "A right."), "What it may do.", 20, required=True)
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


members.rpc(
    "CreateInvitation",
    "Invite somebody to open an account",
    "The link goes to her by e-mail, and to nobody else; the answer is the same whether or not the address has an account. A "
    "coordinator invites the first manager of another organisation, while it has none.",
    answers=InvitationSchema,
    takes=InvitationSchema,
)
members.rpc(
    "ListInvitations",
    "List the invitations to your organisation that can still be accepted",
    answers=list_of(InvitationSchema, "Invitations"),
)
members.rpc("RevokeInvitation", "Revoke an invitation at once", answers=InvitationSchema)
members.rpc(
    "AcceptInvitation",
    "Open the account you were invited to",
    "With a name and password of your own. The link is good for once; one that is used, replaced, too old or unknown is refused in "
    "the same way.",
    answers=None,
    takes=AcceptanceSchema,
)
members.rpc("ListWorkers", "List your organisation's workers", answers=page_of(WorkerSchema, "WorkerPage"), query=PageQuery)
members.rpc("SuspendWorker", "Suspend a worker", "Her sessions end at once.", answers=WorkerSchema)
members.rpc(
    "CreateApiKey",
    "Make an API key",
    "The secret is in this answer only. Two live keys at most, so that one can be changed for the other without a pause.",
    answers=NewApiKeySchema,
    takes=ApiKeySchema,
)
members.rpc("ListApiKeys", "List your organisation's keys, without secrets", answers=list_of(ApiKeySchema, "ApiKeys"))
members.rpc(
    "ConfirmApiKey",
    "Confirm a key as the second manager",
    "A key that may do more than its maker could do in person is good for nothing until then.",
    answers=ApiKeySchema,
)
members.rpc(
    "TransferApiKey",
    "Take a key over from another manager",
    "A key falls with the manager with whom it stands; from now on that is the caller.",
    answers=ApiKeySchema,
)
members.rpc("RevokeApiKey", "Revoke a key at once", answers=ApiKeySchema)
