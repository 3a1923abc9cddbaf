"""Notices about the approaching end of consents on which live referrals depend."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from chassis.db import Transaction
from chassis.errors import NotFound
from services.referrals.files.domain.consent import AGE_CHECK, NOTICE, Receipt
from services.referrals.files.store.people import People
from services.referrals.files.store.receipts import Receipts
from services.referrals.network.usecases.deadlines import fire_each, fire_singly
from services.referrals.referrals.domain.lifecycle import LIVE
from services.referrals.referrals.domain.record import Event
from services.referrals.referrals.store import referrals, renewals


class Renewals:
    """Notices before consents end, which fire like deadlines.

    Every method runs in the transaction `tx`.
    """

    def __init__(self, receipts: Receipts, people: People) -> None:
        self._receipts = receipts
        self._people = people

    def fire_deadlines(self, tx: Transaction, now: datetime, limit: int) -> Sequence[Event]:
        """Records on referrals that their consent ends soon; returns the events.

        A referral has no event if the referral or its consent is no longer live, or if the consent
        does not end soon after all. A consent that opens nothing at the person's present age is
        checked again later, since her birth date may be corrected.
        """
        return fire_each(
            tx,
            now,
            "renewals",
            "referral_id",
            renewals.due(tx, now, limit),
            fire_singly(partial(self._fire, tx, now)),
            renewals.put_aside,
        )

    def _fire(self, tx: Transaction, now: datetime, identifier: str) -> list[Event]:
        referral = referrals.get(tx, identifier, for_update=True)
        renewals.forget(tx, identifier)
        receipt = self._valid_receipt(tx, referral.receipt_id, now)
        if referral.state not in LIVE or receipt is None:
            return []
        if not receipt.is_live(now):
            renewals.schedule(tx, identifier, now + AGE_CHECK)
            return []
        if not self._ends_soon(tx, receipt, now):
            renewals.schedule(tx, identifier, min(receipt.notice_time, now + AGE_CHECK))
            return []
        referral.note_consent_ending(now)
        events = list(referral.events)
        referrals.save_all(tx, [referral])
        return events

    def _valid_receipt(self, tx: Transaction, receipt_id: str, now: datetime) -> Receipt | None:
        """Returns the receipt, unless it was withdrawn or its date has passed."""
        try:
            receipt = self._receipts.get(tx, receipt_id)
        except NotFound:
            return None
        is_over = receipt.withdraw_time is not None or now >= receipt.until_time
        return None if is_over else receipt

    def _ends_soon(self, tx: Transaction, receipt: Receipt, now: datetime) -> bool:
        """Returns whether the receipt ends soon, by its date or because of the person's age."""
        return now >= receipt.notice_time or (
            receipt.ends_with_age_band
            and self._people.outgrows_band(tx, receipt.person_id, now, NOTICE.days)
        )
