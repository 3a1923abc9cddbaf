"""Applies received facts.

Each function runs in the transaction of the fact's inbox row, so the fact is applied once or not at
all.
"""

from datetime import datetime

from chassis.db import Transaction
from facts.envelope import NewerKind
from facts.outbox import Fact
from services.notifications import wire
from services.notifications.domain.member import INACTIVE
from services.notifications.domain.message import (
    APPLICATION,
    Letter,
    Message,
    about_enquiry,
    about_subject,
    messages_of,
)
from services.notifications.domain.notices import BY_FACT
from services.notifications.domain.notices.notice import Party
from services.notifications.domain.rules import (
    ACCOUNT_VERBS,
    ENQUIRY_VERBS,
    HISTORY,
    INVITATION_VERBS,
    VERBS,
    Audience,
    Recipient,
    account_kind,
    invitation_kind,
    recipients_of,
    recipients_of_enquiry,
)
from services.notifications.store import deliveries, letters, members, messages


def referral(
    tx: Transaction, fact: Fact, now: datetime, *, public_url: str, by_email: bool
) -> None:
    """Writes the messages that the rules give for a fact about a referral.

    Raises NewerKind for a verb that no rule knows: such a fact comes from a later version, which
    may require a notice.
    """
    body = wire.referral_fact(fact)
    event = wire.event_of(fact, body)
    if event.verb not in VERBS:
        raise NewerKind
    new_messages = messages_of(event, recipients_of(event, now))
    messages.save(
        tx, new_messages, wire.webhook_body(fact, body, public_url), now, by_email=by_email
    )


def subject(tx: Transaction, fact: Fact, kind: str, now: datetime, *, by_email: bool) -> None:
    """Writes the messages about a subject of this kind, e.g. a contact, receipt or organisation.

    The table of notices names the recipients: the organisation's desk, or its managers and the
    worker who acted, or the auditors, or the coordinators. For some facts, the coordinators get a
    message besides the others. There is no message about a fact that is not in the table, names no
    organisation, or is older than HISTORY.
    """
    notice = BY_FACT.get(f"{kind}.{wire.verb_of(fact, kind)}")
    if (
        notice
        and (organization_id := wire.organization_of(fact, kind))
        and now - fact.time <= HISTORY
    ):
        if Party.AUDITORS in notice.parties:  # not the desk, which the fact may be about
            recipients = [
                Recipient(notice.kind, Audience.WORKER, *auditor)
                for auditor in members.auditors(tx, besides=wire.worker_of(fact, kind))
            ]
            recipients = recipients or [Recipient(notice.kind, Audience.COORDINATION)]
        elif Party.MANAGERS in notice.parties:
            worker_ids = dict.fromkeys(
                [
                    *members.managers(tx, organization_id),
                    *filter(None, [wire.worker_of(fact, kind)]),
                ]
            )
            recipients = [
                Recipient(notice.kind, Audience.WORKER, organization_id, worker_id)
                for worker_id in worker_ids
            ]
        elif {Party.COORDINATION_ALONE, Party.COORDINATION_PER_FACT} & set(notice.parties):
            recipients = [Recipient(notice.kind, Audience.COORDINATION)]
        elif Party.COORDINATION_FOR_LONE_MANAGER in notice.parties:
            recipients = []
        else:
            recipients = [Recipient(notice.kind, Audience.DESK, organization_id)]
        # COORDINATION_ALONE gets one message of each kind a day, which is unread again after each
        # fact: anybody can apply, so one day may bring hundreds of applications.
        cause = (
            str(fact.time.date()) if Party.COORDINATION_ALONE in notice.parties else _cause(fact)
        )
        new_messages = [about_subject(recipient, cause, fact.time) for recipient in recipients]
        if Party.COORDINATION in notice.parties or (
            Party.COORDINATION_FOR_LONE_MANAGER in notice.parties
            and len(members.managers(tx, organization_id)) < 2
        ):
            coordination = Recipient(notice.kind, Audience.COORDINATION)
            new_messages.append(about_subject(coordination, cause, fact.time, organization_id))
        if Party.COORDINATION_ALONE in notice.parties:
            messages.mark_unread(tx, [message.id for message in new_messages])
        messages.save(tx, new_messages, wire.subject_body(fact, kind), now, by_email=by_email)


