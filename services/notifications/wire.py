"""Converts this service's objects to and from messages: facts, responses and webhook bodies.

Only the fields that this module lists are copied from a fact. A field that is added to a fact later
is not passed on automatically.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from chassis.wire import EnumCodec, etag, moment, names, number, timestamp, words
from facts.outbox import Fact
from protos.notifications.v1 import facts_pb2
from protos.notifications.v1 import notifications_pb2 as pb
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.partners.v1 import letters_pb2
from protos.referrals.v1 import facts_pb2 as referrals_facts_pb2
from protos.referrals.v1 import referrals_pb2
from services.notifications.domain.delivery import (
    Attempt,
    Delivery,
    Hour,
    SignedTime,
    Status,
    headers,
)
from services.notifications.domain.desk import Desk
from services.notifications.domain.message import APPLICATION, Letter, Message, NoticeDelivery
from services.notifications.domain.rules import ReferralEvent
from services.notifications.domain.texts import Mail
from services.notifications.domain.webhook import TEST, Webhook
from services.notifications.words import text

UNDELIVERABLE = "enlace.message.undeliverable.v1"
WEBHOOK_DISABLED = "enlace.webhook.disabled.v1"
_STATUSES = EnumCodec(pb.DeliveryStatus, Status)
# The words for the values in received facts. A value that is newer than this service is ignored;
# the fact is still accepted.
_STATES = words(referrals_pb2.State.DESCRIPTOR)
_URGENCIES = words(referrals_pb2.Urgency.DESCRIPTOR)
_CLOCKS = words(referrals_pb2.ClockKind.DESCRIPTOR)
_URGENCY_NAMES = names(referrals_pb2.Urgency)  # as messages store them


# --- received facts


def verb_of(fact: Fact, subject_kind: str) -> str:
    """Returns the verb of `enlace.<subject_kind>.<verb>.v1`.

    Returns "" for a fact about another kind of subject, or of a version that is not understood.
    """
    parts = fact.type.split(".")
    return (
        parts[2]
        if len(parts) == 4 and parts[:2] == ["enlace", subject_kind] and parts[3] == "v1"
        else ""
    )


def referral_fact(fact: Fact) -> referrals_facts_pb2.ReferralFact:
    """Returns the body of a fact about a referral; raises DecodeError if it is malformed."""
    return referrals_facts_pb2.ReferralFact.FromString(fact.payload)


def event_of(fact: Fact, body: referrals_facts_pb2.ReferralFact) -> ReferralEvent:
    """Returns the parts of a fact about a referral that this service uses."""
    return ReferralEvent(
        verb_of(fact, "referral"),
        body.state == referrals_pb2.STATE_DRAFT,
        body.referral_id,
        fact.version,
        fact.time,
        _URGENCY_NAMES.get(body.urgency, ""),
        body.sender_organization_id,
        body.sender_worker_id,
        body.receiver_organization_id,
        body.actor_organization_id,
        body.override_used,
        _CLOCKS.get(body.clock, ""),
        body.need_code,
        body.responsible_worker_id,
        body.actor_worker_id,
        body.reminded_organization_id,
    )


def enquiry_fact(fact: Fact) -> referrals_facts_pb2.EnquiryFact:
    """Returns the body of a fact about an enquiry."""
    return referrals_facts_pb2.EnquiryFact.FromString(fact.payload)


def urgency_name(body: referrals_facts_pb2.EnquiryFact) -> str:
    """Returns the urgency of an enquiry, as messages store it."""
    return _URGENCY_NAMES.get(body.urgency, "")


def organization_of(fact: Fact, subject_kind: str) -> str:
    """Returns the id of the organisation that a fact is about or belongs to.

    A fact is about the organisation itself or about e.g. its contact, owed call, receipt, erasure
    or anomaly. Returns "" if the fact names no organisation.
    """
    return getattr(_body_of(fact, subject_kind), "organization_id", "")


def worker_of(fact: Fact, subject_kind: str) -> str:
    """Returns the id of the worker named in a fact, e.g. about an export; "" if there is none."""
    return getattr(_body_of(fact, subject_kind), "worker_id", "")


def _body_of(fact: Fact, subject_kind: str) -> Any:
    """Returns the body of a fact about any subject of partners or referrals."""
    message = f"{''.join(word.capitalize() for word in subject_kind.split('_'))}Fact"
    body: Any = getattr(partners_pb2, message, None) or getattr(referrals_facts_pb2, message)
    return body.FromString(fact.payload)


def organization_fact(fact: Fact) -> partners_pb2.OrganizationFact:
    """Returns the body of a fact about an organisation."""
    return partners_pb2.OrganizationFact.FromString(fact.payload)


def worker_fact(fact: Fact) -> partners_pb2.WorkerFact:
    """Returns the body of a fact about a worker."""
    return partners_pb2.WorkerFact.FromString(fact.payload)


def api_key_fact(fact: Fact) -> partners_pb2.ApiKeyFact:
    """Returns the body of a fact about a key."""
    return partners_pb2.ApiKeyFact.FromString(fact.payload)


def invitation_fact(fact: Fact) -> partners_pb2.InvitationFact:
    """Returns the body of a fact about an invitation."""
    return partners_pb2.InvitationFact.FromString(fact.payload)


def invitation_letter_of(body: partners_pb2.InvitationFact) -> Letter:
    """Returns the letter to an invited person."""
    expire_time = moment(body, "expire_time")
    assert expire_time is not None, "every invitation expires"
    return Letter(body.invitation_id, body.organization_id, body.sealed_letter, expire_time)


def application_fact(fact: Fact) -> partners_pb2.ApplicationFact:
    """Returns the body of a fact about an application."""
    return partners_pb2.ApplicationFact.FromString(fact.payload)


def application_letter_of(body: partners_pb2.ApplicationFact) -> Letter:
    """Returns the letter to an applicant."""
    expire_time = moment(body, "expire_time")
    assert expire_time is not None, "every application expires"
    return Letter(body.application_id, "", body.sealed_letter, expire_time, APPLICATION)


def application_letter(plaintext: bytes) -> letters_pb2.ApplicationLetter:
    """Returns the content of an unsealed letter to an applicant."""
    return letters_pb2.ApplicationLetter.FromString(plaintext)


def account_fact(fact: Fact) -> partners_pb2.AccountFact:
    """Returns the body of a fact about a worker's own account."""
    return partners_pb2.AccountFact.FromString(fact.payload)


