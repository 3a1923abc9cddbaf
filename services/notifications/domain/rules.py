"""Chooses the recipients of a fact from the table of notices.

This module knows recipients, not channels; it cannot tell whether a recipient has an e-mail address
or a webhook.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from services.notifications.domain.notices import BY_FACT, BY_VERB
from services.notifications.domain.notices.notice import ALL, OVERSEEING, SENDER, Party
from services.notifications.domain.notices.referrals import SILENT

# If a fact is older than this when it is received (e.g. by a new service, in a replay, or from the
# demo's invented past), nobody is notified.
HISTORY = timedelta(days=7)


class Audience(Enum):
    """The kinds of recipients."""

    DESK = "desk"
    WORKER = "worker"
    COORDINATION = "coordination"


@dataclass(frozen=True)
class ReferralEvent:
    """A fact about a referral, with the fields that recipients and messages depend on."""

    verb: str
    draft: bool
    referral_id: str
    version: int
    time: datetime
    urgency: str
    sender_organization_id: str
    sender_worker_id: str
    receiver_organization_id: str
    actor_organization_id: str
    override_used: bool
    clock: str = ""  # the kind of deadline (override_confirm, decide …) that the fact is about
    need_code: str = ""
    responsible_worker_id: str = ""
    actor_worker_id: str = ""
    reminded_organization_id: str = ""


@dataclass(frozen=True)
class Recipient:
    """A recipient of a message, and the kind of the message."""

    kind: str
    audience: Audience
    organization_id: str = ""
    worker_id: str = ""


VERBS = SILENT | BY_VERB.keys()
INVITATION_VERBS = frozenset({"created", "accepted", "replaced", "revoked"})

OVERRIDE_USED = "override_used"
MESSAGE_UNDELIVERABLE = "message_undeliverable"
WEBHOOK_DISABLED = "webhook_disabled"
ENQUIRY_OPENED = "enquiry_opened"
ENQUIRY_OFFERED = "enquiry_offered"
ENQUIRY_OFFERS_WAITING = "enquiry_offers_waiting"
ENQUIRY_NOT_TAKEN = "enquiry_not_taken"
ENQUIRY_MATCHED = "enquiry_matched"
ENQUIRY_RELEASED = "enquiry_released"
ENQUIRY_EXHAUSTED = "enquiry_exhausted"
ENQUIRY_CANCELLED = "enquiry_cancelled"
CONSENT_WITHDRAWN = "consent_withdrawn"
# `referred` has no notice: the receiver learns from the referral itself that its offer has led to a
# referral.
ENQUIRY_VERBS = frozenset(
    fact.removeprefix("enquiry.") for fact in BY_FACT if fact.startswith("enquiry.")
) | {"referred"}
FOR_SENDER_ALONE = frozenset(
    {
        "clock_reminded",
        "clock_breached",
        "clock_escalated",
        "referral_leg_lost",
        "referral_need_closed",
        "referral_reminded",
    }
)
"""The kinds of notices whose copy to the sender is hidden from the receiver of the referral.

They may show that the sender is still looking for help for the person elsewhere.
"""
MANAGER_INVITED = "manager_invited"
WORKER_INVITED = "worker_invited"
ACCOUNT_OPENED = "account_opened"


SENDING_CHANGED = "sending_changed"
LASTING_VERBS = frozenset(
    {
        "key_made",
        "person_invited",
        "role_given",
        "provider_changed",
        "sign_in_changed",
        "account_suspended",
    }
)
"""Changes that outlast a session; their notices are security notices.

The person concerned, the managers and the worker who made the change are notified.
"""
LETTERS_WHILE_INACTIVE = frozenset(
    {
        "member_held",
        "member_suspended",
        "member_reinstated",
        "member_left",
        "provider_proposed",
        "entry_proposed",
        "entry_changed",
        "second_factor_removed_by_coordination",
    }
)
"""The kinds of letters that are sent even if the organisation is suspended or has left.