def enquiry(tx: Transaction, fact: Fact, now: datetime, *, public_url: str, by_email: bool) -> None:
    """Writes the messages about an enquiry, to the recipients that `recipients_of_enquiry` chooses.

    Writes no message about a fact older than HISTORY. Raises NewerKind for a verb that no rule
    knows: such a fact comes from a later version.
    """
    body, verb = wire.enquiry_fact(fact), wire.verb_of(fact, "enquiry")
    if verb not in ENQUIRY_VERBS:
        raise NewerKind
    if now - fact.time > HISTORY:
        return
    recipients = recipients_of_enquiry(
        verb,
        (body.organization_id, body.worker_id),
        body.asked_organization_ids,
        body.service_organization_id,
        first_offer=body.first_offer,
        by_asker=body.actor_organization_id == body.organization_id,
        reason_code=body.reason_code,
    )
    new_messages = about_enquiry(
        recipients,
        fact.subject,
        body.organization_id,
        str(fact.version),
        wire.urgency_name(body),
        body.need_code,
        fact.time,
    )
    messages.save(
        tx, new_messages, wire.enquiry_body(fact, body, public_url), now, by_email=by_email
    )


def organization(tx: Transaction, fact: Fact) -> None:
    """Records the standing of an organisation.

    Once an organisation is suspended or has left, only letters of the kinds in
    LETTERS_WHILE_INACTIVE are still sent to it.
    """
    body = wire.organization_fact(fact)
    members.save_organization(tx, body.organization_id, body.status_code)
    if body.status_code in INACTIVE:
        deliveries.discard_of_organization(tx, body.organization_id)


def worker(tx: Transaction, fact: Fact) -> None:
    """Records the standing and the roles of a worker."""
    body = wire.worker_fact(fact)
    members.save_worker(tx, body.worker_id, body.organization_id, body.role_codes, body.status_code)


def api_key(tx: Transaction, fact: Fact) -> None:
    """Records whether a key is live."""
    body = wire.api_key_fact(fact)
    members.save_api_key(tx, body.api_key_id, body.live)


def invitation(tx: Transaction, fact: Fact, now: datetime, *, by_email: bool) -> None:
    """Notifies the desk of a new or accepted invitation, and sends the link to the invited person.

    The link of an invitation that was accepted, replaced or revoked is no longer sent. Raises
    NewerKind for an unknown verb.
    """
    body, verb = wire.invitation_fact(fact), wire.verb_of(fact, "invitation")
    if verb not in INVITATION_VERBS:
        raise NewerKind
    if verb != "created":
        letters.discard(tx, body.invitation_id)
    kind = invitation_kind(verb, body.first_manager)
    if kind is None or now - fact.time > HISTORY:
        return
    message = about_subject(
        Recipient(kind, Audience.DESK, body.organization_id), _cause(fact), fact.time
    )
    _save_with_letter(
        tx,
        message,
        wire.subject_body(fact, "invitation"),
        wire.invitation_letter_of(body),
        now,
        by_email=by_email,
    )


def application(tx: Transaction, fact: Fact, now: datetime, *, by_email: bool) -> None:
    """Sends the link to the applicant, and notifies nobody else."""
    body, verb = wire.application_fact(fact), wire.verb_of(fact, "application")
    if verb != "asked":
        raise NewerKind
    # Each delivery belongs to a message; this message is addressed to a worker who does not exist.
    message = about_subject(
        Recipient(APPLICATION, Audience.WORKER, "", body.application_id),
        body.application_id,
        fact.time,
    )
    _save_with_letter(tx, message, "", wire.application_letter_of(body), now, by_email=by_email)


def account(tx: Transaction, fact: Fact, now: datetime, *, by_email: bool) -> None:
    """Notifies one worker, in the inbox and by e-mail, about her own account or organisation.

    A link that was used or has expired is no longer sent. Raises NewerKind for an unknown verb.
    """
    body, verb = wire.account_fact(fact), wire.verb_of(fact, "account")
    if verb not in ACCOUNT_VERBS:
        raise NewerKind
    if verb != "reset_asked":
        letters.discard(tx, body.notice_id)
    kind = account_kind(verb, body.by_role_code)
    if kind is None or now - fact.time > HISTORY:
        return
    message = about_subject(
        Recipient(kind, Audience.WORKER, body.organization_id, body.worker_id),
        body.notice_id,
        fact.time,
    )
    _save_with_letter(tx, message, "", wire.account_letter_of(body, kind), now, by_email=by_email)


def _save_with_letter(
    tx: Transaction, message: Message, body: str, letter: Letter, now: datetime, *, by_email: bool
) -> None:
    """Saves the message and its letter.

    The letter is not saved if e-mails are off, or if it is empty or has expired.
    """
    messages.save(tx, [message], body, now, by_email=by_email)
    if by_email and letter.sealed and letter.expire_time > now:
        letters.save(tx, message.id, letter, now)


def _cause(fact: Fact) -> str:
    return f"{fact.subject}/{fact.time.isoformat()}"
