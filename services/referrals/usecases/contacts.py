"""Contacts of the line, and what a caller may hear and say with her reference and PIN."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from chassis import audit
from chassis.audit import Entry
from chassis.clock import AHEAD, Clock
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Invalid, NotFound, Stale, Unauthenticated
from chassis.guesses import Budget, Guesses, Lanes, Origin
from chassis.ids import new_id
from chassis.local_time import zone_of
from chassis.tokens import Caller
from chassis.wire import Position
from services.referrals.domain.callback import Callback, Wish
from services.referrals.domain.contact import (
    MOST_SAID,
    PLAIN,
    SAID_WITHIN,
    Contact,
    LaterNote,
    check_pin,
    new_pin,
    new_reference,
    read_reference,
)
from services.referrals.domain.deadline import Calendar, DeadlineKind
from services.referrals.domain.lifecycle import LIVE
from services.referrals.domain.openings import READING
from services.referrals.domain.person import FieldGroup
from services.referrals.domain.reading import Reading, told_plainly
from services.referrals.domain.referral import Referral, assault_to_the_hour
from services.referrals.store import callbacks as callback_book
from services.referrals.store import contact_notes, contacts, enquiries, members, referrals, take_overs
from services.referrals.store.contact_notes import ContactNotes
from services.referrals.store.contacts import Contacts as Book
from services.referrals.store.hers import Her
from services.referrals.store.people import People as Files
from services.referrals.store.receipts import Receipts
from services.referrals.usecases import callbacks, campaigns
from services.referrals.usecases.callbacks import Callbacks
from services.referrals.usecases.deadlines import ClockFired, fire_each, with_one_clock
from services.referrals.usecases.enquiries import cancel_of
from services.referrals.usecases.openings import Openings
from services.referrals.usecases.people import People
from services.referrals.usecases.policies import Policies
from services.referrals.usecases.referrals import Referrals

# Of 10,000 PINs a stranger who knows a reference can try 100 and then one a day: in a year he is right with a chance of 4.6 %.
OF_A_REFERENCE = Budget(10, timedelta(hours=2), timedelta(days=365), most=100, then=timedelta(days=1))
OF_AN_ADDRESS = Budget(30, timedelta(minutes=10), timedelta(0))
# Strangers make her wait, and do not keep her out (decision 17): at their own address they are stopped, and hers, from which nobody was wrong, has its own.
LANES = Lanes(
    at_address=Budget(5, timedelta(days=1), timedelta(days=30)),
    newcomer=Budget(5, timedelta(hours=1), timedelta(days=365), most=50, then=timedelta(hours=12)),
    desk=Budget(10, timedelta(minutes=5), timedelta(days=365), most=100, then=timedelta(hours=1)),
)
_MOST_READINGS = 10_000  # of one file; told by day and kind they are few
# 19 MiB and 2 passes: OWASP's argon2id minimum, about 30 ms here; the budgets are what guards 10,000 PINs.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class Contacts:
    """The operators' side."""

    def __init__(self, book: Book, notes: ContactNotes, files: Files, policies: Policies, openings: Openings) -> None:
        self._book = book
        self._notes = notes
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
        contact = self._add(tx, caller, now, values, note, reference_hint=reference[-2:])
        self._book.add_reference(tx, reference, contact.id, HASHER.hash(pin))
        return contact, reference, pin

    def create_again(
        self, tx: Transaction, caller: Caller, now: datetime, values: dict[str, Any], note: str, first: Contact, trail: list[Entry]
    ) -> Contact:
        """Records another contact of a caller who told her reference, by which it is known too."""
        contact = self._add(tx, caller, now, values, note, reference_hint=first.reference_hint, tied_to_id=first.id)
        trail.append(Entry("tie_contact", contact.id))
        return contact

    def get(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, trail: list[Entry]
    ) -> tuple[Contact, str | None, list[LaterNote]]:
        """A contact, its note and what she said later, which is read of a person too if the contact is hers."""
        contact, note = self._book.get(tx, identifier)
        later = self._notes.of(tx, identifier)
        if note != "" or later:
            trail.append(Entry("read_contact", identifier, "", (FieldGroup.NOTES.value,)))
            for person_id in contacts.people_of(tx, [contact]):
                trail.append(Entry("read_contact", person_id, "", (FieldGroup.NOTES.value, f"contact:{identifier}")))
            self._openings.admit(tx, caller, now, identifier)
        return contact, note, later

    def page(
        self, tx: Transaction, caller: Caller, outcome_code: str, limit: int, after: Position | None
    ) -> tuple[list[Contact], Position | None]:
        """The own line's contacts, with one outcome where it is given."""
        return self._book.page(tx, caller.organization_id, outcome_code, limit, after)

    def change(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, values: dict[str, Any], note: str | None
    ) -> Contact:
        """Saves further answers. A person is one of the line's own files: her reference speaks for that person."""
        contact, former = self._book.get(tx, identifier, for_update=True)
        contact.check_not_erased()
        if contact.step_version != version:
            raise Stale
        if (person_id := values.get("person_id")) and self._files.get(tx, person_id).organization_id != caller.organization_id:
            raise NotFound
        self._check_handed_over(tx, values)
        contact = replace(contact, **_placed(tx, _to_the_hour(values, now, contact.assault_time)), unheard=False)
        contact.check()
        contact.change(now, self.calendar(tx, contact))
        if former is None and not note:  # it does not open, and a form sends what it shows of it: nothing
            note = None
        self._book.change(tx, contact, note)
        return contact

    def erase(self, tx: Transaction, now: datetime, identifier: str) -> None:
        """Closes a contact of somebody who is erased: nothing is written in it any more."""
        contact = contacts.hold(tx, identifier)
        contact.erase(now, self.calendar(tx, contact))
        contacts.keep(tx, contact, "changed")

    def take_over(self, tx: Transaction, caller: Caller, now: datetime) -> None:
        """The next shift has read what is open."""
        take_overs.add(tx, caller.organization_id, caller.id, now)

    def taken_over(
        self, tx: Transaction, caller: Caller, limit: int, after: Position | None
    ) -> tuple[list[tuple[str, datetime]], Position | None]:
        """Who took over the own line, and when."""
        return take_overs.page(tx, caller.organization_id, limit, after)

    def fire_clocks(self, tx: Transaction, now: datetime, limit: int) -> list[ClockFired]:
        """Notes the clock levels that are reached, also of the calls that are owed; returns what was told."""
        fire = with_one_clock(
            DeadlineKind.CONTACT, partial(contacts.hold, tx), lambda contact: contact.fire_clock(now), partial(contacts.keep, tx)
        )
        fired = fire_each(tx, now, "contacts", "contact_id", contacts.due(tx, now, limit), fire, contacts.put_aside)
        return [*fired, *callbacks.fire_clocks(tx, now, limit)]

    @staticmethod
    def _check_handed_over(tx: Transaction, values: dict[str, Any]) -> None:
        to = values.get("handed_over_organization_id")
        if to and not members.is_active(tx, to):
            raise Invalid(("contact.handed_over_organization_id", "unknown_code"))

    def _add(self, tx: Transaction, caller: Caller, now: datetime, values: dict[str, Any], note: str, **known: Any) -> Contact:
        self._check_handed_over(tx, values)
        contact = Contact(new_id(), caller.organization_id, now, now, **known, **_placed(tx, _to_the_hour(values, now, None)))
        contact.check()
        contact.check_line(members.countries(tx, [caller.organization_id]).get(caller.organization_id, ""))
        contact.watch(now, self.calendar(tx, contact))
        self._book.add(tx, contact, note)
        return contact

    def calendar(self, tx: Transaction, contact: Contact) -> Calendar:
        """By which its clock goes."""
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
    may_ask_for_call: bool = False
    call: Callback | None = None  # the one that is owed to her
    asked: int = 0  # organisations that hold what an enquiry says of her


