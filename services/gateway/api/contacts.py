"""/contacts: one call, visit or message to the line, with its triage. It needs no name."""

from marshmallow import Schema

from protos.referrals.v1 import contacts_pb2 as pb
from protos.referrals.v1.referrals_pb2 import Urgency
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, page_of
from services.gateway.api.patches import patch_of
from services.gateway.api.routes import Routes

contacts = Routes(
    "contacts", "The line: contacts with triage; reference and PIN for the caller.", pb.DESCRIPTOR.services_by_name["Contacts"]
)


def answer(question: str) -> fields.Text:
    """An answer of the triage."""
    return fields.word(pb.Answer.DESCRIPTOR, f"{question} Absent: not asked.")


class TriageSchema(Schema):
    """What was asked. Urgency and pathway follow from it."""

    danger_now = answer("Danger now?")
    still_held = answer("Still held?")
    wants_out = answer("Wants out?")
    escape_under_way = answer("Escape under way?")
    child_unsafe = answer("A child unsafe?")
    medical_emergency = answer("Medical emergency?")
    safe_place_tonight = answer("A safe place tonight?")
    exploiters_looking = answer("Exploiters looking for her?")
    sexual_violence_120h = answer("Sexual violence within 120 hours?")
    need_within_days = answer("Help needed within days?")
    safe_to_talk = answer("Safe to talk now?")
    wants_protection = answer("Wants to be protected?")


class ContactSchema(Schema):
    """A contact of the line."""

    id = fields.ident("The contact.", dump_only=True)
    etag = fields.etag()
    organization_id = fields.ident("The line's organisation.", dump_only=True)
    line_country = fields.code("Country of the line that was called, ISO 3166-1.", example="NI")
    campaign_code = fields.word(pb.Campaign.DESCRIPTOR, "What brought it.")
    kind_code = fields.word(pb.ContactKind.DESCRIPTOR, "What it is.")
    speaker_code = fields.word(pb.Speaker.DESCRIPTOR, "Who speaks.")
    language = fields.code("Language spoken, BCP 47.", example="es")
    triage = fields.part(TriageSchema, "What was asked.")
    urgency = fields.word(Urgency.DESCRIPTOR, "Derived from the triage.", example="emergency", dump_only=True)
    pathway_code = fields.word(pb.Pathway.DESCRIPTOR, "Derived from the triage: the standard order of help.", dump_only=True)
    outcome_code = fields.word(pb.ContactOutcome.DESCRIPTOR, "How it ended.")
    department = fields.code("Department, ISO 3166-2; never a place.", example="NI-CI")
    need_code = fields.code("The need, see /taxonomy.", example="HOU.EMG")
    person_id = fields.ident("Her file, if one was opened.")
    note = fields.note("For the line's operators only.")
    reference_hint = fields.text("Last two characters of the reference, to tell two contacts apart.", 2, example="7K", dump_only=True)
    create_time = fields.created()
    update_time = fields.updated()


class NewContactSchema(ContactSchema):
    """A contact to record, or just recorded: the one answer that holds reference and PIN."""

    line_country = fields.code("Country of the line that was called, ISO 3166-1.", example="NI", required=True)
    person_id = fields.ident("Comes later, by PATCH, when a file is opened.", dump_only=True)
    reference = fields.text("Read it out: shown in this answer only.", 9, example="7QK4-M2X7", dump_only=True)
    pin = fields.pin("Four digits the caller chose; left out: they are made.")


ContactPatch = patch_of(
    ContactSchema,
    "ContactPatch",
    only=("triage", "kind_code", "speaker_code", "outcome_code", "department", "need_code", "person_id", "note", "language"),
)
contacts.rpc(
    "CreateContact",
    "Record a contact",
    "Urgency and pathway follow from the triage. `reference` and `pin` are in this answer only: read them out. With both the "
    "caller can ask on any line, or on the public page, what became of it.",
    answers=NewContactSchema,
    takes=NewContactSchema,
)
contacts.rpc("ListContacts", "List your line's contacts, newest first", answers=page_of(ContactSchema, "ContactPage"), query=PageQuery)
contacts.rpc("GetContact", "Show a contact", answers=ContactSchema)
contacts.rpc("UpdateContact", "Save further answers", "The urgency is derived again.", answers=ContactSchema, takes=ContactPatch)
