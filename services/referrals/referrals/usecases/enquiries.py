"""Handles the rpcs for enquiries.

The asking organisation works with the whole enquiry. An organisation that is asked works only with
its own copies; the effects of its answer are written in the scope of the whole service.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from chassis.audit import Entry
from chassis.clock import MAX_CLOCK_DIFFERENCE
from chassis.db import Row, Transaction, elevate_to_system_scope
from chassis.errors import Conflict, Invalid, NotFound, Stale
from chassis.guesses import Budget, Guesses, Origin
from chassis.ids import is_id, new_id, object_id
from chassis.locks import advisory_lock
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import PageTokens, optional_id, page_size, timestamp, version, word
from keys.sealing import Keyring
from protos.referrals.v1 import enquiries_pb2 as pb
from protos.referrals.v1 import referrals_pb2
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.files.store.people import People
from services.referrals.line.store import contacts
from services.referrals.network.domain.codes import REACHED_BY_OVERRIDE
from services.referrals.network.domain.deadline import (
    Calendar,
    DeadlineKind,
    check_urgency,
    due_time,
)
from services.referrals.network.domain.service import Attribute, Service
from services.referrals.network.store import members
from services.referrals.network.usecases.deadlines import fire_each, fire_singly
from services.referrals.network.usecases.policies import Policies
from services.referrals.referrals.domain import enquiry as rules
from services.referrals.referrals.domain.enquiry import (
    Content,
    Enquiry,
    EnquiryEvent,
    EnquiryState,
    ReceivedEnquiry,
)
from services.referrals.referrals.domain.lifecycle import State
from services.referrals.referrals.store import enquiries, referrals
from services.referrals.referrals.wire.enquiries import (
    ATTRIBUTES,
    STATES,
    asker_message,
    received_message,
    unsafe_places,
)
from services.referrals.referrals.wire.enquiries import content as parse_content
from services.referrals.referrals.wire.enquiries import unsafe as parse_unsafe

# The maximum number of enquiries whose received copies one transaction closes because a member may
# no longer answer them. 100 take far less than the ten seconds that a transaction may last.
_MAX_STOPPED = 100
PREVIEW_BUDGET = Budget(60, timedelta(minutes=1), timedelta(0))
"""The budget for the previews of one worker or key: 60 at once, then one more per minute.

