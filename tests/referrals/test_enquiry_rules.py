"""The rules of an enquiry, without database and ports.

The tests cover the table of states, deadlines, copies that are taken back, and random lives
against a small model.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import NotFound, Refusal
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.network.domain.deadline import DeadlineKind, Urgency
from services.referrals.network.domain.service import Attribute, Service
from services.referrals.referrals.domain.enquiry import Content, Enquiry, EnquiryState
from tests.builders import NOON, conflict_of
from tests.referrals.test_lifecycle import DAYS

A = Attribute
CONTENT = Content(
    "HOU.EMG", Urgency.EMERGENCY, "18-24", "Feminine", 1, ("es",), ("step_free",), "NI", "NI-CI"
)
SERVICES = [Service(name, f"org-{name}", frozenset()) for name in "abc"]


def open_enquiry(services: list[Service] = SERVICES) -> Enquiry:
    enquiry = Enquiry.open("e", ("asker", "worker"), CONTENT, services, NOON, DAYS)
    enquiry.events.clear()
    return enquiry


def answer(enquiry: Enquiry, name: str, given_answer: str, now: datetime = NOON) -> None:
    enquiry.answer(
        name, f"org-{name}", given_answer, "no_capacity" if given_answer == "no" else "", now
    )


def answered_enquiry(*answers: tuple[str, str]) -> Enquiry:
    """Returns an enquiry with these services' answers."""
    enquiry = open_enquiry()
    for name, given_answer in answers:
        answer(enquiry, name, given_answer)
    return enquiry


def matched_enquiry() -> Enquiry:
    enquiry = answered_enquiry(("a", "yes"))
    enquiry.take("a", "yes", NOON, DAYS)
    return enquiry


def referred_enquiry() -> Enquiry:
    enquiry = matched_enquiry()
    enquiry.refer("r", "person", NOON)
    return enquiry


def cancelled_enquiry() -> Enquiry:
    enquiry = open_enquiry()
    enquiry.cancel(NOON)
    return enquiry


def exhausted_enquiry() -> Enquiry:
    return answered_enquiry(("a", "no"), ("b", "no"), ("c", "no"))


ENQUIRIES = {
    "open": open_enquiry,
    "matched": matched_enquiry,
    "referred": referred_enquiry,
    "cancelled": cancelled_enquiry,
    "exhausted": exhausted_enquiry,
}
STEPS: dict[str, Callable[[Enquiry], None]] = {
    "answer": lambda enquiry: answer(enquiry, "b", "yes"),
    "take": lambda enquiry: enquiry.take("a", "yes", NOON, DAYS),
    "cancel": lambda enquiry: enquiry.cancel(NOON),
    "refer": lambda enquiry: enquiry.refer("r", "person", NOON),
}
# The result of each step in each state: a state, or the reason of the refusal.
TABLE = {
    ("open", "answer"): "open",
    ("open", "take"): "offer_gone",
    ("open", "cancel"): "cancelled",
    ("open", "refer"): "illegal_transition",
    ("matched", "answer"): "enquiry_taken",
    ("matched", "take"): "enquiry_taken",
    ("matched", "cancel"): "cancelled",
    ("matched", "refer"): "matched",
    ("referred", "answer"): "enquiry_taken",
    ("referred", "take"): "enquiry_taken",
    ("referred", "cancel"): "enquiry_taken",
    ("referred", "refer"): "illegal_transition",
    ("cancelled", "answer"): "enquiry_cancelled",
    ("cancelled", "take"): "enquiry_cancelled",
    ("cancelled", "cancel"): "enquiry_cancelled",
    ("cancelled", "refer"): "illegal_transition",
    ("exhausted", "answer"): "enquiry_exhausted",
    ("exhausted", "take"): "enquiry_exhausted",
    ("exhausted", "cancel"): "enquiry_exhausted",
    ("exhausted", "refer"): "illegal_transition",
}


