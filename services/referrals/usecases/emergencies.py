"""Emergency access: opening a person without a consent, and what somebody else says of it."""

from datetime import datetime
from functools import partial

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound
from chassis.ids import new_id
from chassis.tokens import Caller
from chassis.wire import Position
from services.referrals.domain.emergency import LASTS, REVIEW, EmergencyAccess
from services.referrals.domain.person import FieldGroup
from services.referrals.store import emergencies, referrals
from services.referrals.store.people import People as Files
from services.referrals.usecases.deadlines import ClockFired, fire_each, with_one_clock
from services.referrals.usecases.grants import Grants, check_after_withdrawal, check_opens_people, check_reached
from services.referrals.usecases.openings import Openings


class Emergencies:
    """Every method runs in the transaction `tx` and its scope."""

    def __init__(self, files: Files, grants: Grants, openings: Openings) -> None:
        self._files = files
        self._grants = grants
        self._openings = openings

    def open(
        self, tx: Transaction, caller: Caller, now: datetime, referral_id: str, reason: str, note: str, trail: list[Entry]
    ) -> EmergencyAccess:
        """Declares it, of a live referral to the caller's organisation on which no consent opens her. It is on record first, also if it is refused."""
        referral = referrals.get(tx, referral_id)
        trail.append(Entry("open_in_emergency", referral.person_id, referral.need_code, (f"referral:{referral.id}", reason)))
        check_opens_people(tx, caller)
        self._files.hold(tx, referral.person_id)  # or she could take her consent back meanwhile
        person = self._grants.party(tx, caller, referral)
        if person.organization_id == caller.organization_id:
            raise NotFound
        check_reached(tx, caller.organization_id)
        check_after_withdrawal(tx, caller, referral, reason, "reason_code")
        if self._grants.consent_covers(tx, caller, now, referral):
            raise Conflict("emergency_not_needed")
        if emergencies.owes_review(tx, caller.organization_id, now):
            raise Conflict("review_owed")
        if not note.strip():
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
            now + LASTS,
            now + REVIEW,
        )
        emergencies.add(tx, emergency, self._files.key(tx, person.id), note)
        return emergency

    def page(
        self, tx: Transaction, limit: int, after: Position | None, *, person_id: str, referral_id: str, waiting: bool
    ) -> tuple[list[EmergencyAccess], Position | None]:
        """Those of one's own files and one's own, or of the network, newest first."""
        return emergencies.page(tx, limit, after, person_id=person_id, referral_id=referral_id, waiting=waiting)

    def get(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, trail: list[Entry]) -> tuple[EmergencyAccess, str]:
        """One, and what was written of it for those who work with people at the file's organisation."""
        emergency = emergencies.get(tx, identifier)
        if emergency.file_organization_id != caller.organization_id:
            return emergency, ""
        try:
            check_opens_people(tx, caller)
        except NotAllowed:
            return emergency, ""
        trail.append(Entry("read_notes", emergency.person_id, "", (FieldGroup.NOTES.value, f"emergency:{identifier}")))
        self._openings.admit(tx, caller, now, emergency.person_id)
        return emergency, emergencies.note(tx, identifier, self._files.key(tx, emergency.person_id))

    def review(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, code: str, trail: list[Entry]
    ) -> EmergencyAccess:
        """Somebody of the file's organisation, or an auditor, says what it was."""
        emergency = emergencies.get(tx, identifier, for_update=True)
        trail.append(Entry("review_emergency", emergency.person_id, "", (f"emergency:{identifier}", code)))
        emergency.review(caller, caller.organization_id, code, version, now)
        emergencies.change(tx, emergency, "reviewed", now)
        return emergency

    def fire_clocks(self, tx: Transaction, now: datetime, limit: int) -> list[ClockFired]:
        """Notes what is over, and what nobody has reviewed in time; returns what was told."""
        fire = with_one_clock(
            None,
            partial(emergencies.get, tx, for_update=True),
            lambda emergency: emergency.fire(now),
            lambda emergency, verb: emergencies.change(tx, emergency, verb, now),
        )
        return fire_each(tx, now, "emergencies", "emergency_id", emergencies.due(tx, now, limit), fire, emergencies.put_aside)