This is enough for a busy night, but not for finding a person.
"""


class Enquiries:
    """Handles the rpcs for enquiries, one method per rpc."""

    def __init__(
        self,
        people: People,
        previews: Guesses,
        policies: Policies,
        keyring: Keyring,
        pages: PageTokens,
    ) -> None:
        """Creates the use cases; the noise added to counts is derived from a key of `keyring`."""
        self._people = people
        self._previews = previews
        self._policies = policies
        self._keyring = keyring
        self._pages = pages

    def PreviewEnquiry(self, request: pb.PreviewEnquiryRequest, call: Call) -> pb.EnquiryPreview:
        """Counts the services that an enquiry would reach, and the members with a similar case.

        Nothing is sent. The number of previews is limited, since many previews could serve to
        search for a person.
        """
        tx = call.tx
        caller = call.caller
        content = parse_content(request.content)
        unsafe = unsafe_places(request)
        contact_id = optional_id(request.contact_id, "contact_id")
        person_id = optional_id(request.person_id, "person_id")
        content.check()
        members.check_organizations(
            tx, request.excluded_organization_ids, "excluded_organization_ids"
        )
        self._previews.count(caller.id, Origin(), call.clock.now())
        services = self._services_to_ask(
            tx, caller, request.service_ids, unsafe, person_id, contact_id
        )
        unused_attributes = rules.unused_attributes(content, services)
        content = content if request.keep_unused else content.without(unused_attributes)
        # open cases of the whole network are counted, but only the safe count is returned
        elevate_to_system_scope(tx)
        similar_count, attribute_to_omit = self.count_similar(tx, content, caller.organization_id)
        return pb.EnquiryPreview(
            service_count=len(services),
            organization_count=len({service.organization_id for service in services}),
            few=similar_count < rules.ENOUGH,
            similar_cases=similar_count,
            coarser_attribute=ATTRIBUTES.number(attribute_to_omit),
            unused_attributes=[ATTRIBUTES.number(attribute) for attribute in unused_attributes],
            due_time=timestamp(
                due_time(
                    DeadlineKind.ACKNOWLEDGE,
                    content.urgency,
                    call.clock.now(),
                    self._calendar(tx, content),
                )
            ),
        )

    def count_similar(
        self, tx: Transaction, content: Content, organization_id: str
    ) -> tuple[int, Attribute | None]:
        """Returns the disclosed count of other members with a similar case, and one attribute.

        The attribute is the best one to leave out so that the person is hidden (see
        `attribute_to_omit`); it is None if the count is high enough, or if the content states no
        attribute. Needs the scope of the whole service.
        """
        similar_counts: list[int] = []
        counts_without = dict.fromkeys(content.attributes, 0)
        for question in content.questions:
            count, counts = enquiries.count_alike(tx, question, organization_id)
            similar_counts.append(self._disclosed_count(count, question))
            for attribute, count_without in counts.items():
                counts_without[attribute] = max(
                    counts_without[attribute],
                    self._disclosed_count(count_without, question.without([attribute])),
                )
        return max(similar_counts), rules.attribute_to_omit(max(similar_counts), counts_without)

    def _disclosed_count(self, count: int, question: Content) -> int:
        return rules.disclosed_count(
            count, self._keyring.fingerprint(question.question_text.encode(), "similar cases")
        )

    def CreateEnquiry(self, request: pb.CreateEnquiryRequest, call: Call) -> pb.Enquiry:
        """Opens one enquiry to all of the requested services that may be asked.

        Attributes that none of the services uses as a criterion are left out, unless the request
        keeps them. Raises Conflict if no service is left.
        """
        tx = call.tx
        caller = call.caller
        now = call.clock.now()
        content = parse_content(request.content)
        unsafe = parse_unsafe(request)
        contact_id = optional_id(request.contact_id, "contact_id")
        person_id = optional_id(request.person_id, "person_id")
        content.check()
        unsafe.check("excluded_organization_ids")
        members.check_organizations(
            tx, request.excluded_organization_ids, "excluded_organization_ids"
        )
        if person_id:
            self._check_person(tx, caller, person_id)
        lower_reason = ""
        if contact_id:
            reason = word(
                referrals_pb2.UrgencyReason, request.urgency_reason_code, "urgency_reason_code"
            )
            contacts.check_known(tx, contact_id)
            answered_urgency = contacts.urgency_of(tx, contact_id)
            check_urgency(content.urgency, answered_urgency, reason)
            if answered_urgency and content.urgency.rank < answered_urgency.rank:
                lower_reason = reason
            if reason:
                call.trail.append(
                    Entry(
                        "lower_urgency",
                        person_id,
                        content.need_code,
                        (f"contact:{contact_id}", reason),
                    )
                )
        self._check_limit(tx, caller.organization_id, now)
        services = self._services_to_ask(
            tx, caller, request.service_ids, unsafe, person_id, contact_id
        )
        if not services:
            raise Conflict("service_unknown")
        enquiry = Enquiry.open(
            new_id(),
            (caller.organization_id, caller.id if caller.kind == "worker" else ""),
            content,
            services,
            now,
            self._calendar(tx, content),
            left_out=() if request.keep_unused else rules.unused_attributes(content, services),
            unsafe=unsafe,
            contact_id=contact_id,
            person_id=person_id,
            urgency_reason_code=lower_reason,
        )
        enquiries.save(tx, enquiry)
        return asker_message(enquiry)

    def GetEnquiry(self, request: pb.GetEnquiryRequest, call: Call) -> pb.Enquiry:
        """Returns the whole enquiry to its asker, and to an asked organisation its own copies.

        Raises NotFound for any other caller, and for a member on probation that was asked.
        """
        identifier = object_id(request.id)
        try:
            return asker_message(enquiries.get(call.tx, identifier))
        except NotFound:
            return received_message(self._received_enquiry(call.tx, call.caller, identifier))

    def ListEnquiries(
        self, request: pb.ListEnquiriesRequest, call: Call
    ) -> pb.ListEnquiriesResponse:
        """Lists the enquiries that the caller's organisation made, or the enquiries put to it.

        For a member on probation, the list of enquiries put to it is empty.
        """
        if request.box not in pb.EnquiryBox.values():
            raise Invalid(("box", "unknown_code"))
        tx, organization_id, waiting = call.tx, call.caller.organization_id, request.waiting_for_me
        states = STATES.members(request.states, "states")
        subject_ids = {
            name: optional_id(getattr(request, name), name) for name in ("contact_id", "person_id")
        }
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        if request.box != pb.ENQUIRY_BOX_RECEIVED:
            sent_enquiries, next_cursor = enquiries.sent_by(
                tx,
                organization_id,
                states,
                size,
                after,
                **subject_ids,
                waiting=waiting,
                live=request.live,
            )
            messages = [asker_message(enquiry) for enquiry in sent_enquiries]
        elif members.on_probation(tx, organization_id):
            messages, next_cursor = [], None
        else:
            received_enquiries, next_cursor = enquiries.received_enquiries(
                tx, organization_id, states, size, after, waiting=waiting
            )
            messages = [
                received_message(_received_enquiry(identifier, rows))
                for identifier, rows in received_enquiries
            ]
        return pb.ListEnquiriesResponse(
            enquiries=messages, next_page_token=self._pages.token(request, next_cursor)
        )

    def AnswerEnquiry(self, request: pb.AnswerEnquiryRequest, call: Call) -> pb.Enquiry:
        """Records the answer of one of the caller's services."""
        tx = call.tx
        caller = call.caller
        identifier = object_id(request.id)
        base_version = version(request.etag)
        service_id = object_id(request.service_id)
        answer = word(pb.OfferAnswer, request.answer, "answer")
        reason_code = word(referrals_pb2.DeclineReason, request.reason_code, "reason_code")
        self._received_enquiry(tx, caller, identifier)  # raises NotFound if the caller has no copy
        elevate_to_system_scope(tx)  # an answer changes the asker's enquiry
        enquiry = enquiries.get(tx, identifier, for_update=True)
        received_enquiry = self._received_enquiry(tx, caller, identifier)
        if (
            any(offer.state is EnquiryState.OPEN for offer in received_enquiry.offers)
            and received_enquiry.version != base_version
        ):
            raise Stale
        enquiry.answer(service_id, caller.organization_id, answer, reason_code, call.clock.now())
        enquiries.save(tx, enquiry)
        return received_message(self._received_enquiry(tx, caller, identifier))

    def TakeOffer(self, request: pb.TakeOfferRequest, call: Call) -> pb.Enquiry:
        """Takes an offer. Of two calls at the same time, the second is refused.

        Refuses an offer whose service can't be asked any more, because its member is suspended or
        no longer offers the service: taking the offer would close the copies of all other services.
        """
        answer = word(pb.OfferAnswer, request.answer, "answer")
        identifier = object_id(request.id)
        service_id = optional_id(request.service_id, "service_id")
        enquiry = enquiries.get(call.tx, identifier, for_update=True)
        enquiry.take(service_id, answer, call.clock.now(), self._calendar(call.tx, enquiry.content))
        if not members.services(call.tx, [service_id], enquiry.organization_id):
            raise Conflict(rules.OFFER_GONE)
        enquiries.save(call.tx, enquiry)
        return asker_message(enquiry)

    def CancelEnquiry(self, request: pb.CancelEnquiryRequest, call: Call) -> pb.Enquiry:
        """Cancels the enquiry."""
        identifier, base_version = object_id(request.id), version(request.etag)
        enquiry = enquiries.get(call.tx, identifier, for_update=True)
        if enquiry.waits and enquiry.version != base_version:
            raise Stale
        enquiry.cancel(call.clock.now())
        enquiries.save(call.tx, enquiry)
        return asker_message(enquiry)

    def ListUnmetNeeds(
        self, request: pb.ListUnmetNeedsRequest, call: Call
    ) -> pb.ListUnmetNeedsResponse:
        """Counts the needs that no service met, across the whole network."""
        elevate_to_system_scope(call.tx)
        rows = enquiries.count_unmet(call.tx, call.clock.now() - enquiries.UNMET_PERIOD)
        return pb.ListUnmetNeedsResponse(needs=[pb.UnmetNeed(**row) for row in rows])

    def fire_deadlines(self, tx: Transaction, now: datetime, limit: int) -> list[EnquiryEvent]:
        """Acts on enquiries whose deadline has passed; returns the events of the deadlines."""

        def fire(identifier: str) -> list[EnquiryEvent]:
            enquiry = enquiries.get(tx, identifier, for_update=True)
            enquiry.fire(now, self._calendar(tx, enquiry.content))
            events = [event for event in enquiry.events if event.clock]
            enquiries.save(tx, enquiry)
            return events

        return fire_each(
            tx,
            now,
            "enquiries",
            "enquiry_id",
            enquiries.due(tx, now, limit),
            fire_singly(fire),
            enquiries.put_aside,
        )

    def _check_person(self, tx: Transaction, caller: Caller, person_id: str) -> None:
        self._people.lock(tx, person_id)  # so that the person can't be erased meanwhile
        person = self._people.get(tx, person_id)
        if person.organization_id != caller.organization_id:
            raise NotFound
        person.check_not_erased()

    def _check_limit(self, tx: Transaction, organization_id: str, now: datetime) -> None:
        max_open, max_per_day = rules.MAX_OPEN, rules.MAX_PER_DAY
        if members.on_probation(tx, organization_id):
            max_open, max_per_day = rules.MAX_OPEN_ON_PROBATION, rules.MAX_PER_DAY_ON_PROBATION
        # without the lock, two enquiries made at the same time could both pass the limit
        advisory_lock(tx, f"enquiries/{organization_id}")
        open_count, made_count = enquiries.count_of(
            tx, organization_id, now - rules.DAY, now + MAX_CLOCK_DIFFERENCE
        )
        if open_count >= max_open or made_count >= max_per_day:
            raise Conflict("too_many_enquiries")

    @staticmethod
    def _services_to_ask(
        tx: Transaction,
        caller: Caller,
        service_ids: Sequence[str],
        unsafe: Unsafe,
        person_id: str,
        contact_id: str,
    ) -> list[Service]:
        """Returns the services to ask.

        Leaves out the caller's own services, and services that are unsafe for the person according
        to this enquiry or the organisation's earlier records. Organisations that may have the power
        to detain, charge or expel her are never asked, since they may learn only what she has
        agreed to.
        """
        unsafe = unsafe.extended_by(
            referrals.unsafe_answers(tx, caller.organization_id, person_id, contact_id)
        )
        return [
            service
            for service, kind, department in members.services(
                tx,
                [service_id for service_id in service_ids if is_id(service_id)],
                caller.organization_id,
            )
            if kind in REACHED_BY_OVERRIDE
            and service.organization_id != caller.organization_id
            and not unsafe.names(service.organization_id, department)
        ]

    @staticmethod
    def _received_enquiry(tx: Transaction, caller: Caller, identifier: str) -> ReceivedEnquiry:
        if members.on_probation(tx, caller.organization_id):
            raise NotFound
        return _received_enquiry(
            identifier, enquiries.copies_of(tx, caller.organization_id, identifier)
        )

    def _calendar(self, tx: Transaction, content: Content) -> Calendar:
        return self._policies.calendar(tx, content.country, content.department)


