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
    contents,
    new_scene,
)


@pytest.fixture
def asking(service: Service, story: Story) -> Iterator[EnquiryScene]:
    yield from new_scene(service, story)


# Lists.


def test_each_side_lists_its_own_enquiries_and_those_awaiting_its_turn(
    asking: EnquiryScene,
) -> None:
    answered_enquiry, new_enquiry = asking.answered(shelter="yes"), asking.create()
    asked_box, received_box = e.ENQUIRY_BOX_ASKED, e.ENQUIRY_BOX_RECEIVED
    for client, box in ((asking.ngo, asked_box), (asking.shelter, received_box)):
        assert set(contents(client, box)) == {answered_enquiry.id, new_enquiry.id}
    assert contents(asking.ngo, received_box) == contents(asking.shelter, asked_box) == []
    assert contents(asking.ngo, asked_box, waiting_for_me=True) == [answered_enquiry.id]
    assert contents(asking.shelter, received_box, waiting_for_me=True) == [new_enquiry.id]
    asking.take(answered_enquiry)
    assert contents(asking.ngo, asked_box, states=[e.ENQUIRY_STATE_MATCHED]) == [
        answered_enquiry.id
    ]
    assert contents(asking.shelter, received_box, states=[e.ENQUIRY_STATE_OPEN]) == [new_enquiry.id]


def test_an_enquiry_is_live_for_its_asker_until_a_referral_follows_it_or_it_ends(
    asking: EnquiryScene,
) -> None:
    unanswered_enquiry, matched_enquiry = asking.create(), asking.matched()
    asking.refer(asking.matched())
    asking.cancel(asking.create())
    assert set(contents(asking.ngo, e.ENQUIRY_BOX_ASKED, live=True)) == {
        unanswered_enquiry.id,
        matched_enquiry.id,
    }


def test_enquiries_about_a_person_are_listed_with_the_organisations_that_still_hold_their_data(
    asking: EnquiryScene,
) -> None:
    asking.ngo = asking.story.operator
    story = replace(asking.story, ngo=asking.ngo)
    person, contact = story.person(), story.contact().contact
    update_contact(asking.ngo, contact, person_id=person.id)
    matched_enquiry, cancelled_enquiry = (
        asking.create(person_id=person.id),
        asking.create(contact_id=contact.id),
    )
    asking.create(person_id=story.person().id)
    asking.create()

    def holders() -> set[tuple[str, str]]:
        """Returns the listed enquiries with the organisations that hold their content."""
        return {
            (enquiry.id, offer.organization_id)
            for enquiry in asking.ngo.ListEnquiries(person_id=person.id).enquiries
            for offer in enquiry.offers
            if offer.holds_content
        }

    assert holders() == {
        (enquiry.id, ORG[name])
        for enquiry in (matched_enquiry, cancelled_enquiry)
        for name in SERVICE_OF
    }
    asking.answer("shelter", matched_enquiry, "yes")
    asking.take(matched_enquiry)
    asking.cancel(cancelled_enquiry)
    assert holders() == {(matched_enquiry.id, ORG["shelter"])}
    assert not asking.shelter.ListEnquiries(person_id=person.id).enquiries


def test_enquiries_are_listed_in_pages(asking: EnquiryScene) -> None:
    created_ids = []
    for _ in range(5):
        created_ids.append(asking.create().id)
        asking.service.clock.advance(timedelta(seconds=1))
    for client, box in ((asking.ngo, e.ENQUIRY_BOX_ASKED), (asking.clinic, e.ENQUIRY_BOX_RECEIVED)):
        answers = pages(client.ListEnquiries, box=box, page_size=2)
        listed_ids = [enquiry.id for answer in answers for enquiry in answer.enquiries]
        assert listed_ids == created_ids[::-1]


# Previews.


def preview(
    asking: EnquiryScene, content: e.EnquiryContent = CONTENT, client: Client | None = None
) -> e.EnquiryPreview:
    answer: e.EnquiryPreview = (client or asking.ngo).PreviewEnquiry(
        content=content, service_ids=SERVICES
    )
    return answer


