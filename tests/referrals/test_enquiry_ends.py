"""The ends of an enquiry: by its deadline, a referral, a suspension or a withdrawn consent."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from tests.builders import NOON, NOTHING_UNSAFE, refusal, wrong_fields
from tests.referrals.conftest import ORG, SERVICE, Service, Story
from tests.referrals.contact_calls import credentials, update_contact
from tests.referrals.test_any_line import call_again, operator_of
from tests.referrals.test_contacts import completed, referred_caller, status
from tests.referrals.test_enquiries import (
    CONFLICT,
    EnquiryScene,
    answer_request,
    enquiry_ids,
    new_scene,
)
from tests.referrals.test_subscriptions import PartnersFacts

WITHDRAWN = (e.ENQUIRY_STATE_CANCELLED, "consent_withdrawn")
ILLEGAL = (CONFLICT, "illegal_transition")
CANCELLED = (CONFLICT, "enquiry_cancelled")
SHELTER = SERVICE["shelter_bed"]


@pytest.fixture
def scene(service: Service, story: Story) -> Iterator[EnquiryScene]:
    yield from new_scene(service, story)


def state_and_reason(enquiry: e.Enquiry) -> tuple[e.EnquiryState.ValueType, str]:
    return enquiry.state, enquiry.reason_code


# The deadline.


def test_an_enquiry_that_every_service_refuses_is_exhausted_with_their_reason(
    scene: EnquiryScene,
) -> None:
    enquiry = scene.answered(shelter="no")
    copy = scene.answer("clinic", enquiry, "no", "no_capacity")
    assert (copy.state, copy.HasField("content")) == (e.ENQUIRY_STATE_EXHAUSTED, False)
    assert state_and_reason(scene.seen_by(scene.ngo, enquiry)) == (
        e.ENQUIRY_STATE_EXHAUSTED,
        "no_capacity",
    )
    needs = scene.story.coordinator.ListUnmetNeeds().needs
    assert [(need.need_code, need.department, need.reason_code, need.count) for need in needs] == [
        ("HOU.EMG", "NI-CI", "no_capacity", 1)
    ]


@pytest.mark.parametrize(
    ("urgency", "minutes"),
    [
        (pb.URGENCY_IMMEDIATE, 15),
        (pb.URGENCY_EMERGENCY, 60),
        (pb.URGENCY_URGENT, 1440),
        (pb.URGENCY_NORMAL, 2880),
    ],
)
def test_an_enquiry_that_nobody_answers_in_time_is_exhausted_once(
    scene: EnquiryScene, urgency: pb.Urgency.ValueType, minutes: int
) -> None:
    content = e.EnquiryContent(need_code="HOU.EMG", urgency=urgency, country="NI")
    enquiry = scene.create(content)
    assert enquiry.due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(minutes=minutes)
    assert scene.fire(timedelta(minutes=minutes, seconds=-1)) == 0
    assert (scene.fire(timedelta(seconds=1)), scene.fire()) == (1, 0)
    exhausted_enquiry = scene.seen_by(scene.ngo, enquiry)
    assert state_and_reason(exhausted_enquiry) == (e.ENQUIRY_STATE_EXHAUSTED, "no_response")
    assert not exhausted_enquiry.HasField("due_time")


def test_waiting_offers_are_reported_once_and_released_if_nobody_takes_one(
    scene: EnquiryScene,
) -> None:
    enquiry = scene.answered(shelter="waitlist")
    assert (scene.fire(timedelta(hours=1)), scene.fire()) == (1, 0)
    waiting_enquiry = scene.seen_by(scene.ngo, enquiry)
    assert (waiting_enquiry.state, waiting_enquiry.due_time.ToDatetime(NOON.tzinfo)) == (
        e.ENQUIRY_STATE_OPEN,
        NOON + timedelta(hours=2),
    )
    copy = scene.seen_by(scene.clinic, enquiry)
    assert copy.due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(hours=1), (
        "an offer does not concern another receiver"
    )
    assert scene.fire(timedelta(hours=1)) == 1
    assert state_and_reason(scene.seen_by(scene.ngo, enquiry)) == (
        e.ENQUIRY_STATE_CANCELLED,
        "not_taken",
    )
    assert [verb for verb, _ in scene.facts(enquiry)] == [
        "opened",
        "answered",
        "offers_waiting",
        "cancelled",
        "not_taken",
    ]


def begin_nothing(scene: EnquiryScene, enquiry: e.Enquiry) -> None:
    for _ in range(2):
        assert (scene.fire(timedelta(hours=1)), scene.fire()) == (1, 0)


def send_nothing(scene: EnquiryScene, enquiry: e.Enquiry) -> None:
    scene.refer(enquiry)
    for _ in range(3):
        assert scene.seen_by(scene.shelter, enquiry).taken_service_id
        scene.service.fire_after(timedelta(minutes=30))


def assert_copy_is_blank(scene: EnquiryScene, enquiry: e.Enquiry) -> None:
    """Checks that the shelter's copy of a cancelled enquiry holds nothing about the person."""
    copy = scene.seen_by(scene.shelter, enquiry)
    assert (copy.state, copy.HasField("content"), copy.taken_service_id) == (
        e.ENQUIRY_STATE_CANCELLED,
        False,
        "",
    )


