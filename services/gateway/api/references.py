"""/references: what a caller may hear and say with her reference and PIN. No account, no key: both together are the credential."""

from marshmallow import Schema

from protos.referrals.v1 import contacts_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.routes import Routes

references = Routes(
    "references", "What a caller may hear and say with her reference and PIN.", pb.DESCRIPTOR.services_by_name["References"]
)


class ReferenceSchema(Schema):
    """Her credential. In the body, so that it stands in no address and no log."""

    reference = fields.text("Eight characters, with or without the hyphen.", 20, example="7QK4-M2X7", required=True)
    pin = fields.pin("Four digits.", required=True)


class ConfirmationSchema(ReferenceSchema):
    """Whether help came."""

    help_came = fields.flag("yes closes what is completed, no opens it again.", required=True)


class ReferenceItemSchema(Schema):
    """One thing that was asked for."""

    need_group_code = fields.code("The group of the need.", example="HOU")
    status_code = fields.word(pb.ReferenceState.DESCRIPTOR, "Where it stands.")
    may_confirm = fields.flag("Whether she may say now that help came or not.")
    consent_live = fields.flag("Whether the organisation that was asked may open her data now.")
    update_time = fields.updated()


class ReferenceStatusSchema(Schema):
    """The plain state: codes only, never a partner's name or place."""

    contact_time_band = fields.word(pb.TimeBand.DESCRIPTOR, "When she called.")
    items = fields.many(fields.part(ReferenceItemSchema, "One thing."), "One per referral; empty: nothing was asked for yet.")
    organizations_with_access = fields.number("How many organisations may open her data now, besides those that hold a file.", example=1)
    file_count = fields.number("How many organisations hold a file of hers; it stays with them.", example=1)
    may_withdraw = fields.flag("Whether there is something that a withdrawal would end.")


references.rpc(
    "GetReferenceStatus",
    "Say what became of a call",
    "Ten wrong PINs: two hours' pause, and longer after a hundred. An unknown reference looks like a wrong PIN. A page or app of "
    "your own asks from one address for all its callers: 30 wrong ones, then one every ten minutes.",
    answers=ReferenceStatusSchema,
    takes=ReferenceSchema,
)
references.rpc(
    "WithdrawConsentByReference",
    "Withdraw every consent and override of the person",
    "Whoever recorded them; what is asked for her ends, and the receivers' access with it, at once.",
    answers=ReferenceStatusSchema,
    takes=ReferenceSchema,
)
references.rpc("ConfirmHelp", "Say whether help came", answers=ReferenceStatusSchema, takes=ConfirmationSchema)
