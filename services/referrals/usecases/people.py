"""Files of persons, their consents, and the opening of an identity."""

import base64
from dataclasses import replace
from datetime import datetime
from typing import Any

from chassis import audit
from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound, Stale
from chassis.ids import new_id
from chassis.sealing import Signer
from chassis.tokens import Caller
from services.referrals.domain.codes import Check
from services.referrals.domain.consent import DEFAULT, Receipt
from services.referrals.domain.lifecycle import LIVE
from services.referrals.domain.person import Coarse, FieldGroup, Identity, Person, SafeContact, age_band
from services.referrals.store import members, receipts, referrals
from services.referrals.store.people import People as Files
from services.referrals.usecases.referrals import Referrals, actor_of

READING = ("open_identity", "read_notes")
"""Acts that a person hears of when she asks who looked at her file."""


class People:
    """Every method runs in the transaction `tx` and its scope."""

    def __init__(self, files: Files, requests: Referrals, signer: Signer) -> None:
        self._files = files
        self._referrals = requests
        self._signer = signer

    def create(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        identity: Identity,
        coarse: Coarse,
        *,
        status_code: str = "",
        exploitation_country: str = "",
        plan: SafeContact | None = None,
    ) -> Person:
        """Opens a file; with a birth date the age band follows from it."""
        identity.check(now.date())
        if plan is not None:
            plan.check()
        person = Person(
            new_id(),
            caller.organization_id,
            replace(coarse, age_band=age_band(identity.birth_date, now.date()) or coarse.age_band),
            now,
            now,
            trafficking_status_code=status_code,
            exploitation_country=exploitation_country,
            has_identity=identity.known,
            safe_contact_channel=plan.channel_code if plan else "",
        )
        person.check()
        self._files.add(tx, person, identity, plan)
        return person

    def get(self, tx: Transaction, caller: Caller, identifier: str) -> tuple[Person, SafeContact | None]:
        """The coarse part, with the plan for the file's own organisation."""
        person = self._files.get(tx, identifier)
        own = person.organization_id == caller.organization_id
        return person, self._files.safe_contact(tx, identifier) if own and not person.erased else None

    def page(self, tx: Transaction, caller: Caller, limit: int, after: str) -> tuple[list[Person], str]:
        """The own organisation's files."""
        return self._files.page(tx, caller.organization_id, limit, after)

    def update_identity(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, newer: Identity) -> Person:
        """Completes or corrects."""
        person = self._own(tx, caller, identifier, version)
        newer.check(now.date())
        identity = self._files.identity(tx, identifier).merged(newer)
        person.has_identity = identity.known
        person.coarse = replace(person.coarse, age_band=age_band(identity.birth_date, now.date()) or person.coarse.age_band)
        person.version, person.update_time = person.version + 1, now
        self._files.change(tx, person, identity=identity)
        return person

    def set_safe_contact(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, plan: SafeContact) -> Person:
        """Says how she may be contacted."""
        person = self._own(tx, caller, identifier, version)
        plan.check()
        person.safe_contact_channel = plan.channel_code
        person.version, person.update_time = person.version + 1, now
        self._files.change(tx, person, plan=plan)
        return person

    def open(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        identifier: str,
        purpose: str,
        groups: frozenset[FieldGroup],
        referral_id: str,
        trail: list[Entry],
    ) -> Identity:
        """Opens an identity. The reading is noted first: a refusal is on record as well, also that of somebody to whom the file does not exist."""
        check = Check()
        check.need("purpose_code", purpose, required=True)
        check.that(bool(groups), "field_groups", "required")
        check.done()
        trail.append(Entry("open_identity", identifier, purpose, tuple(sorted(group.value for group in groups))))
        if caller.has("COORDINATOR") or caller.has("AUDITOR"):
            raise NotAllowed("right_missing")
        person = self._files.get(tx, identifier)
        if members.organization(tx, caller.organization_id)[0] == "PROBATION":
            raise NotAllowed("member_on_probation")
        if person.organization_id != caller.organization_id:
            self._check_receiver(tx, caller, now, person, purpose, groups, referral_id)
        person.check_not_erased()
        return self._files.identity(tx, identifier).only(groups)

    def _check_receiver(
        self, tx: Transaction, caller: Caller, now: datetime, person: Person, purpose: str, groups: frozenset[FieldGroup], referral_id: str
    ) -> None:
        if not referral_id:
            raise Invalid(("referral_id", "required"))
        referral = referrals.get(tx, referral_id)
        if referral.person_id != person.id or referral.receiver_organization_id != caller.organization_id or referral.state not in LIVE:
            raise NotFound
        if referral.override_reason_code:
            # Sent without a consent because a life was at risk: the receiver gets what it needs to act, nothing of her story.
            if not groups <= {FieldGroup.IDENTITY, FieldGroup.CONTACT, FieldGroup.HEALTH, FieldGroup.LOCATION}:
                raise Conflict("receipt_missing")
            return
        if not referral.receipt_id:
            raise Conflict("receipt_missing")
        receipts.get(tx, referral.receipt_id).check_opens(caller.organization_id, purpose, groups, now)

    def create_receipt(self, tx: Transaction, caller: Caller, now: datetime, receipt: Receipt) -> Receipt:
        """Records and signs a consent. `receipt` comes without id and times of its own."""
        person = self._files.get(tx, receipt.person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()
        receipt.check()
        receipt.signature = base64.urlsafe_b64encode(self._signer.sign(receipt.canonical())).decode().rstrip("=")
        receipts.add(tx, receipt)
        return receipt

    def new_receipt(self, caller: Caller, now: datetime, until: datetime | None, **values: Any) -> Receipt:
        """A receipt that starts now; 90 days unless said otherwise."""
        return Receipt(
            id=new_id(),
            organization_id=caller.organization_id,
            create_time=now,
            until_time=until or now + DEFAULT,
            recorded_by_worker_id=caller.id,
            **values,
        )

    def receipts(self, tx: Transaction, person_id: str) -> list[Receipt]:
        """Those in the caller's scope."""
        self._files.get(tx, person_id)
        return receipts.of_person(tx, person_id)

    def receipt(self, tx: Transaction, identifier: str) -> Receipt:
        """One receipt in the caller's scope."""
        return receipts.get(tx, identifier)

    def withdraw_receipt(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, trail: list[Entry]) -> Receipt:
        """Withdraws, and ends what stood on it, at once. A second time changes nothing."""
        receipt = receipts.get(tx, identifier, for_update=True)
        if receipt.withdraw_time is None:
            receipt.withdraw_time = now
            receipts.withdraw(tx, receipt)
            self._referrals.withdraw_consent(
                tx, replace(actor_of(caller), kind="person") if caller.kind == "person" else actor_of(caller), now, receipt.id
            )
            trail.append(Entry("withdraw_consent", receipt.person_id, "", (f"receipt:{receipt.id}",)))
        return receipt

    def readings(self, tx: Transaction, caller: Caller, person_id: str, limit: int, before: int | None) -> list[dict[str, Any]]:
        """Who looked, newest first; the file's organisation may ask."""
        if self._files.get(tx, person_id).organization_id != caller.organization_id:
            raise NotFound
        return audit.readings(tx, person_id, READING, limit=limit, before=before)

    def _own(self, tx: Transaction, caller: Caller, identifier: str, version: int) -> Person:
        person = self._files.get(tx, identifier, for_update=True)
        if person.organization_id != caller.organization_id:
            raise NotFound
        if person.version != version:
            raise Stale
        person.check_not_erased()
        return person
