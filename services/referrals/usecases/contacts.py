"""Contacts of the line, and what a caller may hear and say with her reference and PIN."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import NotFound, Stale, Unauthenticated
from chassis.guesses import Budget, Guesses, Origin
from chassis.ids import new_id
from chassis.tokens import Caller
from chassis.wire import Position
from services.referrals.domain.contact import PLAIN, Contact, check_pin, new_pin, new_reference, read_reference
from services.referrals.domain.deadline import Calendar, DeadlineKind
from services.referrals.domain.lifecycle import LIVE
from services.referrals.domain.person import FieldGroup
from services.referrals.domain.referral import Referral, assault_to_the_hour
from services.referrals.store import contacts, referrals
from services.referrals.store.contacts import Contacts as Book
from services.referrals.store.people import People as Files
from services.referrals.store.receipts import Receipts
from services.referrals.usecases.deadlines import fire_each, singly
from services.referrals.usecases.enquiries import cancel_of
from services.referrals.usecases.openings import Openings
from services.referrals.usecases.people import People
from services.referrals.usecases.policies import Policies
from services.referrals.usecases.referrals import Referrals

# Of 10,000 PINs a stranger who knows a reference can try 100 and then one a day: in a year he is right with a chance of 4.6 %.
OF_A_REFERENCE = Budget(10, timedelta(hours=2), timedelta(days=365), most=100, then=timedelta(days=1))
OF_AN_ADDRESS = Budget(30, timedelta(minutes=10), timedelta(0))
# 19 MiB and 2 passes: OWASP's argon2id minimum, about 30 ms here; the budgets are what guards 10,000 PINs.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


@dataclass(frozen=True)
class ContactFired:
    """What the clock of a contact did."""

    verb: str
    clock: DeadlineKind = DeadlineKind.CONTACT


class Contacts:
    """The operators' side."""

    def __init__(self, book: Book, files: Files, policies: Policies, openings: Openings) -> None:
        self._book = book
        self._files = files
        self._policies = policies
        self._openings = openings

    def create(
        self, tx: Transaction, caller: Caller, now: datetime, values: dict[str, Any], note: str, pin: str
    ) -> tuple[Contact, str, str]:
        """Records a contact; returns it with the reference and the PIN, which are not kept in readable form."""
        pin = pin or new_pin()
        check_pin(pin)
        reference = new_reference()
        contact = Contact(new_id(), caller.organization_id, now, now, reference_hint=reference[-2:], **_to_the_hour(values, now, None))
        contact.check()
        contact.watch(now, self._calendar(tx, contact))
        self._book.add(tx, contact, note)
        self._book.add_reference(tx, reference, contact.id, HASHER.hash(pin))
        return contact, reference, pin

    def get(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, trail: list[Entry]) -> tuple[Contact, str]:
        """A contact and its note, which is read of a person too if the contact is hers."""
        contact, note = self._book.get(tx, identifier)
        if note:
            trail.append(Entry("read_contact", identifier, "", (FieldGroup.NOTES.value,)))
            if contact.person_id:
                trail.append(Entry("read_contact", contact.person_id, "", (FieldGroup.NOTES.value, f"contact:{identifier}")))
            self._openings.admit(tx, caller, now, identifier)
        return contact, note

    def page(
        self, tx: Transaction, caller: Caller, outcome_code: str, limit: int, after: Position | None
    ) -> tuple[list[Contact], Position | None]:
        """The own line's contacts, with one outcome where it is given."""
        return self._book.page(tx, caller.organization_id, outcome_code, limit, after)

    def change(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, values: dict[str, Any], note: str | None
    ) -> Contact:
        """Saves further answers. A person is one of the line's own files: her reference speaks for that person."""
        contact, _ = self._book.get(tx, identifier, for_update=True)
        if contact.step_version != version:
            raise Stale
        if (person_id := values.get("person_id")) and self._files.get(tx, person_id).organization_id != caller.organization_id:
            raise NotFound
        contact = replace(contact, **_to_the_hour(values, now, contact.assault_time))
        contact.check()
        contact.change(now, self._calendar(tx, contact))
        self._book.change(tx, contact, note)
        return contact

    def fire_clocks(self, tx: Transaction, now: datetime, limit: int) -> list[ContactFired]:
        """Notes the clock levels that are reached; returns what was told."""

        def fire(identifier: str) -> list[ContactFired]:
            contact = contacts.hold(tx, identifier)
            verb = contact.fire_clock(now)
            if verb:
                contacts.keep(tx, contact, verb)
            return [ContactFired(verb)] if verb else []

        return fire_each(tx, now, "contacts", "contact_id", contacts.due(tx, now, limit), singly(fire), partial(contacts.put_aside, tx))

    def _calendar(self, tx: Transaction, contact: Contact) -> Calendar:
        return self._policies.calendar(tx, contact.line_country, contact.department)


