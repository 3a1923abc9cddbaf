"""A member on probation receives no enquiry, and can send a shelter no enquiry and no referral.

This holds even for a shelter whose id the member already knows.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from chassis.tokens import SYSTEM
from protos.partners.v1 import facts_pb2
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import Urgency
from services.referrals.network.domain.service import Service as AskedService
from services.referrals.network.store import members
from services.referrals.referrals.domain.enquiry import NO, Content, Enquiry, EnquiryState
from services.referrals.referrals.usecases import enquiries as usecase
from tests.builders import NOON, NOT_FOUND, refusal
from tests.referrals.conftest import ORG, SERVICE, SERVICE_OWNER, Service, Story, send_request
from tests.referrals.test_enquiries import CONFLICT, CONTENT, EnquiryScene, enquiry_ids, new_scene
from tests.referrals.test_lifecycle import DAYS
from tests.referrals.test_subscriptions import PartnersFacts

SHELTER, CLINIC = SERVICE["shelter_bed"], SERVICE["clinic_visit"]


class Directory(PartnersFacts):
    """Applies facts of the partners service."""

    def service(self, name: str, *, shelter: bool | None = None) -> None:
        """Applies the fact about a service; its kind is unknown unless `shelter` is given."""
        body = facts_pb2.ServiceFact(
            service_id=SERVICE[name],
            organization_id=ORG[SERVICE_OWNER[name]],
            active=True,
            shelter=shelter,
        )
        self.fact("enlace.service.changed.v1", body.SerializeToString())


@pytest.fixture
def directory(service: Service) -> Iterator[Directory]:
    """Publishes facts of the partners service.

    After the test, all members are approved, and the kinds of their services are unknown again.
    """
    directory = Directory(service)
    directory.service("shelter_bed", shelter=True)
    directory.service("clinic_visit", shelter=False)
    yield directory
    for name in ("ngo", "clinic", "shelter"):
        directory.organization(name, "APPROVED")
    service.as_owner("UPDATE directory_services SET shelter = NULL")


@pytest.fixture
def scene(service: Service, story: Story, directory: Directory) -> Iterator[EnquiryScene]:
    yield from new_scene(service, story)


def test_a_member_on_probation_is_not_asked_even_if_its_service_is_named(
    scene: EnquiryScene, directory: Directory
) -> None:
    directory.organization("clinic", "PROBATION")
    assert [offer.organization_id for offer in scene.create().offers] == [ORG["shelter"]]
    assert refusal(lambda: scene.create(service_ids=[CLINIC])) == (CONFLICT, "service_unknown")
    assert enquiry_ids(scene.clinic, e.ENQUIRY_BOX_RECEIVED) == []
    preview = scene.ngo.PreviewEnquiry(content=CONTENT, service_ids=[CLINIC, SHELTER])
    assert preview.service_count == 1


def test_enquiries_to_a_member_now_on_probation_are_closed_and_blanked_in_the_database(
    scene: EnquiryScene, directory: Directory
) -> None:
    enquiry = scene.answered(clinic="yes")
    directory.organization("clinic", "PROBATION")
    assert refusal(lambda: scene.seen_by(scene.clinic, enquiry)) == NOT_FOUND
    assert enquiry_ids(scene.clinic, e.ENQUIRY_BOX_RECEIVED) == []
    assert refusal(lambda: scene.answer("clinic", enquiry, "maybe")) == NOT_FOUND
    rows = scene.rows(
        "SELECT need_code, age_band, gender_code, languages, department, urgency"
        " FROM enquiry_offers WHERE service_id = %s",
        CLINIC,
    )
    assert [set(row.values()) for row in rows] == [{None}]
    assert scene.seen_by(scene.shelter, enquiry).content.need_code == "HOU.EMG", (
        "the other receivers are still asked"
    )


def test_the_asker_no_longer_sees_an_offer_of_a_member_on_probation(
    scene: EnquiryScene, directory: Directory
) -> None:
    enquiry = scene.answered(clinic="yes")
    directory.organization("clinic", "PROBATION")
    [clinic_offer] = [
        offer for offer in scene.seen_by(scene.ngo, enquiry).offers if offer.service_id == CLINIC
    ]
    assert (clinic_offer.answer, clinic_offer.reason_code) == (
        e.OFFER_ANSWER_NO,
        pb.DECLINE_REASON_SERVICE_NOT_OFFERED,
    )
    assert refusal(lambda: scene.take(enquiry, "clinic")) == (CONFLICT, "offer_gone")
    assert [verb for verb, _ in scene.facts(enquiry)] == ["opened", "answered", "answered"]
    directory.organization("clinic", "PROBATION")
    assert len(scene.facts(enquiry)) == 3, "a repeated fact has one effect"


@pytest.mark.parametrize("status", ["PROBATION", "SUSPENDED", "LEFT"])
def test_no_offer_of_a_member_that_is_no_longer_approved_is_taken_and_other_offers_stay_open(
    scene: EnquiryScene, directory: Directory, status: str
) -> None:
    enquiry = scene.answered(clinic="yes", shelter="yes")
    enquiry_to_clinic = scene.create(service_ids=[CLINIC])
    directory.organization("clinic", status)
    assert refusal(lambda: scene.take(enquiry, "clinic")) == (CONFLICT, "offer_gone")
    assert scene.seen_by(scene.ngo, enquiry_to_clinic).state == e.ENQUIRY_STATE_EXHAUSTED
    query = "SELECT FROM enquiry_offers WHERE service_id = %s AND need_code IS NOT NULL"
    assert scene.rows(query, CLINIC) == []
    assert scene.take(enquiry, "shelter").state == e.ENQUIRY_STATE_MATCHED


def test_an_enquiry_of_a_suspended_member_still_reaches_shelters_after_its_return(
    scene: EnquiryScene, directory: Directory
) -> None:
    enquiry = scene.create()
    directory.organization("ngo", "SUSPENDED")
    directory.organization("ngo", "APPROVED")
    scene.answer("shelter", enquiry, "yes")
    assert scene.take(enquiry, "shelter").state == e.ENQUIRY_STATE_MATCHED


def test_an_offer_taken_from_a_member_now_on_probation_is_blanked_but_its_enquiry_stays_matched(
    scene: EnquiryScene, directory: Directory
) -> None:
    enquiry = scene.answered(clinic="yes")
    scene.take(enquiry, "clinic")
    directory.organization("clinic", "PROBATION")
    assert scene.rows("SELECT need_code FROM enquiry_offers WHERE service_id = %s", CLINIC) == [
        {"need_code": None}
    ]
    assert refusal(lambda: scene.seen_by(scene.clinic, enquiry)) == NOT_FOUND
    assert scene.seen_by(scene.ngo, enquiry).state == e.ENQUIRY_STATE_MATCHED


def test_a_member_on_probation_cannot_ask_a_shelter_whose_id_it_already_knows(
    scene: EnquiryScene, directory: Directory
) -> None:
    enquiry = scene.answered(shelter="yes")
    directory.organization("ngo", "PROBATION")
    assert refusal(lambda: scene.create(service_ids=[SHELTER])) == (CONFLICT, "service_unknown")
    assert [offer.service_id for offer in scene.create().offers] == [CLINIC]
    offers = {offer.service_id: offer.answer for offer in scene.seen_by(scene.ngo, enquiry).offers}
    assert offers == {SHELTER: e.OFFER_ANSWER_NO, CLINIC: e.OFFER_ANSWER_UNSPECIFIED}


def test_a_member_on_probation_cannot_refer_to_a_shelter_whose_id_it_already_knows(
    story: Story, directory: Directory
) -> None:
    draft = story.draft()
    send = send_request(draft, story.receipt(draft.person_id).id)
    directory.organization("ngo", "PROBATION")
    for service_id in (SHELTER, "f" * 32):
        assert refusal(partial(story.draft, service_id=service_id)) == (CONFLICT, "service_unknown")
    assert refusal(lambda: story.ngo.SendReferral(send)) == (CONFLICT, "receiver_not_active")
    directory.organization("ngo", "APPROVED")
    assert story.ngo.SendReferral(send).state == pb.STATE_SENT


def test_a_shelter_on_probation_can_find_its_own_service(
    directory: Directory, service: Service
) -> None:
    directory.organization("shelter", "PROBATION")
    for name in ("shelter", "ngo"):
        owner = service.in_transaction(members.owner_of_service, SHELTER, ORG[name])
        assert owner == ORG["shelter"]


def test_a_fact_that_does_not_state_a_services_kind_does_not_unmark_a_known_shelter(
    directory: Directory, service: Service
) -> None:
    directory.service("shelter_bed")
    assert service.in_transaction(members.shelters, [SHELTER, CLINIC]) == {SHELTER}


def test_a_service_of_unknown_kind_counts_as_a_shelter_if_its_member_is_one(
    service: Service, directory: Directory
) -> None:
    directory.organization("ngo", "PROBATION")
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE directory_services SET shelter = NULL")
        tx.execute("UPDATE members SET type = 'SHELTER' WHERE id = %s", (ORG["shelter"],))
        owners = [
            members.owner_of_service(tx, service_id, ORG["ngo"]) for service_id in (SHELTER, CLINIC)
        ]
        shelters = members.shelters(tx, [SHELTER, CLINIC])
        tx.execute("UPDATE members SET type = 'NGO' WHERE id = %s", (ORG["shelter"],))
    assert owners == [None, ORG["clinic"]]
    assert shelters == {SHELTER}


def test_many_enquiries_are_closed_in_several_transactions(
    scene: EnquiryScene, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        scene.create(service_ids=[CLINIC])
    monkeypatch.setattr(usecase, "_MAX_STOPPED", 2)
    for unfinished, open_count in ((True, 1), (False, 0)):
        assert service.in_transaction(usecase.stop_asking, NOON, ORG["clinic"]) is unfinished
        rows = scene.rows("SELECT FROM enquiry_offers WHERE need_code IS NOT NULL")
        assert len(rows) == open_count


def test_an_answer_of_no_keeps_its_reason() -> None:
    services = [AskedService(name, name, None) for name in ("a", "b")]
    enquiry = Enquiry.open(
        "q", ("asker", ""), Content("HOU.EMG", Urgency.IMMEDIATE), services, NOON, DAYS
    )
    enquiry.answer("a", "a", NO, "out_of_area", NOON)
    enquiry.stop_asking({"a"}, NOON + timedelta(minutes=1))
    offer = enquiry.offers[0]
    assert (offer.reason_code, offer.content, offer.state, enquiry.state) == (
        "out_of_area",
        None,
        EnquiryState.CANCELLED,
        EnquiryState.OPEN,
    )