def account_letter_of(body: partners_pb2.AccountFact, kind: str) -> Letter:
    """Returns the letter to a worker about her own account."""
    expire_time = moment(body, "expire_time")
    assert expire_time is not None, "every notice about an account expires"
    return Letter(body.notice_id, body.organization_id, body.sealed_letter, expire_time, kind)


def account_letter(plaintext: bytes) -> letters_pb2.AccountLetter:
    """Returns the content of an unsealed letter about an account."""
    return letters_pb2.AccountLetter.FromString(plaintext)


def invitation_letter(plaintext: bytes) -> letters_pb2.InvitationLetter:
    """Returns the content of an unsealed letter about an invitation."""
    return letters_pb2.InvitationLetter.FromString(plaintext)


# --- published facts


def undeliverable(message: Message, reason: str, now: datetime) -> Fact:
    """Returns a fact that states that no channel reached the recipient of a message."""
    payload = facts_pb2.MessageFact(
        message_id=message.id,
        referral_id=message.referral_id,
        organization_id=message.organization_id,
        kind_code=message.kind,
        reason_code=reason,
    )
    return Fact(message.id, 1, UNDELIVERABLE, payload.SerializeToString(), now)


# --- webhook bodies: only ids, codes and times; codes as the REST interface writes them. The store
# adds the kind, which differs between the recipients of one fact.


def webhook_body(fact: Fact, body: referrals_facts_pb2.ReferralFact, public_url: str) -> str:
    """Returns the webhook body for a fact about a referral.

    The body holds ids, codes, times and the URL of the referral, but no worker's id. Empty
    values are left out.
    """
    data = {
        "referral_id": body.referral_id,
        "version": fact.version,
        "state": _STATES.get(body.state, ""),
        "urgency": _URGENCIES.get(body.urgency, ""),
        "need_code": body.need_code,
        "reason_code": body.reason_code,
        "clock": _CLOCKS.get(body.clock, ""),
        "due_time": _rfc3339(due) if (due := moment(body, "due_time")) else "",
        "sender_organization_id": body.sender_organization_id,
        "receiver_organization_id": body.receiver_organization_id,
        "service_id": body.service_id,
        "url": f"{public_url}/api/v1/referrals/{body.referral_id}",
    }
    return _body(fact.type, fact.time, {key: value for key, value in data.items() if value != ""})


def enquiry_body(fact: Fact, body: referrals_facts_pb2.EnquiryFact, public_url: str) -> str:
    """Returns the webhook body for a fact about an enquiry.

    Nothing in the body reveals who asks, or about which person.
    """
    data = {
        "enquiry_id": body.enquiry_id,
        "urgency": _URGENCIES.get(body.urgency, ""),
        "need_code": body.need_code,
        "service_id": body.service_id,
        "due_time": _rfc3339(due) if (due := moment(body, "due_time")) else "",
        "url": f"{public_url}/api/v1/enquiries/{body.enquiry_id}",
    }
    return _body(fact.type, fact.time, {key: value for key, value in data.items() if value != ""})


def subject_body(fact: Fact, subject_kind: str) -> str:
    """Returns the webhook body for a fact about any subject except a referral or an enquiry.

    The body holds only the subject's id. The subject, e.g. an invitation, belongs to the
    organisation that gets the webhook.
    """
    return _body(fact.type, fact.time, {f"{subject_kind}_id": fact.subject})


