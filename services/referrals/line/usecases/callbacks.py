"""Handles the rpcs for callbacks.

An operator can agree on a callback with a caller, unless a safe-contact plan forbids it. A
caller whose safe-contact plans all allow calls can also request a callback with her reference.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Invalid, Stale
from chassis.ids import new_id, object_id
from chassis.local_time import zone_of
from chassis.rpc import Call
from chassis.wire import PageTokens, page_size, version, word
from protos.referrals.v1 import contacts_pb2 as pb
from services.referrals.files.domain.person import Person
from services.referrals.files.store.people import People as Files
from services.referrals.line.domain.callback import (
    AGAIN,
    GIVEN_UP,
    NOT_SAFE,
    REACHED,
    Callback,
    RequestedHours,
)
from services.referrals.line.domain.contact import Contact, of_speaker
from services.referrals.line.store import callbacks, contacts
from services.referrals.line.wire.contacts import requested_hours
from services.referrals.line.wire.messages import callback_message
from services.referrals.network.domain.deadline import DeadlineKind
from services.referrals.network.store import members
from services.referrals.network.usecases.deadlines import (
    DeadlineFired,
    fire_each,
    fire_one_deadline,
)

Hours = tuple[datetime, datetime]


class Callbacks:
    """Handles the rpcs for callbacks, one method per rpc.

    A contact can have one callback at a time.
    """

    def __init__(self, files: Files, pages: PageTokens) -> None:
        self._files = files
        self._pages = pages

    def CreateCallback(self, request: pb.CreateCallbackRequest, call: Call) -> pb.Callback:
        """Records a callback that an operator agreed on with the caller.

        If the line owes her a callback already, even for another contact, that callback moves, and
        so do those that other lines owe her.
        """
        requested = requested_hours(request.callback, "callback.")
        identifier = object_id(request.callback.contact_id)
        contacts.lock_caller(call.tx, identifier)
        contact = contacts.lock(call.tx, identifier)
        contact.check_not_erased()
        person_id = self._check_plans(call.tx, contact)  # widens the scope to all lines
        all_contacts = contacts.of_caller(call.tx, contact.tied_to_id or contact.id)
        first_contact = next(first for first in all_contacts if not first.tied_to_id)
        holder_ids = {holder.id for holder in of_speaker(first_contact, all_contacts)}
        contact_ids = [
            other.id
            for other in all_contacts
            # another line's call to somebody other than the holder of the reference stays
            if other.organization_id == contact.organization_id or other.id in holder_ids
        ]
        callback = _move_or_create(
            call.tx,
            call.clock.now(),
            contact,
            requested,
            contact_ids,
            {contact.organization_id},
            by_herself=False,
        )
        return _message(callback, contact, person_id, call)

    def ListCallbacks(
        self, request: pb.ListCallbacksRequest, call: Call
    ) -> pb.ListCallbacksResponse:
        """Lists the callbacks that the caller's line owes, the earliest due first."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        page, next_cursor = callbacks.page(call.tx, call.caller.organization_id, size, after)
        return pb.ListCallbacksResponse(
            callbacks=[
                callback_message(
                    callback,
                    row["reference_hint"],
                    row["person_id"],
                    call.clock.now(),
                    zone_of(row["line_country"], row["department"]),
                )
                for callback, row in page
            ],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def SettleCallback(self, request: pb.SettleCallbackRequest, call: Call) -> pb.Callback:
        """Records the result of a callback and, if another try is agreed, the hours for it."""
        tx = call.tx
        now = call.clock.now()
        outcome = word(pb.CallbackOutcome, request.outcome_code, "outcome_code")
        if outcome not in (REACHED, AGAIN, GIVEN_UP):
            raise Invalid(("outcome_code", "unknown_code"))
        requested = requested_hours(request)
        identifier = object_id(request.id)
        base_version = version(request.etag)
        # every transaction must lock in this order: contact, file, callback
        contact = contacts.lock(tx, callbacks.contact_of(tx, identifier))
        person_id = next(iter(contacts.person_ids_of(tx, [contact])), "")
        if outcome == AGAIN:
            self._check_plans(tx, contact)
        callback = callbacks.lock(tx, identifier)
        callback.check_owed()
        if callback.step_version != base_version:
            raise Stale
        if outcome == AGAIN:
            callback.try_again(now, _hours(contact, requested, now))
        else:
            callback.settle(now, outcome, call.caller.id)
        callbacks.save(tx, callback, "changed" if outcome == AGAIN else "settled")
        return _message(callback, contact, person_id, call)

    def _check_plans(self, tx: Transaction, contact: Contact) -> str:
        """Refuses a callback that a safe-contact plan does not allow.

        The person's file at this line must allow calls, and her files at other lines must not
        forbid them. Returns the id of the file at this line, or "" if there is none.
        """
        own_person_ids = contacts.person_ids_of(tx, [contact])
        elevate_to_system_scope(tx)  # a plan that forbids calls concerns every line that might call
        all_person_ids = contacts.person_ids_of(
            tx, contacts.of_caller(tx, contact.tied_to_id or contact.id)
        )
        files = self._files.unerased(tx, all_person_ids, for_update=True)
        for person in files:
            if person.id in own_person_ids or person.safe_contact_channel:
                person.check_callable()
        return next((person.id for person in files if person.id in own_person_ids), "")


def record_request(
    tx: Transaction,
    files: Files,
    now: datetime,
    callers_contacts: Sequence[Contact],
    person_ids: Sequence[str],
    requested: RequestedHours,
) -> None:
    """Records a callback that the caller requested with her reference.

    Of the lines that can call and have a file about her, the line that she called last owes the
    callback. If lines owe her callbacks already, these move to the requested hours. Raises Conflict
    if a call is not safe, or no line can make it.
    """
    may_be_called = may_request_call(files.unerased(tx, person_ids, for_update=True))
    contacts_of_lines = at_active_lines(tx, callers_contacts)
    contact = last_with_file(tx, files, contacts_of_lines) if may_be_called else None
    if contact is None:
        raise Conflict("call_not_safe")
    _move_or_create(
        tx,
        now,
        contact,
        requested,
        [contact.id for contact in callers_contacts],
        {contact.organization_id for contact in contacts_of_lines},
        by_herself=True,
    )


def at_active_lines(tx: Transaction, callers_contacts: Sequence[Contact]) -> list[Contact]:
    """Returns the contacts at lines in good standing; a line that is suspended calls nobody."""
    return [
        contact for contact in callers_contacts if members.is_active(tx, contact.organization_id)
    ]


def last_with_file(
    tx: Transaction, files: Files, callers_contacts: Sequence[Contact]
) -> Contact | None:
    """Returns a caller's last contact at a line that has a file about her, or None."""
    return next(
        (
            contact
            for contact in reversed(callers_contacts)
            if files.unerased(tx, contacts.person_ids_of(tx, [contact]))
        ),
        None,
    )


def may_request_call(files: Sequence[Person]) -> bool:
    """Returns whether the caller has a file, and all her files allow calls.

    `files` are her files that were not erased: an erased file says nothing about calls.
    """
    return bool(files) and all(person.may_be_called for person in files)


def _move_or_create(
    tx: Transaction,
    now: datetime,
    contact: Contact,
    requested: RequestedHours,
    contact_ids: Sequence[str],
    line_ids: Collection[str],
    *,
    by_herself: bool,
) -> Callback:
    """Moves the callbacks owed to these contacts; returns the first that a line in `line_ids` owes.

    If no such line owes a callback, creates one. Also moves the callbacks that are owed to the same
    person under another reference: the earlier hours may not be safe any more.
    """
    hours = _hours(contact, requested, now)
    owed_callbacks = callbacks.owed_to(tx, contact_ids)
    owed_elsewhere = callbacks.owed_to(tx, contacts.ids_of_same_person(tx, contact_ids))
    for callback in (*owed_callbacks, *owed_elsewhere):
        callback.move(now, hours, by_herself=by_herself)
    if not any(callback.organization_id in line_ids for callback in owed_callbacks):
        new_callback = Callback.create(
            new_id(), contact.id, contact.organization_id, now, hours, by_herself=by_herself
        )
        owed_callbacks.append(new_callback)
    for callback in (*owed_callbacks, *owed_elsewhere):
        callbacks.save(tx, callback, "asked" if by_herself else "changed")
    return next(callback for callback in owed_callbacks if callback.organization_id in line_ids)


def _message(callback: Callback, contact: Contact, person_id: str, call: Call) -> pb.Callback:
    zone = zone_of(contact.line_country, contact.department)
    return callback_message(callback, contact.reference_hint, person_id, call.clock.now(), zone)


def _hours(contact: Contact, requested: RequestedHours, now: datetime) -> Hours:
    """Returns the start and end of the hours, which are local hours at the contact's place."""
    return requested.hours(now, zone_of(contact.line_country, contact.department))


def end(
    tx: Transaction, now: datetime, owed_callbacks: Sequence[Callback], worker_id: str = ""
) -> None:
    """Settles callbacks that must no longer be made, for example after a withdrawal of consent."""
    for callback in owed_callbacks:
        callback.settle(now, NOT_SAFE, worker_id)
        callbacks.save(tx, callback, "settled")


def end_forbidden(tx: Transaction, now: datetime, person: Person, worker_id: str) -> None:
    """Ends the callbacks owed to a person, if the safe-contact plan in this file forbids calls.

    Such a callback may have been agreed before the contact was linked to the file. The calling
    code must have read the person for update. Widens the scope.
    """
    if person.safe_contact_channel and not person.may_be_called:
        elevate_to_system_scope(tx)  # a different line may have agreed on a call with her
        end(tx, now, callbacks.owed_to_person(tx, person.id), worker_id)


def fire_deadlines(tx: Transaction, now: datetime, limit: int) -> list[DeadlineFired]:
    """Records the levels that deadlines of callbacks have reached; returns the events."""
    fire = fire_one_deadline(
        DeadlineKind.CALLBACK,
        partial(callbacks.lock, tx),
        lambda callback: callback.fire_deadline(now),
        partial(callbacks.save, tx),
    )
    return fire_each(
        tx, now, "contacts", "callback_id", callbacks.due(tx, now, limit), fire, callbacks.put_aside
    )
