"""Enquiries: one organisation asks many services at once whether they could help a person.

An enquiry never names the person. Each service has its own copy, which holds the content and the
service's answer. When the enquiry closes, every copy is blanked except the copy for the service
whose offer was taken; this copy is blanked when the referral that follows ends.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from chassis.errors import Conflict, Invalid, NotFound
from services.referrals.files.domain.unsafe import NOT_STATED, Unsafe
from services.referrals.network.domain.codes import Check
from services.referrals.network.domain.deadline import Calendar, DeadlineKind, Urgency, due_time
from services.referrals.network.domain.service import Attribute, Service

YES = "yes"
MAYBE = "maybe"
WAITLIST = "waitlist"
NO = "no"
OFFERS = (YES, MAYBE, WAITLIST)
NOT_OFFERED = "service_not_offered"
NO_RESPONSE = "no_response"
NOT_TAKEN = "not_taken"
NOT_REFERRED = "not_referred"
OFFER_GONE = "offer_gone"
BY_ASKER = "by_asker"
CONSENT_WITHDRAWN = "consent_withdrawn"

MAX_OPEN, MAX_PER_DAY = 20, 100
MAX_OPEN_ON_PROBATION, MAX_PER_DAY_ON_PROBATION = 2, 5
DAY = timedelta(hours=24)
ENOUGH = 5
"""The smallest number of members with a similar open case that is enough to hide a person.

With fewer, a service that is asked might recognise the person.
"""
MAX_SIMILAR_CASES = 50
CAUTION = 2
"""The number subtracted from every count, to err on the safe side.

