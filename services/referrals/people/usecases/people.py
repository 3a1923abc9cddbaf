"""Files of persons, their consents, and the opening of an identity."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from chassis import audit
from chassis.audit import Entry
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Invalid, NotFound, Stale
from chassis.guesses import Guesses, Origin
from chassis.ids import new_id, object_id
from chassis.local_time import day_at
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import (
    PageTokens,
    Position,
    moment,
    optional_id,
    page_size,
    timestamp,
    version,
    word,
)
from protos.referrals.v1 import people_pb2 as pb
from services.referrals.files.domain.consent import DEFAULT, Grant, Receipt
from services.referrals.files.domain.names import words_of
from services.referrals.files.domain.openings import READING
from services.referrals.files.domain.person import NOBODY_CALLS, FieldGroup, Person, age_band
from services.referrals.files.store import emergencies
from services.referrals.files.store.openings import exported_since, note_export
from services.referrals.files.store.people import People as Files
from services.referrals.files.store.receipts import Receipts
from services.referrals.files.usecases.names import MOST_FOUND
from services.referrals.files.usecases.openings import Openings
from services.referrals.files.wire.messages import (
    GROUPS,
    identity_message,
    person_message,
    read_coarse,
    read_identity,
    read_safe_contact,
    receipt_message,
    receipt_values,
    safe_contact_message,
)
from services.referrals.line.store import callbacks as callback_book
from services.referrals.line.usecases import callbacks
from services.referrals.network.domain.codes import Check
from services.referrals.network.domain.deadline import OVERRIDE_END
from services.referrals.plans.usecases.plans import Plans
from services.referrals.referrals.domain.referral import Actor, Referral
from services.referrals.referrals.store import referrals
from services.referrals.referrals.usecases.grants import (
    Grants,
    check_knows_people,
    check_may_override,
)
from services.referrals.referrals.usecases.lives import Lives
from services.referrals.referrals.wire.messages import actor_of

_GROUPS = frozenset(group.value for group in FieldGroup)


class People:
    """Each method answers the rpc of its name; those that take `tx` belong to other use cases."""

    def __init__(
        self,
        files: Files,
        lives: Lives,
        grants: Grants,
        receipts: Receipts,
        plans: Plans,
        openings: Openings,
        searches: Guesses,
        pages: PageTokens,
    ) -> None:
        self._files = files
        self._lives = lives
        self._grants = grants
        self._receipts = receipts
        self._plans = plans
        self._openings = openings
        self._searches = searches
        self._pages = pages

    def CreatePerson(self, request: pb.CreatePersonRequest, call: Call) -> pb.Person:
        """Opens a file; with a birth date the age band follows from it."""
        now, identity, coarse = (
            call.clock.now(),
            read_identity(request.identity),
            read_coarse(request.coarse),
        )
        plan = read_safe_contact(request.safe_contact) if request.HasField("safe_contact") else None
        today = day_at(now, coarse.country, coarse.department)
        identity.check(today)
        person = Person(
            new_id(),
            call.caller.organization_id,
            replace(coarse, age_band=age_band(identity.birth_date, today) or coarse.age_band),
            now,
            now,
            trafficking_status_code=word(
                pb.TraffickingStatus, request.trafficking_status_code, "trafficking_status_code"
            ),
            exploitation_country=request.exploitation_country,
            has_identity=identity.known,
            safe_contact_channel=plan.channel_code if plan else "",
            message_may_be_left=plan is not None and plan.message_may_be_left,
        )
        self._files.add(call.tx, person, identity, plan)
        return person_message(person, plan)

    def GetPerson(self, request: pb.GetPersonRequest, call: Call) -> pb.Person:
        """The coarse part, with the plan for the file's own organisation; the outline of the plan
        is no reading.
        """
        person = self._files.get(call.tx, object_id(request.id))
        if person.organization_id != call.caller.organization_id or person.erased:
            return person_message(person)
        if request.outline_only:
            return person_message(
                person, person.contact_outline() if person.safe_contact_channel else None
            )
        plan = self._files.safe_contact(call.tx, Grant.of_file(person, call.caller.organization_id))
        if plan is not None:
            call.trail.append(
                Entry("read_safe_contact", person.id, "", (FieldGroup.CONTACT.value,))
            )
            self._openings.admit(call.tx, call.caller, call.clock.now(), person.id)
        return person_message(person, plan)

    def ListPeople(self, request: pb.ListPeopleRequest, call: Call) -> pb.ListPeopleResponse:
        """The own organisation's files."""
        size, after = (
            page_size(request.page_size, default=50, most=200),
            self._pages.position(request, str, str),
        )
        people, more = self._files.page(call.tx, call.caller.organization_id, size, after)
        return pb.ListPeopleResponse(
            people=[person_message(person) for person in people],
            next_page_token=self._pages.token(request, more),
        )

    def SearchPeople(self, request: pb.SearchPeopleRequest, call: Call) -> pb.SearchPeopleResponse:
        """Files of the caller's organisation that have every word of a name, newest first, and
        whether there are more. Found or not, it is counted.
        """
        tx, caller = call.tx, call.caller
        call.trail.append(Entry("search_people", caller.organization_id))
        check_knows_people(tx, caller)
        self._searches.count(caller.id, Origin(), call.clock.now())
        people = self._files.named(
            tx, caller.organization_id, words_of(request.name), MOST_FOUND + 1
        )
        call.trail.extend(Entry("search_people", person.id) for person in people[:MOST_FOUND])
        messages = [person_message(person) for person in people[:MOST_FOUND]]
        return pb.SearchPeopleResponse(people=messages, incomplete=len(people) > MOST_FOUND)

    def UpdateIdentity(self, request: pb.UpdateIdentityRequest, call: Call) -> pb.Person:
        """Completes or corrects."""
        tx, now, newer = call.tx, call.clock.now(), read_identity(request.identity)
        person = self._own(tx, call.caller, object_id(request.id), version(request.etag))
        today = day_at(now, person.coarse.country, person.coarse.department)
        newer.check(today)
        identity = self._files.identity(
            tx, Grant.of_file(person, call.caller.organization_id)
        ).merged(newer)
        person.identify(identity, now, today)
        self._files.change(tx, person, identity=identity)
        return person_message(person)

    def OpenPerson(self, request: pb.OpenPersonRequest, call: Call) -> pb.Identity:
        """Opens an identity, and says which groups are open as a whole.

        The reading is noted first: a refusal is on record as well, also that of somebody to whom
        the file does not exist.
        """
        tx, caller, now, purpose = call.tx, call.caller, call.clock.now(), request.purpose_code
        groups = frozenset(GROUPS.members(request.field_groups, "field_groups"))
        identifier, referral_id = (
            object_id(request.id),
            optional_id(request.referral_id, "referral_id"),
        )
        check = Check()
        check.need("purpose_code", purpose, required=True)
        check.done()
        call.trail.append(
            Entry(
                "open_identity", identifier, purpose, tuple(sorted(group.value for group in groups))
            )
        )
        grant = self._grants.of_person(tx, caller, now, identifier, purpose, groups, referral_id)
        call.trail[-1] = replace(
            call.trail[-1], detail_codes=call.trail[-1].detail_codes + grant.basis
        )
        self._openings.admit(tx, caller, now, identifier)
        identity = self._files.identity(tx, grant).only(groups)
        return identity_message(identity, frozenset() if grant.first_name_only else groups)

    def SetSafeContact(self, request: pb.SetSafeContactRequest, call: Call) -> pb.Person:
        """Says how she may be contacted."""
        tx, now, plan = call.tx, call.clock.now(), read_safe_contact(request.safe_contact)
        person = self._own(tx, call.caller, object_id(request.id), version(request.etag))
        person.plan_contact(plan, now)
        self._files.change(tx, person, plan=plan)
        if not person.may_be_called:
            elevate_to_system_scope(tx)  # another line may have agreed on it
            callbacks.end(tx, now, callback_book.owed_to_person(tx, person.id), call.caller.id)
        return person_message(person, plan)

    def GetSafeContact(self, request: pb.GetSafeContactRequest, call: Call) -> pb.SafeContact:
        """How the person of a referral may be contacted, as far as it is not sealed.

        That nobody may call her is told to whoever might, on any receipt or none: it keeps her safe
        and says nothing about her.
        """
        referral = referrals.get(call.tx, object_id(request.referral_id))
        person = self._grants.party(call.tx, call.caller, referral)
        plan = person.contact_outline()
        if plan.channel_code != NOBODY_CALLS:
            self._grants.of_contact(call.tx, call.caller, call.clock.now(), referral, person)
        return safe_contact_message(plan)

    def OpenSafeContact(self, request: pb.OpenSafeContactRequest, call: Call) -> pb.SafeContact:
        """The same with what is sealed. The reading is noted first, like that of an identity."""
        tx, caller, now, trail = call.tx, call.caller, call.clock.now(), call.trail
        referral = referrals.get(tx, object_id(request.referral_id))
        details = (FieldGroup.CONTACT.value, f"referral:{referral.id}")
        trail.append(Entry("read_safe_contact", referral.person_id, referral.need_code, details))
        person = self._grants.party(tx, caller, referral)
        grant = self._grants.of_contact(tx, caller, now, referral, person)
        trail[-1] = replace(trail[-1], detail_codes=trail[-1].detail_codes + grant.basis)
        plan = self._files.safe_contact(tx, grant)
        if plan is None:
            raise Conflict("safe_contact_missing")
        self._openings.admit(tx, caller, now, person.id)
        return safe_contact_message(plan)

    def CreateReceipt(self, request: pb.CreateReceiptRequest, call: Call) -> pb.Receipt:
        """Records a consent, for 90 days unless said otherwise, or for 72 hours if somebody else
        gives it for an adult.
        """
        tx, caller, now, message = call.tx, call.caller, call.clock.now(), request.receipt
        until = moment(message, "until_time", "receipt.until_time")
        values = receipt_values(message)
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
        return receipt_message(receipt, now)

    def ConfirmReceipt(self, request: pb.ConfirmReceiptRequest, call: Call) -> pb.Receipt:
        """A second person of the file's organisation agrees to what was decided for a child, or
        given for an adult.
        """
        now, receipt = call.clock.now(), self._held(call.tx, object_id(request.id))
        if receipt.organization_id != call.caller.organization_id:
            raise NotFound
        if receipt.is_override:
            raise Conflict("nothing_to_confirm")  # that is ConfirmOverride's
        receipt.confirm(call.caller, now)
        self._receipts.change(call.tx, receipt, "confirmed")
        call.trail.append(
            Entry("confirm_receipt", receipt.person_id, "", (f"receipt:{receipt.id}",))
        )
        return receipt_message(receipt, now)

    def ListReceipts(self, request: pb.ListReceiptsRequest, call: Call) -> pb.ListReceiptsResponse:
        """Those in the caller's scope; with a referral of hers, those on which it could stand."""
        tx, now, referral_id = (
            call.tx,
            call.clock.now(),
            optional_id(request.referral_id, "referral_id"),
        )
        person_id = object_id(request.person_id)
        self._files.get(tx, person_id)
        receipts = self._receipts.of_person(tx, person_id)
        if referral_id:
            referral = referrals.get(tx, referral_id)
            if referral.person_id != person_id:
                raise NotFound
            taken = self._plans.receipts_of_other_legs(tx, referral)
            receipts = [
                receipt
                for receipt in receipts
                if receipt.id not in taken and referral.could_stand_on(receipt, now)
            ]
        return pb.ListReceiptsResponse(
            receipts=[receipt_message(receipt, now) for receipt in receipts]
        )

    def ListProposedReceipts(
        self, request: pb.ListProposedReceiptsRequest, call: Call
    ) -> pb.ListReceiptsResponse:
        """Receipts that wait for a second person of the caller's organisation."""
        size, after = (
            page_size(request.page_size, default=50, most=200),
            self._pages.position(request, str, str),
        )
        now = call.clock.now()
        receipts, more = self._receipts.proposed(
            call.tx, call.caller.organization_id, now, size, after
        )
        return pb.ListReceiptsResponse(
            receipts=[receipt_message(receipt, now) for receipt in receipts],
            next_page_token=self._pages.token(request, more),
        )

    def GetReceipt(self, request: pb.GetReceiptRequest, call: Call) -> pb.Receipt:
        """One receipt in the caller's scope."""
        return receipt_message(self._receipts.get(call.tx, object_id(request.id)), call.clock.now())

    def WithdrawReceipt(self, request: pb.WithdrawReceiptRequest, call: Call) -> pb.Receipt:
        """Withdraws, and ends what stood on it, at once. A second time changes nothing."""
        now = call.clock.now()
        receipt = self._withdraw(
            call.tx, actor_of(call.caller), now, object_id(request.id), call.trail
        )
        return receipt_message(receipt, now)

    def ListReadings(self, request: pb.ListReadingsRequest, call: Call) -> pb.ListReadingsResponse:
        """Who looked, newest first, each worker once an hour; the file's organisation may ask."""
        size, after = (
            page_size(request.page_size, default=50, most=200),
            self._pages.position(request, int),
        )
        person_id = object_id(request.person_id)
        self._check_own(call.tx, call.caller, person_id)
        rows = audit.accesses(
            call.tx, person_id, READING, limit=size + 1, before=int(after[0]) if after else None
        )
        more: Position | None = [rows[size - 1]["sequence"]] if len(rows) > size else None
        return pb.ListReadingsResponse(
            readings=map(_reading, rows[:size]), next_page_token=self._pages.token(request, more)
        )

    def ExportPerson(self, request: pb.ExportPersonRequest, call: Call) -> pb.ExportPersonResponse:
        """Tells that the sheet leaves as a file; refuses what is no file of the caller's
        organisation.
        """
        person_id, caller = object_id(request.id), call.caller
        self._check_own(call.tx, caller, person_id)
        worker_id = caller.id if caller.kind == "worker" else ""
        note_export(
            call.tx, new_id(), person_id, caller.organization_id, worker_id, call.clock.now()
        )
        return pb.ExportPersonResponse()

    def ListOwnExports(
        self, request: pb.ListOwnExportsRequest, call: Call
    ) -> pb.ListOwnExportsResponse:
        """Of whom the caller exported the sheet since then, and when, the newest first."""
        since = moment(request, "since_time")
        if since is None:
            raise Invalid(("since_time", "required"))
        size, after = (
            page_size(request.page_size, default=200, most=200),
            self._pages.position(request, int),
        )
        rows = exported_since(
            call.tx, call.caller.id, since, size + 1, int(after[0]) if after else None
        )
        call.trail.append(Entry("list_own_exports", call.caller.id))
        exports = [
            pb.Export(person_id=row["object_id"], time=timestamp(row["time"]))
            for row in rows[:size]
        ]
        more: Position | None = [rows[size - 1]["sequence"]] if len(rows) > size else None
        return pb.ListOwnExportsResponse(
            exports=exports, next_page_token=self._pages.token(request, more)
        )

    def _withdraw(
        self, tx: Transaction, actor: Actor, now: datetime, identifier: str, trail: list[Entry]
    ) -> Receipt:
        receipt = self._held(tx, identifier)
        if receipt.withdraw_time is None:
            receipt.withdraw(now)
            self._receipts.change(tx, receipt, "withdrawn")
            self._lives.withdraw_consent(tx, actor, now, receipt.person_id, receipt.id)
            trail.append(
                Entry("withdraw_consent", receipt.person_id, "", (f"receipt:{receipt.id}",))
            )
            # whether it was the last one a recipient, who may say it for her, does not see
            elevate_to_system_scope(tx)
            self._end_emergencies(tx, now, receipt.person_id, receipt.recipient_organization_id)
            # nobody goes on speaking for an adult against her no
            for other in self._receipts.of_person(tx, receipt.person_id):
                if other.in_her_stead and other.withdraw_time is None and other.until_time > now:
                    self._withdraw(tx, actor, now, other.id, trail)
            if not any(
                each.is_live(now) for each in self._receipts.of_person(tx, receipt.person_id)
            ):
                self._plans.end_with_consent(tx, receipt.person_id, now)
        return receipt

    def withdraw_all(
        self, tx: Transaction, now: datetime, contact_id: str, person_id: str, trail: list[Entry]
    ) -> None:
        """Takes back all that she or anybody in her name allowed, overrides included, and ends what
        is asked for her: her own word, by her reference.
        """
        ended = self.end_all(tx, Actor("person", contact_id, ""), now, person_id)
        trail.append(
            Entry(
                "withdraw_consent",
                person_id,
                "",
                tuple(f"receipt:{receipt.id}" for receipt in ended),
            )
        )

    def end_all(
        self, tx: Transaction, actor: Actor, now: datetime, person_id: str
    ) -> list[Receipt]:
        """Ends every receipt of a person, and what stands on them; returns those that it ended.

        In the scope of the whole service.
        """
        self._files.hold(tx, person_id)
        ended = [
            receipt
            for receipt in self._receipts.of_person(tx, person_id, for_update=True)
            if receipt.withdraw_time is None
        ]
        for receipt in ended:
            receipt.withdraw(now)
            self._receipts.change(tx, receipt, "withdrawn")
        self._end_emergencies(tx, now, person_id, "")
        self._lives.withdraw_consent(tx, actor, now, person_id)
        self._plans.end_with_consent(tx, person_id, now)
        return ended

    def withdraw_for(
        self,
        tx: Transaction,
        now: datetime,
        contact_id: str,
        referral: Referral,
        trail: list[Entry],
    ) -> None:
        """Takes back the consent, or override, on which one referral stands, and ends what stands
        on it: her own word, by her reference.
        """
        if referral.receipt_id:
            self._withdraw(tx, Actor("person", contact_id, ""), now, referral.receipt_id, trail)

    @staticmethod
    def _end_emergencies(
        tx: Transaction, now: datetime, person_id: str, organization_id: str
    ) -> None:
        """Whom she took something back from opens nothing more of her, on no ground."""
        for emergency in emergencies.open_of_person(tx, person_id, organization_id):
            emergency.end(now)
            emergencies.change(tx, emergency, "ended", now)

    def _held(self, tx: Transaction, identifier: str) -> Receipt:
        """A receipt to change: in the person's turn."""
        self._files.hold(tx, self._receipts.get(tx, identifier).person_id)
        return self._receipts.get(tx, identifier, for_update=True)

    def _check_own(self, tx: Transaction, caller: Caller, person_id: str) -> None:
        if self._files.get(tx, person_id).organization_id != caller.organization_id:
            raise NotFound

    def _own(self, tx: Transaction, caller: Caller, identifier: str, version: int) -> Person:
        person = self._files.get(tx, identifier, for_update=True)
        if person.organization_id != caller.organization_id:
            raise NotFound
        if person.version != version:
            raise Stale
        person.check_not_erased()
        return person


def _reading(row: dict[str, Any]) -> pb.Reading:
    return pb.Reading(
        time=timestamp(row["time"]),
        organization_id=row["organization_id"],
        actor_id=row["actor_id"],
        purpose_code=row["purpose_code"],
        field_groups=sorted(
            GROUPS.number(FieldGroup(code)) for code in row["detail_codes"] if code in _GROUPS
        ),
        allowed=row["allowed"],
    )