@pytest.mark.parametrize(
    ("state", "step"), [(state, step) for state in ENQUIRIES for step in STEPS]
)
def test_every_step_in_every_state_follows_the_table(state: str, step: str) -> None:
    enquiry = ENQUIRIES[state]()
    state_before = (
        enquiry.version,
        enquiry.state,
        [vars(offer).copy() for offer in enquiry.offers],
    )
    if TABLE[state, step] in ENQUIRIES:
        STEPS[step](enquiry)
        assert enquiry.state.value == TABLE[state, step]
        return
    assert conflict_of(lambda: STEPS[step](enquiry)) == TABLE[state, step]
    assert (
        enquiry.version,
        enquiry.state,
        [vars(offer) for offer in enquiry.offers],
    ) == state_before, "a refusal changes nothing"


def test_only_the_owner_of_an_asked_service_can_answer() -> None:
    for service, organization in (("d", "org-d"), ("a", "org-b")):
        with pytest.raises(NotFound):
            open_enquiry().answer(service, organization, "yes", "", NOON)


def test_an_exhausted_enquiry_has_the_most_frequent_reason_or_no_response_after_any_silence() -> (
    None
):
    enquiry = open_enquiry()
    for name, reason in (("a", "out_of_area"), ("b", "no_capacity"), ("c", "no_capacity")):
        enquiry.answer(name, f"org-{name}", "no", reason, NOON)
    assert enquiry.reason_code == "no_capacity"
    unanswered_enquiry = open_enquiry()
    unanswered_enquiry.answer("a", "org-a", "no", "no_capacity", NOON)
    unanswered_enquiry.fire(NOON + timedelta(hours=1), DAYS)
    assert (unanswered_enquiry.state, unanswered_enquiry.reason_code) == (
        EnquiryState.EXHAUSTED,
        "no_response",
    )


def test_attributes_omitted_from_the_copies_stay_with_the_asker() -> None:
    enquiry = Enquiry.open(
        "e", ("asker", ""), CONTENT, SERVICES, NOON, DAYS, left_out=[A.DEPARTMENT, A.GENDER]
    )
    assert enquiry.content == CONTENT
    assert {offer.content for offer in enquiry.offers} == {
        CONTENT.without([A.DEPARTMENT, A.GENDER])
    }


def test_an_enquiry_waits_while_it_is_open_or_until_a_referral_follows_its_accepted_offer() -> None:
    enquiries = {state: make_enquiry() for state, make_enquiry in ENQUIRIES.items()}
    waiting_states = {state for state, enquiry in enquiries.items() if enquiry.waits}
    states_with_due_time = {state for state, enquiry in enquiries.items() if enquiry.due_time}
    assert waiting_states == states_with_due_time == {"open", "matched"}


class Model:
    """A small model of the life of an enquiry, written independently of the rules."""

    def __init__(self) -> None:
        self.state, self.answers, self.taken, self.rounds = "open", dict.fromkeys("abc", ""), "", 0

    def answer(self, name: str, given_answer: str) -> bool:
        if self.state != "open":
            return False
        self.answers[name] = given_answer
        if set(self.answers.values()) == {"no"}:
            self.state = "exhausted"
        return True

    def take(self, name: str, given_answer: str) -> bool:
        if (
            self.state != "open"
            or given_answer not in ("yes", "maybe", "waitlist")
            or self.answers[name] != given_answer
        ):
            return False
        self.state, self.taken, self.rounds = "matched", name, 0
        return True

    def cancel(self) -> bool:
        if self.state not in ("open", "matched"):
            return False
        self.state, self.taken = "cancelled", ""
        return True

    def let_time_pass(self) -> None:
        if self.state == "open":
            has_offer = bool({"yes", "maybe", "waitlist"} & set(self.answers.values()))
            self.rounds += has_offer
            self.state = (
                "exhausted" if not has_offer else "cancelled" if self.rounds > 1 else "open"
            )
        elif self.state == "matched":
            self.rounds += 1
            if self.rounds > 1:
                self.state, self.taken = "cancelled", ""


