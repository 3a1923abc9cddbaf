"""The enquiry: many services are asked at once whether they could help somebody of whom nothing is
said that names her. It asks before it tells.

Each service that is asked has a copy of its own, with the content and its answer; when the enquiry
closes, all copies but the taken one are blanked.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from chassis.errors import Conflict, Invalid, NotFound
from services.referrals.files.domain.unsafe import UNSAID, Unsafe
from services.referrals.network.domain.codes import Check
from services.referrals.network.domain.deadline import Calendar, DeadlineKind, Urgency, due_time
from services.referrals.network.domain.service import Attribute, Service

YES = "yes"
MAYBE = "maybe"
WAITLIST = "waitlist"
NO = "no"
OFFERS = (YES, MAYBE, WAITLIST)
NOT_OFFERED = "service_not_offered"
NO_RESPONSE, NOT_TAKEN, BY_ASKER, CONSENT_WITHDRAWN = (
    "no_response",
    "not_taken",
    "by_asker",
    "consent_withdrawn",
)

MOST_OPEN, MOST_A_DAY = 20, 100
MOST_OPEN_ON_PROBATION, MOST_A_DAY_ON_PROBATION = 2, 5
DAY = timedelta(hours=24)
FEW = 5
"""Fewer members with an open case that looks like hers, and who is asked might know who she is."""
MOST_COUNTED = 50
CAUTION = 2
"""By so much every count is lowered: of nobody like her it is seldom said that there are enough."""


class EnquiryState(Enum):
    """Where an enquiry stands."""

    OPEN = "open"
    MATCHED = "matched"
    CANCELLED = "cancelled"
    EXHAUSTED = "exhausted"


S = EnquiryState


@dataclass(frozen=True)
class Content:
    """All that an enquiry may say."""

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
        """Refuses a need that is none, and a department of another country."""
        check = Check()
        check.need("content.need_code", self.need_code)
        same = (
            not self.department
            or not self.country
            or self.department.startswith(f"{self.country}-")
        )
        check.that(same, "content.department", "unknown_code")
        check.done()

    @property
    def said(self) -> tuple[Attribute, ...]:
        """Which attributes it says."""
        return tuple(each for each in Attribute if getattr(self, each.field) not in ("", (), None))

    @property
    def questions(self) -> "list[Content]":
        """What is counted, in one form: with the country of its department, and one language each,
        or a language that nobody speaks would make another question of it.
        """
        placed = replace(self, country=self.department.partition("-")[0] or self.country)
        return [replace(placed, languages=(tag,)) for tag in self.languages] or [placed]

    @property
    def asked(self) -> str:
        """The question as text: what is not counted by (need, urgency, access) is not in it."""
        return "|".join(
            [self.country, *(f"{each.value}={getattr(self, each.field)}" for each in self.said)]
        )

    def without(self, attributes: Collection[Attribute]) -> "Content":
        """The same with these attributes left out."""
        nothing = Content(self.need_code, self.urgency)
        empty: dict[str, Any] = {each.field: getattr(nothing, each.field) for each in attributes}
        return replace(self, **empty)


def unused(content: Content, services: Sequence[Service]) -> tuple[Attribute, ...]:
    """Which of what is said no service decides by.

    One of which that was not heard may decide by any.
    """
    if any(service.uses is None for service in services):
        return ()
    return tuple(
        each
        for each in content.said
        if not any(each in (service.uses or ()) for service in services)
    )


def told(senders: int, digest: bytes) -> int:
    """As much as may be said of how many members have a case like hers: with noise, rounded down to
    a multiple of FEW; 0 for few.

    The noise is the difference of two numbers of leading zeros: each value is half as likely as the
    one before it, so that no answer proves one case more or less. `digest` is the keyed hash of the
    question: whoever asks again hears the same.
    """
    half = len(digest) // 2
    noisy = senders + _leading_zeros(digest[:half]) - _leading_zeros(digest[half:]) - CAUTION
    return min(max(noisy - noisy % FEW, 0), MOST_COUNTED)


def _leading_zeros(data: bytes) -> int:
    return len(data) * 8 - int.from_bytes(data).bit_length()


def coarser(alike: int, without: Mapping[Attribute, int]) -> Attribute | None:
    """The attribute without which most cases look like hers, by counts that may be told; None where
    nothing need be hidden, or nothing hides her.
    """
    if alike >= FEW or not without:
        return None
    best = max(without, key=lambda each: without[each])
    return best if without[best] > alike else next(iter(without))


@dataclass
class Offer:
    """The copy of one service that is asked; `content` is None once it is blanked.

    `state` is what this copy knows of the enquiry's.
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
    """What happened: one version of the enquiry."""

    version: int
    verb: str
    time: datetime
    actor_organization_id: str = ""  # empty: the clock
    offer: Offer | None = None
    first_offer: bool = False
    clock: DeadlineKind | None = None


