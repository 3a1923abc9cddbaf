"""A message: one thing that one audience is told, kept in the inbox whatever becomes of e-mail and
webhooks.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from services.notifications.domain.rules import (
    MESSAGE_UNDELIVERABLE,
    WEBHOOK_DISABLED,
    Audience,
    Happening,
    Told,
)

INVITATION, APPLICATION = "invitation", "application"


@dataclass(frozen=True)
class Message:
    """`besides_worker_id`: who of the desk has the same message in person, and need not see this
    one.
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


@dataclass(frozen=True)
class Letter:
    """What brings a link to whoever is invited or applied, or tells somebody of her own account;
    `sealed` is opened only when it is sent.

    `about_id`: the invitation, the application or what it tells of; `kind`: which notice it brings,
    INVITATION or APPLICATION.
    """

    about_id: str
    organization_id: str
    sealed: bytes
    expire_time: datetime
    kind: str = INVITATION


@dataclass(frozen=True)
class Notice:
    """How one message to an organisation went over one channel."""

    kind: str
    organization_id: str
    channel: str
    status: str
    create_time: datetime
    delivery_time: datetime | None
    read_time: datetime | None


def messages_of(happening: Happening, told: list[Told]) -> list[Message]:
    """The messages of one happening, as they are kept; their time is when it happened, not when it
    was heard.

    The time is part of what they are derived from: a store that was restored from a copy uses a
    version again, for something else.
    """
    personal = {
        (one.kind, one.organization_id): one.worker_id
        for one in told
        if one.audience is Audience.WORKER
    }
    return [
        Message(
            derived_id(
                f"{happening.referral_id}/{happening.version}/{happening.time.isoformat()}", one
            ),
            one.audience,
            one.organization_id,
            one.worker_id,
            personal.get((one.kind, one.organization_id), "")
            if one.audience is Audience.DESK
            else "",
            one.kind,
            happening.referral_id,
            happening.urgency,
            happening.sender_organization_id,
            happening.receiver_organization_id,
            happening.time,
            need_code=happening.need_code,
        )
        for one in told
    ]


def about_unreached(message: Message, now: datetime) -> Message:
    """To the coordination: nobody was reached, call by telephone."""
    told = Told(MESSAGE_UNDELIVERABLE, Audience.COORDINATION)
    identity = derived_id(message.id, told)
    parties = (message.sender_organization_id, message.receiver_organization_id)
    return Message(
        identity,
        told.audience,
        "",
        "",
        "",
        told.kind,
        message.referral_id,
        message.urgency,
        *parties,
        now,
        need_code=message.need_code,
    )


def about_disabled(webhook_id: str, organization_id: str, now: datetime) -> Message:
    """To the desk whose system has been switched off."""
    told = Told(WEBHOOK_DISABLED, Audience.DESK, organization_id)
    return Message(
        derived_id(f"{webhook_id}/{now.isoformat()}", told),
        told.audience,
        organization_id,
        "",
        "",
        told.kind,
        "",
        "",
        "",
        "",
        now,
    )


def about_subject(told: Told, cause: str, time: datetime) -> Message:
    """Of an invitation, somebody's own account, a contact, a receipt, an erasure, an anomaly, an
    emergency access or an organisation: one for each `cause`.
    """
    return Message(
        derived_id(cause, told),
        told.audience,
        told.organization_id,
        told.worker_id,
        "",
        told.kind,
        "",
        "",
        "",
        "",
        time,
    )


def about_enquiry(
    told: list[Told],
    enquiry_id: str,
    asker_organization_id: str,
    cause: str,
    urgency: str,
    need_code: str,
    time: datetime,
) -> list[Message]:
    """To those whom an enquiry concerns.

    Who asks is in the message to the asker only, as the one whose it is.
    """
    personal = {
        one.organization_id: one.worker_id for one in told if one.audience is Audience.WORKER
    }
    return [
        Message(
            derived_id(f"{enquiry_id}/{cause}/{time.isoformat()}", one),
            one.audience,
            one.organization_id,
            one.worker_id,
            personal.get(one.organization_id, "") if one.audience is Audience.DESK else "",
            one.kind,
            "",
            urgency,
            asker_organization_id if one.organization_id == asker_organization_id else "",
            "",
            time,
            need_code=need_code,
            enquiry_id=enquiry_id,
        )
        for one in told
    ]


def letter_id(message_id: str) -> str:
    """The delivery's id of the letter that goes with a message: heard anew, it is the same, and so
    is its Message-ID.
    """
    return hashlib.sha256(f"{message_id}/letter".encode()).hexdigest()[:32]


def derived_id(cause: str, told: Told) -> str:
    """An id that the same cause gives again: a message made twice is one, also after the database
    was lost and everything is heard anew.
    """
    return hashlib.sha256(
        "/".join(
            (cause, told.kind, told.audience.value, told.organization_id, told.worker_id)
        ).encode()
    ).hexdigest()[:32]