ANSWERS = st.sampled_from(["yes", "maybe", "waitlist", "no"])
LIVES = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.sampled_from("abc"), ANSWERS),
        st.tuples(st.just("take"), st.sampled_from("abc"), ANSWERS),
        st.tuples(st.just("cancel"), st.none(), st.none()),
        st.tuples(st.just("wait"), st.none(), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=400, deadline=None)
@given(LIVES)
def test_random_lives_match_the_model(life: list[tuple[str, Any, Any]]) -> None:
    enquiry, model, now = open_enquiry(), Model(), NOON
    for step, name, given_answer in life:
        version, succeeded = enquiry.version, True
        try:
            if step == "answer":
                answer(enquiry, name, given_answer, now)
            elif step == "take":
                enquiry.take(name, given_answer, now, DAYS)
            elif step == "cancel":
                enquiry.cancel(now)
            else:
                now += timedelta(hours=1)
                enquiry.fire(now, DAYS)
        except Refusal:
            succeeded = False
            assert enquiry.version == version
        if step == "wait":
            model.let_time_pass()
        elif step == "cancel":
            assert succeeded == model.cancel()
        else:
            assert succeeded == getattr(model, step)(name, given_answer), (step, name, given_answer)
        assert (enquiry.state.value, enquiry.taken_service_id) == (model.state, model.taken)
        for offer in enquiry.offers:
            is_shown = enquiry.state is EnquiryState.OPEN or offer.taken
            assert ((offer.content is not None), offer.state) == (is_shown, enquiry.state)
        assert [event.version for event in enquiry.events] == list(range(2, enquiry.version + 1)), (
            "the versions of the events have no gap"
        )
        assert enquiry.due_time is not None or not enquiry.waits, (
            "an enquiry that waits has a due time"
        )


def events_of(enquiry: Enquiry) -> list[tuple[str, str, str, bool]]:
    """Returns the events since the opening.

    Each has a verb, an actor, the receiver of the copy, and whether it was the first offer.
    """
    return [
        (
            event.verb,
            event.actor_organization_id,
            event.offer.service_id if event.offer else "",
            event.first_offer,
        )
        for event in enquiry.events
    ]


def test_each_answer_and_the_exhaustion_are_events_and_only_the_first_offer_is_marked() -> None:
    assert [verb for verb, *_ in events_of(exhausted_enquiry())][-2:] == ["answered", "exhausted"]
    assert events_of(answered_enquiry(("a", "no"), ("b", "yes"), ("c", "yes"), ("b", "no"))) == [
        ("answered", "org-a", "a", False),
        ("answered", "org-b", "b", True),
        ("answered", "org-c", "c", False),
        ("answered", "org-b", "b", False),
    ]


def test_a_cancelled_enquiry_keeps_the_reason_and_the_organisation_that_cancelled_it() -> None:
    enquiry = answered_enquiry(("a", "yes"))
    enquiry.events.clear()
    versions = [offer.version for offer in enquiry.offers]
    enquiry.cancel(LATER)
    assert [offer.version for offer in enquiry.offers] == [version + 1 for version in versions]
    assert {offer.update_time for offer in enquiry.offers} == {LATER}
    assert events_of(enquiry) == [("cancelled", "asker", "", False), ("not_taken", "", "a", False)]
    assert (enquiry.events[0].time, enquiry.events[0].clock) == (LATER, None)
    assert (enquiry.reason_code, enquiry.due_time, enquiry.update_time) == ("by_asker", None, LATER)


def test_each_organisation_whose_offer_was_not_taken_is_told_once_of_the_enquirys_end() -> None:
    second_service = Service("b2", "org-b", frozenset())
    enquiry = open_enquiry([*SERVICES, second_service, Service("a2", "org-a", frozenset())])
    for name, given_answer in (("a", "yes"), ("b", "maybe"), ("c", "no")):
        answer(enquiry, name, given_answer)
    for name, organization in (("a2", "org-a"), ("b2", "org-b")):
        enquiry.answer(name, organization, "waitlist", "", NOON)
    enquiry.take("a", "yes", LATER, DAYS)
    assert [service for verb, _, service, _ in events_of(enquiry) if verb == "not_taken"] == ["b"]
    enquiry.events.clear()
    enquiry.cancel(LATER)
    assert [verb for verb, *_ in events_of(enquiry)] == ["cancelled"], (
        "no organisation is told again"
    )


