"""Claims the next deliveries for a sender, and records their results.

The sending itself happens outside of any transaction.
"""

import secrets
from datetime import datetime, timedelta

from chassis.db import Database, Transaction
from chassis.tokens import SYSTEM
from facts import outbox
from keys.sealing import Keyring
from services.notifications import wire
from services.notifications.domain.delivery import (
    Channel,
    Claim,
    EmailClaim,
    Outcome,
    SignedTime,
    Status,
    Verdict,
    WebhookClaim,
    judge,
)
from services.notifications.domain.desk import is_address
from services.notifications.domain.message import (
    APPLICATION,
    INVITATION,
    about_disabled,
    about_undeliverable,
)
from services.notifications.domain.texts import Mail
from services.notifications.domain.webhook import PATIENCE
from services.notifications.store import attempts, deliveries, desks, letters, messages, webhooks
from services.notifications.words import account_mail, application_mail, invitation_mail, mail

WEBHOOKS, EMAILS = messages.WEBHOOKS, messages.EMAILS
# longer than an attempt: 10 s, or 20 s if an idle connection turns out to be broken
WEBHOOK_LEASE = timedelta(seconds=30)
EMAIL_LEASE = timedelta(minutes=4)  # longer than an attempt, which may take three minutes
SHORTEN_INTERVAL = timedelta(minutes=1)
# How long the owner of an endpoint can see why a delivery did not arrive.
ATTEMPT_LIFE = timedelta(days=30)

_jitter = secrets.SystemRandom().random


