"""/receipts: a consent given, as a signed record, and its withdrawal."""

from marshmallow import Schema

from protos.referrals.v1 import people_pb2 as pb
from protos.referrals.v1.referrals_pb2 import OverrideReason
from services.gateway.api import fields
from services.gateway.api.answers import list_of
from services.gateway.api.people import GROUP
from services.gateway.api.routes import Routes

receipts = Routes(
    "receipts", "Consent as a signed record: to whom, which fields, for what, until when.", pb.DESCRIPTOR.services_by_name["People"]
)


class ReceiptSchema(Schema):
    """A consent. It is checked at every reading; help never depends on it."""

    id = fields.ident("The receipt.", dump_only=True)
    person_id = fields.ident("Whose consent.", dump_only=True)
    recipient_organization_id = fields.ident("To whom.", required=True)
    field_groups = fields.many(fields.word(GROUP, "A field group."), "Which groups of fields.", 10, required=True)
    purpose_codes = fields.many(fields.code("A need; a group covers its sub-codes.", example="HOU"), "For what.", 20, required=True)
    until_time = fields.time("Until when; at most a year. Left out: 90 days.")
    giver_code = fields.word(
        pb.Giver.DESCRIPTOR,
        "Who gave it; under 18 not the person alone. best_interest opens nothing until a second person confirms it. Absent on an override.",
        required=True,
    )
    assent_code = fields.word(pb.Assent.DESCRIPTOR, "The child's own word; required under 18.")
    manner_code = fields.word(pb.Manner.DESCRIPTOR, "How.", required=True)
    in_private = fields.flag("Whether nobody else listened.")
    interpreter = fields.flag("Whether an interpreter helped.")
    explained_codes = fields.many(fields.word(pb.Explained.DESCRIPTOR, "A point."), "What was explained: HTCDS' seven points.", 7)
    recorded_by_worker_id = fields.ident("Who recorded it.", dump_only=True)
    create_time = fields.created()
    withdraw_time = fields.time("When it was withdrawn.", dump_only=True)
    signature = fields.text("Ed25519 over the receipt's canonical form, base64url; verified at every reading.", dump_only=True)
    reason_code = fields.word(OverrideReason.DESCRIPTOR, "Why it is an override: nobody was asked.", dump_only=True)
    confirm_time = fields.time("When a second person agreed.", dump_only=True)
    confirmed_by_worker_id = fields.ident("Who that was.", dump_only=True)
    confirm_until_time = fields.time("Until when an override opens without a second person.", dump_only=True)
    genuine = fields.flag("Whether the signature holds; if not, it opens nothing.", dump_only=True)
    live = fields.flag("Whether it opens now what it names.", dump_only=True)


class ReceiptQuery(Schema):
    """Which receipts."""

    referral_id = fields.ident("Only those on which this referral could be sent now.")


receipts.rpc("CreateReceipt", "Record a consent", "The file's organisation.", answers=ReceiptSchema, takes=ReceiptSchema)
receipts.rpc(
    "ListReceipts",
    "List a person's receipts, newest first",
    "The file's organisation; a recipient sees its own.",
    answers=list_of(ReceiptSchema, "Receipts"),
    query=ReceiptQuery,
)
receipts.rpc("GetReceipt", "Show a receipt", answers=ReceiptSchema)
receipts.rpc(
    "ConfirmReceipt",
    "Confirm a decision in a child's best interest",
    "Somebody of the file's organisation, other than who recorded it; a person, not a key.",
    answers=ReceiptSchema,
)
receipts.rpc(
    "WithdrawReceipt",
    "Withdraw a consent",
    "Referrals that stand on it end at once. On her word, by the file's organisation or the recipient; a second time changes nothing.",
    answers=ReceiptSchema,
)
