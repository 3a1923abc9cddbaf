"""A message: one notice to one audience.

A message stays in the inbox, whatever happens to the e-mails and webhooks.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from services.notifications.domain.rules import (
    MESSAGE_UNDELIVERABLE,
    WEBHOOK_DISABLED,
    Audience,
    Recipient,
    ReferralEvent,
)

INVITATION, APPLICATION = "invitation", "application"


@dataclass(frozen=True)
class Message:
    """A message in an inbox.

    `besides_worker_id` names the worker who gets a message of her own, and so need not see the
    same message to her desk; "" if there is no such worker.
    """

    id: str
    audience: Audience
    organization_id: str
    worker_id: str
    besides_worker_id: str
    kind: str
    referral_id: str
    urgency: str
    sender_organization_id: str
    receiver_organization_id: str
    create_time: datetime
    read_time: datetime | None = None
    need_code: str = ""
    enquiry_id: str = ""

    @property
    def subject_organization_id(self) -> str:
        """Returns the organisation that a message to the coordinators is about.

        Returns "" if the message is about a referral or an enquiry, unless it reports that another
        message did not reach this organisation.
        """
        # A report that an earlier version stored names both sides of the referral instead.
        is_report = self.kind == MESSAGE_UNDELIVERABLE and not self.receiver_organization_id
        is_about_case = self.referral_id or self.enquiry_id
        return "" if is_about_case and not is_report else self.sender_organization_id


@dataclass(frozen=True)
class Letter:
    """An e-mail to one person instead of a desk, sealed until it is sent.

    A letter brings a link to an invited person or an applicant, or informs a worker about her
    account or organisation. `about_id` is the id of the invitation, the application or the notice;
    `kind` is INVITATION, APPLICATION or the kind of the notice.
    """

    about_id: str
    organization_id: str
    sealed: bytes
    expire_time: datetime
    kind: str = INVITATION


@dataclass(frozen=True)
class NoticeDelivery:
    """The delivery of one message to an organisation over one channel."""

    kind: str
    organization_id: str
    channel: str
    status: str
    create_time: datetime
    delivery_time: datetime | None
    read_time: datetime | None


def messages_of(event: ReferralEvent, recipients: list[Recipient]) -> list[Message]:
    """Returns the messages about one event, dated when it occurred, not when it was received.

    The ids are derived from that time, too, since a referrals service that was restored from a
    backup may use the same version again for another event.
    """
    worker_ids = {
        (recipient.kind, recipient.organization_id): recipient.worker_id
        for recipient in recipients
        if recipient.audience is Audience.WORKER
    }
    return [
        Message(
            derived_id(
                f"{event.referral_id}/{event.version}/{event.time.isoformat()}",
                recipient,
            ),
            recipient.audience,
            recipient.organization_id,
            recipient.worker_id,
            worker_ids.get((recipient.kind, recipient.organization_id), "")
            if recipient.audience is Audience.DESK
            else "",
            recipient.kind,
            event.referral_id,
            event.urgency,
            event.sender_organization_id,
            event.receiver_organization_id,
            event.time,
            need_code=event.need_code,
        )
        for recipient in recipients
    ]


def about_undeliverable(message: Message, now: datetime) -> Message:
    """Returns the message that informs the coordinators that another message reached nobody.

    It names the organisation of the other message, which the coordinators are expected to phone.
    """
    recipient = Recipient(MESSAGE_UNDELIVERABLE, Audience.COORDINATION)
    return Message(
        derived_id(message.id, recipient),
        recipient.audience,
        "",
        "",
        "",
        recipient.kind,
        message.referral_id,
        message.urgency,
        message.organization_id,
        "",
        now,
        need_code=message.need_code,
    )


def about_disabled(webhook_id: str, organization_id: str, now: datetime) -> Message:
    """Returns the message to the desk whose endpoint was switched off."""
    recipient = Recipient(WEBHOOK_DISABLED, Audience.DESK, organization_id)
    return Message(
        derived_id(f"{webhook_id}/{now.isoformat()}", recipient),
        recipient.audience,
        organization_id,
        "",
        "",
        recipient.kind,
        "",
        "",
        "",
        "",
        now,
    )


def about_subject(
    recipient: Recipient, cause: str, time: datetime, organization_id: str = ""
) -> Message:
    """Returns a message that is not about a referral or an enquiry.

    It is about e.g. an invitation, a worker's own account, a contact, a receipt, an erasure, an
    anomaly, an emergency access or an organisation. The same cause and recipient give the same id.
    `organization_id` tells the coordinators which organisation the message is about.
    """
    return Message(
        derived_id(cause, recipient),
        recipient.audience,
        recipient.organization_id,
        recipient.worker_id,
        "",
        recipient.kind,
        "",
        "",
        organization_id,
        "",
        time,
    )


def about_enquiry(
    recipients: list[Recipient],
    enquiry_id: str,
    asker_organization_id: str,
    cause: str,
    urgency: str,
    need_code: str,
    time: datetime,
) -> list[Message]:
    """Returns the messages about an enquiry.

    Only a message to the asking organisation names that organisation.
    """
    worker_ids = {
        recipient.organization_id: recipient.worker_id
        for recipient in recipients
        if recipient.audience is Audience.WORKER
    }
    return [
        Message(
            derived_id(f"{enquiry_id}/{cause}/{time.isoformat()}", recipient),
            recipient.audience,
            recipient.organization_id,
            recipient.worker_id,
            worker_ids.get(recipient.organization_id, "")
            if recipient.audience is Audience.DESK
            else "",
            recipient.kind,
            "",
            urgency,
            asker_organization_id if recipient.organization_id == asker_organization_id else "",
            "",
            time,
            need_code=need_code,
            enquiry_id=enquiry_id,
        )
        for recipient in recipients
    ]


def letter_id(message_id: str) -> str:
    """Returns the id of the delivery of the letter that goes with a message.

    A fact that is received again gives the same id, and so the same Message-ID.
    """
    return hashlib.sha256(f"{message_id}/letter".encode()).hexdigest()[:32]


def derived_id(cause: str, recipient: Recipient) -> str:
    """Returns an id that is the same whenever the cause and the recipient are the same.

    So a message that is created twice is stored only once, even after the database was lost and
    every fact is received again.
    """
    return hashlib.sha256(
        "/".join(
            (
                cause,
                recipient.kind,
                recipient.audience.value,
                recipient.organization_id,
                recipient.worker_id,
            )
        ).encode()
    ).hexdigest()[:32]