def _received_enquiry(identifier: str, rows: list[Row]) -> ReceivedEnquiry:
    return ReceivedEnquiry(
        identifier,
        [enquiries.offer(row) for row in rows],
        rows[0]["create_time"],
        rows[0]["due_time"],
    )


def stop_asking(
    tx: Transaction, now: datetime, organization_id: str, *, on_probation: bool = True
) -> bool:
    """Closes the copies that a member has received, because it may no longer answer them.

    If it is `on_probation`, also closes the copies of its own enquiries at shelters. Otherwise it
    can't receive a referral either, so its offers that were taken end unless their referral was
    sent. Returns whether there may be more received copies. Needs the scope of the whole service.
    """
    received_ids = enquiries.ids_received(tx, organization_id, _MAX_STOPPED)
    sent_ids = enquiries.ids_open(tx, organization_id) if on_probation else []
    for identifier in received_ids + sent_ids:
        enquiry = enquiries.get(tx, identifier, for_update=True)
        if enquiry.organization_id == organization_id:
            ended_service_ids = members.shelters(tx, [offer.service_id for offer in enquiry.offers])
        else:
            ended_service_ids = {
                offer.service_id
                for offer in enquiry.offers
                if offer.organization_id == organization_id
            }
        if (
            not on_probation
            and enquiry.taken_service_id in ended_service_ids
            and _waits_for_referral(tx, enquiry)
        ):
            enquiry.withdraw(now, rules.OFFER_GONE)
        enquiry.stop_asking(ended_service_ids, now)
        enquiries.save_copies(tx, enquiry)
        enquiries.save(tx, enquiry)
    return len(received_ids) == _MAX_STOPPED


