"""/people: files of people, identity sealed; opening it is an act of its own, with a purpose, and on record."""

from marshmallow import Schema
from marshmallow.validate import Regexp

from protos.referrals.v1 import people_pb2 as pb
from protos.referrals.v1.referrals_pb2 import AgeBand, PersonGender
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, page_of
from services.gateway.api.patches import patch_of
from services.gateway.api.routes import Routes

people = Routes(
    "people",
    "Files of people: the coarse part in lists, the identity sealed, every reading on record.",
    pb.DESCRIPTOR.services_by_name["People"],
)
GROUP = pb.FieldGroup.DESCRIPTOR


class CoarsePersonSchema(Schema):
    """What may be said of a person without saying who she is."""

    age_band = fields.word(AgeBand.DESCRIPTOR, "Age by band; derived where a birth date is given.")
    gender_code = fields.word(PersonGender.DESCRIPTOR, "HTCDS prs_Gender.")
    language = fields.code("Her language, BCP 47.", example="es")
    dependants = fields.number("How many depend on her.", 0, 20, example=1)
    country = fields.code("Country, ISO 3166-1.", example="NI")
    department = fields.code("Department, ISO 3166-2.", example="NI-CI")


class IdentitySchema(Schema):
    """The sealed part. Each field belongs to a group; only opened groups come back filled."""

    given_name = fields.text("Group identity; HTCDS prs_FirstName.", 500, example="Ejemplo")
    family_name = fields.text("Group identity; HTCDS prs_SecondName.", 500, example="De Prueba")
    birth_date = fields.Text(
        validate=Regexp(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", error="malformed"),
        metadata={"description": "Group identity.", "format": "date", "examples": ["2001-02-03"]},
    )
    phone = fields.text("Group contact; E.164.", 40, example="+50500000000")
    address = fields.text("Group location.", 500)
    health_note = fields.text("Group health.", 4000)
    exploitation_note = fields.text("Group exploitation.", 4000)
    family_note = fields.text("Group family.", 4000)
    document_number = fields.text("Group documents.", 100)


class OpenedIdentitySchema(IdentitySchema):
    """The identity as far as it was opened."""

    opened = fields.many(fields.word(GROUP, "A field group."), "The groups that were opened.", 10, dump_only=True)


class SafeContactSchema(Schema):
    """How, when and whether she may be contacted. The system can't send outside it."""

    channel_code = fields.word(pb.SafeChannel.DESCRIPTOR, "none: no message to her exists.")
    hours = fields.text("When. Sealed.", 500)
    code_word = fields.text("What to say first. Sealed.", 500)
    never_say = fields.text("What never to say. Sealed.", 500)
    message_may_be_left = fields.flag("Whether a message may be left.")


class SafeContactPlanSchema(SafeContactSchema):
    """The same, to be set: with its channel."""

    channel_code = fields.word(pb.SafeChannel.DESCRIPTOR, "none: no message to her exists.", required=True)


class PersonSchema(Schema):
    """A file, without who she is."""

    id = fields.ident("The file.", dump_only=True)
    etag = fields.etag()
    code = fields.code("Short, for lists.", example="K7M2QX", dump_only=True)
    organization_id = fields.ident("Whose file it is.", dump_only=True)
    coarse = fields.part(CoarsePersonSchema, "What may be said of her.")
    trafficking_status_code = fields.word(pb.TraffickingStatus.DESCRIPTOR, "HTCDS vic_TraffickingStatus.")
    exploitation_country = fields.code("Where she had been taken to, ISO 3166-1.", example="SV")
    has_identity = fields.flag("Whether anything is in the sealed part.", dump_only=True)
    safe_contact = fields.part(SafeContactSchema, "The file's organisation only.")
    erased = fields.flag("Whether her data were erased.", dump_only=True)
    create_time = fields.created()
    update_time = fields.updated()


class NewPersonSchema(Schema):
    """A file to open; all of it may be left out ("no name yet")."""

    identity = fields.part(IdentitySchema, "The sealed part.")
    coarse = fields.part(CoarsePersonSchema, "What may be said of her.")
    trafficking_status_code = fields.word(pb.TraffickingStatus.DESCRIPTOR, "HTCDS vic_TraffickingStatus.")
    exploitation_country = fields.code("Where she had been taken to, ISO 3166-1.", example="SV")
    safe_contact = fields.part(SafeContactSchema, "May come later, before the first referral is sent.")


class OpeningSchema(Schema):
    """Why the identity is opened, and how much of it."""

    purpose_code = fields.code("The purpose, a code of /taxonomy.", example="HOU.EMG", required=True)
    field_groups = fields.many(fields.word(GROUP, "A field group."), "Which groups.", 10, required=True)
    referral_id = fields.ident("For a receiver: the referral it acts on.")


class ReadingSchema(Schema):
    """One look at a file."""

    time = fields.time("When.")
    organization_id = fields.ident("Which organisation.")
    actor_id = fields.ident("Which worker or key.")
    purpose_code = fields.code("For what.", example="HOU.EMG")
    field_groups = fields.many(fields.word(GROUP, "A field group."), "Which groups.", 10)
    allowed = fields.flag("Whether it was allowed.")


IdentityPatch = patch_of(IdentitySchema, "IdentityPatch", only=list(IdentitySchema._declared_fields), clearing=False)
people.rpc(
    "CreatePerson", "Open a file", "The identity is sealed at once and is not in this answer.", answers=PersonSchema, takes=NewPersonSchema
)
people.rpc(
    "ListPeople", "List your organisation's files, newest first, codes only", answers=page_of(PersonSchema, "PersonPage"), query=PageQuery
)
people.rpc(
    "GetPerson", "Show the coarse part of a file", "The file's organisation, or the receiver of a live referral.", answers=PersonSchema
)
people.rpc(
    "UpdateIdentity",
    "Complete or correct the identity",
    "What is named is replaced. Nothing can be cleared here: null is refused.",
    answers=PersonSchema,
    takes=IdentityPatch,
)
people.rpc(
    "OpenPerson",
    "Open the identity for a purpose",
    "On record before the first byte leaves. The file's organisation gets what it asks for; a receiver what a live receipt allows: "
    "recipient, purpose, field groups, time. Keep no copy.",
    answers=OpenedIdentitySchema,
    takes=OpeningSchema,
)
people.rpc("SetSafeContact", "Say how, when and whether she may be contacted", answers=PersonSchema, takes=SafeContactPlanSchema)
people.rpc(
    "ListReadings",
    "List who looked at the file",
    "The refused looks too. The file's organisation.",
    answers=page_of(ReadingSchema, "ReadingPage"),
    query=PageQuery,
)