def test_a_new_enquiry_keeps_the_private_data_of_its_organisation() -> None:
    unsafe = Unsafe("named", ("org",), ("NI-LE",))
    enquiry = Enquiry.open(
        "e",
        ("asker", "worker"),
        CONTENT,
        SERVICES,
        NOON,
        DAYS,
        left_out=[A.LANGUAGES],
        unsafe=unsafe,
        contact_id="contact",
        person_id="person",
    )
    assert (enquiry.id, enquiry.organization_id, enquiry.worker_id) == ("e", "asker", "worker")
    assert (enquiry.content, enquiry.left_out, enquiry.unsafe) == (CONTENT, (A.LANGUAGES,), unsafe)
    assert (enquiry.contact_id, enquiry.person_id) == ("contact", "person")
    assert enquiry.create_time == enquiry.update_time == enquiry.start_time == NOON
    assert {offer.content for offer in enquiry.offers} == {CONTENT.without([A.LANGUAGES])}
    assert [offer.organization_id for offer in enquiry.offers] == ["org-a", "org-b", "org-c"]
    assert {offer.update_time for offer in enquiry.offers} == {NOON}
    assert [(event.verb, event.actor_organization_id) for event in enquiry.events] == [
        ("opened", "asker")
    ]


# The deadline.

HOUR = timedelta(hours=1)  # the time to acknowledge an emergency


def firings(enquiry: Enquiry, *hours: float) -> list[list[str]]:
    """Fires the deadline at each of these hours after the opening; returns the verbs by hour."""
    verbs_by_hour = []
    for hour in hours:
        enquiry.events.clear()
        enquiry.fire(NOON + hour * HOUR, DAYS)
        for event in enquiry.events:
            assert (event.time, event.actor_organization_id) == (NOON + hour * HOUR, "")
            assert event.clock is DeadlineKind.ACKNOWLEDGE or event.verb == "not_taken"
        verbs_by_hour.append([event.verb for event in enquiry.events])
    return verbs_by_hour


def test_an_enquiry_without_an_offer_is_exhausted_when_its_time_has_passed() -> None:
    enquiry = open_enquiry()
    assert firings(enquiry, 0.99, 1, 9) == [[], ["exhausted"], []]
    assert (enquiry.state, enquiry.reason_code, enquiry.due_time) == (
        EnquiryState.EXHAUSTED,
        "no_response",
        None,
    )


@pytest.mark.parametrize("given_answer", ["yes", "maybe", "waitlist"])
def test_offers_wait_for_the_same_time_again_before_they_lapse(given_answer: str) -> None:
    enquiry = answered_enquiry(("a", given_answer))
    assert firings(enquiry, 0.99, 1.5) == [[], ["offers_waiting"]]
    assert (enquiry.state, enquiry.reminded) == (EnquiryState.OPEN, True)
    assert (enquiry.start_time, enquiry.due_time) == (NOON + 1.5 * HOUR, NOON + 2.5 * HOUR)
    assert firings(enquiry, 2.49, 2.5, 9) == [[], ["cancelled", "not_taken"], []]
    assert (enquiry.state, enquiry.reason_code, enquiry.due_time) == (
        EnquiryState.CANCELLED,
        "not_taken",
        None,
    )