class References:
    """The caller's side: reference and PIN are the credential."""

    def __init__(
        self,
        book: Book,
        notes: ContactNotes,
        files: Files,
        receipts: Receipts,
        requests: Referrals,
        people: People,
        operators: Contacts,
        calls: Callbacks,
        guesses: Guesses,
        clock: Clock,
    ) -> None:
        self._book = book
        self._notes = notes
        self._operators = operators
        self._calls = calls
        self._files = files
        self._receipts = receipts
        self._referrals = requests
        self._people = people
        self._guesses = guesses
        self._clock = clock
        self._nobody = HASHER.hash("none")  # an unknown reference costs as much time as a wrong PIN

    def enter(self, tx: Transaction, reference: str, pin: str, origin: Origin, trail: list[Entry]) -> Contact:
        """Her first contact, to which the reference belongs, if the PIN is right; from here on the transaction sees what belongs to it."""
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
        right = _matches(id_and_hash[1] if id_and_hash else self._nobody, pin) and id_and_hash is not None
        self._guesses.settle(guess, right, now)  # as right also when what she asks for is then refused
        if not right or id_and_hash is None:
            raise Unauthenticated("reference_or_pin_wrong")
        elevate_to_system_scope(tx)
        return self._book.get(tx, id_and_hash[0])[0]

    def last_of(self, tx: Transaction, organization_id: str, first: Contact) -> Contact:
        """The last of her contacts with an organisation. NotFound where there is none."""
        own = [contact for contact in contacts.of_caller(tx, first.id) if contact.organization_id == organization_id]
        if not own:
            raise NotFound
        return own[-1]

    def add_note(self, tx: Transaction, first: Contact, note: str) -> None:
        """What she says reaches each line that she called: it has to see to the contact again."""
        if not note.strip():
            raise Invalid(("note", "required"))
        now = self._clock.now()
        for contact in contacts.of_caller(tx, first.id, for_update=True):
            if contact_notes.count_between(tx, contact.id, now - SAID_WITHIN, now + AHEAD) >= MOST_SAID:
                raise Conflict("too_much_said")
            people = contacts.people_of(tx, [contact])
            self._notes.add(tx, contact.id, contact.person_id or next(iter(people), ""), note, now)
            contact.hear(now, self._operators.calendar(tx, contact))
            contacts.keep(tx, contact, "told")

    def ask_for_call(self, tx: Transaction, first: Contact, wish: Wish) -> None:
        """She says when she can be called."""
        own = contacts.of_caller(tx, first.id, for_update=True)
        self._calls.ask(tx, self._clock.now(), own, contacts.people_of(tx, own), wish)

    def standing(self, tx: Transaction, first: Contact) -> Standing:
        """What was asked for her and who may open what, as it is now."""
        now, own = self._clock.now(), contacts.of_caller(tx, first.id)
        people = contacts.people_of(tx, own)
        standing = Standing(files=len(people))
        standing.may_ask_for_call = self._calls.may_ask(tx, people)
        standing.asked = enquiries.holders(tx, Her.of_caller(people, [contact.id for contact in own]))
        standing.call = callback_book.hours_owed(tx, [contact.id for contact in own])
        standing.may_be_contacted = bool(people) and all(self._files.get(tx, person).may_be_contacted for person in people)
        receipts = {receipt.id: receipt for person in people for receipt in self._receipts.of_person(tx, person)}
        for referral in self._asked(tx, own, people):
            live = referral.state in LIVE and referral.receipt_id in receipts and receipts[referral.receipt_id].is_live(now)
            if live:
                standing.open_to.add(referral.receiver_organization_id)
            status = "stopped" if referral.need_close_reason_code else PLAIN.get(referral.state.value)
            if status is not None:  # errors are not spoken of
                standing.items.append((referral, status, live))
            standing.may_withdraw |= referral.state in LIVE
        standing.may_withdraw |= any(receipt.is_live(now) for receipt in receipts.values())
        return standing

    def withdraw_consent(self, tx: Transaction, first: Contact, trail: list[Entry]) -> None:
        """Ends everything that was allowed or asked for of her, by whomever."""
        own = contacts.of_caller(tx, first.id)
        people = contacts.people_of(tx, own)
        cancel_of(tx, self._clock.now(), [contact.id for contact in own], people)
        for person_id in people:
            self._people.withdraw_all(tx, self._clock.now(), first.id, person_id, trail)
        callbacks.end(tx, self._clock.now(), callback_book.owed_to(tx, [contact.id for contact in own]))

    def withdraw_one(self, tx: Transaction, first: Contact, key: str, trail: list[Entry]) -> None:
        """Ends one thing that was asked for, with the consent on which it stands. What has ended stays as it is."""
        own = contacts.of_caller(tx, first.id)
        matching = [referral for referral in self._asked(tx, own, contacts.people_of(tx, own)) if self.key_of(first, referral) == key]
        if not matching:
            raise NotFound
        if matching[0].state in LIVE:
            self._people.withdraw_for(tx, self._clock.now(), first.id, matching[0], trail)

    def key_of(self, first: Contact, referral: Referral) -> str:
        """What she calls it."""
        return self._book.item_key(first.id, referral.id)

    def readings(self, tx: Transaction, first: Contact) -> list[Reading]:
        """Who looked at her files, and at what she said on the line, told by day and kind of organisation."""
        own = contacts.of_caller(tx, first.id)
        also = {f"contact:{contact.id}" for contact in own}  # a reading of a contact is on the trail of a file too
        about = [*contacts.people_of(tx, own), *(contact.id for contact in own)]
        seen = [row for each in about for row in audit.readings(tx, each, READING, limit=_MOST_READINGS)]
        rows = [row for row in seen if also.isdisjoint(row["detail_codes"])]
        return told_plainly(
            rows, members.types(tx, {row["organization_id"] for row in rows}), zone_of(first.line_country, first.department)
        )

    def confirm_help(self, tx: Transaction, first: Contact, help_came: bool) -> None:
        """Her word on whether help came."""
        own = [contact.id for contact in contacts.of_caller(tx, first.id)]
        self._referrals.confirm_help(tx, self._clock.now(), first.id, own, help_came)

    @staticmethod
    def _asked(tx: Transaction, own: Sequence[Contact], people: Sequence[str]) -> list[Referral]:
        of_contacts = [referral for contact in own for referral in referrals.of_contact(tx, contact.id)]
        return list({referral.id: referral for referral in (*referrals.of_people(tx, people), *of_contacts)}.values())


def _to_the_hour(values: dict[str, Any], now: datetime, known: datetime | None) -> dict[str, Any]:
    time = values.get("assault_time")
    return values | {"assault_time": assault_to_the_hour("contact.assault_time", time, now, known)} if time else values


def _placed(tx: Transaction, values: dict[str, Any]) -> dict[str, Any]:
    """A code that the caller named says the medium as well."""
    if not values.get("placement_code"):
        return values
    placement = campaigns.named(tx, values["placement_code"])
    return values | {"placement_code": placement.code, "campaign_code": placement.medium_code}


def _matches(pin_hash: str, pin: str) -> bool:
    try:
        return HASHER.verify(pin_hash, pin)
    except Argon2Error:
        return False
