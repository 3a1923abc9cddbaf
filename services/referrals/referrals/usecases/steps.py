"""Handles the rpcs for the steps of a referral.

The request's type names a row of the table in lifecycle.py, and one handler takes the step. Five
steps need more than the fields of their request (such as a receipt, the person's file or another
service), so each of the five has a method of its own.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound, Stale
from chassis.ids import new_id, object_id
from chassis.locks import advisory_lock
from chassis.rpc import Call
from chassis.wire import optional_id, version, word, word_list
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.person import NO_CONTACT, Person
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.files.store.people import People
from services.referrals.files.store.receipts import Receipts
from services.referrals.line.store import contacts
from services.referrals.network.domain.service import Receiver, check_age_taken
from services.referrals.network.store import members
from services.referrals.network.wire.messages import URGENCIES
from services.referrals.referrals.domain.lifecycle import State
from services.referrals.referrals.domain.referral import PROBATION_LIMIT, Referral
from services.referrals.referrals.store import referrals, renewals
from services.referrals.referrals.usecases.grants import (
    check_after_withdrawal,
    check_may_override,
    check_reachable_without_consent,
)
from services.referrals.referrals.usecases.legs import Legs
from services.referrals.referrals.usecases.referral_changes import ReferralChanges
from services.referrals.referrals.wire.messages import actor_of, read_arrival, referral_message
from services.referrals.referrals.wire.referrals import STEP_RPCS, VERB_OF, StepRequest, step_fields


class Steps:
    """Handles the rpcs for steps. `take_step` answers every rpc that has no method of its own."""

    def __init__(
        self, people: People, receipts: Receipts, legs: Legs, referral_changes: ReferralChanges
    ) -> None:
        self._people = people
        self._receipts = receipts
        self._legs = legs
        self._referral_changes = referral_changes

    def take_step(self, request: StepRequest, call: Call) -> pb.Referral:
        """Takes the step that the request's type names."""
        verb, now = VERB_OF[type(request)], call.clock.now()
        fields = step_fields(verb, request)
        _check_worker(call, fields.get("responsible_worker_id", ""))
        # a note never conflicts
        base_version = None if verb == "add_note" else version(request.etag)
        referral, calendar = self._referral_changes.lock(
            call.tx, object_id(request.id), base_version
        )
        state_before = referral.state, referral.need_is_open
        referral.take(verb, actor_of(call.caller), now, calendar, **fields)
        self._referral_changes.save(call.tx, referral)
        if state_before[0] is State.DRAFT:
            self._referral_changes.release_offer(call.tx, now, referral)
        earlier_contact_id = (
            self._referral_changes.update_earlier_referral(call.tx, referral, now)
            if referral.state is State.ENTERED_IN_ERROR
            else ""
        )
        if (referral.state, referral.need_is_open) != state_before:
            self._referral_changes.update_dependents(
                call.tx, now, referral, earlier_contact_id=earlier_contact_id
            )
        return referral_message(referral, actor_of(call.caller), now)

    def SendReferral(self, request: pb.SendReferralRequest, call: Call) -> pb.Referral:
        """Sends a draft on a consent, or on an override, which needs a right of its own."""
        tx, caller, now = call.tx, call.caller, call.clock.now()
        identifier, base_version = object_id(request.id), version(request.etag)
        receipt_id = optional_id(request.receipt_id, "receipt_id")
        override_reason = word(
            pb.OverrideReason, request.override_reason_code, "override_reason_code"
        )
        if receipt_id and override_reason:
            raise Invalid(("receipt_id", "contradicts"))
        acknowledged_codes = word_list(
            pb.Acknowledgement, request.acknowledged_codes, "acknowledged_codes"
        )
        draft = referrals.get(tx, identifier)
        # otherwise the queries could be for another version than the one that is locked
        if draft.step_version != base_version:
            raise Stale
        chosen_receipt_id = receipt_id or draft.receipt_id
        # All these queries share a round trip with the query of the locked referral.
        self._people.lock(tx, draft.person_id)
        read_person = self._people.query(tx, draft.person_id)
        has_note = bool(request.note) or request.HasField("arrival")
        read_key = self._people.query_key(tx, draft.person_id) if has_note else None
        read_receipt = (
            self._receipts.query(tx, chosen_receipt_id)
            if chosen_receipt_id and not override_reason
            else None
        )
        read_receiver = members.query_receiver(
            tx, draft.service_id, draft.receiver_organization_id, draft.sender_organization_id
        )
        unsafe_answers = referrals.unsafe_answers(
            tx, draft.sender_organization_id, draft.person_id, draft.contact_id, draft.id
        )
        referral, calendar_at = self._referral_changes.lock_with_calendars(
            tx, identifier, base_version
        )
        person = read_person()
        person.check_not_erased()
        referral.coarse = person.coarse  # the file may have been corrected meanwhile
        receiver = read_receiver()
        _check_receiver(referral, person, receiver, unsafe_answers, acknowledged_codes)
        if receiver.sender_on_probation:
            _check_limit(tx, referral.sender_organization_id)
        if referral.based_on_id and referrals.is_already_replaced(tx, referral):
            raise Conflict("already_replaced")
        receipt = (
            _new_override(call, now, referral, person, override_reason)
            if override_reason
            else _checked_receipt(read_receipt(), referral)
            if read_receipt
            else None
        )
        referral.send(
            actor_of(caller),
            now,
            calendar_at(person.coarse.country, person.coarse.department),
            receipt,
            safe_contact_known=bool(person.safe_contact_channel),
            note=request.note,
            no_contact=person.safe_contact_channel == NO_CONTACT,
            arrival=read_arrival(request.arrival) if request.HasField("arrival") else None,
            answered_urgency=contacts.urgency_of(tx, referral.contact_id),
        )
        if override_reason and receipt is not None:
            self._receipts.add(tx, receipt)
        action, basis = (
            ("send_override", override_reason) if override_reason else ("send", "receipt")
        )
        _record(
            call,
            action,
            referral,
            basis,
            *(f"acknowledged:{code}" for code in acknowledged_codes),
        )
        self._referral_changes.save(tx, referral, read_key)
        if receipt is not None and not receipt.is_override:
            renewals.schedule(tx, referral.id, receipt.first_check_time(now))
        earlier_contact_id = self._referral_changes.update_earlier_referral(tx, referral, now)
        self._referral_changes.update_dependents(
            tx, now, referral, earlier_contact_id=earlier_contact_id
        )
        return referral_message(referral, actor_of(caller), now)

    def ConfirmOverride(self, request: pb.ConfirmOverrideRequest, call: Call) -> pb.Referral:
        """Records a second person's confirmation of an override.

        The second person is a coordinator, or another manager at the sender.
        """
        tx, now = call.tx, call.clock.now()
        referral, calendar = self._referral_changes.lock(
            tx, object_id(request.id), version(request.etag), lock_person=True
        )
        referral.take("confirm_override", actor_of(call.caller), now, calendar)
        # a coordinator sees neither the person nor her receipts, but may confirm this receipt
        elevate_to_system_scope(tx)
        receipt = self._receipts.get(tx, referral.receipt_id, for_update=True)
        receipt.confirm(call.caller, now)
        self._receipts.change(tx, receipt, "confirmed")
        _record(call, "confirm_override", referral, receipt.reason_code)
        self._referral_changes.save(tx, referral)
        return referral_message(referral, actor_of(call.caller), now)

    def AttachConsent(self, request: pb.AttachConsentRequest, call: Call) -> pb.Referral:
        """Replaces the receipt of a referral with a consent.

        The former receipt ends, unless another live referral depends on it.
        """
        tx = call.tx
        now = call.clock.now()
        receipt_id = optional_id(request.receipt_id, "receipt_id")
        referral, calendar = self._referral_changes.lock(
            tx, object_id(request.id), version(request.etag), lock_person=True
        )
        if not receipt_id:
            raise Invalid(("receipt_id", "required"))
        receipt = _checked_receipt(self._receipts.get(tx, receipt_id), referral)
        former_receipt_id = referral.receipt_id
        referral.attach_consent(actor_of(call.caller), now, calendar, receipt)
        former_receipt = self._receipts.get(tx, former_receipt_id, for_update=True)
        if referrals.live_of_person(tx, referral.person_id, former_receipt_id) == [referral.id]:
            former_receipt.end(now)
            self._receipts.change(tx, former_receipt, "ended")
        _record(call, "attach_consent", referral, f"receipt:{receipt.id}")
        self._referral_changes.save(tx, referral)
        renewals.schedule(tx, referral.id, receipt.first_check_time(now))
        self._legs.check_receipt(tx, referral)
        return referral_message(referral, actor_of(call.caller), now)

    def AmendReferral(self, request: pb.AmendReferralRequest, call: Call) -> pb.Referral:
        """Corrects a referral that was sent.

        Copies the coarse data from the person's file if the caller's organisation holds the file,
        and may change the urgency.
        """
        tx = call.tx
        now = call.clock.now()
        urgency = URGENCIES.member(request.urgency, "urgency")
        referral, calendar_at = self._referral_changes.lock_with_calendars(
            tx, object_id(request.id), version(request.etag)
        )
        is_sender = call.caller.organization_id == referral.sender_organization_id
        coarse = self._people.get(tx, referral.person_id).coarse if is_sender else referral.coarse
        referral.amend(
            actor_of(call.caller),
            now,
            calendar_at(coarse.country, coarse.department),
            urgency=urgency,
            coarse=coarse,
            note=request.note,
            answered_urgency=contacts.urgency_of(tx, referral.contact_id) if is_sender else None,
            urgency_reason_code=word(
                pb.UrgencyReason, request.urgency_reason_code, "urgency_reason_code"
            ),
        )
        self._referral_changes.save(tx, referral)
        return referral_message(referral, actor_of(call.caller), now)

    def RerouteReferral(self, request: pb.RerouteReferralRequest, call: Call) -> pb.Referral:
        """Ends the referral with its receiver, and opens a draft for another service.

        The draft belongs to the sender, even if a coordinator reroutes the referral.
        """
        tx = call.tx
        now = call.clock.now()
        service_id = optional_id(request.service_id, "service_id")
        referral, calendar = self._referral_changes.lock(
            tx, object_id(request.id), version(request.etag)
        )
        owner_id = members.owner_of_service(tx, service_id, referral.sender_organization_id)
        if owner_id is None:
            raise Conflict("service_unknown")
        service = service_id, owner_id
        # The draft belongs to the sender, so a coordinator could neither write it nor read its
        # contact.
        elevate_to_system_scope(tx)
        following = referral.reroute(
            actor_of(call.caller),
            now,
            calendar,
            service=service,
            following_id=new_id(),
            note=request.note,
            answered_urgency=contacts.urgency_of(tx, referral.contact_id),
        )
        self._referral_changes.save(tx, referral)
        referrals.save(tx, following, None)
        self._referral_changes.update_dependents(tx, now, referral)
        return referral_message(referral, actor_of(call.caller), now)