@dataclass
class Standing:
    """How things stand for a caller; (referral, plain status, whether its receiver may open her data now) for each request.

    `may_be_contacted`: every plan of hers, in whosever file, names a way.
    """

    files: int
    items: list[tuple[Referral, str, bool]] = field(default_factory=list)
    open_to: set[str] = field(default_factory=set)  # organisations besides those that hold a file
    may_withdraw: bool = False
    may_be_contacted: bool = False


class References:
    """The caller's side: reference and PIN are the credential."""

    def __init__(
        self, book: Book, files: Files, receipts: Receipts, requests: Referrals, people: People, guesses: Guesses, clock: Clock
    ) -> None:
        self._book = book
        self._files = files
        self._receipts = receipts
        self._referrals = requests
        self._people = people
        self._guesses = guesses
        self._clock = clock
        self._nobody = HASHER.hash("none")  # an unknown reference costs as much time as a wrong PIN

    def enter(self, tx: Transaction, reference: str, pin: str, origin: Origin, trail: list[Entry]) -> Contact:
        """The contact, if the PIN is right; from here on the transaction sees what belongs to it."""
        now = self._clock.now()
        try:
            cleaned = read_reference(reference)
        except Unauthenticated:
            _matches(self._nobody, pin)
            raise
        guess = self._guesses.begin(cleaned, origin, now)
        id_and_hash = self._book.by_reference(tx, cleaned)
        if id_and_hash is not None:
            trail.append(Entry("enter_by_reference", id_and_hash[0]))
        if not _matches(id_and_hash[1] if id_and_hash else self._nobody, pin) or id_and_hash is None:
            raise Unauthenticated("reference_or_pin_wrong")
        self._guesses.right(guess, now)  # also when what she asks for is then refused
        elevate_to_system_scope(tx)
        return self._book.get(tx, id_and_hash[0])[0]

    def standing(self, tx: Transaction, contact: Contact) -> Standing:
        """What was asked for her and who may open what, as it is now."""
        now, people = self._clock.now(), self._people_of(tx, contact)
        standing = Standing(files=len(people))
        standing.may_be_contacted = bool(people) and all(self._files.get(tx, person).may_be_contacted for person in people)
        asked = {referral.id: referral for referral in (*referrals.of_people(tx, people), *referrals.of_contact(tx, contact.id))}
        receipts = {receipt.id: receipt for person in people for receipt in self._receipts.of_person(tx, person)}
        for referral in asked.values():
            live = referral.state in LIVE and referral.receipt_id in receipts and receipts[referral.receipt_id].is_live(now)
            if live:
                standing.open_to.add(referral.receiver_organization_id)
            status = "stopped" if referral.need_close_reason_code else PLAIN.get(referral.state.value)
            if status is not None:  # errors are not spoken of
                standing.items.append((referral, status, live))
            standing.may_withdraw |= referral.state in LIVE
        standing.may_withdraw |= any(receipt.is_live(now) for receipt in receipts.values())
        return standing

    def withdraw_consent(self, tx: Transaction, contact: Contact, trail: list[Entry]) -> None:
        """Ends everything that was allowed or asked for of her, by whomever."""
        people = self._people_of(tx, contact)
        cancel_of(tx, self._clock.now(), contact.id, people)
        for person_id in people:
            self._people.withdraw_all(tx, self._clock.now(), contact.id, person_id, trail)

    def confirm_help(self, tx: Transaction, contact: Contact, help_came: bool) -> None:
        """Her word on whether help came."""
        self._referrals.confirm_help(tx, self._clock.now(), contact.id, help_came)

    @staticmethod
    def _people_of(tx: Transaction, contact: Contact) -> list[str]:
        """The files that are hers: the contact's, and those for which something was asked in its name. In order, for that is how turns are taken."""
        return sorted({contact.person_id, *(referral.person_id for referral in referrals.of_contact(tx, contact.id))} - {""})


def _to_the_hour(values: dict[str, Any], now: datetime, known: datetime | None) -> dict[str, Any]:
    time = values.get("assault_time")
    return values | {"assault_time": assault_to_the_hour("contact.assault_time", time, now, known)} if time else values


def _matches(pin_hash: str, pin: str) -> bool:
    try:
        return HASHER.verify(pin_hash, pin)
    except Argon2Error:
        return False
