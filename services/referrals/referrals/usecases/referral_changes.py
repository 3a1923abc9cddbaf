"""Changes to referrals that facts, withdrawals, erasures and deadlines cause.

The module also does the work that must follow every change to a referral.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Stale
from keys.sealing import SealingKey
from services.referrals.files.store.people import People
from services.referrals.line.store import contacts
from services.referrals.network.domain.deadline import Calendar, DeadlineKind
from services.referrals.network.store import members
from services.referrals.network.usecases.deadlines import fire_each
from services.referrals.network.usecases.policies import Policies
from services.referrals.referrals.domain.enquiry import BY_ASKER, CONSENT_WITHDRAWN, NOT_REFERRED
from services.referrals.referrals.domain.lifecycle import LIVE, State
from services.referrals.referrals.domain.record import Actor, Event, still_to_refer
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store import deadlines, enquiries, referrals
from services.referrals.referrals.usecases.legs import Legs

# The maximum number of referrals that one transaction changes because a worker has left or a member
# is out. 100 take far less than the ten seconds that a transaction may last.
_MAX_CHANGED = 100


class ReferralChanges:
    """Changes to referrals. Every method runs in the transaction `tx` and its scope."""

    def __init__(self, people: People, legs: Legs, policies: Policies) -> None:
        self._people = people
        self._legs = legs
        self._policies = policies

    @staticmethod
    def update_earlier_referral(tx: Transaction, following: Referral, now: datetime) -> str:
        """Updates the deadlines of the referral that `following` is based on.

        The need of the earlier referral is no longer open once `following` has been sent, and is
        open again if `following` was entered in error. Only a referral by the same sender counts as
        following. Returns the id of the earlier referral's contact; "" if there is none, or if
        `following` has not been sent. Widens the scope, since a coordinator does not see an earlier
        referral that was never sent.
        """
        if not following.based_on_id or following.send_time is None:
            return ""
        elevate_to_system_scope(tx)
        earlier = referrals.get(tx, following.based_on_id, for_update=True)
        if earlier.sender_organization_id == following.sender_organization_id:
            earlier.update_need_deadlines(now)
            referrals.save_deadlines(tx, earlier)
        return earlier.contact_id

    @staticmethod
    def release_offer(
        tx: Transaction, now: datetime, draft: Referral, reason_code: str = BY_ASKER
    ) -> None:
        """Releases the taken offer of a draft that was discarded, goes elsewhere or waits too long.

        Otherwise the service that made the offer would wait for a referral that never comes.
        """
        enquiry = enquiries.of_referral(tx, draft.id)
        if enquiry and (
            reason_code == NOT_REFERRED
            or draft.state is not State.DRAFT
            or draft.service_id != enquiry.taken_service_id
        ):
            enquiry.withdraw(now, reason_code)
            enquiries.save(tx, enquiry)

    def update_dependents(
        self,
        tx: Transaction,
        now: datetime,
        *changed_referrals: Referral,
        earlier_contact_id: str = "",
    ) -> None:
        """Updates the contacts, needs and plan steps that depend on the state of referrals.

        The receiver of a referral that has ended keeps no copy of the enquiry that led to it.
        `earlier_contact_id` is the contact of the earlier referral on which one of
        `changed_referrals` is based; "" if there is none. This call must come last in a
        transaction.
        """
        self._legs.update_steps(tx, now, *changed_referrals)
        for referral in changed_referrals:
            if referral.state not in LIVE:
                enquiries.blank_copy(tx, now, referral.id)
            if referral.need_is_open:
                referrals.set_following(tx, referral)
                if referral.followed_up:  # another referral was sent before this one came back
                    referral.update_need_deadlines(now)
                    referrals.save_deadlines(tx, referral)
        self.update_contacts(
            tx, now, earlier_contact_id, *(referral.contact_id for referral in changed_referrals)
        )

    def update_contacts(self, tx: Transaction, now: datetime, *identifiers: str) -> None:
        """Updates the outcome of contacts of the line according to the state of their referrals.

        An empty id is ignored. This call must come last in a transaction, since it widens the
        scope, and since a transaction that has locked a contact must not wait for a referral.
        """
        for identifier in sorted({*identifiers} - {""}):
            # a receiver's refusal may reopen the contact, but a receiver sees no contact of a line
            elevate_to_system_scope(tx)
            contact = contacts.lock(tx, identifier)
            if contact.update_outcome(
                still_to_refer(referrals.of_contact(tx, identifier)),
                now,
                self._policies.calendar(tx, contact.line_country, contact.department),
            ):
                contacts.save(tx, contact, "changed")

    def lock(
        self, tx: Transaction, identifier: str, version: int | None, *, lock_person: bool = False
    ) -> tuple[Referral, Calendar]:
        """Returns a referral, locked until the end of the transaction, and its calendar.

        `lock_person` locks the person first, for steps that give or use a consent. Raises Stale if
        another step was taken since `version`, unless `version` is None.
        """
        referral, calendar_at = self.lock_with_calendars(
            tx, identifier, version, lock_person=lock_person
        )
        return referral, calendar_at(referral.coarse.country, referral.coarse.department)

    def lock_with_calendars(
        self, tx: Transaction, identifier: str, version: int | None, *, lock_person: bool = False
    ) -> tuple[Referral, Callable[[str, str], Calendar]]:
        """Returns what `lock` returns, but the calendars of all places (see Policies.calendars)."""
        calendar_at = self._policies.calendars(tx)  # shares a round trip with the referral
        if lock_person:
            self._people.lock(tx, referrals.get(tx, identifier).person_id)
        referral = referrals.get(tx, identifier, for_update=True)
        if version is not None and referral.step_version != version:
            raise Stale
        return referral, calendar_at

    def save(
        self,
        tx: Transaction,
        referral: Referral,
        read_key: Callable[[], SealingKey] | None = None,
    ) -> None:
        """Saves a referral with its events; a note is sealed with the person's key.

        `read_key` waits for the key, if the key has been queried already.
        """
        has_notes = any(event.note or event.arrival for event in referral.events)
        if has_notes and read_key is None:
            # even a coordinator, who sees no person's key, may write a note
            elevate_to_system_scope(tx)
            read_key = self._people.query_key(tx, referral.person_id)
        referrals.save(tx, referral, read_key() if has_notes and read_key else None)

    def calendar(self, tx: Transaction, referral: Referral) -> Calendar:
        """Returns the working days where the person is, and the network's deadlines."""
        return self._policies.calendar(tx, referral.coarse.country, referral.coarse.department)

    def hand_to_desk(self, tx: Transaction, now: datetime, worker_id: str) -> bool:
        """Makes the desk responsible for some of the referrals of a worker who has left.

        The desk is notified of each referral. Returns whether there may be more such referrals.
        """
        referral_ids = referrals.ids_of_responsible(tx, worker_id, _MAX_CHANGED)
        for identifier in referral_ids:
            referral = referrals.get(tx, identifier, for_update=True)
            referral.take(
                "assign", Actor("system", "members", ""), now, self.calendar(tx, referral)
            )
            self.save(tx, referral)
        return len(referral_ids) == _MAX_CHANGED

    def note_standing(self, tx: Transaction, now: datetime, organization_id: str) -> bool:
        """Records on some live referrals, for the other side, that an organisation is out or back.

        An organisation is out while it is suspended or has left. Returns whether there may be more
        referrals on which this is not recorded yet.
        """
        is_out = not members.is_active(tx, organization_id)
        referral_ids = referrals.ids_to_note_standing(
            tx, organization_id, _MAX_CHANGED, is_out=is_out
        )
        for identifier in referral_ids:
            referral = referrals.get(tx, identifier, for_update=True)
            referral.note_standing(organization_id, now, is_out=is_out)
            self.save(tx, referral)
        return len(referral_ids) == _MAX_CHANGED

    def withdraw_consent(
        self,
        tx: Transaction,
        actor: Actor,
        now: datetime,
        identifiers: Sequence[str],
        *,
        keeps_needs: bool = False,
    ) -> None:
        """Ends these referrals because their person withdrew her consent.

        The receiver of a referral that ended before is asked to delete what it holds. For a draft,
        a taken offer is released. `keeps_needs` is `keeps_need` of `Referral.withdraw_consent`. The
        calling code must have locked the person.
        """
        ended_referrals = []
        for identifier in identifiers:
            referral = referrals.get(tx, identifier, for_update=True)
            if not referral.ends_with_consent:
                continue
            state_before = referral.state
            referral.withdraw_consent(
                actor, now, self.calendar(tx, referral), keeps_need=keeps_needs
            )
            if state_before is State.DRAFT:
                self.release_offer(tx, now, referral, CONSENT_WITHDRAWN)
            self.save(tx, referral)
            if referral.state is not state_before:
                ended_referrals.append(referral)
        self.update_dependents(tx, now, *ended_referrals)

    def confirm_help(
        self,
        tx: Transaction,
        now: datetime,
        first_id: str,
        person_ids: Sequence[str],
        help_came: bool,
    ) -> None:
        """Records the person's own answer about whether help came.

        The answer applies to all completed referrals of `person_ids`, her files; `first_id` is her
        first contact. Raises Conflict if there is no completed referral.
        """
        actor = Actor("person", first_id, "")
        for person_id in sorted(person_ids):
            self._people.lock(tx, person_id)
        completed_referrals = [
            referral
            for referral in referrals.of_people(tx, person_ids, for_update=True)
            if referral.state is State.COMPLETED
        ]
        if not completed_referrals:
            raise Conflict("nothing_to_confirm")
        for referral in completed_referrals:
            referral.take(
                "close",
                actor,
                now,
                self.calendar(tx, referral),
                help_came_code="yes" if help_came else "no",
            )
            self.save(tx, referral)
        self.update_dependents(tx, now, *completed_referrals)

    def fire_deadlines(self, tx: Transaction, now: datetime, limit: int) -> list[Event]:
        """Records the levels that deadlines have reached; returns the events.

        The rows are locked by this transaction.
        """

        def fire(identifiers: Sequence[str]) -> list[tuple[str, list[Event]]]:
            calendar_at = self._policies.calendars(tx)  # one query, in the referrals' round trip
            locked_referrals = referrals.lock_all(tx, identifiers)
            events_by_referral = [
                (
                    referral.id,
                    referral.fire_deadlines(
                        now, calendar_at(referral.coarse.country, referral.coarse.department)
                    ),
                )
                for referral in locked_referrals
            ]
            referrals.save_all(tx, locked_referrals)
            for referral, (_, events) in zip(locked_referrals, events_by_referral, strict=True):
                if ("clock_escalated", DeadlineKind.DRAFT) in ((e.verb, e.clock) for e in events):
                    self.release_offer(tx, now, referral, NOT_REFERRED)
            expired_referrals = [
                referral
                for referral, (_, events) in zip(locked_referrals, events_by_referral, strict=True)
                if any(e.from_state is not e.to_state for e in events)
            ]
            if expired_referrals:
                self.update_dependents(tx, now, *expired_referrals)
            return events_by_referral

        return fire_each(
            tx,
            now,
            "clocks",
            "referral_id",
            deadlines.due(tx, now, limit),
            fire,
            deadlines.put_aside,
        )
