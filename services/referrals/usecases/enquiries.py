"""Enquiries: fetch, ask, keep. Who asks works with the whole; who is asked with its own copies, and what follows from its answer is done for it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.audit import Entry
from chassis.clock import AHEAD, Clock
from chassis.db import Row, Transaction, elevate_to_system_scope, take_turn
from chassis.errors import Conflict, NotFound, Stale
from chassis.guesses import Budget, Guesses, Origin
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from chassis.wire import Position
from keys.sealing import Keyring
from services.referrals.domain import enquiry as rules
from services.referrals.domain.codes import REACHED_BY_OVERRIDE
from services.referrals.domain.deadline import Calendar, DeadlineKind, check_urgency, due_time
from services.referrals.domain.enquiry import Attribute, Content, Enquiry, EnquiryEvent, EnquiryState, Offer, Service
from services.referrals.domain.unsafe import Unsafe
from services.referrals.store import contacts, enquiries, members, referrals
from services.referrals.store.people import People
from services.referrals.usecases.deadlines import fire_each, singly
from services.referrals.usecases.policies import Policies

_STOPPED = 100  # enquiries that one transaction closes because a member is on probation: far below its ten seconds
OF_A_LOOKER = Budget(60, timedelta(minutes=1), timedelta(0))
"""Previews of one worker: enough for a busy night, too few to search the count for somebody."""


@dataclass(frozen=True)
class Preview:
    """What an enquiry would tell, and to how many; `coarser` is None when enough look alike."""

    services: int
    organizations: int
    few: bool
    alike: int
    coarser: Attribute | None
    unused: tuple[Attribute, ...]
    due_time: datetime


@dataclass(frozen=True)
class Received:
    """What was put to one organisation: its own copies."""

    id: str
    offers: list[Offer]
    create_time: datetime
    due_time: datetime

    @property
    def version(self) -> int:
        """Another number whenever one of the copies changed; that of the enquiry would say how many answered."""
        return sum(offer.version for offer in self.offers)

    @property
    def content(self) -> Content | None:
        """What is said, while one of the copies says it."""
        return next((offer.content for offer in self.offers if offer.content), None)


class Enquiries:
    """Every method runs in the transaction `tx` and its scope."""

    def __init__(self, people: People, looks: Guesses, clock: Clock, policies: Policies, keyring: Keyring) -> None:
        """With `keyring` the noise of a count is made."""
        self._people = people
        self._looks = looks
        self._clock = clock
        self._policies = policies
        self._keyring = keyring

    def preview(
        self,
        tx: Transaction,
        caller: Caller,
        content: Content,
        service_ids: Sequence[str],
        unsafe: Unsafe,
        *,
        contact_id: str,
        person_id: str,
        keep_unused: bool,
    ) -> Preview:
        """What would be told, before it is; it is counted, for a count can be searched."""
        content.check()
        self._looks.count(caller.id, Origin(), self._clock.now())
        services = self._asked(tx, caller, service_ids, unsafe, person_id, contact_id)
        unused = rules.unused(content, services)
        content = content if keep_unused else content.without(unused)
        elevate_to_system_scope(tx)  # the network's open cases are counted, and a count is all that leaves
        alike, coarser = self.similar(tx, content, caller.organization_id)
        until = due_time(DeadlineKind.ACKNOWLEDGE, content.urgency, self._clock.now(), self._calendar(tx, content))
        return Preview(
            len(services),
            len({service.organization_id for service in services}),
            alike < rules.FEW,
            alike,
            coarser,
            unused,
            until,
        )

    def similar(self, tx: Transaction, content: Content, organization_id: str) -> tuple[int, Attribute | None]:
        """How many other members have a case like hers, as it may be told, and the attribute to leave out where they are few. In the scope of the whole service."""
        alike: list[int] = []
        without = dict.fromkeys(content.said, 0)
        for question in content.questions:
            count, counts = enquiries.count_alike(tx, question, organization_id)
            alike.append(self._told(count, question))
            for attribute, other in counts.items():
                without[attribute] = max(without[attribute], self._told(other, question.without([attribute])))
        return max(alike), rules.coarser(max(alike), without)

    def _told(self, count: int, question: Content) -> int:
        return rules.told(count, self._keyring.fingerprint(question.asked.encode(), "similar cases"))

    def create(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        content: Content,
        service_ids: Sequence[str],
        *,
        unsafe: Unsafe,
        contact_id: str,
        person_id: str,
        keep_unused: bool,
        urgency_reason_code: str,
        trail: list[Entry],
    ) -> Enquiry:
        """Asks all at once. What no service decides by is left out, unless the caller wants it said."""
        content.check()
        unsafe.check("excluded_organization_ids")
        if person_id:
            self._people.hold(tx, person_id)  # or she could be erased meanwhile
            person = self._people.get(tx, person_id)
            if person.organization_id != caller.organization_id:
                raise NotFound
            person.check_not_erased()
        if contact_id:
            contacts.check_known(tx, contact_id)
            check_urgency(content.urgency, contacts.answers_of(tx, contact_id)[0].urgency(), urgency_reason_code)
            if urgency_reason_code:
                trail.append(Entry("lower_urgency", person_id, content.need_code, (f"contact:{contact_id}", urgency_reason_code)))
        self._check_limit(tx, caller.organization_id, now)
        services = self._asked(tx, caller, service_ids, unsafe, person_id, contact_id)
        if not services:
            raise Conflict("service_unknown")
        enquiry = Enquiry.open(
            new_id(),
            (caller.organization_id, caller.id if caller.kind == "worker" else ""),
            content,
            services,
            now,
            self._calendar(tx, content),
            left_out=() if keep_unused else rules.unused(content, services),
            unsafe=unsafe,
            contact_id=contact_id,
            person_id=person_id,
        )
        enquiries.keep(tx, enquiry)
        return enquiry

    def get(self, tx: Transaction, caller: Caller, identifier: str) -> Enquiry | Received:
        """The whole for who asks, its own copies for who is asked; NotFound for anybody else."""
        try:
            return enquiries.get(tx, identifier)
        except NotFound:
            return self._received(tx, caller, identifier)

    def asked(
        self,
        tx: Transaction,
        caller: Caller,
        states: Collection[EnquiryState],
        limit: int,
        after: Position | None,
        *,
        contact_id: str,
        person_id: str,
        waiting: bool,
    ) -> tuple[Sequence[Enquiry | Received], Position | None]:
        """A page of what the caller's organisation asks."""
        return enquiries.asked(
            tx, caller.organization_id, states, limit, after, contact_id=contact_id, person_id=person_id, waiting=waiting
        )

    def received(
        self, tx: Transaction, caller: Caller, states: Collection[EnquiryState], limit: int, after: Position | None, *, waiting: bool
    ) -> tuple[Sequence[Enquiry | Received], Position | None]:
        """A page of what was put to it; a member on probation is asked nothing."""
        if members.on_probation(tx, caller.organization_id):
            return [], None
        page, more = enquiries.received(tx, caller.organization_id, states, limit, after, waiting=waiting)
        return [_received(identifier, rows) for identifier, rows in page], more

    def answer(
        self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int, service_id: str, answer: str, reason_code: str
    ) -> Received:
        """One of the caller's services says what it could do."""
        self._received(tx, caller, identifier)  # or it is not there
        with_all = self._hold(tx, identifier)
        seen = self._received(tx, caller, identifier)
        if all(offer.state is EnquiryState.OPEN for offer in seen.offers) and seen.version != version:
            raise Stale
        with_all.answer(service_id, caller.organization_id, answer, reason_code, now)
        enquiries.keep(tx, with_all)
        return self._received(tx, caller, identifier)

    def take(self, tx: Transaction, now: datetime, identifier: str, service_id: str, answer: str) -> Enquiry:
        """Takes an offer: of two at once the second finds it taken."""
        enquiry = enquiries.get(tx, identifier, for_update=True)
        enquiry.take(service_id, answer, now, self._calendar(tx, enquiry.content))
        enquiries.keep(tx, enquiry)
        return enquiry

    def cancel(self, tx: Transaction, caller: Caller, now: datetime, identifier: str, version: int) -> Enquiry:
        """Stops asking."""
        enquiry = enquiries.get(tx, identifier, for_update=True)
        if enquiry.state is EnquiryState.OPEN and enquiry.version != version:
            raise Stale
        enquiry.cancel(rules.BY_ASKER, now, caller.organization_id)
        enquiries.keep(tx, enquiry)
        return enquiry

    def unmet(self, tx: Transaction, now: datetime) -> list[Row]:
        """What the network lacks, as counts of the whole of it."""
        elevate_to_system_scope(tx)
        return enquiries.unmet(tx, now - enquiries.UNMET_SINCE)

    def fire_clocks(self, tx: Transaction, now: datetime, limit: int) -> list[EnquiryEvent]:
        """Ends or tells of what is due; returns the events."""

        def fire(identifier: str) -> list[EnquiryEvent]:
            enquiry = enquiries.get(tx, identifier, for_update=True)
            enquiry.fire(now, self._calendar(tx, enquiry.content))
            events = list(enquiry.events)
            enquiries.keep(tx, enquiry)
            return events

        return fire_each(tx, now, "enquiries", "enquiry_id", enquiries.due(tx, now, limit), singly(fire), enquiries.put_aside)

    def _check_limit(self, tx: Transaction, organization_id: str, now: datetime) -> None:
        most_open, most_a_day = rules.MOST_OPEN, rules.MOST_A_DAY
        if members.on_probation(tx, organization_id):
            most_open, most_a_day = rules.MOST_OPEN_ON_PROBATION, rules.MOST_A_DAY_ON_PROBATION
        take_turn(tx, f"enquiries/{organization_id}")  # or two that are made at once would both be the last
        unanswered, made = enquiries.count_of(tx, organization_id, now - rules.DAY, now + AHEAD)
        if unanswered >= most_open or made >= most_a_day:
            raise Conflict("too_many_enquiries")

    @staticmethod
    def _asked(
        tx: Transaction, caller: Caller, service_ids: Sequence[str], unsafe: Unsafe, person_id: str, contact_id: str
    ) -> list[Service]:
        """Returns those of the services that may be asked: none that she names now, or named to the caller's organisation before.

        To whoever may hold her, charge her or send her away nothing is told that she did not allow.
        """
        unsafe = unsafe.besides(referrals.named_unsafe(tx, caller.organization_id, person_id, contact_id))
        return [
            service
            for service, kind, department in members.services(tx, [each for each in service_ids if is_id(each)], caller.organization_id)
            if kind in REACHED_BY_OVERRIDE
            and service.organization_id != caller.organization_id
            and not unsafe.names(service.organization_id, department)
        ]

    @staticmethod
    def _hold(tx: Transaction, identifier: str) -> Enquiry:
        """The whole, for who was asked and showed it: what follows from an answer is the asker's."""
        elevate_to_system_scope(tx)
        return enquiries.get(tx, identifier, for_update=True)

    @staticmethod
    def _received(tx: Transaction, caller: Caller, identifier: str) -> Received:
        if members.on_probation(tx, caller.organization_id):
            raise NotFound
        return _received(identifier, enquiries.copies_of(tx, caller.organization_id, identifier))

    def _calendar(self, tx: Transaction, content: Content) -> Calendar:
        return self._policies.calendar(tx, content.country, content.department)


