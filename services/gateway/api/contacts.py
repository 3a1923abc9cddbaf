"""/contacts: one call, visit or message to the line, with its triage. It needs no name."""

from typing import Any

from flask import Response
from marshmallow import Schema

from protos.referrals.v1 import contacts_pb2 as pb
from protos.referrals.v1.referrals_pb2 import Urgency
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, items, one, page_fields, page_of
from services.gateway.api.convert import from_json
from services.gateway.api.patches import completed, mask, patch_of
from services.gateway.api.reading import if_match, request_key
from services.gateway.api.routes import Routes
from services.gateway.clients import clients

contacts = Routes("contacts", "The line: contacts with triage; reference and PIN for the caller.")


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
    campaign_code = fields.code("What brought it.", among=("tv", "radio", "poster", "web", "friend", "authority", "other"))
    kind_code = fields.code("What it is.", among=("crisis", "tip", "information", "unrelated"))
    speaker_code = fields.code("Who speaks.", among=("person", "family", "witness", "professional", "unknown"))
    language = fields.code("Language spoken, BCP 47.", example="es")
    triage = fields.part(TriageSchema, "What was asked.")
    urgency = fields.word(Urgency.DESCRIPTOR, "Derived from the triage.", example="emergency", dump_only=True)
    pathway_code = fields.code("Derived from the triage: the standard order of help.", example="protection_on_the_line", dump_only=True)
    outcome_code = fields.code("How it ended.", among=("advised", "referred", "handed_over", "dropped", "open"))
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


@contacts.operation(
    "post", "/contacts", right="contacts.write", answers=NewContactSchema, status=201, takes=NewContactSchema, once=True, wrapped="contact"
)
def create_contact(given: dict[str, Any]) -> Response:
    """Record a contact

    Urgency and pathway follow from the triage. `reference` and `pin` are in this answer only: read them out. With both the caller can ask
    on any line, or on the public page, what became of it."""
    pin = given.pop("pin", "")
    made = clients().contacts.CreateContact(
        pb.CreateContactRequest(contact=from_json(given, pb.Contact()), pin=pin, request_id=request_key())
    )
    return one(made.contact, status=201, location=f"/contacts/{made.contact.id}", more={"reference": made.reference, "pin": made.pin})


@contacts.operation("get", "/contacts", right="contacts.write", answers=page_of(ContactSchema, "ContactPage"), query=PageQuery)
def list_contacts(given: dict[str, Any]) -> Response:
    """List your line's contacts, newest first"""
    page = clients().contacts.ListContacts(pb.ListContactsRequest(**page_fields(given)))
    return items(page.contacts, page.next_page_token)


@contacts.operation("get", "/contacts/<opaque:contact_id>", right="contacts.write", answers=ContactSchema)
def get_contact(contact_id: str) -> Response:
    """Show a contact"""
    return one(clients().contacts.GetContact(pb.GetContactRequest(id=contact_id)))


@contacts.operation(
    "patch",
    "/contacts/<opaque:contact_id>",
    right="contacts.write",
    answers=ContactSchema,
    takes=ContactPatch,
    etag=True,
    wrapped="contact",
)
def update_contact(given: dict[str, Any], contact_id: str) -> Response:
    """Save further answers

    The urgency is derived again."""
    base = if_match()
    values = completed(given, lambda: clients().contacts.GetContact(pb.GetContactRequest(id=contact_id)))
    changed = from_json({**values, "id": contact_id, "etag": base}, pb.Contact())
    return one(
        clients().contacts.UpdateContact(pb.UpdateContactRequest(contact=changed, update_mask=mask(given), request_id=request_key()))
    )