def test_an_accepted_offer_waits_for_a_referral_as_long_as_offers_wait_to_be_taken() -> None:
    enquiry = answered_enquiry(("a", "yes"))
    assert firings(enquiry, 1) == [["offers_waiting"]]
    enquiry.take("a", "yes", NOON + 1.5 * HOUR, DAYS)
    assert (enquiry.start_time, enquiry.due_time, enquiry.reminded) == (
        NOON + 1.5 * HOUR,
        NOON + 2.5 * HOUR,
        False,
    )
    assert firings(enquiry, 2.49, 2.5) == [[], ["offers_waiting"]]
    assert (enquiry.state, enquiry.due_time) == (EnquiryState.MATCHED, NOON + 3.5 * HOUR)
    assert firings(enquiry, 3.49, 3.5, 9) == [[], ["cancelled"], []]
    assert (enquiry.state, enquiry.reason_code, enquiry.taken_service_id) == (
        EnquiryState.CANCELLED,
        "not_referred",
        "",
    )
    assert {(offer.content, offer.taken) for offer in enquiry.offers} == {(None, False)}


# Copies that are taken back.

LATER = NOON + HOUR / 2


def test_a_service_no_longer_asked_counts_as_a_refusal_and_keeps_an_earlier_reason() -> None:
    enquiry = answered_enquiry(("a", "yes"), ("b", "no"))
    enquiry.events.clear()
    a, b, c = enquiry.offers
    versions = [offer.version for offer in enquiry.offers]
    enquiry.stop_asking({"a", "b"}, LATER)
    for offer, reason in ((a, "service_not_offered"), (b, "no_capacity")):
        assert (offer.content, offer.state) == (None, EnquiryState.CANCELLED)
        assert (offer.answer, offer.reason_code) == ("no", reason)
        assert offer.answer_time == offer.update_time == LATER
    assert [offer.version for offer in enquiry.offers] == [versions[0] + 1, versions[1] + 1, 1]
    assert (c.content, c.state, c.answer) == (CONTENT, EnquiryState.OPEN, "")
    assert events_of(enquiry) == [("answered", "org-a", "a", False)]
    assert (enquiry.state, enquiry.update_time) == (EnquiryState.OPEN, LATER)

    enquiry.events.clear()
    enquiry.stop_asking({"a", "unknown"}, LATER + HOUR)
    assert (enquiry.events, a.update_time) == ([], LATER), "a blanked copy does not change again"
    enquiry.stop_asking({"c"}, LATER)
    assert events_of(enquiry) == [("answered", "org-c", "c", False), ("exhausted", "", "", False)]
    assert (enquiry.state, enquiry.reason_code) == (EnquiryState.EXHAUSTED, "service_not_offered")
    assert enquiry.update_time == LATER


def test_a_taken_offer_of_a_service_that_is_no_longer_asked_is_blanked_and_stays_taken() -> None:
    enquiry = matched_enquiry()
    enquiry.events.clear()
    enquiry.stop_asking({"a"}, LATER)
    [taken_offer, *_] = enquiry.offers
    assert (taken_offer.content, taken_offer.update_time, taken_offer.taken) == (None, LATER, True)
    assert (taken_offer.answer, taken_offer.state) == ("yes", EnquiryState.MATCHED)
    assert (enquiry.state, enquiry.events) == (EnquiryState.MATCHED, [])


@pytest.mark.parametrize("state", ["open", "matched"])
def test_a_withdrawn_consent_cancels_an_enquiry_blanks_every_copy_and_releases_a_taken_offer(
    state: str,
) -> None:
    enquiry = ENQUIRIES[state]()
    enquiry.events.clear()
    enquiry.withdraw(LATER)
    assert {(offer.content, offer.taken, offer.state) for offer in enquiry.offers} == {
        (None, False, EnquiryState.CANCELLED)
    }
    assert (enquiry.state, enquiry.reason_code, enquiry.taken_service_id, enquiry.due_time) == (
        EnquiryState.CANCELLED,
        "consent_withdrawn",
        "",
        None,
    )
    released_service_id = "a" if state == "matched" else ""
    assert events_of(enquiry) == [("cancelled", "", released_service_id, False)], (
        "the asker is notified"
    )
    assert enquiry.update_time == LATER