def _received(identifier: str, rows: list[Row]) -> Received:
    return Received(identifier, [enquiries.offer(row) for row in rows], rows[0]["create_time"], rows[0]["due_time"])


def stop_asking(tx: Transaction, now: datetime, organization_id: str) -> bool:
    """Closes what a member on probation is asked, and what it asks of shelters; says whether there may be more. In the scope of the whole service."""
    told = enquiries.told_to(tx, organization_id, _STOPPED)
    for identifier in told + enquiries.open_of(tx, organization_id):
        enquiry = enquiries.get(tx, identifier, for_update=True)
        if enquiry.organization_id == organization_id:
            gone = members.shelters(tx, [offer.service_id for offer in enquiry.offers])
        else:
            gone = {offer.service_id for offer in enquiry.offers if offer.organization_id == organization_id}
        enquiry.stop_asking(gone, now)
        enquiries.keep_copies(tx, enquiry)
        enquiries.keep(tx, enquiry)
    return len(told) == _STOPPED


def cancel_of(tx: Transaction, now: datetime, contact_ids: Collection[str], people: Collection[str]) -> None:
    """She took back what she had allowed, or was erased: nobody is asked for her any more. In the scope of the whole service."""
    for identifier in enquiries.waiting_of(tx, contact_ids, people):
        enquiry = enquiries.get(tx, identifier, for_update=True)
        if enquiry.waits:
            enquiry.withdraw(now)
            enquiries.keep(tx, enquiry)
