"""The steps of a referral as forms: which rpc each verb is, and what it asks for. Data only; what is allowed the referral itself says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import forms, words
from services.gateway.clients import Clients


@dataclass(frozen=True)
class Ask:
    """One question of a form. `kind` is choice, note, moment, date, days, worker, needs or service; `table` names the words of a choice."""

    name: str
    kind: str
    table: str = ""
    required: bool = True


@dataclass(frozen=True)
class Verb:
    """A step: its rpc, its request, its questions. `grave` steps end something and look it."""

    rpc: Callable[[Clients], Callable[[Any], r.Referral]]
    request: type[Any]
    asks: tuple[Ask, ...] = ()
    grave: bool = False


NOTE = Ask("note", "note", required=False)

VERBS: dict[str, Verb] = {
    "acknowledge": Verb(lambda c: c.referrals.AcknowledgeReferral, r.AcknowledgeReferralRequest),
    "accept": Verb(
        lambda c: c.referrals.AcceptReferral,
        r.AcceptReferralRequest,
        (Ask("planned_first_contact_time", "moment"), Ask("responsible_worker_id", "worker", required=False), NOTE),
    ),
    "ask": Verb(lambda c: c.referrals.AskReferral, r.AskReferralRequest, (Ask("question_code", "choice", "question"), Ask("note", "note"))),
    "waitlist": Verb(
        lambda c: c.referrals.WaitlistReferral,
        r.WaitlistReferralRequest,
        (Ask("expected_wait_days", "days"), Ask("review_time", "date"), NOTE),
    ),
    "decline": Verb(
        lambda c: c.referrals.DeclineReferral,
        r.DeclineReferralRequest,
        (Ask("reason_code", "choice", "decline_reason"), Ask("alternative_service_id", "service", required=False), NOTE),
        grave=True,
    ),
    "answer": Verb(lambda c: c.referrals.AnswerReferral, r.AnswerReferralRequest, (Ask("note", "note"),)),
    "start": Verb(lambda c: c.referrals.StartReferral, r.StartReferralRequest, (Ask("first_contact_time", "moment"), NOTE)),
    "complete": Verb(
        lambda c: c.referrals.CompleteReferral,
        r.CompleteReferralRequest,
        (Ask("outcome_code", "choice", "outcome"), Ask("delivered_need_codes", "needs", required=False), NOTE),
    ),
    "not_deliver": Verb(
        lambda c: c.referrals.NotDeliverReferral,
        r.NotDeliverReferralRequest,
        (Ask("reason_code", "choice", "not_deliver_reason"), NOTE),
        grave=True,
    ),
    "close": Verb(lambda c: c.referrals.CloseReferral, r.CloseReferralRequest, (Ask("help_came_code", "choice", "help_came"), NOTE)),
    "confirm_override": Verb(lambda c: c.referrals.ConfirmOverride, r.ConfirmOverrideRequest),
    "withdraw": Verb(
        lambda c: c.referrals.WithdrawReferral,
        r.WithdrawReferralRequest,
        (Ask("reason_code", "choice", "withdraw_reason"), NOTE),
        grave=True,
    ),
    "enter_in_error": Verb(lambda c: c.referrals.EnterReferralInError, r.EnterReferralInErrorRequest, (NOTE,), grave=True),
}


def request_of(verb: str, identifier: str) -> Any:
    """The request that the sent form means."""
    chosen = VERBS[verb]
    values = {ask.name: value for ask in chosen.asks if (value := answer(ask)) not in (None, "", [])}
    return chosen.request(id=identifier, etag=forms.etag(), request_id=forms.request_id(), **values)


def answer(ask: Ask) -> Any:
    """What was filled in for one question."""
    if ask.kind in ("moment", "date"):
        return forms.moment(ask.name)
    if ask.kind == "days":
        return forms.whole_number(ask.name)
    if ask.kind == "needs":
        return forms.texts(ask.name)
    return forms.text(ask.name)


def missing(verb: str) -> dict[str, str]:
    """Questions of the form that were left empty, so that the page can say so before a service does."""
    return {ask.name: words.violation("required") for ask in VERBS[verb].asks if ask.required and answer(ask) in (None, "", [])}