A person who resembles nobody is then seldom reported as one of many.
"""


class EnquiryState(Enum):
    """The state of an enquiry."""

    OPEN = "open"
    MATCHED = "matched"
    CANCELLED = "cancelled"
    EXHAUSTED = "exhausted"


S = EnquiryState


@dataclass(frozen=True)
class Content:
    """The content of an enquiry: all fields that it may have."""

    need_code: str
    urgency: Urgency
    age_band: str = ""
    gender_code: str = ""
    dependants: int | None = None
    languages: tuple[str, ...] = ()
    accessibility_codes: tuple[str, ...] = ()
    country: str = ""
    department: str = ""

    def check(self) -> None:
        """Refuses an unknown need code."""
        check = Check()
        check.need("content.need_code", self.need_code)
        check.done()

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """Returns the attributes that the content states."""
        return tuple(
            attribute
            for attribute in Attribute
            if getattr(self, attribute.field) not in ("", (), None)
        )

    @property
    def questions(self) -> "list[Content]":
        """Returns one variant of the content per language, or one variant if it has no language.

        Similar cases are counted per variant. The country is taken from the department, if the
        content has a department. There is no variant with several languages, since adding a
        language that nobody speaks would make a new question.
        """
        with_country = replace(self, country=self.department.partition("-")[0] or self.country)
        return [replace(with_country, languages=(tag,)) for tag in self.languages] or [with_country]

    @property
    def question_text(self) -> str:
        """Returns, as one text, the country and the attributes that a count takes into account.

        Need, urgency and accessibility are left out.
        """
        return "|".join(
            [
                self.country,
                *(
                    f"{attribute.value}={getattr(self, attribute.field)}"
                    for attribute in self.attributes
                ),
            ]
        )

    def without(self, attributes: Collection[Attribute]) -> "Content":
        """Returns the content without these attributes."""
        empty_content = Content(self.need_code, self.urgency)
        empty_values: dict[str, Any] = {
            attribute.field: getattr(empty_content, attribute.field) for attribute in attributes
        }
        return replace(self, **empty_values)


def unused_attributes(content: Content, services: Sequence[Service]) -> tuple[Attribute, ...]:
    """Returns the attributes of the content that none of the services uses as a criterion.

    A service whose criteria are not known may use any attribute, so with such a service the result
    is empty.
    """
    if any(service.uses is None for service in services):
        return ()
    return tuple(
        attribute
        for attribute in content.attributes
        if not any(attribute in (service.uses or ()) for service in services)
    )


def disclosed_count(sender_count: int, digest: bytes) -> int:
    """Returns a count, safe to disclose, of the members with a similar case.

    Noise is added to the exact count and CAUTION subtracted. The result is rounded down to a
    multiple of ENOUGH, and lies between 0 and MAX_SIMILAR_CASES. The noise is the number of leading
    zero bits in the first half of `digest`, minus the number of leading zero bits in the second
    half. Each further zero is half as likely, so no answer proves that there is one case more or
    less. `digest` is the keyed hash of the question, so the same question always gets the same
    answer.
    """
    half = len(digest) // 2
    noisy_count = (
        sender_count + _leading_zeros(digest[:half]) - _leading_zeros(digest[half:]) - CAUTION
    )
    return min(max(noisy_count - noisy_count % ENOUGH, 0), MAX_SIMILAR_CASES)


def _leading_zeros(data: bytes) -> int:
    return len(data) * 8 - int.from_bytes(data).bit_length()


def attribute_to_omit(
    similar_count: int, counts_without: Mapping[Attribute, int]
) -> Attribute | None:
    """Returns the attribute whose omission makes the most cases similar to the person's.

    Compares disclosed counts. If no omission raises the count, the first attribute is returned.
    Returns None if nothing needs to be hidden, or if there is no attribute to leave out.
    """
    if similar_count >= ENOUGH or not counts_without:
        return None
    best = max(counts_without, key=lambda attribute: counts_without[attribute])
    return best if counts_without[best] > similar_count else next(iter(counts_without))


@dataclass
class Offer:
    """The copy of an enquiry for one service; `content` is None once the copy is blanked.

    `state` is the state of the enquiry that this copy shows.
    """

    service_id: str
    organization_id: str
    content: Content | None
    update_time: datetime
    version: int = 1
    state: EnquiryState = S.OPEN
    answer: str = ""
    reason_code: str = ""
    answer_time: datetime | None = None
    taken: bool = False


@dataclass(frozen=True)
class EnquiryEvent:
    """An event of an enquiry; each event makes a new version of the enquiry."""

    version: int
    verb: str
    time: datetime
    # empty if a deadline, the refusal of the last service or the person's withdrawal was the cause
    actor_organization_id: str = ""
    offer: Offer | None = None
    first_offer: bool = False
    clock: DeadlineKind | None = None


@dataclass
class Enquiry:
    """An enquiry by one organisation.

    Only this organisation knows the contact, the file, the worker and the omitted attributes.
    """

    id: str
    organization_id: str
    worker_id: str
    content: Content
    create_time: datetime
    update_time: datetime
    start_time: datetime
    due_time: datetime | None
    left_out: tuple[Attribute, ...] = ()  # attributes of the content that are in no copy
    unsafe: Unsafe = NOT_STATED
    contact_id: str = ""
    person_id: str = ""
    state: EnquiryState = S.OPEN
    version: int = 0
    # whether the asker was reminded of waiting offers, or of an accepted offer without a referral
    reminded: bool = False
    taken_service_id: str = ""
    referral_id: str = ""
    reason_code: str = ""
    urgency_reason_code: str = ""  # why its urgency is below that of the contact's answers
    offers: list[Offer] = field(default_factory=list)
    events: list[EnquiryEvent] = field(default_factory=list)  # events that are not stored yet

    @classmethod
    def open(
        cls,
        identifier: str,
        asker: tuple[str, str],
        content: Content,
        services: Sequence[Service],
        now: datetime,
        calendar: Calendar,
        *,
        left_out: Sequence[Attribute] = (),
        unsafe: Unsafe = NOT_STATED,
        contact_id: str = "",
        person_id: str = "",
        urgency_reason_code: str = "",
    ) -> "Enquiry":
        """Opens an enquiry to all the services at once; `asker` is (organisation, worker)."""
        until = due_time(DeadlineKind.ACKNOWLEDGE, content.urgency, now, calendar)
        enquiry = cls(
            identifier,
            *asker,
            content,
            now,
            now,
            now,
            until,
            tuple(left_out),
            unsafe,
            contact_id,
            person_id,
            urgency_reason_code=urgency_reason_code,
        )
        enquiry.offers = [
            Offer(service.id, service.organization_id, content.without(left_out), now)
            for service in services
        ]
        enquiry._add_event("opened", now, enquiry.organization_id)
        return enquiry

    @property
    def has_offer(self) -> bool:
        """Returns whether a service has made an offer."""
        return any(offer.answer in OFFERS for offer in self.offers)

    @property
    def waits(self) -> bool:
        """Returns whether the enquiry is open, or its accepted offer waits for a referral."""
        return self.state is S.OPEN or (self.state is S.MATCHED and not self.referral_id)

    def answer(
        self, service_id: str, organization_id: str, answer: str, reason_code: str, now: datetime
    ) -> None:
        """Records the answer of a service, which may replace its earlier answer.

        Ends the enquiry once all services have refused. Raises NotFound if the organisation has no
        copy for this service, Invalid for a refusal without a reason or a reason without a refusal,
        and Conflict if the enquiry is no longer open.
        """
        offer = self._offer(service_id)
        if offer is None or offer.organization_id != organization_id:
            raise NotFound
        if (answer == NO) != bool(reason_code):
            raise Invalid(("reason_code", "required" if answer == NO else "out_of_range"))
        self._check_open()
        if offer.state is not S.OPEN:
            raise Conflict("enquiry_cancelled")
        is_first_offer = answer in OFFERS and not self.has_offer
        offer.answer, offer.reason_code, offer.answer_time = answer, reason_code, now
        offer.version, offer.update_time = offer.version + 1, now
        self._add_event("answered", now, organization_id, offer, first_offer=is_first_offer)
        if all(offer.answer == NO for offer in self.offers):
            self._end(S.EXHAUSTED, "exhausted", self._exhaustion_reason(), now)

    def take(self, service_id: str, answer: str, now: datetime, calendar: Calendar) -> None:
        """Takes an offer, if the service's answer is still the one that the caller read.

        Closes and blanks the copies of the other services, and starts the time in which a referral
        is expected. Raises Conflict if the enquiry is no longer open, or (with the reason
        offer_gone) if the answer is not an offer or has changed.
        """
        self._check_open()
        offer = self._offer(service_id)
        if offer is None or answer not in OFFERS or offer.answer != answer:
            raise Conflict(OFFER_GONE)
        offer.taken, self.taken_service_id = True, service_id
        self.reminded, self.start_time = False, now
        self._close(S.MATCHED, now)
        self.due_time = due_time(DeadlineKind.ACKNOWLEDGE, self.content.urgency, now, calendar)
        self._add_event("matched", now, self.organization_id, offer)
        self._add_not_taken_events(now)

    def cancel(self, now: datetime) -> None:
        """Cancels the enquiry. Raises Conflict if it has ended, or a referral follows it."""
        if not self.waits:
            self._check_open()
        self.withdraw(now, BY_ASKER)

    def withdraw(self, now: datetime, reason_code: str = CONSENT_WITHDRAWN) -> None:
        """Cancels the enquiry, even if an offer was taken, and blanks every copy.

        The event names the offer that was taken, so that its service learns that nobody will come.
        It names the asker only if the asker cancelled the enquiry; otherwise the asker is notified.
        """
        was_open, released_offer = self.state is S.OPEN, self._offer(self.taken_service_id)
        if released_offer:
            released_offer.taken = False
        self.taken_service_id = ""
        actor_organization_id = self.organization_id if reason_code == BY_ASKER else ""
        self._end(S.CANCELLED, "cancelled", reason_code, now, actor_organization_id, released_offer)
        if was_open:
            self._add_not_taken_events(now)

    def stop_asking(self, service_ids: Collection[str], now: datetime) -> None:
        """Blanks the copies of these services.

        If the enquiry is open, the copies are closed, too, and the asker sees each of them as a
        refusal. The reason for the refusal is NOT_OFFERED, unless the service had already refused
        for another reason. Ends the enquiry if every service has now refused.
        """
        copies = [
            offer
            for offer in self.offers
            if offer.service_id in service_ids and offer.content is not None
        ]
        for offer in copies:
            offer.content, offer.version, offer.update_time = None, offer.version + 1, now
            if self.state is S.OPEN:
                answer_before, offer.state = offer.answer, S.CANCELLED
                offer.answer = NO
                offer.reason_code = offer.reason_code or NOT_OFFERED
                offer.answer_time = now
                if answer_before != NO:
                    self._add_event("answered", now, offer.organization_id, offer)
        if copies and self.state is S.OPEN and all(offer.answer == NO for offer in self.offers):
            self._end(S.EXHAUSTED, "exhausted", self._exhaustion_reason(), now)

    def refer(self, referral_id: str, person_id: str, now: datetime) -> None:
        """Links the referral that follows the accepted offer, and its person; stops the deadline.

        The referral has deadlines of its own. Raises Conflict if there is no accepted offer, or if
        a referral follows it already.
        """
        if self.state is not S.MATCHED or self.referral_id:
            raise Conflict("illegal_transition")
        self.referral_id, self.person_id, self.due_time = referral_id, person_id, None
        self._add_event("referred", now, self.organization_id)

    def fire(self, now: datetime, calendar: Calendar) -> None:
        """Acts on the deadline, if it has passed.

        Ends an open enquiry without an offer. Otherwise reminds the asker of the offers, or of the
        accepted offer that waits for a referral. After the reminder, the asker gets the same time
        once more; when this time has passed, the offers lapse and the enquiry is cancelled.
        """
        if self.due_time is None or self.due_time > now:
            return
        if self.state is S.OPEN and not self.has_offer:
            self._end(S.EXHAUSTED, "exhausted", self._exhaustion_reason(), now)
        elif self.reminded:
            self.withdraw(now, NOT_TAKEN if self.state is S.OPEN else NOT_REFERRED)
        else:
            next_due_time = due_time(DeadlineKind.ACKNOWLEDGE, self.content.urgency, now, calendar)
            self.start_time, self.due_time, self.reminded = now, next_due_time, True
            self._add_event("offers_waiting", now)

    def _exhaustion_reason(self) -> str:
        """Returns the reason why no service is left.

        The reason is `no_response` if any service did not answer, otherwise the most common reason
        for refusal.
        """
        if any(not offer.answer for offer in self.offers):
            return NO_RESPONSE
        return Counter(offer.reason_code for offer in self.offers).most_common(1)[0][0]

    def _offer(self, service_id: str) -> Offer | None:
        return next((offer for offer in self.offers if offer.service_id == service_id), None)

    def _check_open(self) -> None:
        if self.state is S.MATCHED:
            raise Conflict("enquiry_taken")
        if self.state is S.CANCELLED:
            raise Conflict("enquiry_cancelled")
        if self.state is S.EXHAUSTED:
            raise Conflict("enquiry_exhausted")

    def _end(
        self,
        state: EnquiryState,
        verb: str,
        reason_code: str,
        now: datetime,
        actor_organization_id: str = "",
        released_offer: Offer | None = None,
    ) -> None:
        self.reason_code, self.due_time = reason_code, None
        self._close(state, now)
        self._add_event(verb, now, actor_organization_id, released_offer)

    def _close(self, state: EnquiryState, now: datetime) -> None:
        self.state = state
        for offer in self.offers:
            offer.state, offer.version, offer.update_time = state, offer.version + 1, now
            if not offer.taken:
                offer.content = None

    def _add_not_taken_events(self, now: datetime) -> None:
        """Records once for each organisation with an offer that its offer was not taken."""
        notified_ids = {offer.organization_id for offer in self.offers if offer.taken}
        for offer in self.offers:
            if offer.answer in OFFERS and offer.organization_id not in notified_ids:
                notified_ids.add(offer.organization_id)
                self._add_event(NOT_TAKEN, now, offer=offer)

    def _add_event(
        self,
        verb: str,
        now: datetime,
        actor_organization_id: str = "",
        offer: Offer | None = None,
        *,
        first_offer: bool = False,
    ) -> None:
        self.version, self.update_time = self.version + 1, now
        clock = None if actor_organization_id or verb == NOT_TAKEN else DeadlineKind.ACKNOWLEDGE
        self.events.append(
            EnquiryEvent(self.version, verb, now, actor_organization_id, offer, first_offer, clock)
        )


@dataclass(frozen=True)
class ReceivedEnquiry:
    """The copies of an enquiry that belong to one organisation."""

    id: str
    offers: list[Offer]
    create_time: datetime
    due_time: datetime

    @property
    def version(self) -> int:
        """Returns a number that changes whenever one of these copies changes.

        The enquiry's own version is not used, since it would reveal how many services have
        answered.
        """
        return sum(offer.version for offer in self.offers)

    @property
    def content(self) -> Content | None:
        """Returns the content, or None if all these copies are blanked."""
        return next((offer.content for offer in self.offers if offer.content), None)