@pytest.mark.usefixtures("without_noise")
def test_a_preview_shows_how_many_are_asked_and_whether_the_person_could_be_recognised(
    asking: EnquiryScene,
) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=pb.URGENCY_URGENT,
        languages=["miq"],
        department="NI-AN",
        country="NI",
    )
    response = preview(asking, content)
    assert (response.service_count, response.organization_count) == (2, 2)
    assert (response.few, response.similar_cases) == (True, 0)
    assert response.coarser_attribute in (
        e.ENQUIRY_ATTRIBUTE_DEPARTMENT,
        e.ENQUIRY_ATTRIBUTE_LANGUAGES,
    )
    assert asking.service.rows("SELECT 1 FROM enquiries") == []


def make_enquiries(
    asking: EnquiryScene, content: e.EnquiryContent, member_count: int, status: str = "APPROVED"
) -> None:
    """Makes an open enquiry by each of `member_count` new members."""
    for _ in range(member_count):
        organization_id = new_id()
        asking.service.in_transaction(
            members.note_member, "organization", organization_id, True, status, "NGO"
        )
        worker = Caller(new_id(), "worker", organization_id, frozenset({"WORKER"}))
        asking.create(content, client=replace(asking.ngo, caller=worker), keep_unused=True)


@pytest.mark.usefixtures("without_noise")
def test_similar_cases_count_other_members_and_are_never_exact(asking: EnquiryScene) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG", urgency=pb.URGENCY_URGENT, languages=["cab"], country="NI"
    )
    for _ in range(20):
        asking.create(content, keep_unused=True)
    assert preview(asking, content).few
    assert preview(asking, content, asking.service.as_("hotline", "OPERATOR")).few, (
        "twenty enquiries of one member count once"
    )
    make_enquiries(asking, content, 40, "PROBATION")
    assert preview(asking, content).few, "a member on probation is not counted"
    make_enquiries(asking, content, 40)
    response = preview(asking, content)
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
    asking: EnquiryScene, set_used_attributes: Callable[[list[Attribute]], None]
) -> None:
    assert list(preview(asking).unused_attributes) == [], "an unknown attribute may matter"
    set_used_attributes([Attribute.AGE_BAND, Attribute.GENDER])
    unused = {
        e.ENQUIRY_ATTRIBUTE_DEPARTMENT,
        e.ENQUIRY_ATTRIBUTE_LANGUAGES,
        e.ENQUIRY_ATTRIBUTE_DEPENDANTS,
    }
    assert set(preview(asking).unused_attributes) == unused
    enquiry = asking.create()
    assert (enquiry.content, set(enquiry.left_out_attributes)) == (CONTENT, unused), (
        "the asker keeps the data for the referral"
    )
    content = asking.seen(asking.shelter, enquiry).content
    assert (content.department, list(content.languages), content.HasField("dependants")) == (
        "",
        [],
        False,
    )
    assert (content.age_band, content.gender_code) == (CONTENT.age_band, CONTENT.gender_code)
    assert asking.seen(asking.shelter, asking.create(keep_unused=True)).content == CONTENT


def test_a_worker_may_make_at_most_sixty_previews(asking: EnquiryScene) -> None:
    searcher = asking.service.as_("ngo", "WORKER", "MANAGER")
    for _ in range(60):
        preview(asking, client=searcher)
    assert refusal(lambda: preview(asking, client=searcher)) == (
        "RESOURCE_EXHAUSTED",
        "too_many_attempts",
    )


def test_enquiries_dated_by_a_fast_clock_do_not_count_for_longer_than_a_day(
    asking: EnquiryScene,
) -> None:
    with asking.service.member_with_status("ngo", "PROBATION"):
        asking.service.clock.advance(timedelta(hours=20))
        for _ in range(5):
            asking.cancel(asking.create())
        asking.service.clock.set(NOON)
        asking.create()