def end_service(tx: Transaction, now: datetime, organization_id: str, service_id: str) -> bool:
    """Stops asking a service that is no longer offered, and cancels enquiries that took its offer.

    A referral that was sent goes on. Returns whether there may be more enquiries. Needs the scope
    of the whole service.
    """
    identifiers = enquiries.ids_of_service(tx, organization_id, service_id, _MAX_STOPPED)
    for identifier in identifiers:
        enquiry = enquiries.get(tx, identifier, for_update=True)
        if enquiry.taken_service_id != service_id:
            enquiry.stop_asking([service_id], now)
        elif _waits_for_referral(tx, enquiry):
            enquiry.withdraw(now, rules.OFFER_GONE)
        enquiries.save_copies(tx, enquiry)
        enquiries.save(tx, enquiry)
    return len(identifiers) == _MAX_STOPPED


def _waits_for_referral(tx: Transaction, enquiry: Enquiry) -> bool:
    """Returns whether no referral was sent after the offer of this enquiry was taken."""
    return not enquiry.referral_id or referrals.get(tx, enquiry.referral_id).state is State.DRAFT


def cancel_waiting(
    tx: Transaction,
    now: datetime,
    contact_ids: Collection[str],
    person_ids: Collection[str],
    organization_id: str = "",
) -> None:
    """Cancels the waiting enquiries for contacts and people, after a withdrawal or an erasure.

    `organization_id` selects the enquiries of one organisation; "" selects all. Needs the scope of
    the whole service.
    """
    for identifier in enquiries.waiting_of(tx, contact_ids, person_ids, organization_id):
        enquiry = enquiries.get(tx, identifier, for_update=True)
        if enquiry.state in (EnquiryState.OPEN, EnquiryState.MATCHED):
            enquiry.withdraw(now)
            enquiries.save(tx, enquiry)
