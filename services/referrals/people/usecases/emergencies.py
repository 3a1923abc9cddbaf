"""Handles the rpcs for emergency accesses to a person's data without a consent, and for reviews."""

from datetime import datetime
from functools import partial

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound
from chassis.ids import new_id, object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, optional_id, page_size, version, word
from protos.referrals.v1 import audit_pb2, referrals_pb2
from protos.referrals.v1 import emergencies_pb2 as pb
from services.referrals.files.domain.emergency import DURATION, REVIEW_WITHIN, EmergencyAccess
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store import emergencies
from services.referrals.files.store.people import People as Files
from services.referrals.files.usecases.openings import Openings
from services.referrals.files.wire.messages import emergency_message
from services.referrals.network.usecases.deadlines import (
    DeadlineFired,
    fire_each,
    fire_one_deadline,
)
from services.referrals.referrals.store import referrals
from services.referrals.referrals.usecases.grants import (
    Grants,
    check_after_withdrawal,
    check_may_open_people,
    check_reachable_without_consent,
)


class Emergencies:
    """Handles the rpcs for emergency accesses, one method per rpc."""

    def __init__(self, files: Files, grants: Grants, openings: Openings, pages: PageTokens) -> None:
        self._files = files
        self._grants = grants
        self._openings = openings
        self._pages = pages

    def OpenInEmergency(self, request: pb.OpenInEmergencyRequest, call: Call) -> pb.Emergency:
        """Opens a person's data in an emergency.

        The referral must be live and sent to the caller's organisation. Raises Conflict if a
        consent or a confirmed override opens the person's data already. The request is recorded on
        the trail first, so that refused requests are on the trail as well.
        """
        tx, caller, now = call.tx, call.caller, call.clock.now()
        reason = word(referrals_pb2.OverrideReason, request.reason_code, "reason_code")
        referral = referrals.get(tx, object_id(request.referral_id))
        call.trail.append(
            Entry(
                "open_in_emergency",
                referral.person_id,
                referral.need_code,
                (f"referral:{referral.id}", reason),
            )
        )
        check_may_open_people(tx, caller)
        # so that the person can't withdraw a consent until this transaction ends
        self._files.lock(tx, referral.person_id)
        person = self._grants.person_for_party(tx, caller, referral)
        if person.organization_id == caller.organization_id:
            raise NotFound
        check_reachable_without_consent(tx, caller.organization_id)
        check_after_withdrawal(tx, caller, referral, reason, "reason_code")
        if self._grants.receipt_opens_file(tx, caller, now, referral):
            raise Conflict("emergency_not_needed")
        if emergencies.owes_review(tx, caller.organization_id, now):
            raise Conflict("review_owed")
        if not request.note.strip():
            raise Invalid(("note", "required"))
        emergency = EmergencyAccess(
            new_id(),
            person.id,
            referral.id,
            caller.organization_id,
            caller.id,
            person.organization_id,
            reason,
            now,
            now + DURATION,
            now + REVIEW_WITHIN,
        )
        emergencies.add(tx, emergency, self._files.key(tx, person.id), request.note)
        return emergency_message(emergency, caller, now)

    def ListEmergencies(
        self, request: pb.ListEmergenciesRequest, call: Call
    ) -> pb.ListEmergenciesResponse:
        """Lists emergency accesses to files of the caller's organisation or by its workers.

        The newest come first. Coordinators and auditors get all accesses in the network.
        """
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        page, next_cursor = emergencies.page(
            call.tx,
            size,
            after,
            person_id=optional_id(request.person_id, "person_id"),
            referral_id=optional_id(request.referral_id, "referral_id"),
            waiting=request.waiting,
        )
        messages = [
            emergency_message(emergency, call.caller, call.clock.now()) for emergency in page
        ]
        return pb.ListEmergenciesResponse(
            emergencies=messages, next_page_token=self._pages.token(request, next_cursor)
        )

    def GetEmergency(self, request: pb.GetEmergencyRequest, call: Call) -> pb.Emergency:
        """Returns one emergency access.

        Callers who work with people at the file's organisation also get the note of the access,
        unless the file was erased.
        """
        emergency = emergencies.get(call.tx, object_id(request.id))
        return emergency_message(
            emergency, call.caller, call.clock.now(), self._note(emergency, call)
        )

    def _note(self, emergency: EmergencyAccess, call: Call) -> str:
        if emergency.file_organization_id != call.caller.organization_id:
            return ""
        try:
            check_may_open_people(call.tx, call.caller)
            key = self._files.key(call.tx, emergency.person_id)
        except (NotAllowed, Conflict):  # the caller may not read it, or the person was erased
            return ""
        call.trail.append(
            Entry(
                "read_notes",
                emergency.person_id,
                "",
                (FieldGroup.NOTES.value, f"emergency:{emergency.id}"),
            )
        )
        self._openings.admit(call.tx, call.caller, call.clock.now(), emergency.person_id)
        return emergencies.note(call.tx, emergency.id, key)

    def ReviewEmergency(self, request: pb.ReviewEmergencyRequest, call: Call) -> pb.Emergency:
        """Records a review by a worker of the file's organisation or by an auditor."""
        code = word(audit_pb2.ReviewOutcome, request.review_code, "review_code")
        now = call.clock.now()
        identifier, base_version = object_id(request.id), version(request.etag)
        emergency = emergencies.get(call.tx, identifier, for_update=True)
        call.trail.append(
            Entry("review_emergency", emergency.person_id, "", (f"emergency:{identifier}", code))
        )
        emergency.review(call.caller, call.caller.organization_id, code, base_version, now)
        emergencies.change(call.tx, emergency, "reviewed", now)
        return emergency_message(emergency, call.caller, now)

    def fire_deadlines(self, tx: Transaction, now: datetime, limit: int) -> list[DeadlineFired]:
        """Records ended emergency accesses and overdue reviews; returns the events."""
        fire = fire_one_deadline(
            None,
            partial(emergencies.get, tx, for_update=True),
            lambda emergency: emergency.fire(now),
            lambda emergency, verb: emergencies.change(tx, emergency, verb, now),
        )
        return fire_each(
            tx,
            now,
            "emergencies",
            "emergency_id",
            emergencies.due(tx, now, limit),
            fire,
            emergencies.put_aside,
        )
