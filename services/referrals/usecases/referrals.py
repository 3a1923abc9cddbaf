"""Referrals: fetch, ask, keep."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chassis import log, metrics
from chassis.audit import Entry
from chassis.db import LOST, Row, Transaction, widen
from chassis.errors import Conflict, NotAllowed, NotFound, Stale
from chassis.ids import new_id
from chassis.tokens import Caller
from services.referrals.domain.clock import Calendar, Urgency
from services.referrals.domain.filter import Filter
from services.referrals.domain.lifecycle import LIVE, Side
from services.referrals.domain.referral import PROBATION_LIMIT, Actor, Event, Referral
from services.referrals.store import contacts, members, receipts, referrals
from services.referrals.store.people import People
from services.referrals.usecases.calendar import CountryCalendar

SOON = timedelta(hours=4)
PUT_ASIDE = timedelta(minutes=1)
"""When a referral whose clocks could not be fired is looked at again: soon after it is mended, and rarely enough to cost nothing."""


def actor_of(caller: Caller) -> Actor:
    """Who acts, in the words of the domain."""
    return Actor(caller.kind, caller.id, caller.organization_id, caller.has("COORDINATOR"))


@dataclass(frozen=True)
class Draft:
    """What may be said of a draft; None leaves a field as it is."""

    need_code: str | None = None
    urgency: Urgency | None = None
    service_id: str | None = None
    receipt_id: str | None = None
    contact_id: str | None = None


class Referrals:
    """The requests themselves. Every method runs in the transaction `tx` and its scope."""

    def __init__(self, people: People, calendar_of: Callable[[str], Calendar] = CountryCalendar) -> None:
        self._people = people
        self._calendar_of = calendar_of

    def create(self, tx: Transaction, caller: Caller, now: datetime, person_id: str, draft: Draft, *, based_on_id: str = "") -> Referral:
        """Opens a draft for a person of the caller's own organisation."""
        person = self._people.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()
        if based_on_id:
            referrals.get(tx, based_on_id)
        actor = actor_of(caller)
        referral = Referral.draft(new_id(), actor, person.id, person.coarse, now, based_on_id=based_on_id)
        if draft != Draft():
            self._amend(tx, referral, actor, now, draft)
        referrals.keep(tx, referral, None)
        return referral

    def amend(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, draft: Draft) -> Referral:
        """Changes a draft."""
        referral = self._fetch(tx, identifier, version)
        actor = actor_of(caller)
        if Side.SENDER not in referral.sides(actor):
            raise NotFound
        self._amend(tx, referral, actor, now, draft)
        referrals.keep(tx, referral, None)
        return referral

    def get(self, tx: Transaction, identifier: str) -> Referral:
        """One referral in the caller's scope."""
        return referrals.get(tx, identifier)

    def find(self, tx: Transaction, wanted: Filter, limit: int, after: str) -> tuple[list[Referral], str]:
        """A page."""
        return referrals.find(tx, wanted, limit, after)

    def count(self, tx: Transaction, wanted: Filter, now: datetime) -> Row:
        """The figures of Today and the board."""
        return referrals.count(tx, wanted, now, now + SOON)

    def history(self, tx: Transaction, caller: Caller, identifier: str, trail: list[Entry]) -> list[Event]:
        """What happened. Sender and receiver read the notes, the receiver while the referral is live; that is on record."""
        referral = referrals.get(tx, identifier)
        sides = referral.sides(actor_of(caller))
        may_read = Side.SENDER in sides or (Side.RECEIVER in sides and referral.state in LIVE)
        person = self._people.get(tx, referral.person_id) if may_read else None
        if person is None or person.erased:
            return referrals.events(tx, identifier, None)
        found = referrals.events(tx, identifier, self._people.key(tx, referral.person_id))
        if any(event.note for event in found):
            trail.append(Entry("read_notes", referral.person_id, referral.need_code, (f"referral:{referral.id}",)))
        return found

    def send(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        identifier: str,
        version: int,
        *,
        receipt_id: str,
        override: str,
        note: str,
        trail: list[Entry],
    ) -> Referral:
        """Sends a draft on a consent, or on an override, which is on record with its reason."""
        referral = self._fetch(tx, identifier, version)
        person = self._people.get(tx, referral.person_id)
        person.check_not_erased()
        status, _ = members.organization(tx, referral.sender_organization_id)
        if status == "PROBATION" and referrals.count_sent(tx, referral.sender_organization_id) >= PROBATION_LIMIT:
            raise Conflict("referral_limit")
        if override and members.organization(tx, referral.receiver_organization_id)[1] == "LAW_ENFORCEMENT":
            raise Conflict("receipt_missing")  # to the police only with a receipt that names it
        receipt = None
        if (chosen := receipt_id or referral.receipt_id) and not override:
            receipt = receipts.get(tx, chosen)
            if receipt.person_id != referral.person_id:
                raise NotFound
        actor = actor_of(caller)
        referral.send(
            actor,
            now,
            self._calendar(referral),
            receipt,
            safe_contact_known=bool(person.safe_contact_channel),
            override=override,
            note=note,
        )
        trail.append(
            Entry(
                "send_override" if override else "send",
                referral.person_id,
                referral.need_code,
                (f"referral:{referral.id}", override or "receipt"),
            )
        )
        self._keep(tx, referral)
        return referral

    def step(self, tx: Transaction, identifier: str, version: int, take: Callable[[Referral, Calendar], None]) -> Referral:
        """Any other step: `take` asks the referral to make it."""
        referral = self._fetch(tx, identifier, version)
        take(referral, self._calendar(referral))
        self._keep(tx, referral)
        return referral

    def withdraw_consent(self, tx: Transaction, actor: Actor, now: datetime, receipt_id: str) -> None:
        """Ends every live referral that stands on a receipt."""
        for identifier in referrals.ids_standing_on(tx, receipt_id):
            referral = referrals.get(tx, identifier, for_update=True)
            referral.withdraw_consent(actor, now, self._calendar(referral))
            self._keep(tx, referral)

    def confirm_help(self, tx: Transaction, now: datetime, contact_id: str, help_came: bool) -> None:
        """The person's own word on what was completed for her."""
        actor = Actor("person", contact_id, "")
        done = [r for r in referrals.of_contact(tx, contact_id, for_update=True) if r.state.value == "completed"]
        if not done:
            raise Conflict("nothing_to_confirm")
        for referral in done:
            referral.close(actor, now, self._calendar(referral), help_came="yes" if help_came else "no", note="")
            self._keep(tx, referral)

    def fire_clocks(self, tx: Transaction, now: datetime, limit: int) -> list[Event]:
        """Notes the clock levels that are reached; returns the events. Claimed rows are this transaction's alone.

        Each referral is a savepoint: one that can't be read or kept is put aside for a while and holds up no other.
        """
        fired: list[Event] = []
        for identifier in referrals.with_due_clocks(tx, now, limit):
            events: list[Event] = []
            try:
                with tx.transaction():
                    referral = referrals.get(tx, identifier, for_update=True)
                    events = referral.fire_clocks(now)
                    self._keep(tx, referral)
            except LOST:
                raise
            except Exception as error:  # whatever it is, the others' clocks must go on
                events = []
                metrics.ROWS_PUT_ASIDE.labels("clocks").inc()
                log.get().error("clocks_put_aside", referral_id=identifier, fault=log.fault(error))
            if not events:
                referrals.put_clocks_aside(tx, identifier, now, now + PUT_ASIDE)
            fired += events
        return fired

    def _fetch(self, tx: Transaction, identifier: str, version: int) -> Referral:
        referral = referrals.get(tx, identifier, for_update=True)
        if referral.version != version:
            raise Stale
        return referral

    def _keep(self, tx: Transaction, referral: Referral) -> None:
        noted = any(event.note for event in referral.events)
        if noted:
            widen(tx)  # a coordinator, who sees no person's key, may end a referral with a note; it is sealed like any other
        referrals.keep(tx, referral, self._people.key(tx, referral.person_id) if noted else None)

    def _calendar(self, referral: Referral) -> Calendar:
        return self._calendar_of(referral.coarse.country or referral.coarse.department[:2] or "NI")

    def _amend(self, tx: Transaction, referral: Referral, actor: Actor, now: datetime, draft: Draft) -> None:
        service = None
        if draft.service_id:
            owner = members.owner_of_service(tx, draft.service_id)
            if owner is None:
                raise Conflict("service_unknown")
            service = (draft.service_id, owner)
        if draft.receipt_id and receipts.get(tx, draft.receipt_id).person_id != referral.person_id:
            raise NotFound
        if draft.contact_id:
            contacts.check_known(tx, draft.contact_id)  # or a caller would hear of, and end, what others ask for
        person = self._people.get(tx, referral.person_id)
        referral.coarse = person.coarse  # the draft follows the file until it is sent
        fields = replace(draft, service_id=None)
        referral.amend(
            actor,
            now,
            need_code=fields.need_code,
            urgency=fields.urgency,
            service=service,
            receipt_id=fields.receipt_id,
            contact_id=fields.contact_id,
        )


def check_standing(tx: Transaction, caller: Caller) -> None:
    """A caller whose organisation, worker account or key was suspended is refused, however fresh the token."""
    if not members.in_good_standing(tx, caller):
        raise NotAllowed("organization_not_active")