They inform its managers of the suspension, of its end (this fact may arrive before the one about
the organisation), and of what coordinators do or propose and managers can object to. Otherwise one
coordinator could make a proposal or a change, or remove a manager's second factor, and then stop
the letter with a hold.
"""
ACCOUNT_VERBS = (
    LASTING_VERBS
    | LETTERS_WHILE_INACTIVE
    | {
        "reset_asked",
        "reset_ended",
        "password_changed",
        "second_factor_removed",
    }
)


def account_kind(verb: str, by_role: str) -> str | None:
    """Returns the kind of the notice to a worker about her account; None if there is no notice."""
    if verb == "second_factor_removed" and by_role == "COORDINATOR":
        return "second_factor_removed_by_coordination"
    return {"reset_asked": "password_reset_asked", "reset_ended": None}.get(verb, verb)


def invitation_kind(verb: str, first_manager: bool) -> str | None:
    """Returns the kind of the notice to a desk about an invitation; None if there is no notice."""
    if verb == "created":
        return MANAGER_INVITED if first_manager else WORKER_INVITED
    return ACCOUNT_OPENED if verb == "accepted" else None


def recipients_of(event: ReferralEvent, now: datetime) -> list[Recipient]:
    """Returns the recipients of an event, each at most once for each kind of message."""
    if now - event.time > HISTORY or event.verb not in BY_VERB:
        return []
    # Only the sender knows of a draft; the only notice about a draft concerns its deadline.
    if event.draft and event.clock != "draft":
        return []
    notice = BY_VERB[event.verb]
    kind, parties = notice.kind, notice.parties
    if event.draft:
        return _of_parties(kind, SENDER, event)
    if event.clock.startswith("override_"):
        parties = OVERSEEING  # the receiver can do nothing about an override
    elif event.verb == "clock_reminded" and event.clock in ("answer", "close"):
        parties = SENDER  # it is the sender's turn
    elif event.clock == "replace":  # for the receiver, the referral is over
        parties = (
            OVERSEEING
            if event.verb == "clock_escalated" or event.urgency == "IMMEDIATE"
            else SENDER
        )
    elif event.verb.startswith("clock_") and event.urgency == "IMMEDIATE":
        parties = ALL  # there is no time to notify one side after another
    recipients = _of_parties(kind, parties, event)
    if event.verb == "sent" and event.override_used:
        # the coordinators and the sender may confirm the override
        recipients += [
            Recipient(OVERRIDE_USED, Audience.COORDINATION),
            *_desk(OVERRIDE_USED, event.sender_organization_id),
        ]
    return list(dict.fromkeys(recipients))


def _of_parties(kind: str, parties: Sequence[Party], event: ReferralEvent) -> list[Recipient]:
    return list(
        dict.fromkeys(
            recipient for party in parties for recipient in _recipients(kind, party, event)
        )
    )


def recipients_of_enquiry(
    verb: str,
    asker: tuple[str, str],
    asked_ids: Sequence[str],
    service_organization_id: str,
    *,
    first_offer: bool,
    by_asker: bool,
    reason_code: str,
) -> list[Recipient]:
    """Returns the recipients of a fact about an enquiry.

    The organisations in `asked_ids` are notified when the enquiry opens. The organisation
    `service_organization_id`, which offered help, is notified when its offer is taken, when no
    referral will follow, and when the enquiry is closed and its offer was not taken. `asker`
    (organisation, worker) gets all other notices, except about offers after the first and about
    its own cancellation. The coordinators are also notified when nobody could help, and when
    the enquiry was closed though neither the asker nor the person wanted that.
    """
    organization_id, worker_id = asker

    def to_asker(kind: str) -> list[Recipient]:
        return [
            *_desk(kind, organization_id),
            *([Recipient(kind, Audience.WORKER, organization_id, worker_id)] if worker_id else []),
        ]

    if verb == "opened":
        return [
            recipient
            for organization in asked_ids
            for recipient in _desk(ENQUIRY_OPENED, organization)
        ]
    if verb == "answered":
        return to_asker(ENQUIRY_OFFERED) if first_offer else []
    if verb == "offers_waiting":
        return to_asker(ENQUIRY_OFFERS_WAITING)
    if verb == "matched":
        return list(_desk(ENQUIRY_MATCHED, service_organization_id))
    if verb == "not_taken":
        return list(_desk(ENQUIRY_NOT_TAKEN, service_organization_id))
    if verb == "exhausted":
        return [*to_asker(ENQUIRY_EXHAUSTED), Recipient(ENQUIRY_EXHAUSTED, Audience.COORDINATION)]
    if verb == "cancelled":
        is_unwanted = not by_asker and reason_code != CONSENT_WITHDRAWN
        coordination = Recipient(ENQUIRY_CANCELLED, Audience.COORDINATION)
        return [
            *([] if by_asker else to_asker(ENQUIRY_CANCELLED)),
            *([coordination] if is_unwanted else []),
            *_desk(ENQUIRY_RELEASED, service_organization_id),
        ]
    return []


def _recipients(kind: str, party: Party, event: ReferralEvent) -> Sequence[Recipient]:
    if party is Party.COORDINATION:
        return [Recipient(kind, Audience.COORDINATION)]
    if party is Party.RESPONSIBLE:
        worker = event.responsible_worker_id
        if worker:
            return (
                []
                if worker == event.actor_worker_id
                else [Recipient(kind, Audience.WORKER, event.receiver_organization_id, worker)]
            )
        party = Party.RECEIVER_UNLESS_ACTOR
    if party is Party.REMINDED:
        party = (
            Party.SENDER
            if event.reminded_organization_id == event.sender_organization_id
            else Party.RECEIVER
        )
    if (
        party is Party.RECEIVER_UNLESS_ACTOR
        and event.actor_organization_id == event.receiver_organization_id
    ):
        return []
    if party in (Party.RECEIVER, Party.RECEIVER_UNLESS_ACTOR):
        return _desk(kind, event.receiver_organization_id)
    if (
        party is Party.SENDER_UNLESS_ACTOR
        and event.actor_organization_id == event.sender_organization_id
    ):
        return []
    desk = _desk(kind, event.sender_organization_id)
    if not event.sender_worker_id:
        return desk
    return [
        *desk,
        Recipient(kind, Audience.WORKER, event.sender_organization_id, event.sender_worker_id),
    ]


def _desk(kind: str, organization_id: str) -> list[Recipient]:
    return [Recipient(kind, Audience.DESK, organization_id)] if organization_id else []