@dataclass
class Enquiry:
    """What one organisation asks; contact, file, worker and what was left out of the content are
    its own and told to nobody.
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
    unsafe: Unsafe = UNSAID
    contact_id: str = ""
    person_id: str = ""
    state: EnquiryState = S.OPEN
    version: int = 0
    reminded: bool = False  # that offers wait, or that the referral does
    taken_service_id: str = ""
    referral_id: str = ""
    reason_code: str = ""
    offers: list[Offer] = field(default_factory=list)
    events: list[EnquiryEvent] = field(default_factory=list)  # those that are not yet kept

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
        unsafe: Unsafe = UNSAID,
        contact_id: str = "",
        person_id: str = "",
    ) -> "Enquiry":
        """Asks all at once; `asker` is (organisation, worker)."""
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
        )
        enquiry.offers = [
            Offer(service.id, service.organization_id, content.without(left_out), now)
            for service in services
        ]
        enquiry._note("opened", now, enquiry.organization_id)
        return enquiry

    @property
    def is_offered(self) -> bool:
        """Whether somebody offers something."""
        return any(offer.answer in OFFERS for offer in self.offers)

    @property
    def waits(self) -> bool:
        """Whether somebody is asked, or the offer that was taken waits for a referral."""
        return self.state is S.OPEN or (self.state is S.MATCHED and not self.referral_id)

    def answer(
        self, service_id: str, organization_id: str, answer: str, reason_code: str, now: datetime
    ) -> None:
        """A service says what it could do, or says it anew; when all have said no, nobody is
        left.
        """
        offer = self._offer(service_id)
        if offer is None or offer.organization_id != organization_id:
            raise NotFound
        if (answer == NO) != bool(reason_code):
            raise Invalid(("reason_code", "required" if answer == NO else "out_of_range"))
        self._check_open()
        first = answer in OFFERS and not self.is_offered
        offer.answer, offer.reason_code, offer.answer_time = answer, reason_code, now
        offer.version, offer.update_time = offer.version + 1, now
        self._note("answered", now, organization_id, offer, first_offer=first)
        if all(offer.answer == NO for offer in self.offers):
            self._end(S.EXHAUSTED, "exhausted", self._why_nobody(), now)

    def take(self, service_id: str, answer: str, now: datetime, calendar: Calendar) -> None:
        """Takes an offer as it was read.

        The others' copies are closed and blanked; a referral is waited for.
        """
        self._check_open()
        offer = self._offer(service_id)
        if offer is None or answer not in OFFERS or offer.answer != answer:
            raise Conflict("offer_gone")
        offer.taken, self.taken_service_id = True, service_id
        self.reminded, self.start_time = False, now
        self._close(S.MATCHED, now)
        self.due_time = due_time(DeadlineKind.ACKNOWLEDGE, self.content.urgency, now, calendar)
        self._note("matched", now, self.organization_id, offer)

    def cancel(self, reason_code: str, now: datetime, by: str) -> None:
        """Nobody is asked any more."""
        self._check_open()
        self._end(S.CANCELLED, "cancelled", reason_code, now, by)

    def withdraw(self, now: datetime) -> None:
        """She took back what she had allowed: nobody is asked any more, and the copy that was taken
        is blanked too.
        """
        for offer in self.offers:
            offer.taken = False
        self.taken_service_id = ""
        self._end(S.CANCELLED, "cancelled", CONSENT_WITHDRAWN, now, self.organization_id)

    def stop_asking(self, service_ids: Collection[str], now: datetime) -> None:
        """These services are asked no more: their copies are closed and blanked, and to the asker
        they say that they do not offer it.
        """
        gone = [
            offer
            for offer in self.offers
            if offer.service_id in service_ids and offer.content is not None
        ]
        for offer in gone:
            offer.content, offer.version, offer.update_time = None, offer.version + 1, now
            if self.state is S.OPEN:
                said, offer.state = offer.answer, S.CANCELLED
                offer.answer, offer.reason_code, offer.answer_time = (
                    NO,
                    offer.reason_code or NOT_OFFERED,
                    now,
                )
                if said != NO:
                    self._note("answered", now, offer.organization_id, offer)
        if gone and self.state is S.OPEN and all(offer.answer == NO for offer in self.offers):
            self._end(S.EXHAUSTED, "exhausted", self._why_nobody(), now)

    def refer(self, referral_id: str, now: datetime) -> None:
        """A referral goes on from what was taken: one, and its own clocks watch it."""
        if self.state is not S.MATCHED or self.referral_id:
            raise Conflict("illegal_transition")
        self.referral_id, self.due_time = referral_id, None
        self._note("referred", now, self.organization_id)

    def fire(self, now: datetime, calendar: Calendar) -> None:
        """The time is over: nobody is left, or offers wait, and once more as long.

        Who then took none has let them go.
        """
        if self.due_time is None or self.due_time > now:
            return
        if self.state is S.OPEN and not self.is_offered:
            self._end(S.EXHAUSTED, "exhausted", self._why_nobody(), now)
        elif self.state is S.OPEN and self.reminded:
            self._end(S.CANCELLED, "cancelled", NOT_TAKEN, now)
        else:
            again = due_time(DeadlineKind.ACKNOWLEDGE, self.content.urgency, now, calendar)
            self.start_time, self.due_time, self.reminded = (
                now,
                again if self.state is S.OPEN else None,
                True,
            )
            self._note("offers_waiting", now)

    def _why_nobody(self) -> str:
        """The most frequent reason; that somebody did not answer counts more than what the others
        said.
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
        self, state: EnquiryState, verb: str, reason_code: str, now: datetime, by: str = ""
    ) -> None:
        self.reason_code, self.due_time = reason_code, None
        self._close(state, now)
        self._note(verb, now, by)

    def _close(self, state: EnquiryState, now: datetime) -> None:
        self.state = state
        for offer in self.offers:
            offer.state, offer.version, offer.update_time = state, offer.version + 1, now
            if not offer.taken:
                offer.content = None

    def _note(
        self,
        verb: str,
        now: datetime,
        by: str = "",
        offer: Offer | None = None,
        *,
        first_offer: bool = False,
    ) -> None:
        self.version, self.update_time = self.version + 1, now
        clock = None if by else DeadlineKind.ACKNOWLEDGE
        self.events.append(EnquiryEvent(self.version, verb, now, by, offer, first_offer, clock))


@dataclass(frozen=True)
class Received:
    """What was put to one organisation: its own copies."""

    id: str
    offers: list[Offer]
    create_time: datetime
    due_time: datetime

    @property
    def version(self) -> int:
        """Another number whenever one of the copies changed; that of the enquiry would say how many
        answered.
        """
        return sum(offer.version for offer in self.offers)

    @property
    def content(self) -> Content | None:
        """What is said, while one of the copies says it."""
        return next((offer.content for offer in self.offers if offer.content), None)
