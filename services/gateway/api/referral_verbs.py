"""POST /referrals/{id}/VERB: what may happen to a referral, one row a verb.

Every verb needs If-Match and takes an Idempotency-Key. Which verb is possible is the referrals service's to know; `allowed_verbs` of a
referral says it for the caller.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Response
from google.protobuf.message import Message
from marshmallow import Schema

from protos.referrals.v1 import referrals_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import one
from services.gateway.api.convert import from_json
from services.gateway.api.reading import if_match, request_key
from services.gateway.api.referrals import ReferralSchema
from services.gateway.api.routes import STEERING, Routes, View
from services.gateway.clients import Clients, clients

referral_verbs = Routes("referral verbs", "What may happen to a referral; every one needs If-Match.")

OVERRIDES = ("life_at_risk", "child_at_risk", "cannot_consent_medically", "court_order", "danger_after_withdrawal")
QUESTIONS = ("eligibility", "health", "safety", "dependants", "language", "documents", "dates", "other")
DECLINES = (
    "no_capacity", "waitlist_only", "not_eligible_age", "not_eligible_sex_or_gender", "not_eligible_status", "cannot_take_dependants",
    "out_of_area", "service_not_offered", "risk_cannot_be_managed", "needs_higher_level_of_care", "language_not_available",
    "accessibility_not_available", "missing_information", "duplicate", "consent_not_confirmed", "conflict_of_interest",
    "too_late_to_place", "funding_ended", "other",
)  # fmt: skip
WITHDRAWALS = (
    "mistaken_or_duplicate", "ineligible", "not_engaged", "needs_met_elsewhere", "moved", "work_or_care_commitments", "died",
    "safety_changed", "person_changed_mind", "other",
)  # fmt: skip
NOT_DELIVERED = (
    "could_not_contact", "person_declined", "no_show_repeated", "capacity_lost", "safety_incident", "person_missing",
    "returned_to_exploitation_suspected", "other",
)  # fmt: skip
OUTCOMES = ("fully_met", "partly_met", "ongoing_with_provider", "met_by_other", "person_ended_early", "not_met")


class SendSchema(Schema):
    """On what it stands."""

    receipt_id = fields.ident("The consent; left out: the draft's.")
    override_reason_code = fields.code("Why it is sent without a consent; needs the scope referrals.override.", among=OVERRIDES)
    note = fields.note("Needed with an override.")


class AttachConsentSchema(Schema):
    """On what it stands from now on."""

    receipt_id = fields.ident("The consent.", required=True)


class AskSchema(Schema):
    """A question."""

    question_code = fields.code("What is asked about.", among=QUESTIONS, required=True)
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

    reason_code = fields.code("Why; other needs a note.", among=DECLINES, required=True)
    alternative_service_id = fields.ident("A service that may help instead.")
    note = fields.note("For the sender.")


class StartSchema(Schema):
    """When help began."""

    first_contact_time = fields.time("When she was first met.", required=True)
    note = fields.note("For the sender.")


class CompleteSchema(Schema):
    """What came of it."""

    outcome_code = fields.code("The outcome.", among=OUTCOMES, required=True)
    delivered_need_codes = fields.many(fields.code("A need.", example="HOU.EMG"), "What was delivered.")
    note = fields.note("For the sender.")


class NotDeliverSchema(Schema):
    """Why it could not be done after all."""

    reason_code = fields.code("Why.", among=NOT_DELIVERED, required=True)
    note = fields.note("For the sender.")


class CloseSchema(Schema):
    """Whether help came."""

    help_came_code = fields.code("no opens it again.", among=("yes", "no", "could_not_reach"), required=True)
    note = fields.note("For the receiver.")


class WithdrawSchema(Schema):
    """Why it is no longer asked for."""

    reason_code = fields.code("Why.", among=WITHDRAWALS, required=True)
    note = fields.note("For the receiver.")


class EnterInErrorSchema(Schema):
    """What was wrong."""

    note = fields.note("What was wrong.")


class Verb(NamedTuple):
    """One thing that may happen to a referral."""

    name: str
    rpc: str
    request: type[Message]
    takes: type[Schema] | None
    summary: str
    more: str
    right: str = "referrals.write"


VERBS = (
    Verb("send", "SendReferral", pb.SendReferralRequest, SendSchema, "Send a draft",
         "Needs need, urgency, service, a safe-contact plan, and a receipt that covers recipient, purpose and time, or an override."),
    Verb("confirm-override", "ConfirmOverride", pb.ConfirmOverrideRequest, None, "Confirm an override as the second person",
         "Within 12 hours, or it opens nothing any more. Coordinator, or a manager of the sender; not who sent it, and not a key.", STEERING),
    Verb("attach-consent", "AttachConsent", pb.AttachConsentRequest, AttachConsentSchema, "Put her consent in the place of an override", "Sender."),
    Verb("acknowledge", "AcknowledgeReferral", pb.AcknowledgeReferralRequest, None, "Say that it was seen", "Receiver."),
    Verb("ask", "AskReferral", pb.AskReferralRequest, AskSchema, "Ask the sender", "Receiver; once. The clock to decide pauses."),
    Verb("answer", "AnswerReferral", pb.AnswerReferralRequest, AnswerSchema, "Answer the receiver's question", "Sender."),
    Verb("accept", "AcceptReferral", pb.AcceptReferralRequest, AcceptSchema, "Accept", "Receiver."),
    Verb("waitlist", "WaitlistReferral", pb.WaitlistReferralRequest, WaitlistSchema, "Put on the waiting list", "Receiver."),
    Verb("decline", "DeclineReferral", pb.DeclineReferralRequest, DeclineSchema, "Decline, with a reason", "Receiver."),
    Verb("start", "StartReferral", pb.StartReferralRequest, StartSchema, "Say that help has begun", "Receiver."),
    Verb("complete", "CompleteReferral", pb.CompleteReferralRequest, CompleteSchema, "Say that it is done, with the outcome", "Receiver."),
    Verb("not-deliver", "NotDeliverReferral", pb.NotDeliverReferralRequest, NotDeliverSchema, "Say that it could not be done", "Receiver."),
    Verb("close", "CloseReferral", pb.CloseReferralRequest, CloseSchema, "Close what is completed, or open it again",
         "Sender, coordinator."),
    Verb("withdraw", "WithdrawReferral", pb.WithdrawReferralRequest, WithdrawSchema, "Withdraw, with a reason",
         "Sender, coordinator. The receiver's access ends."),
    Verb("enter-in-error", "EnterReferralInError", pb.EnterReferralInErrorRequest, EnterInErrorSchema, "Mark as entered in error",
         "Out of all counts. Sender within 24 hours, then the coordinator."),
)  # fmt: skip


def route(verb: Verb) -> View:
    """The view of a verb."""
    # By name, so that the table can stand before there are clients; a test checks that every rpc exists.
    rpc: Callable[[Clients], Any] = lambda them: getattr(them.referrals, verb.rpc)  # noqa: E731

    def act(given: dict[str, Any] | None = None, *, referral_id: str) -> Response:
        values = {**(given or {}), "id": referral_id, "etag": if_match(), "request_id": request_key()}
        return one(rpc(clients())(from_json(values, verb.request())))

    act.__name__ = (
        verb.name.replace("-", "_") if verb.rpc in ("ConfirmOverride", "AttachConsent") else f"{verb.name.replace('-', '_')}_referral"
    )
    act.__doc__ = f"{verb.summary}\n\n{verb.more}"
    return act


for verb in VERBS:
    referral_verbs.operation(
        "post",
        f"/referrals/<opaque:referral_id>/{verb.name}",
        right=verb.right,
        answers=ReferralSchema,
        takes=verb.takes,
        once=True,
        etag=True,
        refuses=(409,),
    )(route(verb))