class DeliveryQueue:
    """The queue of deliveries, as the senders see it."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        letter_key: Keyring,
        *,
        public_url: str,
        by_email: bool,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._letter_key = letter_key
        self._public_url = public_url
        self._by_email = by_email
        self._last_shortened: dict[Channel, datetime] = {}

    def next_webhooks(
        self, connection: Transaction, now: datetime, *, slow: bool, limit: int
    ) -> list[WebhookClaim]:
        """Claims webhook deliveries of one lane.

        `connection` may be in autocommit, because the claim is one statement.
        """
        self._shorten_waits(connection, now, Channel.WEBHOOK, WEBHOOK_LEASE)
        return deliveries.claim_webhooks(
            connection, now, now + WEBHOOK_LEASE, slow=slow, limit=limit
        )

    def next_email(self, connection: Transaction, now: datetime) -> EmailClaim | None:
        """Claims one e-mail, if one is due.

        If a sender dies, the e-mail that it had claimed becomes due again at the end of the lease.
        """
        self._shorten_waits(connection, now, Channel.EMAIL, EMAIL_LEASE)
        return deliveries.claim_email(connection, now, now + EMAIL_LEASE)

    def _shorten_waits(
        self, connection: Transaction, now: datetime, channel: Channel, lease: timedelta
    ) -> None:
        """Shortens waits that are too long, at most once a minute.

        If the clock was set back, the waits are shortened at once.
        """
        if self.must_shorten_waits(channel, now):
            deliveries.shorten_waits(connection, now, channel, lease)
            self._last_shortened[channel] = now

    def must_shorten_waits(self, channel: Channel, now: datetime) -> bool:
        """Returns whether the next claim has to shorten the waits of a channel's deliveries."""
        last_time = self._last_shortened.get(channel)
        return last_time is None or not timedelta(0) <= now - last_time < SHORTEN_INTERVAL

    def next_webhook_time(self, connection: Transaction, *, slow: bool) -> datetime | None:
        """Returns when the next delivery of a lane is due; None if none waits."""
        return deliveries.next_webhook_time(connection, slow=slow)

    def next_email_time(self, connection: Transaction) -> datetime | None:
        """Returns when the next e-mail is due; None if none waits."""
        return deliveries.next_email_time(connection)

    def secrets(self, claim: WebhookClaim) -> list[str]:
        """Returns the keys that sign a webhook, newest first."""
        return [
            webhooks.open_secret(self._keyring, claim.webhook_id, sealed)
            for sealed in (claim.secret, claim.former_secret)
            if sealed
        ]

    def mail_of(self, claim: EmailClaim) -> Mail | None:
        """Returns the claimed e-mail; None if it can no longer be sent.

        An e-mail to a desk can't be sent if the desk has no address any more. A letter can't be
        sent if it has expired, its address is invalid, or only a later version knows its kind.
        """
        if claim.about_id and claim.letter:
            if claim.letter_kind == INVITATION:
                return self._invitation(claim, claim.about_id, claim.letter)
            if claim.letter_kind == APPLICATION:
                return self._application(claim, claim.about_id, claim.letter)
            return self._about_account(claim, claim.about_id, claim.letter, claim.letter_kind or "")
        if not claim.email:
            return None
        recipient = desks.open_email(self._keyring, claim.organization_id, claim.email)
        return mail(claim.id, recipient, claim.referral_id, claim.language, self._public_url)

    def _invitation(self, claim: EmailClaim, invitation_id: str, letter: bytes) -> Mail | None:
        plaintext_letter = wire.invitation_letter(
            self._letter_key.open_bytes(letter, f"invitations/{invitation_id}/letter")
        )
        if not is_address(plaintext_letter.email):
            return None
        return invitation_mail(
            claim.id,
            plaintext_letter.email,
            plaintext_letter.token,
            plaintext_letter.language,
            self._public_url,
        )

    def _application(self, claim: EmailClaim, application_id: str, letter: bytes) -> Mail | None:
        plaintext_letter = wire.application_letter(
            self._letter_key.open_bytes(letter, f"applications/{application_id}/letter")
        )
        if not is_address(plaintext_letter.email):
            return None
        return application_mail(
            claim.id,
            plaintext_letter.email,
            plaintext_letter.token,
            plaintext_letter.language,
            self._public_url,
        )

    def _about_account(
        self, claim: EmailClaim, notice_id: str, letter: bytes, kind: str
    ) -> Mail | None:
        plaintext_letter = wire.account_letter(
            self._letter_key.open_bytes(letter, f"accounts/{notice_id}/letter")
        )
        if not is_address(plaintext_letter.email):
            return None
        return account_mail(
            claim.id,
            kind,
            plaintext_letter.email,
            plaintext_letter.token,
            plaintext_letter.language,
            self._public_url,
        )

    def finish(
        self,
        channel: Channel,
        claim: Claim,
        outcome: Outcome,
        now: datetime,
        signed_time: SignedTime | None = None,
    ) -> Status:
        """Records an attempt, with its time and signature if it was a webhook.

        If it was the last attempt and the message has reached nobody, the coordinators are
        notified, except about an application. An endpoint that has failed for PATIENCE is switched
        off; the coordinators are notified if no channel reports that to its desk. Returns the
        status that follows from the attempt; it is not saved if the sender no longer has the lease.
        """
        verdict = _verdict(channel, claim, outcome, now)
        webhook_id = claim.webhook_id if isinstance(claim, WebhookClaim) else None
        with self._database.transaction(SYSTEM) as tx:
            is_recorded = deliveries.finish(
                tx,
                claim.id,
                claim.lease,
                outcome,
                verdict,
                now,
                webhook_id=webhook_id,
                signed_time=signed_time,
            )
            if webhook_id and not outcome.arrived:
                self._switch_off_if_failing(tx, webhook_id, outcome.error, now)
            letter_kind = claim.letter_kind if isinstance(claim, EmailClaim) else None
            # The coordinators need not call an applicant whose address does not exist, since such
            # an address was usually entered on purpose.
            if (
                is_recorded
                and verdict.status is Status.DEAD
                and claim.message_id
                and letter_kind != APPLICATION
            ):
                self._report_if_undeliverable(
                    tx, claim.message_id, outcome.error, now, of_letter=letter_kind is not None
                )
        return verdict.status

    def finish_sent_email(
        self, connection: Transaction, claim: EmailClaim, outcome: Outcome, now: datetime
    ) -> Status:
        """Records that an e-mail was sent; returns the status that follows from the attempt.

        `connection` may be in autocommit, because the record is one statement.
        """
        verdict = _verdict(Channel.EMAIL, claim, outcome, now)
        deliveries.finish(connection, claim.id, claim.lease, outcome, verdict, now)
        return verdict.status

    def discard(self, claim: Claim) -> None:
        """Discards a delivery that is no longer wanted."""
        with self._database.transaction(SYSTEM) as tx:
            deliveries.discard(tx, claim.id, claim.lease)

    def _switch_off_if_failing(
        self, tx: Transaction, webhook_id: str, reason: str, now: datetime
    ) -> None:
        organization_id = webhooks.switch_off(tx, webhook_id, now - PATIENCE, now)
        if organization_id is None:
            return
        deliveries.discard_of_webhook(tx, webhook_id)
        message = about_disabled(webhook_id, organization_id, now)
        body = wire.disabled_body(webhook_id, now)
        messages.save(tx, [message], body, now, by_email=self._by_email)
        # A desk without another channel is sent no more notices.
        self._report_if_undeliverable(tx, message.id, reason, now, of_letter=False)

    def _report_if_undeliverable(
        self, tx: Transaction, message_id: str, reason: str, now: datetime, *, of_letter: bool
    ) -> None:
        message = messages.mark_undeliverable(tx, message_id, of_letter=of_letter)
        if message is None:
            return
        outbox.save(tx, [wire.undeliverable(message, reason, now)])
        messages.save(tx, [about_undeliverable(message, now)], "", now, by_email=self._by_email)


def _verdict(channel: Channel, claim: Claim, outcome: Outcome, now: datetime) -> Verdict:
    return judge(
        channel,
        outcome,
        tries=claim.tries + 1,
        first_try_time=claim.first_try_time or now,
        now=now,
        jitter=_jitter(),
    )


def sweep(tx: Transaction, now: datetime) -> None:
    """Deletes secrets and letters that are no longer used, and old attempts."""
    webhooks.forget_former_secrets(tx, now)
    attempts.forget(tx, now - ATTEMPT_LIFE)
    letters.forget(tx, now)
