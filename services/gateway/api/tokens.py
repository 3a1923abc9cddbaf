"""/tokens and /sessions: how a caller proves who it is. Key, password and session travel in bodies, so that they stand in no address and no log; no cookie is
set, and none is read."""

from typing import Any

from marshmallow import Schema, ValidationError, validates_schema
from marshmallow.validate import Length

from protos.partners.v1 import members_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.members import SCOPES, WorkerSchema
from services.gateway.api.routes import Routes

tokens = Routes("tokens", "Caller tokens for a key or a session, and the session itself.", pb.DESCRIPTOR.services_by_name["Tokens"])
AUDIENCES = "One caller token (JWT) a service: enlace.partners, enlace.referrals, enlace.notifications."


def secret(description: str, limit: int = 200, **about: Any) -> fields.Text:
    """What proves somebody: taken, never given back."""
    metadata = {"description": description, "format": "password", **about.pop("metadata", {})}
    return fields.Text(load_only=True, validate=Length(max=limit, error="too_long"), metadata=metadata, **about)


class SignInSchema(Schema):
    """An account's e-mail and password."""

    email = fields.text("The e-mail of the account.", 254, example="trabajadora@casa-esperanza.example", required=True, load_only=True)
    password = secret("Its password.", required=True)


class CredentialSchema(Schema):
    """What is exchanged: one of the two."""

    session_secret = secret("Of a session: what the sign-in answered.", metadata={"x-one-of": "credential"})
    api_key = secret("An API key, whole: enl_<id>_<secret>.", metadata={"x-one-of": "credential"})

    @validates_schema
    def only_one(self, given: dict[str, Any], **_options: Any) -> None:
        """Refuses two: nobody could know whose tokens are meant."""
        if len(given) > 1:
            raise ValidationError("malformed", "api_key")


class SessionEndSchema(Schema):
    """The session that ends."""

    session_secret = secret("Of the session.", required=True)


class MemberSchema(Schema):
    """The organisation that a session or key belongs to."""

    id = fields.ident("The organisation.")
    name = fields.text("Its name.", example="Casa de prueba")
    country = fields.code("Its country, ISO 3166-1.", example="NI")
    department = fields.code("Its department, ISO 3166-2.", example="NI-MN")


class IssuedSchema(Schema):
    """Tokens for whoever brought a key or a session."""

    tokens = fields.table(fields.text("A token.", 4000), AUDIENCES)
    expire_time = fields.time("When they end: three seconds after they were asked for.", dump_only=True)
    worker = fields.part(WorkerSchema, "Whose session it is; absent for a key.", dump_only=True)
    organization = fields.part(MemberSchema, "Whose key or session it is.", dump_only=True)
    scopes = fields.many(fields.code("A scope.", among=SCOPES), "What a key may; empty for a session.", dump_only=True)


class SessionSchema(Schema):
    """A session with its first tokens. The secret is in this answer only."""

    session_secret = fields.text("What the session is exchanged with: keep it as you keep a password.", dump_only=True)
    tokens = fields.table(fields.text("A token.", 4000), AUDIENCES)
    token_expire_time = fields.time("When the tokens end; the session goes on.", dump_only=True)
    worker = fields.part(WorkerSchema, "Who signed in.", dump_only=True)
    organization_name = fields.text("Where she works.", example="Casa de prueba", dump_only=True)
    organization = fields.part(MemberSchema, "The same, with its id.", dump_only=True)


tokens.rpc(
    "IssueToken",
    "Exchange an API key or a session for caller tokens",
    "For the gRPC services, each with its own; here a key or a session is sent as it is. They live three seconds: exchange anew every two while you work.",
    answers=IssuedSchema,
    takes=CredentialSchema,
)
tokens.rpc(
    "SignIn",
    "Open a session with e-mail and password",
    "For a program that acts for somebody who sits before it. Wrong passwords count against the account and against the address they come from; "
    "unknown e-mail, wrong password and suspended member sound the same.",
    answers=SessionSchema,
    takes=SignInSchema,
)
tokens.rpc(
    "EndSession",
    "End a session",
    "It gets no token from then on, and those it has end within five seconds. A second call changes nothing.",
    answers=None,
    takes=SessionEndSchema,
)
