"""Handles the rpcs for contacts of the line, and checks references with their PINs."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Invalid, NotAllowed, NotFound, Stale, Unauthenticated
from chassis.guesses import Budget, Guesses, Lanes, Origin
from chassis.ids import new_id, object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, optional_id, page_size, timestamp, version, word
from protos.referrals.v1 import contacts_pb2 as pb
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store.people import People as Files
from services.referrals.files.usecases.openings import Openings
from services.referrals.line.domain.contact import (
    Contact,
    check_pin,
    new_pin,
    new_reference,
    read_reference,
)
from services.referrals.line.store import contacts, take_overs
from services.referrals.line.store.contact_notes import ContactNotes
from services.referrals.line.store.contacts import Contacts as ContactStore
from services.referrals.line.usecases import callbacks, campaigns
from services.referrals.line.usecases.callbacks import Callbacks
from services.referrals.line.wire.contacts import changed_contact, new_contact
from services.referrals.line.wire.messages import contact_message
from services.referrals.network.domain.deadline import DeadlineKind, assault_to_the_hour
from services.referrals.network.store import members
from services.referrals.network.usecases.deadlines import (
    DeadlineFired,
    fire_each,
    fire_one_deadline,
)
from services.referrals.network.usecases.policies import Policies

# A stranger who knows a reference can try 100 of the 10,000 PINs, and then one a day. So the
# probability of finding the right PIN within a year is 4.6 %; with a new address for each attempt
# (`newcomer` below), it is 12 %.
REFERENCE_BUDGET = Budget(
    10, timedelta(hours=2), timedelta(days=365), wrong_limit=100, slow_interval=timedelta(days=1)
)
ADDRESS_BUDGET = Budget(30, timedelta(minutes=10), timedelta(0))
# Strangers can delay a caller but not lock her out (decision 17): their own addresses are blocked,
# and an address that made no wrong attempt, such as the caller's, has a budget of its own.
LANES = Lanes(
    at_address=Budget(5, timedelta(days=1), timedelta(days=30)),
    newcomer=Budget(
        5,
        timedelta(hours=1),
        timedelta(days=365),
        wrong_limit=50,
        slow_interval=timedelta(hours=12),
    ),
    desk=Budget(
        10,
        timedelta(minutes=5),
        timedelta(days=365),
        wrong_limit=100,
        slow_interval=timedelta(hours=1),
    ),
)
# 19 MiB and 2 passes: OWASP's minimum for argon2id, about 30 ms. The budgets above, not this cost,
# protect the 10,000 PINs.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class ReferenceGate:
    """Identifies a caller by her reference and PIN; counts wrong attempts."""

    def __init__(self, contact_store: ContactStore, guesses: Guesses, clock: Clock) -> None:
        self._contact_store = contact_store
        self._guesses = guesses
        self._clock = clock
        # the PIN is compared with this hash if the reference is unknown, so that the refusal takes
        # as much time as the refusal of a wrong PIN
        self._dummy_hash = HASHER.hash("none")

    def enter(
        self, tx: Transaction, reference: str, pin: str, origin: Origin, trail: list[Entry]
    ) -> Contact:
        """Returns the caller's first contact, to which the reference belongs.

        Afterwards the transaction has the scope of the whole service. Raises Unauthenticated for a
        wrong reference or PIN.
        """
        now = self._clock.now()
        try:
            normal_reference = read_reference(reference)
        except Unauthenticated:
            _matches(self._dummy_hash, pin)
            raise
        guess = self._guesses.begin(normal_reference, origin, now)
        id_and_hash = self._contact_store.by_reference(tx, normal_reference)
        if id_and_hash is not None:
            trail.append(Entry("enter_by_reference", id_and_hash[0]))
        is_right = (
            _matches(id_and_hash[1] if id_and_hash else self._dummy_hash, pin)
            and id_and_hash is not None
        )
        # the guess counts as right even if the caller's request is refused later
        self._guesses.settle(guess, is_right, now)
        if not is_right or id_and_hash is None:
            raise Unauthenticated("reference_or_pin_wrong")
        elevate_to_system_scope(tx)
        return self._contact_store.get(tx, id_and_hash[0])[0]


class Contacts(Callbacks):
    """Handles the rpcs that a line's operators call for its contacts, one method per rpc.

    Public methods with `tx` serve other use cases.
    """

    def __init__(
        self,
        contact_store: ContactStore,
        notes: ContactNotes,
        files: Files,
        policies: Policies,
        openings: Openings,
        gate: ReferenceGate,
        pages: PageTokens,
    ) -> None:
        super().__init__(files, pages)
        self._contact_store = contact_store
        self._notes = notes
        self._policies = policies
        self._openings = openings
        self._gate = gate

    def CreateContact(
        self, request: pb.CreateContactRequest, call: Call
    ) -> pb.CreateContactResponse:
        """Records a contact under the reference that the caller gave, or under a new reference.

        The reference and the PIN are not stored in readable form. A member on probation may not use
        a reference: from then on the caller's notes would reach it.
        """
        values, note = new_contact(request.contact), request.contact.note
        if request.reference:
            if members.on_probation(call.tx, call.caller.organization_id):
                raise NotAllowed("member_on_probation")
            first_contact = self._gate.enter(
                call.tx, request.reference, request.pin, call.origin, call.trail
            )
            contact = self._add(
                call,
                values,
                note,
                reference_hint=first_contact.reference_hint,
                tied_to_id=first_contact.id,
            )
            call.trail.append(Entry("tie_contact", contact.id))
            return _create_response(contact, note, read_reference(request.reference), request.pin)
        pin = request.pin or new_pin()
        check_pin(pin)
        reference = new_reference()
        contact = self._add(call, values, note, reference_hint=reference[-2:])
        self._contact_store.add_reference(call.tx, reference, contact.id, HASHER.hash(pin))
        return _create_response(contact, note, reference, pin)

    def GetContact(self, request: pb.GetContactRequest, call: Call) -> pb.Contact:
        """Returns a contact with its note and the notes that the caller added later.

        If there are notes, the access is recorded for the contact and for the people it is about.
        """
        tx, trail, identifier = call.tx, call.trail, object_id(request.id)
        contact, note = self._contact_store.get(tx, identifier)
        later_notes = self._notes.of(tx, identifier)
        if note != "" or later_notes:
            trail.append(Entry("read_contact", identifier, "", (FieldGroup.NOTES.value,)))
            for person_id in contacts.person_ids_of(tx, [contact]):
                trail.append(
                    Entry(
                        "read_contact",
                        person_id,
                        "",
                        (FieldGroup.NOTES.value, f"contact:{identifier}"),
                    )
                )
            self._openings.admit(tx, call.caller, call.clock.now(), identifier)
        return contact_message(contact, call.clock.now(), note, later_notes)

    def ListContacts(self, request: pb.ListContactsRequest, call: Call) -> pb.ListContactsResponse:
        """Lists the contacts of the caller's line, newest first.

        If the request names an outcome, lists only contacts with that outcome.
        """
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        outcome = word(pb.ContactOutcome, request.outcome_code, "outcome_code")
        page, next_cursor = self._contact_store.page(
            call.tx, call.caller.organization_id, outcome, size, after
        )
        return pb.ListContactsResponse(
            contacts=[contact_message(contact, call.clock.now()) for contact in page],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def GetContactByReference(
        self, request: pb.GetContactByReferenceRequest, call: Call
    ) -> pb.Contact:
        """Returns the latest contact under a reference at the line that makes the request.

        Raises NotFound if the line has no contact under this reference.
        """
        first_contact = self._gate.enter(
            call.tx, request.reference, request.pin, call.origin, call.trail
        )
        own_contacts = [
            contact
            for contact in contacts.of_caller(call.tx, first_contact.id)
            if contact.organization_id == call.caller.organization_id
        ]
        if not own_contacts:
            raise NotFound
        return contact_message(own_contacts[-1], call.clock.now())

    def UpdateContact(self, request: pb.UpdateContactRequest, call: Call) -> pb.Contact:
        """Saves changes to a contact, such as further answers.

        If the contact is linked to a person, her file must be at the line's own organisation, since
        the caller's reference gives access to that file.
        """
        tx, now, identifier = call.tx, call.clock.now(), object_id(request.contact.id)
        base_version = version(request.contact.etag, "contact.etag")
        person_id = (
            optional_id(request.contact.person_id, "contact.person_id")
            if "person_id" in request.update_mask.paths
            else ""
        )
        if person_id:
            self._files.lock(tx, person_id)  # before the contact, as in an erasure
            person = self._files.get(tx, person_id)
            if person.organization_id != call.caller.organization_id:
                raise NotFound
            person.check_not_erased()
        contact, stored_note = self._contact_store.get(tx, identifier, for_update=True)
        contact.check_not_erased()
        if contact.step_version != base_version:
            raise Stale
        values, note = changed_contact(request, contact_message(contact, now))
        _check_handed_over(tx, values)
        contact = replace(
            contact,
            **_with_medium(tx, _to_the_hour(values, now, contact.assault_time)),
            unheard=False,
        )
        contact.check()
        contact.change(now, self._policies.calendar(tx, contact.line_country, contact.department))
        # a note that could not be opened is shown as empty, and the form sends back an empty note
        unread = stored_note is None and not note
        self._contact_store.change(tx, contact, None if unread else note)
        if person_id:
            person = self._files.get(tx, person_id, for_update=True)
            callbacks.end_forbidden(tx, now, person, call.caller.id)
        return contact_message(contact, now, None if unread else note or "")

    def TakeOverLine(self, request: pb.TakeOverLineRequest, call: Call) -> pb.TakeOver:
        """Records that the next shift has read the open contacts."""
        now = call.clock.now()
        take_overs.add(call.tx, call.caller.organization_id, call.caller.id, now)
        return pb.TakeOver(worker_id=call.caller.id, time=timestamp(now))

    def ListTakeOvers(
        self, request: pb.ListTakeOversRequest, call: Call
    ) -> pb.ListTakeOversResponse:
        """Lists the take-overs of the caller's line, newest first."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        page, next_cursor = take_overs.page(call.tx, call.caller.organization_id, size, after)
        return pb.ListTakeOversResponse(
            take_overs=[
                pb.TakeOver(worker_id=worker_id, time=timestamp(time)) for worker_id, time in page
            ],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def erase(self, tx: Transaction, now: datetime, identifier: str) -> None:
        """Closes a contact whose person is erased, so that nothing more can be written in it."""
        contact = contacts.lock(tx, identifier)
        contact.erase(now, self._policies.calendar(tx, contact.line_country, contact.department))
        contacts.save(tx, contact, "changed")

    def fire_deadlines(self, tx: Transaction, now: datetime, limit: int) -> list[DeadlineFired]:
        """Records levels that deadlines of contacts and callbacks reached; returns the events."""
        fire = fire_one_deadline(
            DeadlineKind.CONTACT,
            partial(contacts.lock, tx),
            lambda contact: contact.fire_deadline(now),
            partial(contacts.save, tx),
        )
        events = fire_each(
            tx,
            now,
            "contacts",
            "contact_id",
            contacts.due(tx, now, limit),
            fire,
            contacts.put_aside,
        )
        return [*events, *callbacks.fire_deadlines(tx, now, limit)]

    def _add(
        self, call: Call, values: dict[str, Any], note: str, **reference_values: Any
    ) -> Contact:
        tx, organization_id, now = call.tx, call.caller.organization_id, call.clock.now()
        _check_handed_over(tx, values)
        contact = Contact(
            new_id(),
            organization_id,
            now,
            now,
            **reference_values,
            **_with_medium(tx, _to_the_hour(values, now, None)),
        )
        contact.check()
        contact.check_line(members.countries(tx, [organization_id]).get(organization_id, ""))
        contact.update_deadline(
            now, self._policies.calendar(tx, contact.line_country, contact.department)
        )
        self._contact_store.add(tx, contact, note)
        return contact


def _create_response(
    contact: Contact, note: str, reference: str, pin: str
) -> pb.CreateContactResponse:
    message = contact_message(contact, contact.create_time, note)
    return pb.CreateContactResponse(
        contact=message, reference=f"{reference[:4]}-{reference[4:]}", pin=pin
    )


def _check_handed_over(tx: Transaction, values: dict[str, Any]) -> None:
    recipient_id = values.get("handed_over_organization_id")
    if recipient_id and not members.is_active(tx, recipient_id):
        raise Invalid(("contact.handed_over_organization_id", "unknown_code"))


def _to_the_hour(
    values: dict[str, Any], now: datetime, stored_time: datetime | None
) -> dict[str, Any]:
    time = values.get("assault_time")
    return (
        values
        | {"assault_time": assault_to_the_hour("contact.assault_time", time, now, stored_time)}
        if time
        else values
    )


def _with_medium(tx: Transaction, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values, completed with the medium of the code that the caller named."""
    if not values.get("placement_code"):
        return values
    placement = campaigns.placement_of_code(tx, values["placement_code"])
    return values | {"placement_code": placement.code, "campaign_code": placement.medium_code}


def _matches(pin_hash: str, pin: str) -> bool:
    try:
        return HASHER.verify(pin_hash, pin)
    except Argon2Error:
        return False