for _rpc in STEP_RPCS:
    # Rpcs that need more than their row (SendReferral, ConfirmOverride and others) have a method
    # above.
    if _rpc not in vars(Steps):
        setattr(Steps, _rpc, Steps.take_step)


def _check_worker(call: Call, worker_id: str) -> None:
    """Refuses a responsible worker who is not known to work for the caller's organisation.

    The caller may name herself even if she is not known yet, unless her account has ended.
    """
    if not worker_id:
        return
    standing = members.lock_worker(call.tx, worker_id)
    own_organization_id = call.caller.organization_id
    if standing is None or not standing[0] or standing[1] not in (own_organization_id, ""):
        if worker_id != call.caller.id:
            raise Invalid(("responsible_worker_id", "unknown_code"))
        if standing and not standing[0]:
            raise NotAllowed("organization_not_active")


def _checked_receipt(receipt: Receipt, referral: Referral) -> Receipt:
    """Returns the receipt. Refuses a receipt of another person."""
    if receipt.person_id != referral.person_id:
        raise NotFound
    return receipt


def _check_receiver(
    referral: Referral,
    person: Person,
    receiver: Receiver,
    unsafe_answers: Iterable[Unsafe],
    acknowledged_codes: Collection[str],
) -> None:
    """Refuses a receiver to which the person can't be referred.

    Such a receiver is not active, is hidden from the sender, no longer offers the service, does not
    accept her age, or is not safe for her. The last two reasons do not count once the sender has
    acknowledged them. `unsafe_answers` are her earlier answers that named somebody as unsafe.
    """
    if referral.service_id and not receiver.available:
        raise Conflict("receiver_not_active")
    if referral.service_id and not receiver.offered:
        raise Conflict("service_unknown")
    check_age_taken(receiver.ages.takes(person.coarse.age_band), acknowledged_codes)
    referral.unsafe.extended_by(unsafe_answers).check_receiver(
        referral.receiver_organization_id, receiver.department, acknowledged_codes
    )


def _check_limit(tx: Transaction, organization_id: str) -> None:
    """Refuses the sixth referral of a member on probation."""
    # without the lock, two referrals sent at the same time could both be the fifth
    advisory_lock(tx, f"probation/{organization_id}")
    if referrals.count_sent(tx, organization_id) >= PROBATION_LIMIT:
        raise Conflict("referral_limit")


def _new_override(
    call: Call, now: datetime, referral: Referral, person: Person, reason: str
) -> Receipt:
    check_may_override(call.caller)
    check_reachable_without_consent(call.tx, referral.receiver_organization_id)
    check_after_withdrawal(call.tx, call.caller, referral, reason, "override_reason_code")
    owner_id, recipient_id = person.organization_id, referral.receiver_organization_id
    return Receipt.override(
        new_id(), person.id, owner_id, call.caller.id, recipient_id, referral.need_code, reason, now
    )


def _record(call: Call, action: str, referral: Referral, *detail_codes: str) -> None:
    call.trail.append(
        Entry(
            action,
            referral.person_id,
            referral.need_code,
            (f"referral:{referral.id}", *detail_codes),
        )
    )
