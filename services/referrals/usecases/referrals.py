"""Referrals: fetch, ask, keep."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Row, Transaction, elevate_to_system_scope, take_turn
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound, Stale
from chassis.ids import new_id
from chassis.tokens import Caller
from chassis.wire import Position
from services.referrals.domain.chain import Link, beside
from services.referrals.domain.consent import Grant, Receipt
from services.referrals.domain.deadline import Calendar, Urgency
from services.referrals.domain.enquiry import Enquiry
from services.referrals.domain.filter import Filter
from services.referrals.domain.lifecycle import Side, State
from services.referrals.domain.person import NOBODY_CALLS, Arrival, FieldGroup, Person, check_age_taken
from services.referrals.domain.referral import PROBATION_LIMIT, Actor, Event, Referral, recent
from services.referrals.domain.unsafe import Unsafe
from services.referrals.store import boxes, contacts, enquiries, members, referrals, renewals
from services.referrals.store.people import People
from services.referrals.store.receipts import Receipts
from services.referrals.usecases.deadlines import fire_each
from services.referrals.usecases.grants import Grants, check_after_withdrawal, check_may_override, check_reached
from services.referrals.usecases.openings import Openings
from services.referrals.usecases.plans import Plans
from services.referrals.usecases.policies import Policies

_AND_NETWORK = "+network"
_RELEASED = 100  # referrals that one transaction changes because somebody has left or a member is out: far below its ten seconds


def actor_of(caller: Caller) -> Actor:
    """Who acts, in the words of the domain."""
    return Actor(caller.kind, caller.id, caller.organization_id, caller.has("COORDINATOR"), caller.has("MANAGER"), caller.kin)


@dataclass(frozen=True)
class Draft:
    """What may be said of a draft; None leaves a field as it is."""

    need_code: str | None = None
    urgency: Urgency | None = None
    service_id: str | None = None
    receipt_id: str | None = None
    contact_id: str | None = None
    assault_time: datetime | None = None
    urgency_reason_code: str = ""  # why it is less urgent than the answers of its contact make it
    unsafe_code: str | None = None
    unsafe_organization_ids: tuple[str, ...] | None = None
    unsafe_departments: tuple[str, ...] | None = None

    def unsafe(self, known: Unsafe) -> Unsafe | None:
        """Returns what was said of where she is not safe, beside what is known; None: nothing was said."""
        said = (self.unsafe_code, self.unsafe_organization_ids, self.unsafe_departments)
        if all(each is None for each in said):
            return None
        code, organizations, departments = said
        return Unsafe(
            known.code if code is None else code,
            known.organization_ids if organizations is None else organizations,
            known.departments if departments is None else departments,
        )


def from_enquiry(draft: Draft, enquiry: Enquiry) -> Draft:
    """What was not said anew as the enquiry and the taken offer have it."""
    content = enquiry.content
    return Draft(
        draft.need_code or content.need_code,
        draft.urgency or content.urgency,
        draft.service_id or enquiry.taken_service_id,
        draft.receipt_id,
        draft.contact_id or enquiry.contact_id or None,
        draft.assault_time,
        draft.urgency_reason_code,
        draft.unsafe_code,
        draft.unsafe_organization_ids,
        draft.unsafe_departments,
    )


class Referrals:
    """The requests themselves. Every method runs in the transaction `tx` and its scope."""

    def __init__(self, people: People, grants: Grants, receipts: Receipts, plans: Plans, policies: Policies, openings: Openings) -> None:
        self._people = people
        self._grants = grants
        self._receipts = receipts
        self._plans = plans
        self._policies = policies
        self._openings = openings

    def create(
        self, tx: Transaction, caller: Caller, now: datetime, person_id: str, draft: Draft, *, based_on_id: str = "", enquiry_id: str = ""
    ) -> Referral:
        """Opens a draft for a person of the caller's own organisation; from an enquiry it has what was asked and taken there."""
        self._people.hold(tx, person_id)  # or it could keep what may be said of her while she is erased
        person = self._people.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()
        before = referrals.get(tx, based_on_id) if based_on_id else None
        enquiry = enquiries.get(tx, enquiry_id, for_update=True) if enquiry_id else None
        actor = actor_of(caller)
        calendar = self._policies.calendar(tx, person.coarse.country, person.coarse.department)
        referral = Referral.draft(new_id(), actor, person.id, person.coarse, now, calendar, based_on_id=based_on_id)
        followed = enquiry is not None and draft.urgency is None
        if before is not None and draft.urgency is before.urgency and (draft.contact_id or "") == before.contact_id:
            followed, referral.urgency_reason_code = True, before.urgency_reason_code
        if enquiry is not None:
            referral.unsafe = enquiry.unsafe
            enquiry.refer(referral.id, now)
            enquiries.keep(tx, enquiry)
            draft = from_enquiry(draft, enquiry)
        if before is not None and before.sender_organization_id == caller.organization_id and before.person_id == person_id:
            draft = replace(draft, assault_time=draft.assault_time or before.recent_assault(now))
            referral.unsafe = before.unsafe
        if draft != Draft():
            self._change(tx, referral, actor, now, draft, followed=followed)
        referrals.keep(tx, referral, None)
        self._tell_contacts(tx, now, referral.contact_id)
        return referral

    def change_draft(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, draft: Draft) -> Referral:
        """Changes a draft."""
        referral = self._fetch(tx, identifier, version)
        actor = actor_of(caller)
        if Side.SENDER not in referral.sides(actor):
            raise NotFound
        before = referral.contact_id
        self._change(tx, referral, actor, now, draft)
        referrals.keep(tx, referral, None)
        if referral.contact_id != before:
            self._tell_contacts(tx, now, before, referral.contact_id)
        return referral

    def get(self, tx: Transaction, identifier: str) -> Referral:
        """One referral in the caller's scope."""
        return referrals.get(tx, identifier)

    def find(
        self, tx: Transaction, wanted: Filter, limit: int, after: Position | None, *, by_urgency: bool
    ) -> tuple[list[Referral], Position | None]:
        """A page."""
        return boxes.find(tx, wanted, limit, after, by_urgency=by_urgency)

    def count(self, tx: Transaction, wanted: Filter) -> Row:
        """The figures of Today and the board."""
        return boxes.count(tx, wanted)

    def queue_scope(self, caller: Caller) -> str:
        """Whose lists change together with the caller's."""
        return f"{caller.organization_id}{_AND_NETWORK if members.view_of(caller) == 'coordinator' else ''}"

    def queue_versions(self, tx: Transaction, scopes: Collection[str]) -> dict[str, str]:
        """Of each scope another text when something changed in what its lists show. In the scope of the whole service, so that it is the same whoever asks."""
        elevate_to_system_scope(tx)
        return {scope: boxes.queue_version(tx, scope.removesuffix(_AND_NETWORK), network=scope.endswith(_AND_NETWORK)) for scope in scopes}

    def history(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, trail: list[Entry]) -> list[Event]:
        """What happened. Notes are about her: they are opened like her identity, and that is on record.

        How she arrives is opened on any consent to the receiver: it is what a consent to be sent there means.
        """
        referral = referrals.get(tx, identifier)
        grant = self._grant(tx, caller, now, referral, FieldGroup.NOTES)
        with_notes, grant = grant is not None, grant or self._grant(tx, caller, now, referral)
        if grant is None:  # the history is there for whoever may see the referral; what was written of her is not
            return referral.events_for(actor_of(caller), referrals.events(tx, identifier, None))
        key = self._people.key(tx, grant.person_id)
        events = referral.events_for(actor_of(caller), referrals.events(tx, identifier, key, with_notes=with_notes))
        if any(event.note or event.arrival for event in events):
            trail.append(
                Entry(
                    "read_notes", referral.person_id, referral.need_code, (FieldGroup.NOTES.value, f"referral:{referral.id}", *grant.basis)
                )
            )
            self._openings.admit(tx, caller, now, referral.person_id)
        return events

    def _grant(self, tx: Transaction, caller: Caller, now: datetime, referral: Referral, *groups: FieldGroup) -> Grant | None:
        """Returns what opens these groups for the need of the referral; None where the caller may not."""
        try:
            return self._grants.of_person(tx, caller, now, referral.person_id, referral.need_code, frozenset(groups), referral.id)
        except (NotAllowed, NotFound, Conflict):
            return None

    def legs(self, tx: Transaction, caller: Caller, now: datetime, referral: Referral) -> list[Link]:
        """The hand-over of which it is a leg: all of it for its sender and the coordination. For its receiver, if it may open her data for this now, no more
        than whom she comes from and to whom she goes. Last in a transaction."""
        links = self._plans.line_of(
            tx, referral
        )  # most are no leg, which is cheap to know; it lifts the scope, on which the grant does not stand
        if not links or referral.sides(actor_of(caller)) & {Side.SENDER, Side.COORDINATOR}:
            return links
        try:
            self._grants.of_person(tx, caller, now, referral.person_id, referral.need_code, frozenset(), referral.id)
        except (NotAllowed, NotFound, Conflict):
            return []
        return beside(links, referral.id)

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
        acknowledged: Collection[str],
        arrival: Arrival | None,
        trail: list[Entry],
    ) -> Referral:
        """Sends a draft on a consent, or on an override, which is a right of its own. `acknowledged`: the refusals that the sender knows of."""
        referral = self._fetch(tx, identifier, version, hold=True)
        person = self._people.get(tx, referral.person_id)
        person.check_not_erased()
        if referral.service_id and not self._is_there(tx, referral):
            raise Conflict("receiver_not_active")
        check_age_taken(members.ages_of_service(tx, referral.service_id).takes(person.coarse.age_band), acknowledged)
        named = referrals.named_unsafe(tx, referral.sender_organization_id, referral.person_id, referral.contact_id, referral.id)
        unsafe = referral.unsafe.besides(named)
        unsafe.check_receiver(referral.receiver_organization_id, members.department_of_service(tx, referral.service_id), acknowledged)
        self._check_limit(tx, referral.sender_organization_id)
        chosen = receipt_id or referral.receipt_id
        receipt = self._override(tx, caller, now, referral, person, override) if override else self._chosen(tx, referral, chosen)
        referral.send(
            actor_of(caller),
            now,
            self._calendar(tx, referral),
            receipt,
            safe_contact_known=bool(person.safe_contact_channel),
            note=note,
            nobody_calls=person.safe_contact_channel == NOBODY_CALLS,
            arrival=arrival,
        )
        if override and receipt is not None:
            self._receipts.add(tx, receipt)
        trail.append(
            Entry(
                "send_override" if override else "send",
                referral.person_id,
                referral.need_code,
                (f"referral:{referral.id}", override or "receipt", *(f"acknowledged:{code}" for code in acknowledged)),
            )
        )
        self._keep(tx, referral)
        if receipt is not None and not receipt.is_override:
            renewals.watch(tx, referral.id, receipt.notice_time)
        followed = self._watch_need(tx, referral, now)
        self._follow(tx, now, referral, before=followed)
        return referral

    @staticmethod
    def _is_there(tx: Transaction, referral: Referral) -> bool:
        """Whether its receiver is active, and exists for its sender: a shelter does not for a member on probation."""
        hidden = members.on_probation(tx, referral.sender_organization_id) and members.shelters(tx, [referral.service_id])
        return members.is_active(tx, referral.receiver_organization_id) and not hidden

    def _check_limit(self, tx: Transaction, organization_id: str) -> None:
        if members.on_probation(tx, organization_id):
            take_turn(tx, f"probation/{organization_id}")  # or two that are sent at once would both be the fifth
            if referrals.count_sent(tx, organization_id) >= PROBATION_LIMIT:
                raise Conflict("referral_limit")

    def _override(self, tx: Transaction, caller: Caller, now: datetime, referral: Referral, person: Person, reason: str) -> Receipt:
        check_may_override(caller)
        check_reached(tx, referral.receiver_organization_id)
        check_after_withdrawal(tx, caller, referral, reason, "override_reason_code")
        return Receipt.override(
            new_id(), person.id, person.organization_id, caller.id, referral.receiver_organization_id, referral.need_code, reason, now
        )

    def _chosen(self, tx: Transaction, referral: Referral, receipt_id: str) -> Receipt | None:
        if not receipt_id:
            return None
        receipt = self._receipts.get(tx, receipt_id)
        if receipt.person_id != referral.person_id:
            raise NotFound
        return receipt

    def confirm_override(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, trail: list[Entry]
    ) -> Referral:
        """A second person agrees: a coordinator, or another manager of the sender."""
        referral = self._fetch(tx, identifier, version, hold=True)
        referral.confirm_override(actor_of(caller), now, self._calendar(tx, referral))
        elevate_to_system_scope(tx)  # a coordinator sees neither the person nor her receipts; of this one she decides
        receipt = self._receipts.get(tx, referral.receipt_id, for_update=True)
        receipt.confirm(caller, now)
        self._receipts.change(tx, receipt, "confirmed")
        trail.append(Entry("confirm_override", referral.person_id, referral.need_code, (f"referral:{referral.id}", receipt.reason_code)))
        self._keep(tx, referral)
        return referral

    def attach_consent(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, receipt_id: str, trail: list[Entry]
    ) -> Referral:
        """She was asked: her consent takes the place of what it stood on, which ends unless another referral stands on it."""
        referral = self._fetch(tx, identifier, version, hold=True)
        receipt = self._chosen(tx, referral, receipt_id)
        if receipt is None:
            raise Invalid(("receipt_id", "required"))
        replaced = referral.receipt_id
        referral.attach_consent(actor_of(caller), now, self._calendar(tx, referral), receipt)
        former = self._receipts.get(tx, replaced, for_update=True)
        if referrals.live_of_person(tx, referral.person_id, replaced) == [referral.id]:
            former.end(now)
            self._receipts.change(tx, former, "ended")
        trail.append(Entry("attach_consent", referral.person_id, referral.need_code, (f"referral:{referral.id}", f"receipt:{receipt.id}")))
        self._keep(tx, referral)
        renewals.watch(tx, referral.id, receipt.notice_time)
        self._plans.check_receipt(tx, referral)
        return referral

    def step(
        self, tx: Transaction, now: datetime, identifier: str, version: int | None, take: Callable[[Referral, Calendar], None]
    ) -> Referral:
        """Any other step: `take` asks the referral to make it. `version` is that which it is based on; None for a step that fits each."""
        referral = self._fetch(tx, identifier, version)
        stood = referral.state, referral.need_is_open
        take(referral, self._calendar(tx, referral))
        self._keep(tx, referral)
        followed = self._watch_need(tx, referral, now) if referral.state is State.ENTERED_IN_ERROR else ""
        if (referral.state, referral.need_is_open) != stood:
            self._follow(tx, now, referral, before=followed)
        return referral

    def amend(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        identifier: str,
        version: int,
        urgency: Urgency | None,
        note: str,
        urgency_reason_code: str,
    ) -> Referral:
        """What may be said of her follows her file; nobody but its holder sees that."""

        def take(referral: Referral, calendar: Calendar) -> None:
            mine = caller.organization_id == referral.sender_organization_id
            coarse = self._people.get(tx, referral.person_id).coarse if mine else referral.coarse
            answers = contacts.answers_of(tx, referral.contact_id)[0].urgency() if mine and referral.contact_id else None
            referral.amend(
                actor_of(caller),
                now,
                calendar,
                urgency=urgency,
                coarse=coarse,
                note=note,
                answers=answers,
                urgency_reason_code=urgency_reason_code,
            )

        return self.step(tx, now, identifier, version, take)

    def reroute(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, service_id: str, note: str
    ) -> Referral:
        """Ends it with its receiver, and opens the draft for another service; of the sender's, also when the coordination does it."""
        referral = self._fetch(tx, identifier, version)
        owner = members.owner_of_service(tx, service_id, referral.sender_organization_id)
        if owner is None:
            raise Conflict("service_unknown")
        following = referral.reroute(
            actor_of(caller), now, self._calendar(tx, referral), service=(service_id, owner), following_id=new_id(), note=note
        )
        self._keep(tx, referral)
        elevate_to_system_scope(tx)  # a coordinator has no drafts, least of all another's
        referrals.keep(tx, following, None)
        self._follow(tx, now, referral)
        return referral

    def check_worker(self, tx: Transaction, caller: Caller, worker_id: str) -> None:
        """Who is named to answer for a referral works there, or nobody would."""
        if worker_id and worker_id != caller.id and not members.has_worker(tx, caller.organization_id, worker_id):
            raise Invalid(("responsible_worker_id", "unknown_code"))

    def release(self, tx: Transaction, now: datetime, worker_id: str) -> bool:
        """Gives some of the referrals for which a worker who has left answered to her desk, which is told of each; says whether there may be more."""
        released = referrals.answered_for_by(tx, worker_id, _RELEASED)
        for identifier in released:
            referral = referrals.get(tx, identifier, for_update=True)
            referral.assign(Actor("system", "members", ""), now, self._calendar(tx, referral), worker_id="", note="")
            self._keep(tx, referral)
        return len(released) == _RELEASED

    def tell_of_standing(self, tx: Transaction, now: datetime, organization_id: str) -> bool:
        """Tells the other side of some live referrals that an organisation may not act any more, or may again; says whether there may be more."""
        out = not members.is_active(tx, organization_id)
        waiting = referrals.to_tell_of_standing(tx, organization_id, _RELEASED, out=out)
        for identifier in waiting:
            referral = referrals.get(tx, identifier, for_update=True)
            referral.note_standing(organization_id, now, out=out)
            self._keep(tx, referral)
        return len(waiting) == _RELEASED

    def withdraw_consent(self, tx: Transaction, actor: Actor, now: datetime, person_id: str, receipt_id: str = "") -> None:
        """Ends every live referral that stands on a receipt, or all of a person. Her turn is held."""
        ended = []
        for identifier in referrals.live_of_person(tx, person_id, receipt_id):
            referral = referrals.get(tx, identifier, for_update=True)
            referral.withdraw_consent(actor, now, self._calendar(tx, referral))
            self._keep(tx, referral)
            ended.append(referral)
        self._follow(tx, now, *ended)

    @staticmethod
    def count_live(tx: Transaction, person_id: str) -> int:
        """How many live referrals a person has."""
        return len(referrals.live_of_person(tx, person_id))

    def drop_open(self, tx: Transaction, actor: Actor, now: datetime, person_id: str) -> None:
        """Her file is erased: drafts and needs that are still open wait for nobody any more. Her turn is held; `actor` is of the sender."""
        ended = []
        for identifier in [each.id for each in referrals.of_people(tx, [person_id]) if each.state is State.DRAFT or each.need_is_open]:
            referral = referrals.get(tx, identifier, for_update=True)
            if referral.state is State.DRAFT:
                referral.enter_in_error(actor, now, self._calendar(tx, referral), "")
            else:
                referral.close_need(actor, now, self._calendar(tx, referral), reason_code="person_declined", note="")
            self._keep(tx, referral)
            ended.append(referral)
        self._follow(tx, now, *ended)

    def confirm_help(self, tx: Transaction, now: datetime, first_id: str, contact_ids: Sequence[str], help_came: bool) -> None:
        """The person's own word on what was completed for her, through all her contacts."""
        actor = Actor("person", first_id, "")
        for person_id in sorted({referral.person_id for each in contact_ids for referral in referrals.of_contact(tx, each)}):
            self._people.hold(tx, person_id)
        done = [r for each in contact_ids for r in referrals.of_contact(tx, each, for_update=True) if r.state is State.COMPLETED]
        if not done:
            raise Conflict("nothing_to_confirm")
        for referral in done:
            referral.close(actor, now, self._calendar(tx, referral), help_came="yes" if help_came else "no", note="")
            self._keep(tx, referral)
        self._follow(tx, now, *done)

    def fire_clocks(self, tx: Transaction, now: datetime, limit: int) -> list[Event]:
        """Notes the clock levels that are reached; returns the events. Claimed rows are this transaction's alone."""

        def fire(identifiers: Sequence[str]) -> list[tuple[str, list[Event]]]:
            claimed = referrals.claimed(tx, identifiers)
            fired = [(each.id, each.fire_clocks(now, self._calendar(tx, each))) for each in claimed]
            referrals.keep_all(tx, claimed)
            expired = [
                each for each, (_, events) in zip(claimed, fired, strict=True) if any(e.from_state is not e.to_state for e in events)
            ]
            if expired:
                self._follow(tx, now, *expired)
            return fired

        return fire_each(tx, now, "clocks", "referral_id", referrals.with_due_clocks(tx, now, limit), fire, referrals.put_clocks_aside)

    @staticmethod
    def _watch_need(tx: Transaction, following: Referral, now: datetime) -> str:
        """What a referral follows is no open need any more once that was sent, and is one again when it was an error. Returns the contact it came from."""
        if not following.based_on_id or following.send_time is None:
            return ""
        before = referrals.get(tx, following.based_on_id, for_update=True)
        if before.sender_organization_id == following.sender_organization_id:
            before.watch_need(now)
            referrals.keep_clocks(tx, before)
        return before.contact_id

    def _follow(self, tx: Transaction, now: datetime, *moved: Referral, before: str = "") -> None:
        """What goes by where referrals stand: needs, steps of plans, and contacts, also that (`before`) of the one which this one follows. Last in a transaction."""
        self._plans.follow(tx, now, *moved)
        for referral in moved:
            if referral.need_is_open:
                referrals.note_following(tx, referral)
                if referral.followed_up:  # another place was asked before this one said no
                    referral.watch_need(now)
                    referrals.keep_clocks(tx, referral)
        self._tell_contacts(tx, now, before, *(referral.contact_id for referral in moved))

    def _tell_contacts(self, tx: Transaction, now: datetime, *identifiers: str) -> None:
        """How a contact of the line stands follows from what was asked for in its name, whoever moved it.

        Last in a transaction: it lifts the scope, and whoever holds a contact waits for no referral.
        """
        for identifier in sorted({*identifiers} - {""}):
            elevate_to_system_scope(tx)  # a receiver, by whose no it is open again, sees no contact of the line
            contact = contacts.hold(tx, identifier)
            if contact.follow(
                referrals.of_contact(tx, identifier), now, self._policies.calendar(tx, contact.line_country, contact.department)
            ):
                contacts.keep(tx, contact, "changed")

    def _fetch(self, tx: Transaction, identifier: str, version: int | None, *, hold: bool = False) -> Referral:
        """`hold`: after the person's turn, for what gives or uses a consent."""
        if hold:
            self._people.hold(tx, referrals.get(tx, identifier).person_id)
        referral = referrals.get(tx, identifier, for_update=True)
        if version is not None and referral.step_version != version:
            raise Stale
        return referral

    def _keep(self, tx: Transaction, referral: Referral) -> None:
        noted = any(event.note or event.arrival for event in referral.events)
        if noted:
            elevate_to_system_scope(
                tx
            )  # a coordinator, who sees no person's key, may end a referral with a note; it is sealed like any other
        referrals.keep(tx, referral, self._people.key(tx, referral.person_id) if noted else None)

    def _calendar(self, tx: Transaction, referral: Referral) -> Calendar:
        return self._policies.calendar(tx, referral.coarse.country, referral.coarse.department)

    def _change(self, tx: Transaction, referral: Referral, actor: Actor, now: datetime, draft: Draft, *, followed: bool = False) -> None:
        """Changes a draft. `followed`: its urgency was judged already, where it comes from."""
        service = None
        if draft.service_id:
            owner = members.owner_of_service(tx, draft.service_id, referral.sender_organization_id)
            if owner is None:
                raise Conflict("service_unknown")
            service = (draft.service_id, owner)
        if draft.receipt_id and self._receipts.get(tx, draft.receipt_id).person_id != referral.person_id:
            raise NotFound
        assault_time = draft.assault_time
        contact_id = draft.contact_id or referral.contact_id
        anew = draft.urgency is not None or draft.contact_id not in (None, referral.contact_id)
        answers = contacts.answers_of(tx, contact_id)[0].urgency() if contact_id and anew and not followed else None
        if draft.contact_id:  # one of another's line is none, or a caller would hear of, and end, what others ask for
            known = recent(contacts.assault_time(tx, draft.contact_id), now)
            assault_time = assault_time or (None if referral.assault_time else known)
        unsafe = draft.unsafe(referral.unsafe)
        if unsafe is not None and unsafe != referral.unsafe:  # what was read may be sent back, also while she was not asked
            unsafe.check()
        person = self._people.get(tx, referral.person_id)
        referral.coarse = person.coarse  # the draft follows the file until it is sent
        fields = replace(draft, service_id=None)
        referral.change_draft(
            actor,
            now,
            self._calendar(tx, referral),
            need_code=fields.need_code,
            urgency=fields.urgency,
            answers=answers,
            urgency_reason_code=fields.urgency_reason_code,
            service=service,
            receipt_id=fields.receipt_id,
            contact_id=fields.contact_id,
            assault_time=assault_time,
            unsafe=unsafe,
        )


def check_standing(tx: Transaction, caller: Caller) -> None:
    """A caller whose organisation, worker account or key was suspended is refused, however fresh the token."""
    if not members.in_good_standing(tx, caller):
        raise NotAllowed("organization_not_active")
