"""Requests by callers of the line, who identify themselves with a reference and its PIN.

The answers to these callers have only codes, times, numbers and keys.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

from chassis.clock import MAX_CLOCK_DIFFERENCE
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotFound
from chassis.local_time import day_at, zone_of
from chassis.rpc import Call
from chassis.wire import number, timestamp
from protos.referrals.v1 import contacts_pb2 as pb
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.openings import READING
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store import emergencies
from services.referrals.files.store.people import People as Files
from services.referrals.files.store.person_ids import PersonIds
from services.referrals.files.store.receipts import Receipts
from services.referrals.files.wire.messages import GROUPS
from services.referrals.line.domain.callback import Callback
from services.referrals.line.domain.contact import (
    GUARDIAN,
    HERSELF,
    MAX_NOTES,
    NOTES_PERIOD,
    STATUS_WITHOUT_HELP,
    Contact,
    of_speaker,
    status_for_caller,
)
from services.referrals.line.store import callbacks as callback_store
from services.referrals.line.store import contact_notes, contacts
from services.referrals.line.store.contact_notes import ContactNotes
from services.referrals.line.store.contacts import Contacts as ContactStore
from services.referrals.line.usecases import callbacks
from services.referrals.line.usecases.contacts import ReferenceGate
from services.referrals.line.wire.contacts import requested_hours
from services.referrals.line.wire.messages import past_hour_codes
from services.referrals.network.store import members
from services.referrals.network.usecases.policies import Policies
from services.referrals.people.domain.reading import daily_readings
from services.referrals.people.store import trail_rows
from services.referrals.people.usecases.consents import Consents
from services.referrals.referrals.domain.lifecycle import LIVE, State
from services.referrals.referrals.domain.record import Actor
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import enquiries, referrals
from services.referrals.referrals.usecases.referral_changes import ReferralChanges

# the maximum number of accesses that are read for one file or contact; the answer is short, since
# it only counts the accesses
_MAX_READINGS = 10_000


@dataclass
class RequestsState:
    """The state of a caller's requests.

    `file_count` is the number of files about her that were not erased. For each request, `items`
    has the referral, its status as a word of ReferenceState, and two flags: whether a live consent
    or override lets the receiver open the caller's data now, and whether it covers contacting her.
    `may_be_contacted` is True if there is a file about her, and the safe-contact plan in each of
    her files names a channel.
    """

    file_count: int
    only_the_call: bool = False  # True if the caller may not speak for the person
    items: list[tuple[Referral, str, bool, bool]] = field(default_factory=list)
    # the receivers that may open the caller's data now, by a consent or in an emergency
    receiver_ids_with_access: set[str] = field(default_factory=set)
    may_withdraw: bool = False
    may_be_contacted: bool = False
    may_ask_for_call: bool = False
    # if she may ask for a call: today's date where she would be called, and the hours that are over
    local_date: str = ""
    past_hour_codes: list[Any] = field(default_factory=list)
    # the callback that a line owes the caller and that is due first
    call: Callback | None = None
    call_utc_offset: timedelta = timedelta()  # offset of her local time when the call begins
    # the number of organisations that hold enquiry content about the caller
    enquiry_holder_count: int = 0


class References:
    """Handles the rpcs for references, one method per rpc."""

    def __init__(
        self,
        gate: ReferenceGate,
        contact_store: ContactStore,
        notes: ContactNotes,
        files: Files,
        receipts: Receipts,
        referral_changes: ReferralChanges,
        consents: Consents,
        policies: Policies,
    ) -> None:
        self._gate = gate
        self._contact_store = contact_store
        self._notes = notes
        self._files = files
        self._receipts = receipts
        self._referral_changes = referral_changes
        self._consents = consents
        self._policies = policies

    def GetReferenceStatus(
        self, request: pb.GetReferenceStatusRequest, call: Call
    ) -> pb.ReferenceStatus:
        """Returns the state of the caller's requests."""
        return self._message(
            self._gate.enter(call.tx, request.reference, request.pin, call.origin, call.trail), call
        )

    def WithdrawConsentByReference(
        self, request: pb.WithdrawConsentByReferenceRequest, call: Call
    ) -> pb.ReferenceStatus:
        """Withdraws one of the caller's requests, and the consent or override for it.

        If `item_key` is empty, withdraws every consent, override and request about her, whoever
        gave or made it.
        """
        first_contact = self._gate.enter(
            call.tx, request.reference, request.pin, call.origin, call.trail
        )
        ids = self._ids_spoken_for(
            call.tx,
            call.clock.now(),
            first_contact,
            contacts.of_caller(call.tx, first_contact.id),
        )
        if request.item_key:
            self._withdraw_one(
                call, first_contact, referrals.of_people(call.tx, ids.person_ids), request.item_key
            )
        else:
            actor = Actor("person", first_contact.id, "")
            self._consents.withdraw_all(call.tx, actor, call.clock.now(), ids, call.trail)
        return self._message(first_contact, call)

    def ListReadingsByReference(
        self, request: pb.ListReadingsByReferenceRequest, call: Call
    ) -> pb.ListReadingsByReferenceResponse:
        """Lists the accesses to the caller's files and contacts.

        Equal accesses on one day are counted together (see Reading).
        """
        tx = call.tx
        first_contact = self._gate.enter(
            call.tx, request.reference, request.pin, call.origin, call.trail
        )
        callers_contacts = of_speaker(first_contact, contacts.of_caller(tx, first_contact.id))
        # an access to a contact may also be on the trail of a file, but must be counted only once
        contact_codes = {f"contact:{contact.id}" for contact in callers_contacts}
        object_ids = [
            *self._ids_spoken_for(tx, call.clock.now(), first_contact, callers_contacts).person_ids,
            *(contact.id for contact in callers_contacts),
        ]
        accesses = [
            row
            for object_id in object_ids
            for row in trail_rows.accesses(tx, object_id, READING, limit=_MAX_READINGS)
        ]
        rows = [row for row in accesses if contact_codes.isdisjoint(row["detail_codes"])]
        types = members.types(tx, {row["organization_id"] for row in rows})
        readings = [
            pb.ReferenceReading(
                date=reading.day.isoformat(),
                organization_type_code=reading.organization_type,
                need_group_code=reading.need_group_code,
                field_groups=[GROUPS.number(FieldGroup(code)) for code in reading.field_groups],
                allowed=reading.allowed,
                count=reading.count,
            )
            for reading in daily_readings(
                rows, types, zone_of(first_contact.line_country, first_contact.department)
            )
        ]
        return pb.ListReadingsByReferenceResponse(readings=readings)

    def AskForCallByReference(
        self, request: pb.AskForCallByReferenceRequest, call: Call
    ) -> pb.ReferenceStatus:
        """Records the hours in which the caller can be called."""
        first_contact = self._gate.enter(
            call.tx, request.reference, request.pin, call.origin, call.trail
        )
        requested = requested_hours(request)
        all_contacts = contacts.of_caller(call.tx, first_contact.id, for_update=True)
        now = call.clock.now()
        may_speak = self._ids_spoken_for(call.tx, now, first_contact, all_contacts).person_ids
        # also the plans of the files for which she may not speak
        person_ids = contacts.person_ids_of(call.tx, all_contacts) if may_speak else []
        callers_contacts = of_speaker(first_contact, all_contacts)
        callbacks.record_request(call.tx, self._files, now, callers_contacts, person_ids, requested)
        return self._message(first_contact, call)

    def AddNoteByReference(
        self, request: pb.AddNoteByReferenceRequest, call: Call
    ) -> pb.ReferenceStatus:
        """Adds a note by the caller to each of her contacts that was not erased.

        The contacts in which somebody else spoke do not count: another line would read the note.
        Each line then has to follow up its contact again. Raises Conflict if none of these lines is
        active: nobody would read the note.
        """
        tx = call.tx
        first_contact = self._gate.enter(
            call.tx, request.reference, request.pin, call.origin, call.trail
        )
        if not request.note.strip():
            raise Invalid(("note", "required"))
        now = call.clock.now()
        callers_contacts = [
            contact
            for contact in of_speaker(
                first_contact, contacts.of_caller(tx, first_contact.id, for_update=True)
            )
            if not contact.erased
        ]
        if not callbacks.at_active_lines(tx, callers_contacts):
            raise Conflict("line_not_active")
        for contact in callers_contacts:
            if (
                contact_notes.count_between(
                    tx, contact.id, now - NOTES_PERIOD, now + MAX_CLOCK_DIFFERENCE
                )
                >= MAX_NOTES
            ):
                raise Conflict("too_much_said")
            person_ids = contacts.person_ids_of(tx, [contact])
            self._notes.add(
                tx, contact.id, contact.person_id or next(iter(person_ids), ""), request.note, now
            )
            contact.reopen(
                now, self._policies.calendar(tx, contact.line_country, contact.department)
            )
            contacts.save(tx, contact, "told")
        return self._message(first_contact, call)

    def ConfirmHelp(self, request: pb.ConfirmHelpRequest, call: Call) -> pb.ReferenceStatus:
        """Records the caller's answer about whether help came."""
        first_contact = self._gate.enter(
            call.tx, request.reference, request.pin, call.origin, call.trail
        )
        now = call.clock.now()
        person_ids = self._ids_spoken_for(
            call.tx, now, first_contact, contacts.of_caller(call.tx, first_contact.id)
        ).person_ids
        self._referral_changes.confirm_help(
            call.tx, now, first_contact.id, person_ids, request.help_came
        )
        return self._message(first_contact, call)

    def _ids_spoken_for(
        self,
        tx: Transaction,
        now: datetime,
        first_contact: Contact,
        callers_contacts: Sequence[Contact],
    ) -> PersonIds:
        """Returns the ids of the files and contacts for which the caller may speak.

        There are none unless the caller to whom the reference was given is the person herself, or
        is recorded as the guardian of a child and gave the consent to a referral that was made for
        these contacts. The contacts in which somebody else spoke do not count.
        """
        callers_contacts = of_speaker(first_contact, callers_contacts)
        person_ids = contacts.person_ids_of(tx, callers_contacts)
        contact_ids = [contact.id for contact in callers_contacts]
        if first_contact.speaker_code == HERSELF:
            return PersonIds.of_caller(person_ids, contact_ids)
        if first_contact.speaker_code != GUARDIAN:
            return PersonIds.of_caller([], [])
        used_ids = {
            referral.receipt_id
            for contact in callers_contacts
            for referral in referrals.of_contact(tx, contact.id)
        }
        wards = [
            person_id
            for person_id in person_ids
            if _guardian_decides(self._receipts.of_person(tx, person_id), used_ids, now)
        ]
        return PersonIds.of_caller(wards, contact_ids if wards and wards == person_ids else [])

    def _withdraw_one(
        self, call: Call, first_contact: Contact, requests: Sequence[Referral], key: str
    ) -> None:
        """Withdraws one request; does nothing if the request has already ended."""
        matching_referrals = [
            referral
            for referral in requests
            if self._contact_store.item_key(first_contact.id, referral.id) == key
        ]
        if not matching_referrals:
            raise NotFound
        if matching_referrals[0].is_asked_for:
            self._consents.withdraw_for_referral(
                call.tx, call.clock.now(), first_contact.id, matching_referrals[0], call.trail
            )

    def _state_of(self, tx: Transaction, now: datetime, first_contact: Contact) -> RequestsState:
        """Returns the present state of the caller's requests and of the access to her data."""
        all_contacts = contacts.of_caller(tx, first_contact.id)
        callers_contacts = of_speaker(first_contact, all_contacts)
        ids = self._ids_spoken_for(tx, now, first_contact, all_contacts)
        files = self._files.unerased(tx, ids.person_ids)
        state = RequestsState(
            file_count=len(files), only_the_call=not (ids.person_ids or ids.contact_ids)
        )
        contacts_of_lines = callbacks.at_active_lines(tx, callers_contacts)
        contact_to_call = (
            callbacks.last_with_file(tx, self._files, contacts_of_lines)
            if files
            and callbacks.may_request_call(
                self._files.unerased(tx, contacts.person_ids_of(tx, all_contacts))
            )
            else None
        )
        if contact_to_call:
            state.may_ask_for_call = True
            zone = zone_of(contact_to_call.line_country, contact_to_call.department)
            state.local_date = now.astimezone(zone).date().isoformat()
            state.past_hour_codes = past_hour_codes(now, zone)
        state.enquiry_holder_count = enquiries.count_holders(tx, ids)
        state.call = callback_store.first_owed(tx, [contact.id for contact in contacts_of_lines])
        if state.call:
            contact = next(
                contact for contact in callers_contacts if contact.id == state.call.contact_id
            )
            zone = zone_of(contact.line_country, contact.department)
            state.call_utc_offset = _offset_at(state.call.clock.start_time, zone)
        state.may_be_contacted = bool(files) and all(file.may_be_contacted for file in files)
        receipts = {
            receipt.id: receipt
            for person_id in ids.person_ids
            for receipt in self._receipts.of_person(tx, person_id)
        }
        emergency_ids = emergencies.referral_ids_with_live_access(tx, ids.person_ids, now)
        for referral in referrals.of_people(tx, [file.id for file in files]):
            receipt = receipts.get(referral.receipt_id)
            consent_live = receipt is not None and receipt.is_live(now)
            has_access = (
                referral.state in LIVE
                and (consent_live or referral.id in emergency_ids)
                and members.is_active(tx, referral.receiver_organization_id)
            )
            live = has_access and consent_live
            covers_contact = receipt is not None and FieldGroup.CONTACT in receipt.field_groups
            if has_access:
                state.receiver_ids_with_access.add(referral.receiver_organization_id)
            status = (
                "stopped"
                if referral.need_close_reason_code
                else status_for_caller(
                    referral.state.value,
                    referral.outcome_code,
                    help_came=referral.state is State.CLOSED
                    and referral.outcome_code in STATUS_WITHOUT_HELP
                    and any(
                        event.verb == "closed" and event.reason_code == "yes"
                        for event in referrals.events(tx, referral.id, None)
                    ),
                )
            )
            if status is not None:  # referrals entered in error are not shown
                state.items.append((referral, status, live, live and covers_contact))
            state.may_withdraw |= referral.is_asked_for
        state.may_withdraw |= any(receipt.is_live(now) for receipt in receipts.values())
        state.may_withdraw |= bool(
            callback_store.first_owed(tx, ids.contact_ids)
            or enquiries.waiting_of(tx, ids.contact_ids, ids.person_ids)
        )
        return state

    def _message(self, contact: Contact, call: Call) -> pb.ReferenceStatus:
        state = self._state_of(call.tx, call.clock.now(), contact)
        zone = zone_of(contact.line_country, contact.department)
        items = [
            pb.ReferenceItem(
                need_group_code=referral.need_code[:3],
                status_code=number(pb.ReferenceState, status),
                may_confirm=referral.state is State.COMPLETED,
                consent_live=live,
                update_time=timestamp(referral.update_time),
                may_be_contacted=contact_allowed and state.may_be_contacted,
                key=self._contact_store.item_key(contact.id, referral.id),
                may_withdraw=referral.is_asked_for,
                deletion_due_time=timestamp(referral.deletion_due_time),
                deletion_confirm_time=timestamp(
                    referral.deletion.stop_time if referral.deletion else None
                ),
                utc_offset_minutes=_offset_at(referral.update_time, zone) // timedelta(minutes=1),
            )
            for referral, status, live, contact_allowed in state.items
        ]
        return pb.ReferenceStatus(
            contact_time_band=number(pb.TimeBand, _band(contact, call.clock.now())),
            items=items,
            organizations_with_access=len(state.receiver_ids_with_access),
            organizations_asked=state.enquiry_holder_count,
            file_count=state.file_count,
            may_withdraw=state.may_withdraw,
            may_ask_for_call=state.may_ask_for_call,
            only_the_call=state.only_the_call,
            local_date=state.local_date,
            past_hour_codes=state.past_hour_codes,
            call_from_time=timestamp(state.call.clock.start_time if state.call else None),
            call_until_time=timestamp(state.call.clock.due_time if state.call else None),
            call_utc_offset_minutes=state.call_utc_offset // timedelta(minutes=1),
        )


def _guardian_decides(
    receipts: Sequence[Receipt], used_ids: Collection[str], now: datetime
) -> bool:
    """Returns whether a guardian gave a consent for a child, and nobody else decides for her now.

    `used_ids` are the receipts of the referrals that were made for the calling guardian's contacts:
    another receipt may be another guardian's. An authority, or workers in her best interest or in
    an emergency, may have decided to protect her from the guardian, who must not see or stop that.
    """
    return any(receipt.is_by_guardian and receipt.id in used_ids for receipt in receipts) and all(
        receipt.is_by_guardian or receipt.withdraw_time or receipt.until_time <= now
        for receipt in receipts
    )


def _offset_at(time: datetime, zone: tzinfo) -> timedelta:
    return time.astimezone(zone).utcoffset() or timedelta()


def _band(contact: Contact, now: datetime) -> str:
    """Returns the TimeBand of the contact, counted in local days at the caller's place."""
    today, day = (
        day_at(time, contact.line_country, contact.department)
        for time in (now, contact.create_time)
    )
    days = (today - day).days
    return "today" if days < 1 else "this_week" if days < 7 else "earlier"
