"""Contacts of the line, and what a caller may hear and say with her reference and PIN."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import Database, Transaction, widen
from chassis.errors import Exhausted, Stale, Unauthenticated
from chassis.ids import new_id
from chassis.tokens import SYSTEM, Caller
from services.referrals.domain import codes
from services.referrals.domain.codes import Check
from services.referrals.domain.contact import PLAIN, Contact, check_pin, new_pin, new_reference, read_reference
from services.referrals.domain.lifecycle import LIVE
from services.referrals.domain.referral import Referral
from services.referrals.store import receipts, referrals
from services.referrals.store.contacts import Contacts as Book
from services.referrals.usecases.people import People
from services.referrals.usecases.referrals import Referrals

TRIES = 5
PAUSE = timedelta(hours=1)
# 19 MiB and 2 passes: OWASP's argon2id minimum, about 30 ms here; the count of tries is what guards 10,000 PINs.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class Contacts:
    """The operators' side."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def create(
        self, tx: Transaction, caller: Caller, now: datetime, values: dict[str, Any], note: str, pin: str
    ) -> tuple[Contact, str, str]:
        """Records a contact; returns it with the reference and the PIN, which are not kept in readable form."""
        pin = pin or new_pin()
        check_pin(pin)
        reference = new_reference()
        contact = Contact(new_id(), caller.organization_id, now, now, reference_hint=reference[-2:], **values)
        self._check(contact, note)
        self._book.add(tx, contact, note)
        self._book.add_reference(tx, reference, contact.id, HASHER.hash(pin))
        return contact, reference, pin

    def get(self, tx: Transaction, identifier: str) -> tuple[Contact, str]:
        """A contact and its note."""
        return self._book.get(tx, identifier)

    def page(self, tx: Transaction, caller: Caller, limit: int, after: str) -> tuple[list[Contact], str]:
        """The own line's contacts."""
        return self._book.page(tx, caller.organization_id, limit, after)

    def change(
        self, tx: Transaction, now: datetime, identifier: str, version: int, values: dict[str, Any], note: str | None
    ) -> tuple[Contact, str]:
        """Saves further answers."""
        contact, old_note = self._book.get(tx, identifier, for_update=True)
        if contact.version != version:
            raise Stale
        contact = replace(contact, **values, version=version + 1, update_time=now)
        self._check(contact, note or "")
        self._book.change(tx, contact, note)
        return contact, old_note if note is None else note

    @staticmethod
    def _check(contact: Contact, note: str) -> None:
        contact.check()
        check = Check()
        check.text("contact.note", note, codes.MAX_NOTE)
        check.done()


class References:
    """The caller's side: reference and PIN are the credential."""

    def __init__(self, book: Book, requests: Referrals, people: People, database: Database, clock: Clock) -> None:
        """`database` is for counting tries in a transaction of their own: a refusal must not undo the count."""
        self._book = book
        self._referrals = requests
        self._people = people
        self._database = database
        self._clock = clock
        self._nobody = HASHER.hash("none")  # an unknown reference costs as much time as a wrong PIN

    def enter(self, tx: Transaction, reference: str, pin: str, trail: list[Entry]) -> Contact:
        """The contact, if the PIN is right; from here on the transaction sees what belongs to it."""
        now = self._clock.now()
        try:
            cleaned = read_reference(reference)
        except Unauthenticated:
            _matches(self._nobody, pin)
            raise
        with self._database.transaction(SYSTEM) as counting:
            found = self._book.count_try(counting, cleaned, now, TRIES, PAUSE)
        if isinstance(found, datetime):
            raise Exhausted("too_many_attempts", (found - now).total_seconds())
        if found is None:
            _matches(self._nobody, pin)
            raise Unauthenticated("reference_or_pin_wrong")
        contact_id, pin_hash = found
        trail.append(Entry("enter_by_reference", contact_id))
        if not _matches(pin_hash, pin):
            raise Unauthenticated("reference_or_pin_wrong")
        self._book.forget_tries(tx, cleaned)
        widen(tx)
        return self._book.get(tx, contact_id)[0]

    def items(self, tx: Transaction, contact: Contact) -> list[tuple[Referral, str, bool]]:
        """(referral, plain status, whether a consent is live) for each request; errors are not spoken of."""
        now = self._clock.now()
        found = []
        for referral in referrals.of_contact(tx, contact.id):
            status = PLAIN.get(referral.state.value)
            if status is None:
                continue
            live = False
            if referral.receipt_id and referral.state in LIVE:
                receipt = receipts.get(tx, referral.receipt_id)
                live = receipt.withdraw_time is None and now < receipt.until_time
            found.append((referral, status, live))
        return found

    def withdraw_consent(self, tx: Transaction, contact: Contact, trail: list[Entry]) -> None:
        """Withdraws every consent on which a referral of this contact stands."""
        caller = Caller(contact.id, "person", "")
        standing = {r.receipt_id for r in referrals.of_contact(tx, contact.id) if r.receipt_id}
        for receipt_id in sorted(standing):
            self._people.withdraw_receipt(tx, caller, self._clock.now(), receipt_id, trail)

    def confirm_help(self, tx: Transaction, contact: Contact, help_came: bool) -> None:
        """Her word on whether help came."""
        self._referrals.confirm_help(tx, self._clock.now(), contact.id, help_came)


def _matches(pin_hash: str, pin: str) -> bool:
    try:
        return HASHER.verify(pin_hash, pin)
    except Argon2Error:
        return False
