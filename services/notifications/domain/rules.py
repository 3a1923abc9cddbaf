"""Who is told of what: one table, fact → recipients.

Limit: it chooses recipients, not channels; whether somebody has an e-mail address or a webhook is not known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

# What is older than this when it is heard (a new service, a replay, a demo's made-up past) is history: nobody is woken for it.
HISTORY = timedelta(days=7)


class Party(Enum):
    """A part that somebody has in a referral."""

    RECEIVER = "receiver"
    SENDER = "sender"  # the desk, and the worker who sent it
    SENDER_OF_OTHERS_DEED = "sender_of_others_deed"  # the sender, unless it was the sender who did it
    COORDINATION = "coordination"


class Audience(Enum):
    """To whom one message is addressed."""

    DESK = "desk"
    WORKER = "worker"
    COORDINATION = "coordination"


@dataclass(frozen=True)
class Happening:
    """What a fact of the referrals service says, as far as it matters here."""

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
    clock: str = ""  # override_confirm, decide …: of a clock event


@dataclass(frozen=True)
class Told:
    """One message to be written: to whom, and of which kind."""

    kind: str
    audience: Audience
    organization_id: str = ""
    worker_id: str = ""


RECEIVER = (Party.RECEIVER,)
SENDER = (Party.SENDER,)
RECEIVER_AND_SENDER_OF_OTHERS_DEED = (Party.RECEIVER, Party.SENDER_OF_OTHERS_DEED)
OVERSEEING = (Party.SENDER, Party.COORDINATION)
ALL = (Party.RECEIVER, Party.SENDER, Party.COORDINATION)

RULES: dict[str, tuple[str, tuple[Party, ...]]] = {
    "sent": ("referral_sent", RECEIVER),
    "amended": ("referral_amended", RECEIVER),
    "answered": ("referral_answered", RECEIVER),
    "withdrawn": ("referral_withdrawn", RECEIVER_AND_SENDER_OF_OTHERS_DEED),
    "consent_withdrawn": ("referral_consent_withdrawn", RECEIVER_AND_SENDER_OF_OTHERS_DEED),
    "closed": ("referral_closed", RECEIVER_AND_SENDER_OF_OTHERS_DEED),
    "reopened": ("referral_reopened", RECEIVER_AND_SENDER_OF_OTHERS_DEED),
    "acknowledged": ("referral_acknowledged", SENDER),
    "info_requested": ("referral_info_requested", SENDER),
    "accepted": ("referral_accepted", SENDER),
    "waitlisted": ("referral_waitlisted", SENDER),
    "declined": ("referral_declined", SENDER),
    "not_delivered": ("referral_not_delivered", SENDER),
    "completed": ("referral_completed", SENDER),
    "expired": ("referral_expired", SENDER),
    "override_confirmed": ("referral_override_confirmed", SENDER),
    "consent_attached": ("referral_consent_attached", RECEIVER),
    "clock_reminded": ("clock_reminded", RECEIVER),
    "clock_breached": ("clock_breached", (Party.RECEIVER, Party.SENDER)),
    "clock_escalated": ("clock_escalated", ALL),
}

# Known, and nobody's message: what the sender does alone, and corrections of the record.
SILENT = frozenset({"drafted", "started", "rerouted", "entered_in_error"})
VERBS = SILENT | RULES.keys()
INVITATION_VERBS = frozenset({"created", "accepted", "replaced", "revoked"})

OVERRIDE_USED = "override_used"
MESSAGE_UNDELIVERABLE = "message_undeliverable"
WEBHOOK_DISABLED = "webhook_disabled"
MANAGER_INVITED, WORKER_INVITED, ACCOUNT_OPENED = "manager_invited", "worker_invited", "account_opened"
KINDS = frozenset(
    {kind for kind, _ in RULES.values()}
    | {OVERRIDE_USED, MESSAGE_UNDELIVERABLE, WEBHOOK_DISABLED}
    | {MANAGER_INVITED, WORKER_INVITED, ACCOUNT_OPENED}
)


def invitation_kind(verb: str, first_manager: bool) -> str | None:
    """What the desk is told of an invitation; None for what is no news to it."""
    if verb == "created":
        return MANAGER_INVITED if first_manager else WORKER_INVITED
    return ACCOUNT_OPENED if verb == "accepted" else None


def told_of(happening: Happening, now: datetime) -> list[Told]:
    """The messages that a happening makes; nobody gets the same one twice."""
    if now - happening.time > HISTORY or happening.verb not in RULES:
        return []
    if happening.draft:  # amended before it was sent: the receiver must not learn of it
        return []
    kind, parties = RULES[happening.verb]
    if happening.clock.startswith("override_"):
        parties = OVERSEEING  # the receiver can do nothing about it
    elif happening.verb.startswith("clock_") and happening.urgency == "IMMEDIATE":
        parties = ALL  # no time for a ladder
    told = [recipient for party in parties for recipient in _recipients(kind, party, happening)]
    if happening.verb == "sent" and happening.override_used:
        told += [Told(OVERRIDE_USED, Audience.COORDINATION), *_desk(OVERRIDE_USED, happening.sender_organization_id)]  # who may confirm it
    return list(dict.fromkeys(told))


def _recipients(kind: str, party: Party, happening: Happening) -> Sequence[Told]:
    if party is Party.COORDINATION:
        return [Told(kind, Audience.COORDINATION)]
    if party is Party.RECEIVER:
        return _desk(kind, happening.receiver_organization_id)
    if party is Party.SENDER_OF_OTHERS_DEED and happening.actor_organization_id == happening.sender_organization_id:
        return []
    desk = _desk(kind, happening.sender_organization_id)
    if not happening.sender_worker_id:
        return desk
    return [*desk, Told(kind, Audience.WORKER, happening.sender_organization_id, happening.sender_worker_id)]


def _desk(kind: str, organization_id: str) -> list[Told]:
    return [Told(kind, Audience.DESK, organization_id)] if organization_id else []