@pytest.mark.parametrize("wait", [begin_nothing, send_nothing])
def test_a_taken_offer_is_released_if_no_referral_is_begun_or_sent_in_time(
    scene: EnquiryScene, wait: Callable[[EnquiryScene, e.Enquiry], None]
) -> None:
    enquiry = scene.matched()
    assert enquiry.turn == pb.TURN_SENDER
    wait(scene, enquiry)
    verb, fact = scene.facts(enquiry)[-1]
    assert (verb, fact.service_organization_id, fact.actor_organization_id, fact.reason_code) == (
        "cancelled",
        ORG["shelter"],
        "",
        "not_referred",
    )
    assert_copy_is_blank(scene, enquiry)
    assert scene.seen_by(scene.ngo, enquiry).turn == pb.TURN_UNSPECIFIED


def test_a_draft_whose_offer_was_released_can_still_be_sent(scene: EnquiryScene) -> None:
    draft = scene.refer(scene.matched())
    scene.service.fire_after(timedelta(days=1))
    sent = scene.story.send(draft)
    assert (sent.state, sent.service_id) == (pb.STATE_SENT, SERVICE["shelter_bed"])


def test_an_enquiry_belongs_to_the_person_of_the_referral_that_follows_it(
    scene: EnquiryScene,
) -> None:
    enquiry = scene.matched()
    draft = scene.refer(enquiry)
    assert scene.seen_by(scene.ngo, enquiry).person_id == draft.person_id
    assert enquiry_ids(scene.ngo, e.ENQUIRY_BOX_ASKED, person_id=draft.person_id) == [enquiry.id]
    assert scene.seen_by(scene.shelter, enquiry).person_id == ""


def test_two_processes_fire_each_enquiry_once(scene: EnquiryScene) -> None:
    enquiries = [scene.create() for _ in range(10)]
    scene.service.clock.advance(timedelta(hours=1))
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda _: scene.fire(), range(2))) == len(enquiries)


def test_an_enquiry_whose_deadline_cannot_fire_does_not_delay_others(scene: EnquiryScene) -> None:
    broken_enquiry, intact_enquiry = scene.create(), scene.create()
    scene.service.as_owner(
        "UPDATE enquiries SET urgency = 'whenever' WHERE id = %s", broken_enquiry.id
    )
    assert scene.fire(timedelta(hours=1)) == 1
    assert scene.seen_by(scene.ngo, intact_enquiry).state == e.ENQUIRY_STATE_EXHAUSTED


# From enquiry to referral.


def test_a_referral_from_a_matched_enquiry_takes_its_data_over(scene: EnquiryScene) -> None:
    enquiry = scene.answered(shelter="yes")
    refer = partial(
        scene.ngo.CreateReferral,
        **NOTHING_UNSAFE,
        person_id=scene.story.person().id,
        enquiry_id=enquiry.id,
    )
    assert refusal(refer) == ILLEGAL, "no offer is taken yet"
    scene.take(enquiry)
    draft = refer()
    assert (draft.need_code, draft.urgency, draft.service_id) == (
        "HOU.EMG",
        pb.URGENCY_EMERGENCY,
        SERVICE["shelter_bed"],
    )
    assert draft.receiver_organization_id == ORG["shelter"]
    followed_enquiry = scene.seen_by(scene.ngo, enquiry)
    assert (
        followed_enquiry.referral_id,
        followed_enquiry.turn,
        followed_enquiry.HasField("due_time"),
    ) == (draft.id, 0, False)
    assert refusal(refer) == ILLEGAL
    assert scene.seen_by(scene.shelter, enquiry).referral_id == ""