def test_body(webhook: Webhook, now: datetime) -> str:
    """Returns the body of a test delivery; its type marks it as a test."""
    return _body(TEST, now, {"webhook_id": webhook.id}, kind="webhook_test")


def disabled_body(webhook_id: str, now: datetime) -> str:
    """Returns the webhook body that reports a disabled endpoint to its organisation's endpoints."""
    return _body(WEBHOOK_DISABLED, now, {"webhook_id": webhook_id})


def _body(type: str, time: datetime, data: dict[str, Any], **kind: str) -> str:
    return json.dumps(
        {**kind, "type": type, "timestamp": _rfc3339(time), "data": data}, separators=(",", ":")
    )


# --- responses


def message_answer(message: Message, language: str) -> pb.Message:
    """Returns a message for a response, with its text in the reader's language."""
    return pb.Message(
        id=message.id,
        kind=message.kind,
        text=text(message.kind, language),
        referral_id=message.referral_id,
        urgency_code=number(referrals_pb2.Urgency, message.urgency.lower()),
        create_time=timestamp(message.create_time),
        read_time=timestamp(message.read_time),
        need_code=message.need_code,
        enquiry_id=message.enquiry_id,
        organization_id=message.subject_organization_id,
    )


def notice_answer(notice: NoticeDelivery) -> pb.Notice:
    """Returns a notice for a response."""
    return pb.Notice(
        kind=notice.kind,
        organization_id=notice.organization_id,
        channel=number(pb.NoticeChannel, notice.channel),
        status=_STATUSES.number(Status(notice.status)),
        create_time=timestamp(notice.create_time),
        delivery_time=timestamp(notice.delivery_time),
        read_time=timestamp(notice.read_time),
    )


def desk_answer(desk: Desk) -> pb.Desk:
    """Returns a desk for a response."""
    return pb.Desk(
        organization_id=desk.organization_id,
        language=desk.language,
        email=desk.email,
        etag=etag(desk.version),
    )


def webhook_answer(webhook: Webhook) -> pb.Webhook:
    """Returns an endpoint for a response, without its secret."""
    return pb.Webhook(
        id=webhook.id,
        etag=etag(webhook.version),
        organization_id=webhook.organization_id,
        url=webhook.url,
        kinds=webhook.kinds,
        enabled=webhook.enabled,
        disabled_reason_code=number(pb.DisabledReason, webhook.disabled_reason),
        create_time=timestamp(webhook.create_time),
        update_time=timestamp(webhook.update_time),
        former_secret_expire_time=timestamp(webhook.former_secret_expire_time),
    )


def delivery_answer(delivery: Delivery) -> pb.Delivery:
    """Returns a delivery for a response, with the hash of the body instead of the body."""
    return pb.Delivery(
        id=delivery.id,
        webhook_id=delivery.webhook_id,
        kind=delivery.kind,
        status=_STATUSES.number(Status(delivery.status)),
        attempts=delivery.attempts,
        last_http_status=delivery.last_code,
        last_error_code=number(pb.DeliveryError, delivery.last_error),
        last_duration_ms=delivery.last_duration_ms,
        body_sha256=delivery.body_sha256,
        create_time=timestamp(delivery.create_time),
        next_attempt_time=timestamp(delivery.next_attempt_time),
        delivery_time=timestamp(delivery.delivery_time),
    )


def whole_delivery_answer(
    delivery: Delivery, body: str, attempts: Sequence[Attempt]
) -> pb.Delivery:
    """Returns a delivery for a response, with everything that was sent.

    Bodies hold ids and codes, and a signature reveals nothing to the owner of the endpoint, who has
    its secret.
    """
    answer = delivery_answer(delivery)
    answer.sent.body = body
    for attempt in attempts:
        answer.sent.attempts.add(
            attempt_time=timestamp(attempt.attempt_time),
            http_status=attempt.code,
            error_code=number(pb.DeliveryError, attempt.error),
            duration_ms=attempt.duration_ms,
            headers=headers(delivery.id, SignedTime(attempt.attempt_time, attempt.signature)),
        )
    return answer


def hour_answer(hour: Hour) -> pb.DeliveryHour:
    """Returns the counts of an hour for a response."""
    return pb.DeliveryHour(
        webhook_id=hour.webhook_id,
        start_time=timestamp(hour.start_time),
        delivered=hour.delivered,
        failed=hour.failed,
    )


def mail_answer(mail: Mail, create_time: datetime) -> pb.DevelopmentMail:
    """Returns an e-mail of the development outbox for a response."""
    return pb.DevelopmentMail(
        id=mail.id,
        recipient=mail.recipient,
        subject=mail.subject,
        body=mail.body,
        create_time=timestamp(create_time),
    )


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
