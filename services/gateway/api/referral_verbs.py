"""POST /referrals/{id}/VERB: what may happen to a referral, one row a verb.

Every verb needs If-Match and takes an Idempotency-Key. Which verb is possible is the referrals service's to know; `allowed_verbs` of a
referral says it for the caller.
"""

from functools import partial

from marshmallow import Schema

from protos.referrals.v1 import referrals_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.referrals import ReferralSchema
from services.gateway.api.routes import Routes

referral_verbs = Routes(
    "referral verbs", "What may happen to a referral; every one needs If-Match.", pb.DESCRIPTOR.services_by_name["Referrals"]
)


class SendSchema(Schema):
    """On what it stands."""

    receipt_id = fields.ident("The consent; left out: the draft's.")
    override_reason_code = fields.word(
        pb.OverrideReason.DESCRIPTOR, "Why it is sent without a consent; needs the scope referrals.override."
    )
    note = fields.note("Needed with an override.")


class AttachConsentSchema(Schema):
    """On what it stands from now on."""

    receipt_id = fields.ident("The consent.", required=True)


class AskSchema(Schema):
    """A question."""

    question_code = fields.word(pb.Question.DESCRIPTOR, "What is asked about.", required=True)
    note = fields.note("The question.")


class AnswerSchema(Schema):
    """Its answer."""

    note = fields.note("The answer.", required=True)


class AcceptSchema(Schema):
    """Who sees to it, and when."""

    responsible_worker_id = fields.ident("Who sees to it; left out: the desk.")
    planned_first_contact_time = fields.time("When she will first be met.", required=True)
    note = fields.note("For the sender.")


class WaitlistSchema(Schema):
    """How long she may have to wait."""

    expected_wait_days = fields.number("How long, in days.", 1, 365, example=7, required=True)
    review_time = fields.time("When it is looked at again; in the future.", required=True)
    note = fields.note("For the sender.")


class DeclineSchema(Schema):
    """Why not."""

    reason_code = fields.word(pb.DeclineReason.DESCRIPTOR, "Why; other needs a note.", required=True)
    alternative_service_id = fields.ident("A service that may help instead.")
    note = fields.note("For the sender.")


class StartSchema(Schema):
    """When help began."""

    first_contact_time = fields.time("When she was first met.", required=True)
    note = fields.note("For the sender.")


class CompleteSchema(Schema):
    """What came of it."""

    outcome_code = fields.word(pb.Outcome.DESCRIPTOR, "The outcome.", required=True)
    delivered_need_codes = fields.many(fields.code("A need.", example="HOU.EMG"), "What was delivered.")
    note = fields.note("For the sender.")


class NotDeliverSchema(Schema):
    """Why it could not be done after all."""

    reason_code = fields.word(pb.NotDeliveredReason.DESCRIPTOR, "Why.", required=True)
    note = fields.note("For the sender.")


class CloseSchema(Schema):
    """Whether help came."""

    help_came_code = fields.word(pb.HelpCame.DESCRIPTOR, "no opens it again.", required=True)
    note = fields.note("For the receiver.")


class WithdrawSchema(Schema):
    """Why it is no longer asked for."""

    reason_code = fields.word(pb.WithdrawReason.DESCRIPTOR, "Why.", required=True)
    note = fields.note("For the receiver.")


class EnterInErrorSchema(Schema):
    """What was wrong."""

    note = fields.note("What was wrong.")


step = partial(referral_verbs.rpc, answers=ReferralSchema)
step(
    "SendReferral",
    "Send a draft",
    "Needs need, urgency, service, a safe-contact plan, and a receipt that covers recipient, purpose and time, or an override.",
    takes=SendSchema,
)
step(
    "ConfirmOverride",
    "Confirm an override as the second person",
    "Within 12 hours, or it opens nothing any more. Coordinator, or a manager of the sender; not who sent it, and not a key.",
)
step("AttachConsent", "Put her consent in the place of an override", "Sender.", takes=AttachConsentSchema)
step("AcknowledgeReferral", "Say that it was seen", "Receiver.")
step("AskReferral", "Ask the sender", "Receiver; once. The clock to decide pauses.", takes=AskSchema)
step("AnswerReferral", "Answer the receiver's question", "Sender.", takes=AnswerSchema)
step("AcceptReferral", "Accept", "Receiver.", takes=AcceptSchema)
step("WaitlistReferral", "Put on the waiting list", "Receiver.", takes=WaitlistSchema)
step("DeclineReferral", "Decline, with a reason", "Receiver.", takes=DeclineSchema)
step("StartReferral", "Say that help has begun", "Receiver.", takes=StartSchema)
step("CompleteReferral", "Say that it is done, with the outcome", "Receiver.", takes=CompleteSchema)
step("NotDeliverReferral", "Say that it could not be done", "Receiver.", takes=NotDeliverSchema)
step("CloseReferral", "Close what is completed, or open it again", "Sender, coordinator.", takes=CloseSchema)
step("WithdrawReferral", "Withdraw, with a reason", "Sender, coordinator. The receiver's access ends.", takes=WithdrawSchema)
step(
    "EnterReferralInError",
    "Mark as entered in error",
    "Out of all counts. Sender within 24 hours, then the coordinator.",
    takes=EnterInErrorSchema,
    operation_id="enter_in_error_referral",
)