def test_a_referral_is_made_only_from_an_enquiry_of_its_organisation_for_its_person(
    scene: EnquiryScene,
) -> None:
    person, other_person = scene.story.person(), scene.story.person()
    enquiry = scene.matched(person_id=person.id)
    for client, person_id, enquiry_id in (
        (scene.shelter, scene.shelter.CreatePerson().id, enquiry.id),
        (scene.ngo, other_person.id, enquiry.id),
        (scene.ngo, person.id, "f" * 32),
    ):
        refer = partial(
            client.CreateReferral, **NOTHING_UNSAFE, person_id=person_id, enquiry_id=enquiry_id
        )
        assert wrong_fields(refer) == [("enquiry_id", "unknown_code")]
    assert scene.seen_by(scene.ngo, enquiry).referral_id == ""
    draft = scene.ngo.CreateReferral(**NOTHING_UNSAFE, person_id=person.id, enquiry_id=enquiry.id)
    assert draft.service_id == SERVICE["shelter_bed"]


def cancel(scene: EnquiryScene, enquiry: e.Enquiry) -> None:
    scene.cancel(enquiry)


def discard_the_draft(scene: EnquiryScene, enquiry: e.Enquiry) -> None:
    draft = scene.refer(enquiry)
    scene.ngo.EnterReferralInError(id=draft.id, etag=draft.etag)


def choose_another_service(scene: EnquiryScene, enquiry: e.Enquiry) -> None:
    draft = scene.refer(enquiry)
    draft.service_id = SERVICE["clinic_visit"]
    scene.ngo.UpdateReferral(referral=draft, update_mask={"paths": ["service_id"]})


def choose_another_service_at_once(scene: EnquiryScene, enquiry: e.Enquiry) -> None:
    scene.refer(enquiry, service_id=SERVICE["clinic_visit"])


@pytest.mark.parametrize(
    "end", [cancel, discard_the_draft, choose_another_service, choose_another_service_at_once]
)
def test_a_service_whose_offer_was_taken_learns_that_no_referral_will_come(
    scene: EnquiryScene, end: Callable[[EnquiryScene, e.Enquiry], None]
) -> None:
    enquiry = scene.matched()
    end(scene, enquiry)
    verb, fact = scene.facts(enquiry)[-1]
    assert (verb, fact.service_organization_id, fact.reason_code) == (
        "cancelled",
        ORG["shelter"],
        "by_asker",
    )
    assert_copy_is_blank(scene, enquiry)


