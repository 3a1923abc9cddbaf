"""Files of persons, their consents, and the opening of an identity."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from chassis import audit
from chassis.audit import Entry
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, NotFound, Stale
from chassis.ids import new_id
from chassis.local_time import day_at
from chassis.tokens import Caller
from chassis.wire import Position
from services.referrals.domain.codes import Check
from services.referrals.domain.consent import DEFAULT, Grant, Receipt
from services.referrals.domain.deadline import OVERRIDE_END
from services.referrals.domain.openings import READING
from services.referrals.domain.person import NOBODY_CALLS, Coarse, FieldGroup, Identity, Person, SafeContact, age_band
from services.referrals.domain.referral import Actor, Referral
from services.referrals.store import callbacks as callback_book
from services.referrals.store import emergencies, referrals
from services.referrals.store.openings import exported_since
from services.referrals.store.people import People as Files
from services.referrals.store.receipts import Receipts
from services.referrals.usecases import callbacks
from services.referrals.usecases.grants import Grants, check_may_override
from services.referrals.usecases.lives import Lives
from services.referrals.usecases.openings import Openings
from services.referrals.usecases.plans import Plans
from services.referrals.wire import actor_of


class People:
    """Every method runs in the transaction `tx` and its scope."""

    def __init__(self, files: Files, lives: Lives, grants: Grants, receipts: Receipts, plans: Plans, openings: Openings) -> None:
        self._files = files
        self._lives = lives
        self._grants = grants
        self._receipts = receipts
        self._plans = plans
        self._openings = openings

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
        today = day_at(now, coarse.country, coarse.department)
        identity.check(today)
        person = Person(
            new_id(),
            caller.organization_id,
            replace(coarse, age_band=age_band(identity.birth_date, today) or coarse.age_band),
            now,
            now,
            trafficking_status_code=status_code,
            exploitation_country=exploitation_country,
            has_identity=identity.known,
            safe_contact_channel=plan.channel_code if plan else "",
            message_may_be_left=plan is not None and plan.message_may_be_left,
        )
        self._files.add(tx, person, identity, plan)
        return person

    def get(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, trail: list[Entry], *, outline_only: bool = False
    ) -> tuple[Person, SafeContact | None]:
        """Returns the coarse part, with the plan for the file's own organisation; the outline of the plan is no reading."""
        person = self._files.get(tx, identifier)
        if person.organization_id != caller.organization_id or person.erased:
            return person, None
        if outline_only:
            return person, person.contact_outline() if person.safe_contact_channel else None
        plan = self._files.safe_contact(tx, Grant.of_file(person, caller.organization_id))
        if plan is not None:
            trail.append(Entry("read_safe_contact", identifier, "", (FieldGroup.CONTACT.value,)))
            self._openings.admit(tx, caller, now, identifier)
        return person, plan

    def page(self, tx: Transaction, caller: Caller, limit: int, after: Position | None) -> tuple[list[Person], Position | None]:
        """The own organisation's files."""
        return self._files.page(tx, caller.organization_id, limit, after)

    def update_identity(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, newer: Identity) -> Person:
        """Completes or corrects."""
        person = self._own(tx, caller, identifier, version)
        today = day_at(now, person.coarse.country, person.coarse.department)
        newer.check(today)
        identity = self._files.identity(tx, Grant.of_file(person, caller.organization_id)).merged(newer)
        person.identify(identity, now, today)
        self._files.change(tx, person, identity=identity)
        return person

    def set_safe_contact(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, plan: SafeContact) -> Person:
        """Says how she may be contacted."""
        person = self._own(tx, caller, identifier, version)
        person.plan_contact(plan, now)
        self._files.change(tx, person, plan=plan)
        if not person.may_be_called:
            elevate_to_system_scope(tx)  # another line may have agreed on it
            callbacks.end(tx, now, callback_book.owed_to_person(tx, identifier), caller.id)
        return person

    def safe_contact(self, tx: Transaction, caller: Caller, now: datetime, referral_id: str) -> SafeContact:
        """How the person of a referral may be contacted, as far as it is not sealed.

        That nobody may call her is told to whoever might, on any receipt or none: it keeps her safe and says nothing about her.
        """
        referral = referrals.get(tx, referral_id)
        person = self._grants.party(tx, caller, referral)
        plan = person.contact_outline()
        if plan.channel_code != NOBODY_CALLS:
            self._grants.of_contact(tx, caller, now, referral, person)
        return plan

    def open_safe_contact(self, tx: Transaction, caller: Caller, now: datetime, referral_id: str, trail: list[Entry]) -> SafeContact:
        """The same with what is sealed. The reading is noted first, like that of an identity."""
        referral = referrals.get(tx, referral_id)
        trail.append(
            Entry("read_safe_contact", referral.person_id, referral.need_code, (FieldGroup.CONTACT.value, f"referral:{referral.id}"))
        )
        person = self._grants.party(tx, caller, referral)
        grant = self._grants.of_contact(tx, caller, now, referral, person)
        trail[-1] = replace(trail[-1], detail_codes=trail[-1].detail_codes + grant.basis)
        plan = self._files.safe_contact(tx, grant)
        if plan is None:
            raise Conflict("safe_contact_missing")
        self._openings.admit(tx, caller, now, person.id)
        return plan

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
    ) -> tuple[Identity, frozenset[FieldGroup]]:
        """Opens an identity, and says which groups are open as a whole.

        The reading is noted first: a refusal is on record as well, also that of somebody to whom the file does not exist.
        """
        check = Check()
        check.need("purpose_code", purpose, required=True)
        check.done()
        trail.append(Entry("open_identity", identifier, purpose, tuple(sorted(group.value for group in groups))))
        grant = self._grants.of_person(tx, caller, now, identifier, purpose, groups, referral_id)
        trail[-1] = replace(trail[-1], detail_codes=trail[-1].detail_codes + grant.basis)
        self._openings.admit(tx, caller, now, identifier)
        return self._files.identity(tx, grant).only(groups), frozenset() if grant.first_name_only else groups

    def create_receipt(self, tx: Transaction, caller: Caller, now: datetime, until: datetime | None, **values: Any) -> Receipt:
        """Records a consent, for 90 days unless said otherwise, or for 72 hours if somebody else gives it for an adult."""
        person_id = values["person_id"]
        self._files.hold(tx, person_id)
        person = self._files.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()
        receipt = Receipt(
            id=new_id(),
            organization_id=caller.organization_id,
            create_time=now,
            until_time=until or now + DEFAULT,
            recorded_by_worker_id=caller.id,
            about=self._receipts.circumstances(tx, person_id, values["recipient_organization_id"]),
            **values,
        )
        if receipt.in_her_stead:
            check_may_override(caller)
            receipt.until_time = until or now + OVERRIDE_END
        receipt.check()
        self._receipts.add(tx, receipt)
        return receipt

    def confirm_receipt(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, trail: list[Entry]) -> Receipt:
        """A second person of the file's organisation agrees to what was decided for a child, or given for an adult."""
        receipt = self._held(tx, identifier)
        if receipt.organization_id != caller.organization_id:
            raise NotFound
        if receipt.is_override:
            raise Conflict("nothing_to_confirm")  # that is ConfirmOverride's
        receipt.confirm(caller, now)
        self._receipts.change(tx, receipt, "confirmed")
        trail.append(Entry("confirm_receipt", receipt.person_id, "", (f"receipt:{receipt.id}",)))
        return receipt

    def receipts(self, tx: Transaction, now: datetime, person_id: str, referral_id: str = "") -> list[Receipt]:
        """Those in the caller's scope; with a referral of hers, those on which it could stand."""
        self._files.get(tx, person_id)
        receipts = self._receipts.of_person(tx, person_id)
        if not referral_id:
            return receipts
        referral = referrals.get(tx, referral_id)
        if referral.person_id != person_id:
            raise NotFound
        taken = self._plans.receipts_of_other_legs(tx, referral)
        return [receipt for receipt in receipts if receipt.id not in taken and referral.could_stand_on(receipt, now)]

    def proposed_receipts(
        self, tx: Transaction, caller: Caller, now: datetime, limit: int, after: Position | None
    ) -> tuple[list[Receipt], Position | None]:
        """Receipts that wait for a second person of the caller's organisation, and where the next page goes on."""
        return self._receipts.proposed(tx, caller.organization_id, now, limit, after)

    def receipt(self, tx: Transaction, identifier: str) -> Receipt:
        """One receipt in the caller's scope."""
        return self._receipts.get(tx, identifier)

    def withdraw_receipt(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, trail: list[Entry]) -> Receipt:
        """Withdraws, and ends what stood on it, at once. A second time changes nothing."""
        return self._withdraw(tx, actor_of(caller), now, identifier, trail)

    def _withdraw(self, tx: Transaction, actor: Actor, now: datetime, identifier: str, trail: list[Entry]) -> Receipt:
        receipt = self._held(tx, identifier)
        if receipt.withdraw_time is None:
            receipt.withdraw(now)
            self._receipts.change(tx, receipt, "withdrawn")
            self._lives.withdraw_consent(tx, actor, now, receipt.person_id, receipt.id)
            trail.append(Entry("withdraw_consent", receipt.person_id, "", (f"receipt:{receipt.id}",)))
            elevate_to_system_scope(tx)  # whether it was the last one a recipient, who may say it for her, does not see
            self._end_emergencies(tx, now, receipt.person_id, receipt.recipient_organization_id)
            for other in self._receipts.of_person(tx, receipt.person_id):  # nobody goes on speaking for an adult against her no
                if other.in_her_stead and other.withdraw_time is None and other.until_time > now:
                    self._withdraw(tx, actor, now, other.id, trail)
            if not any(each.is_live(now) for each in self._receipts.of_person(tx, receipt.person_id)):
                self._plans.end_with_consent(tx, receipt.person_id, now)
        return receipt

    def withdraw_all(self, tx: Transaction, now: datetime, contact_id: str, person_id: str, trail: list[Entry]) -> None:
        """Takes back all that she or anybody in her name allowed, overrides included, and ends what is asked for her: her own word, by her reference."""
        ended = self.end_all(tx, Actor("person", contact_id, ""), now, person_id)
        trail.append(Entry("withdraw_consent", person_id, "", tuple(f"receipt:{receipt.id}" for receipt in ended)))

    def end_all(self, tx: Transaction, actor: Actor, now: datetime, person_id: str) -> list[Receipt]:
        """Ends every receipt of a person, and what stands on them; returns those that it ended. In the scope of the whole service."""
        self._files.hold(tx, person_id)
        ended = [receipt for receipt in self._receipts.of_person(tx, person_id, for_update=True) if receipt.withdraw_time is None]
        for receipt in ended:
            receipt.withdraw(now)
            self._receipts.change(tx, receipt, "withdrawn")
        self._end_emergencies(tx, now, person_id, "")
        self._lives.withdraw_consent(tx, actor, now, person_id)
        self._plans.end_with_consent(tx, person_id, now)
        return ended

    def withdraw_for(self, tx: Transaction, now: datetime, contact_id: str, referral: Referral, trail: list[Entry]) -> None:
        """Takes back the consent, or override, on which one referral stands, and ends what stands on it: her own word, by her reference."""
        if referral.receipt_id:
            self._withdraw(tx, Actor("person", contact_id, ""), now, referral.receipt_id, trail)

    @staticmethod
    def _end_emergencies(tx: Transaction, now: datetime, person_id: str, organization_id: str) -> None:
        """Whom she took something back from opens nothing more of her, on no ground."""
        for emergency in emergencies.open_of_person(tx, person_id, organization_id):
            emergency.end(now)
            emergencies.change(tx, emergency, "ended", now)

    def _held(self, tx: Transaction, identifier: str) -> Receipt:
        """A receipt to change: in the person's turn."""
        self._files.hold(tx, self._receipts.get(tx, identifier).person_id)
        return self._receipts.get(tx, identifier, for_update=True)

    def readings(self, tx: Transaction, caller: Caller, person_id: str, limit: int, before: int | None) -> list[dict[str, Any]]:
        """Who looked, newest first, each worker once an hour; the file's organisation may ask."""
        self.check_own(tx, caller, person_id)
        return audit.readings(tx, person_id, READING, limit=limit, before=before)

    def check_own(self, tx: Transaction, caller: Caller, person_id: str) -> None:
        """Refuses what is no file of the caller's organisation."""
        if self._files.get(tx, person_id).organization_id != caller.organization_id:
            raise NotFound

    def own_exports(self, tx: Transaction, caller: Caller, since: datetime) -> list[tuple[str, datetime]]:
        """Of whom the caller exported the sheet since then, and when, the newest first."""
        return exported_since(tx, caller.id, since)

    def _own(self, tx: Transaction, caller: Caller, identifier: str, version: int) -> Person:
        person = self._files.get(tx, identifier, for_update=True)
        if person.organization_id != caller.organization_id:
            raise NotFound
        if person.version != version:
            raise Stale
        person.check_not_erased()
        return person
