"""/receipts: a consent given, as a signed record, and its withdrawal."""

from typing import Any

from flask import Response
from marshmallow import Schema

from protos.referrals.v1 import people_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import items, list_of, one
from services.gateway.api.convert import from_json
from services.gateway.api.people import GROUP
from services.gateway.api.reading import request_key
from services.gateway.api.routes import WORKER, Routes
from services.gateway.clients import clients

receipts = Routes("receipts", "Consent as a signed record: to whom, which fields, for what, until when.")
EXPLAINED = ("interview", "purpose", "uses", "research_use", "right_to_data", "storage_time", "how_to_withdraw")


class ReceiptSchema(Schema):
    """A consent. It is checked at every reading; help never depends on it."""

    id = fields.ident("The receipt.", dump_only=True)
    person_id = fields.ident("Whose consent.", dump_only=True)
    recipient_organization_id = fields.ident("To whom.", required=True)
    field_groups = fields.many(fields.word(GROUP, "A field group."), "Which groups of fields.", 10, required=True)
    purpose_codes = fields.many(fields.code("A need; a group covers its sub-codes.", example="HOU"), "For what.", 20, required=True)
    until_time = fields.time("Until when; at most a year. Left out: 90 days.")
    giver_code = fields.code(
        "Who gave it; under 18 not the person alone. best_interest opens nothing until a second person confirms it. Absent on an override.",
        among=("person", "guardian", "authority", "best_interest"),
        required=True,
    )
    assent_code = fields.code("The child's own word; required under 18.", among=("given", "refused", "too_young"))
    manner_code = fields.code("How.", among=("spoken", "written"), required=True)
    in_private = fields.flag("Whether nobody else listened.")
    interpreter = fields.flag("Whether an interpreter helped.")
    explained_codes = fields.many(fields.code("A point.", among=EXPLAINED), "What was explained: HTCDS' seven points.", 7)
    recorded_by_worker_id = fields.ident("Who recorded it.", dump_only=True)
    create_time = fields.created()
    withdraw_time = fields.time("When it was withdrawn.", dump_only=True)
    signature = fields.text("Ed25519 over the receipt's canonical form, base64url; verified at every reading.", dump_only=True)
    reason_code = fields.code("Why it is an override: nobody was asked.", example="life_at_risk", dump_only=True)
    confirm_time = fields.time("When a second person agreed.", dump_only=True)
    confirmed_by_worker_id = fields.ident("Who that was.", dump_only=True)
    confirm_until_time = fields.time("Until when an override opens without a second person.", dump_only=True)
    genuine = fields.flag("Whether the signature holds; if not, it opens nothing.", dump_only=True)
    live = fields.flag("Whether it opens now what it names.", dump_only=True)


@receipts.operation(
    "post",
    "/people/<opaque:person_id>/receipts",
    right="people.write",
    answers=ReceiptSchema,
    status=201,
    takes=ReceiptSchema,
    once=True,
    wrapped="receipt",
    refuses=(409,),
)
def create_receipt(given: dict[str, Any], person_id: str) -> Response:
    """Record a consent

    The file's organisation."""
    receipt = from_json({**given, "person_id": person_id}, pb.Receipt())
    made = clients().people.CreateReceipt(pb.CreateReceiptRequest(receipt=receipt, request_id=request_key()))
    return one(made, status=201, location=f"/receipts/{made.id}")


class ReceiptQuery(Schema):
    """Which receipts."""

    referral_id = fields.ident("Only those on which this referral could be sent now.")


@receipts.operation(
    "get", "/people/<opaque:person_id>/receipts", right="people.read", answers=list_of(ReceiptSchema, "Receipts"), query=ReceiptQuery
)
def list_receipts(given: dict[str, Any], person_id: str) -> Response:
    """List a person's receipts, newest first

    The file's organisation; a recipient sees its own."""
    return items(clients().people.ListReceipts(pb.ListReceiptsRequest(person_id=person_id, **given)).receipts)


@receipts.operation("get", "/receipts/<opaque:receipt_id>", right="people.read", answers=ReceiptSchema)
def get_receipt(receipt_id: str) -> Response:
    """Show a receipt"""
    return one(clients().people.GetReceipt(pb.GetReceiptRequest(id=receipt_id)))


@receipts.operation("post", "/receipts/<opaque:receipt_id>/confirm", right=WORKER, answers=ReceiptSchema, once=True, refuses=(409,))
def confirm_receipt(receipt_id: str) -> Response:
    """Confirm a decision in a child's best interest

    Somebody of the file's organisation, other than who recorded it; a person, not a key."""
    return one(clients().people.ConfirmReceipt(pb.ConfirmReceiptRequest(id=receipt_id, request_id=request_key())))


@receipts.operation("post", "/receipts/<opaque:receipt_id>/withdraw", right="people.write", answers=ReceiptSchema, once=True)
def withdraw_receipt(receipt_id: str) -> Response:
    """Withdraw a consent

    Referrals that stand on it end at once. On her word, by the file's organisation or the recipient; a second time changes nothing."""
    return one(clients().people.WithdrawReceipt(pb.WithdrawReceiptRequest(id=receipt_id, request_id=request_key())))
