"""Lists of enquiries, and what a preview discloses about similar cases."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM, Caller
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.service import Attribute
from services.referrals.network.store import members
from tests.builders import NOON, pages, refusal
from tests.referrals.conftest import ORG, SERVICE, Client, Service, Story
from tests.referrals.contact_calls import update_contact
from tests.referrals.test_enquiries import (
    CONTENT,
    SERVICE_OF,
    SERVICES,
    EnquiryScene,
    enquiry_ids,
    new_scene,
)


@pytest.fixture
def scene(service: Service, story: Story) -> Iterator[EnquiryScene]:
    yield from new_scene(service, story)


# Lists.


def test_each_side_lists_its_own_enquiries_and_those_awaiting_its_turn(
    scene: EnquiryScene,
) -> None:
    answered_enquiry, new_enquiry = scene.answered(shelter="yes"), scene.create()
    asked_box, received_box = e.ENQUIRY_BOX_ASKED, e.ENQUIRY_BOX_RECEIVED
    for client, box in ((scene.ngo, asked_box), (scene.shelter, received_box)):
        assert set(enquiry_ids(client, box)) == {answered_enquiry.id, new_enquiry.id}
    assert enquiry_ids(scene.ngo, received_box) == enquiry_ids(scene.shelter, asked_box) == []
    assert enquiry_ids(scene.ngo, asked_box, waiting_for_me=True) == [answered_enquiry.id]
    assert enquiry_ids(scene.shelter, received_box, waiting_for_me=True) == [new_enquiry.id]
    scene.take(answered_enquiry)
    assert enquiry_ids(scene.ngo, asked_box, states=[e.ENQUIRY_STATE_MATCHED]) == [
        answered_enquiry.id
    ]
    assert enquiry_ids(scene.shelter, received_box, states=[e.ENQUIRY_STATE_OPEN]) == [
        new_enquiry.id
    ]


def test_an_enquiry_is_live_for_its_asker_until_a_referral_follows_it_or_it_ends(
    scene: EnquiryScene,
) -> None:
    unanswered_enquiry, matched_enquiry = scene.create(), scene.matched()
    scene.refer(scene.matched())
    scene.cancel(scene.create())
    assert set(enquiry_ids(scene.ngo, e.ENQUIRY_BOX_ASKED, live=True)) == {
        unanswered_enquiry.id,
        matched_enquiry.id,
    }


def test_enquiries_about_a_person_are_listed_with_the_organisations_that_still_hold_their_data(
    scene: EnquiryScene,
) -> None:
    scene.ngo = scene.story.operator
    story = replace(scene.story, ngo=scene.ngo)
    person, contact = story.person(), story.contact().contact
    update_contact(scene.ngo, contact, person_id=person.id)
    matched_enquiry, cancelled_enquiry = (
        scene.create(person_id=person.id),
        scene.create(contact_id=contact.id),
    )
    scene.create(person_id=story.person().id)
    scene.create()

    def holders() -> set[tuple[str, str]]:
        """Returns the listed enquiries with the organisations that hold their content."""
        return {
            (enquiry.id, offer.organization_id)
            for enquiry in scene.ngo.ListEnquiries(person_id=person.id).enquiries
            for offer in enquiry.offers
            if offer.holds_content
        }

    assert holders() == {
        (enquiry.id, ORG[name])
        for enquiry in (matched_enquiry, cancelled_enquiry)
        for name in SERVICE_OF
    }
    scene.answer("shelter", matched_enquiry, "yes")
    scene.take(matched_enquiry)
    scene.cancel(cancelled_enquiry)
    assert holders() == {(matched_enquiry.id, ORG["shelter"])}
    assert not scene.shelter.ListEnquiries(person_id=person.id).enquiries


def test_enquiries_are_listed_in_pages(scene: EnquiryScene) -> None:
    created_ids = []
    for _ in range(5):
        created_ids.append(scene.create().id)
        scene.service.clock.advance(timedelta(seconds=1))
    for client, box in ((scene.ngo, e.ENQUIRY_BOX_ASKED), (scene.clinic, e.ENQUIRY_BOX_RECEIVED)):
        answers = pages(client.ListEnquiries, box=box, page_size=2)
        listed_ids = [enquiry.id for answer in answers for enquiry in answer.enquiries]
        assert listed_ids == created_ids[::-1]


# Previews.


def preview(
    scene: EnquiryScene, content: e.EnquiryContent = CONTENT, client: Client | None = None
) -> e.EnquiryPreview:
    answer: e.EnquiryPreview = (client or scene.ngo).PreviewEnquiry(
        content=content, service_ids=SERVICES
    )
    return answer


@pytest.mark.usefixtures("without_noise")
def test_a_preview_shows_how_many_are_asked_and_whether_the_person_could_be_recognised(
    scene: EnquiryScene,
) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=pb.URGENCY_URGENT,
        languages=["miq"],
        department="NI-AN",
        country="NI",
    )
    response = preview(scene, content)
    assert (response.service_count, response.organization_count) == (2, 2)
    assert (response.few, response.similar_cases) == (True, 0)
    assert response.coarser_attribute in (
        e.ENQUIRY_ATTRIBUTE_DEPARTMENT,
        e.ENQUIRY_ATTRIBUTE_LANGUAGES,
    )
    assert scene.service.rows("SELECT 1 FROM enquiries") == []


def make_enquiries(
    scene: EnquiryScene, content: e.EnquiryContent, member_count: int, status: str = "APPROVED"
) -> None:
    """Makes an open enquiry by each of `member_count` new members."""
    for _ in range(member_count):
        organization_id = new_id()
        scene.service.in_transaction(
            members.note_member, "organization", organization_id, True, status, "NGO"
        )
        worker = Caller(new_id(), "worker", organization_id, frozenset({"WORKER"}))
        scene.create(content, client=replace(scene.ngo, caller=worker), keep_unused=True)


@pytest.mark.usefixtures("without_noise")
def test_the_number_of_similar_cases_counts_only_other_members_and_is_never_exact(
    scene: EnquiryScene,
) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG", urgency=pb.URGENCY_URGENT, languages=["cab"], country="NI"
    )
    for _ in range(20):
        scene.create(content, keep_unused=True)
    assert preview(scene, content).few
    assert preview(scene, content, scene.service.as_("hotline", "OPERATOR")).few, (
        "twenty enquiries of one member count once"
    )
    make_enquiries(scene, content, 40, "PROBATION")
    assert preview(scene, content).few, "a member on probation is not counted"
    make_enquiries(scene, content, 40)
    response = preview(scene, content)
    assert (response.few, response.similar_cases % 5, response.coarser_attribute) == (False, 0, 0)
    assert 20 < response.similar_cases <= 50


@pytest.fixture
def set_used_attributes(service: Service) -> Iterator[Callable[[list[Attribute]], None]]:
    """Returns a function that sets the attributes that both services use.

    The attributes are unknown again after the test.
    """

    def set_attributes(uses: list[Attribute] | None) -> None:
        with service.database.transaction(SYSTEM) as tx:
            for name, owner in (("shelter_bed", "shelter"), ("clinic_visit", "clinic")):
                members.note_service(tx, SERVICE[name], ORG[owner], True, uses)

    yield set_attributes
    set_attributes(None)


def test_attributes_that_no_service_uses_are_named_and_omitted_unless_kept(
    scene: EnquiryScene, set_used_attributes: Callable[[list[Attribute]], None]
) -> None:
    assert list(preview(scene).unused_attributes) == [], "an unknown attribute may matter"
    set_used_attributes([Attribute.AGE_BAND, Attribute.GENDER])
    unused = {
        e.ENQUIRY_ATTRIBUTE_DEPARTMENT,
        e.ENQUIRY_ATTRIBUTE_LANGUAGES,
        e.ENQUIRY_ATTRIBUTE_DEPENDANTS,
    }
    assert set(preview(scene).unused_attributes) == unused
    enquiry = scene.create()
    assert (enquiry.content, set(enquiry.left_out_attributes)) == (CONTENT, unused), (
        "the asker keeps the data for the referral"
    )
    content = scene.seen_by(scene.shelter, enquiry).content
    assert (content.department, list(content.languages), content.HasField("dependants")) == (
        "",
        [],
        False,
    )
    assert (content.age_band, content.gender_code) == (CONTENT.age_band, CONTENT.gender_code)
    assert scene.seen_by(scene.shelter, scene.create(keep_unused=True)).content == CONTENT


def test_a_worker_may_make_at_most_sixty_previews(scene: EnquiryScene) -> None:
    searcher = scene.service.as_("ngo", "WORKER", "MANAGER")
    for _ in range(60):
        preview(scene, client=searcher)
    assert refusal(lambda: preview(scene, client=searcher)) == (
        "RESOURCE_EXHAUSTED",
        "too_many_attempts",
    )


def test_enquiries_dated_by_a_fast_clock_use_up_the_daily_limit_for_at_most_a_day(
    scene: EnquiryScene,
) -> None:
    with scene.service.member_with_status("ngo", "PROBATION"):
        scene.service.clock.advance(timedelta(hours=20))
        for _ in range(5):
            scene.cancel(scene.create())
        scene.service.clock.set(NOON)
        scene.create()