ENDS: dict[str, Callable[[EnquiryScene, pb.Referral], object]] = {
    "consent withdrawn": lambda scene, sent: scene.ngo.WithdrawReceipt(id=sent.receipt_id),
    "withdrawn": lambda scene, sent: scene.ngo.WithdrawReferral(
        id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED
    ),
    "declined": lambda scene, sent: scene.story.decline(sent),
    "expired": lambda scene, sent: scene.service.fire_after(timedelta(days=30)),
    "closed": lambda scene, sent: scene.ngo.CloseReferral(
        id=sent.id, etag=completed(scene.story, sent).etag, help_came_code=pb.HELP_CAME_YES
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_service_keeps_no_copy_of_an_enquiry_after_its_referral_has_ended(
    scene: EnquiryScene, end: str
) -> None:
    enquiry = scene.matched()
    sent = scene.story.send(scene.refer(enquiry))
    assert scene.seen_by(scene.shelter, enquiry).HasField("content")
    ENDS[end](scene, sent)
    assert not scene.seen_by(scene.shelter, enquiry).HasField("content")
    query = "SELECT FROM enquiry_offers WHERE taken AND coalesce(need_code, department) <> ''"
    assert scene.rows(query) == []
    assert state_and_reason(scene.seen_by(scene.ngo, enquiry)) == (e.ENQUIRY_STATE_MATCHED, "")


UPGRADES = {
    "consent withdrawn": "20261231410003_copies_after_withdrawal.sql",
    "declined": "20261231460001_copies_of_ended_referrals.sql",
}


@pytest.mark.parametrize("end", UPGRADES)
def test_an_upgrade_blanks_the_copies_that_outlived_their_referral_and_no_other(
    scene: EnquiryScene, end: str
) -> None:
    ended, live = scene.matched(), scene.matched()
    sent, _ = (scene.story.send(scene.refer(enquiry)) for enquiry in (ended, live))
    ENDS[end](scene, sent)
    scene.service.as_owner(
        "UPDATE enquiry_offers SET need_code = 'HOU.EMG', urgency = 'urgent' WHERE enquiry_id = %s",
        ended.id,
    )
    scene.service.as_owner((MIGRATIONS[1] / UPGRADES[end]).read_text().split("-- migrate:down")[0])
    assert not scene.seen_by(scene.shelter, ended).HasField("content")
    assert scene.seen_by(scene.shelter, live).HasField("content")


def suspend(partners_facts: PartnersFacts) -> None:
    partners_facts.organization("shelter", "SUSPENDED")
    partners_facts.organization("shelter", "APPROVED")


def put_on_probation(partners_facts: PartnersFacts) -> None:
    partners_facts.organization("shelter", "PROBATION")
    partners_facts.organization("shelter", "APPROVED")


def leave_directory(partners_facts: PartnersFacts) -> None:
    partners_facts.service_of("shelter_bed", "shelter", False)
    partners_facts.service_of("shelter_bed", "shelter", True)


@pytest.mark.parametrize(
    ("change", "step", "ends"),
    [
        (suspend, "taken", True),
        (suspend, "drafted", True),
        (suspend, "sent", False),
        (put_on_probation, "taken", False),
        (leave_directory, "taken", True),
        (leave_directory, "drafted", True),
        (leave_directory, "sent", False),
    ],
)
def test_a_taken_offer_ends_when_its_member_or_service_leaves_unless_its_referral_was_sent(
    scene: EnquiryScene, change: Callable[[PartnersFacts], None], step: str, ends: bool
) -> None:
    enquiry = scene.answered(shelter="yes", clinic="yes")
    scene.take(enquiry)
    if step != "taken":
        draft = scene.refer(enquiry)
    if step == "sent":
        scene.story.send(draft)
    change(PartnersFacts(scene.service))
    current, (verb, fact) = scene.seen_by(scene.ngo, enquiry), scene.facts(enquiry)[-1]
    if not ends:
        assert state_and_reason(current) == (e.ENQUIRY_STATE_MATCHED, "")
        assert current.taken_service_id == SERVICE["shelter_bed"]
        assert verb != "cancelled"
        return
    assert state_and_reason(current) == (e.ENQUIRY_STATE_CANCELLED, "offer_gone")
    assert (current.taken_service_id, verb) == ("", "cancelled")
    assert (fact.actor_organization_id, fact.service_organization_id) == ("", ORG["shelter"])


def test_a_service_that_leaves_the_directory_is_no_longer_asked(scene: EnquiryScene) -> None:
    enquiry, enquiry_to_shelter = scene.create(), scene.create(service_ids=[SHELTER])
    for answered_enquiry in (enquiry, enquiry_to_shelter):
        scene.answer("shelter", answered_enquiry, "yes")
    leave_directory(PartnersFacts(scene.service))
    offers = {offer.service_id: offer for offer in scene.seen_by(scene.ngo, enquiry).offers}
    assert (offers[SHELTER].answer, offers[SHELTER].reason_code) == (
        e.OFFER_ANSWER_NO,
        pb.DECLINE_REASON_SERVICE_NOT_OFFERED,
    )
    assert state_and_reason(scene.seen_by(scene.ngo, enquiry_to_shelter)) == (
        e.ENQUIRY_STATE_EXHAUSTED,
        "service_not_offered",
    )
    assert_copy_is_blank(scene, enquiry)
    assert refusal(lambda: scene.answer("shelter", enquiry, "yes")) == CANCELLED
    scene.answer("clinic", enquiry, "yes")
    assert scene.take(enquiry, "clinic").state == e.ENQUIRY_STATE_MATCHED


def test_the_other_service_of_an_organisation_is_still_asked(scene: EnquiryScene) -> None:
    partners_facts = PartnersFacts(scene.service)
    partners_facts.service_of("clinic_visit", "shelter", True)
    enquiry = scene.create()
    leave_directory(partners_facts)
    copies = scene.seen_by(scene.shelter, enquiry)
    assert (copies.state, copies.turn) == (e.ENQUIRY_STATE_OPEN, pb.TURN_RECEIVER)
    assert copies.due_time == enquiry.due_time
    stale_answer = answer_request("clinic", enquiry, "yes", etag=enquiry.etag)
    assert refusal(lambda: scene.shelter.AnswerEnquiry(stale_answer))[1] == "stale_etag"
    scene.shelter.AnswerEnquiry(answer_request("clinic", enquiry, "yes", etag=copies.etag))
    assert scene.take(enquiry, "clinic").state == e.ENQUIRY_STATE_MATCHED
    partners_facts.service_of("clinic_visit", "clinic", True)


def test_an_organisation_cannot_answer_an_enquiry_that_closed_for_it_during_its_probation(
    scene: EnquiryScene,
) -> None:
    enquiry = scene.create()
    put_on_probation(PartnersFacts(scene.service))
    assert scene.seen_by(scene.shelter, enquiry).state == e.ENQUIRY_STATE_CANCELLED
    assert refusal(lambda: scene.answer("shelter", enquiry, "yes")) == CANCELLED


def test_the_end_of_a_referral_that_was_sent_changes_nothing_in_its_enquiry(
    scene: EnquiryScene,
) -> None:
    enquiry = scene.matched()
    sent = scene.story.send(scene.refer(enquiry))
    scene.ngo.EnterReferralInError(id=sent.id, etag=sent.etag)
    assert scene.facts(enquiry)[-1][0] == "referred"
    assert scene.seen_by(scene.ngo, enquiry).state == e.ENQUIRY_STATE_MATCHED


@pytest.mark.parametrize("with_draft", [False, True])
def test_an_enquiry_ends_when_the_person_withdraws_her_consent(
    scene: EnquiryScene, with_draft: bool
) -> None:
    call, operator = scene.story.contact(), scene.story.operator
    enquiry = scene.create(client=operator, contact_id=call.contact.id)
    if with_draft:
        scene.answer("shelter", enquiry, "yes")
        scene.take(enquiry, client=operator)
        operator.CreateReferral(person_id=operator.CreatePerson().id, enquiry_id=enquiry.id)
    scene.service.public().WithdrawConsentByReference(**credentials(call))
    assert state_and_reason(scene.seen_by(operator, enquiry)) == WITHDRAWN


def test_the_enquiries_of_a_file_end_when_its_last_consent_is_withdrawn(
    scene: EnquiryScene,
) -> None:
    operator = scene.ngo = scene.story.operator
    story = replace(scene.story, ngo=operator)
    person, contact, other_person = story.person(), story.contact().contact, story.person()
    update_contact(operator, contact, person_id=person.id)
    file_enquiry = scene.matched(person_id=person.id)
    contact_enquiry = scene.create(contact_id=contact.id)
    enquiry_without_person, other_enquiry = scene.create(), scene.create(person_id=other_person.id)
    shelter_receipt = story.receipt(person.id)
    clinic_receipt = story.receipt(person.id, recipient=ORG["clinic"], purposes=["MED"])

    operator.WithdrawReceipt(id=shelter_receipt.id)
    assert scene.seen_by(operator, file_enquiry).state == e.ENQUIRY_STATE_MATCHED
    assert scene.seen_by(operator, contact_enquiry).state == e.ENQUIRY_STATE_OPEN
    scene.clinic.WithdrawReceipt(id=clinic_receipt.id)  # on behalf of the person
    for enquiry in (file_enquiry, contact_enquiry):
        assert state_and_reason(scene.seen_by(operator, enquiry)) == WITHDRAWN
        assert not scene.seen_by(scene.shelter, enquiry).HasField("content")
    verb, fact = scene.facts(file_enquiry)[-1]
    assert (verb, fact.service_organization_id, fact.actor_organization_id) == (
        "cancelled",
        ORG["shelter"],
        "",
    ), "the shelter no longer reserves a place, and the asker is notified"
    for enquiry in (enquiry_without_person, other_enquiry):
        assert scene.seen_by(operator, enquiry).state == e.ENQUIRY_STATE_OPEN


@pytest.mark.usefixtures("clinic_in_costa_rica")
def test_an_enquiry_of_another_line_continues_when_a_file_has_no_consent_left(
    scene: EnquiryScene,
) -> None:
    call, sent, operator = referred_caller(scene.story)
    clinic = operator_of(scene.story, "clinic")
    second_call = call_again(scene.story, call, "clinic")
    enquiry = scene.create(client=clinic, contact_id=second_call.contact.id)
    operator.WithdrawReceipt(id=sent.receipt_id)
    assert scene.seen_by(clinic, enquiry).state == e.ENQUIRY_STATE_OPEN


def test_an_enquiry_continues_when_the_person_stops_only_one_request_by_her_reference(
    scene: EnquiryScene,
) -> None:
    call, sent, operator = referred_caller(scene.story)
    public = scene.service.public()
    enquiry = scene.create(client=operator, person_id=sent.person_id)
    [item] = status(public, call).items
    public.WithdrawConsentByReference(**credentials(call), item_key=item.key)
    [item] = status(public, call).items
    assert not item.may_withdraw
    assert scene.seen_by(operator, enquiry).state == e.ENQUIRY_STATE_OPEN


def test_a_caller_may_stop_an_enquiry_by_her_reference_before_any_consent(
    scene: EnquiryScene,
) -> None:
    call, operator = scene.story.contact(), scene.story.operator
    public = scene.service.public()
    assert not status(public, call).may_withdraw
    enquiry = scene.create(client=operator, contact_id=call.contact.id)
    assert status(public, call).may_withdraw
    public.WithdrawConsentByReference(**credentials(call))
    assert scene.seen_by(operator, enquiry).state == e.ENQUIRY_STATE_CANCELLED
    assert not status(public, call).may_withdraw
