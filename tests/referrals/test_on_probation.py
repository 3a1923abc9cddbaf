"""No enquiry asks a member on probation, and it can neither ask nor refer to a shelter.

This holds even for ids that it knows from before.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals import subscriptions
from services.referrals.network.domain.deadline import Urgency
from services.referrals.network.domain.service import Service as Asked
from services.referrals.network.store import members
from services.referrals.referrals.domain.enquiry import NO, Content, Enquiry, EnquiryState
from services.referrals.referrals.usecases import enquiries as usecase
from tests.builders import NOON, refusal
from tests.referrals.conftest import ORG, SERVICE, Service, Story
from tests.referrals.test_enquiries import CONFLICT, CONTENT, EnquiryScene, contents
from tests.referrals.test_lifecycle import DAYS

NOT_FOUND = ("NOT_FOUND", "not_found")
SHELTER, CLINIC = SERVICE["shelter_bed"], SERVICE["clinic_visit"]


class Directory:
    """Applies facts of the partners service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def stands(self, name: str, status: str) -> None:
        body = facts_pb2.OrganizationFact(
            organization_id=ORG[name],
            organization_type_code="NGO",
            status_code=status,
            country_code="NI",
        )
        self._apply("enlace.organization.changed.v1", body)

    def offers(self, service: str, owner: str, *, shelter: bool) -> None:
        body = facts_pb2.ServiceFact(
            service_id=SERVICE[service], organization_id=ORG[owner], active=True, shelter=shelter
        )
        self._apply("enlace.service.changed.v1", body)

    def _apply(self, type_: str, body: Any) -> None:
        created, clock = self._service.made, self._service.clock
        with self._service.database.transaction(SYSTEM) as tx:
            subscriptions.consume(
                created.lives, clock, tx, Fact("subject", 1, type_, body.SerializeToString(), NOON)
            )


@pytest.fixture
def directory(service: Service) -> Iterator[Directory]:
    """Publishes facts of the partners service.

    After the test, all members are approved, and the kinds of their services are unknown again.
    """
    directory = Directory(service)
    directory.offers("shelter_bed", "shelter", shelter=True)
    directory.offers("clinic_visit", "clinic", shelter=False)
    yield directory
    for name in ("ngo", "clinic", "shelter"):
        directory.stands(name, "APPROVED")
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE directory_services SET shelter = NULL")


@pytest.fixture
def asking(service: Service, story: Story, directory: Directory) -> Iterator[EnquiryScene]:
    yield EnquiryScene(service, story)
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("DELETE FROM enquiry_offers")
        tx.execute("DELETE FROM enquiries")


def test_c12_a_member_on_probation_is_not_asked_even_if_its_service_is_named(
    asking: EnquiryScene, directory: Directory
) -> None:
    directory.stands("clinic", "PROBATION")
    assert [offer.organization_id for offer in asking.create().offers] == [ORG["shelter"]]
    assert refusal(lambda: asking.create(service_ids=[CLINIC])) == (CONFLICT, "service_unknown")
    assert contents(asking.clinic, e.ENQUIRY_BOX_RECEIVED) == []
    preview = asking.ngo.PreviewEnquiry(
        e.PreviewEnquiryRequest(content=CONTENT, service_ids=[CLINIC, SHELTER])
    )
    assert preview.service_count == 1


def test_c12_enquiries_to_a_member_now_on_probation_are_closed_and_blanked_in_the_database(
    asking: EnquiryScene, directory: Directory
) -> None:
    enquiry = asking.create()
    asking.answer("clinic", enquiry, "yes")
    directory.stands("clinic", "PROBATION")
    assert refusal(lambda: asking.seen(asking.clinic, enquiry)) == NOT_FOUND
    assert contents(asking.clinic, e.ENQUIRY_BOX_RECEIVED) == []
    assert refusal(lambda: asking.answer("clinic", enquiry, "maybe")) == NOT_FOUND
    rows = asking.rows(
        "SELECT need_code, age_band, gender_code, languages, department, urgency"
        " FROM enquiry_offers WHERE service_id = %s",
        CLINIC,
    )
    assert [set(row.values()) for row in rows] == [{None}]
    assert asking.seen(asking.shelter, enquiry).content.need_code == "HOU.EMG", (
        "the other receivers are still asked"
    )


def test_c12_the_asker_no_longer_sees_an_offer_of_a_member_on_probation(
    asking: EnquiryScene, directory: Directory
) -> None:
    enquiry = asking.create()
    asking.answer("clinic", enquiry, "yes")
    directory.stands("clinic", "PROBATION")
    [gone] = [
        offer for offer in asking.seen(asking.ngo, enquiry).offers if offer.service_id == CLINIC
    ]
    assert (gone.answer, gone.reason_code) == (
        e.OFFER_ANSWER_NO,
        pb.DECLINE_REASON_SERVICE_NOT_OFFERED,
    )
    assert refusal(lambda: asking.take(enquiry, "clinic")) == (CONFLICT, "offer_gone")
    assert [verb for verb, _ in asking.facts(enquiry)] == ["opened", "answered", "answered"]
    directory.stands("clinic", "PROBATION")
    assert len(asking.facts(enquiry)) == 3, "a repeated fact has one effect"


def test_c12_an_enquiry_that_asked_only_a_member_now_on_probation_is_exhausted(
    asking: EnquiryScene, directory: Directory
) -> None:
    enquiry = asking.create(service_ids=[CLINIC])
    directory.stands("clinic", "PROBATION")
    assert asking.seen(asking.ngo, enquiry).state == e.ENQUIRY_STATE_EXHAUSTED


@pytest.mark.parametrize("status", ["SUSPENDED", "LEFT"])
def test_nobody_takes_the_offer_of_a_member_that_is_out_and_closes_the_others(
    asking: EnquiryScene, directory: Directory, status: str
) -> None:
    enquiry = asking.create()
    for name in ("clinic", "shelter"):
        asking.answer(name, enquiry, "yes")
    alone = asking.create(service_ids=[CLINIC])
    directory.stands("clinic", status)
    assert refusal(lambda: asking.take(enquiry, "clinic")) == (CONFLICT, "offer_gone")
    assert asking.seen(asking.ngo, alone).state == e.ENQUIRY_STATE_EXHAUSTED
    assert (
        asking.rows(
            "SELECT FROM enquiry_offers WHERE service_id = %s AND need_code IS NOT NULL", CLINIC
        )
        == []
    )
    assert asking.take(enquiry, "shelter").state == e.ENQUIRY_STATE_MATCHED


def test_an_enquiry_of_a_held_member_still_reaches_shelters_once_it_is_back(
    asking: EnquiryScene, directory: Directory
) -> None:
    enquiry = asking.create()
    directory.stands("ngo", "SUSPENDED")
    directory.stands("ngo", "APPROVED")
    asking.answer("shelter", enquiry, "yes")
    assert asking.take(enquiry, "shelter").state == e.ENQUIRY_STATE_MATCHED


def test_c12_a_taken_offer_of_a_member_on_probation_is_blanked_but_stays_matched_for_the_asker(
    asking: EnquiryScene, directory: Directory
) -> None:
    enquiry = asking.create()
    asking.answer("clinic", enquiry, "yes")
    asking.take(enquiry, "clinic")
    directory.stands("clinic", "PROBATION")
    assert asking.rows("SELECT need_code FROM enquiry_offers WHERE service_id = %s", CLINIC) == [
        {"need_code": None}
    ]
    assert refusal(lambda: asking.seen(asking.clinic, enquiry)) == NOT_FOUND
    assert asking.seen(asking.ngo, enquiry).state == e.ENQUIRY_STATE_MATCHED


def test_c12_a_member_on_probation_cannot_ask_a_shelter_whose_id_it_already_knows(
    asking: EnquiryScene, directory: Directory
) -> None:
    enquiry = asking.create()
    asking.answer("shelter", enquiry, "yes")
    directory.stands("ngo", "PROBATION")
    assert refusal(lambda: asking.create(service_ids=[SHELTER])) == (CONFLICT, "service_unknown")
    assert [offer.service_id for offer in asking.create().offers] == [CLINIC]
    offers = {offer.service_id: offer.answer for offer in asking.seen(asking.ngo, enquiry).offers}
    assert offers == {SHELTER: e.OFFER_ANSWER_NO, CLINIC: e.OFFER_ANSWER_UNSPECIFIED}


def test_c12_a_member_on_probation_cannot_refer_to_a_shelter_whose_id_it_already_knows(
    story: Story, directory: Directory
) -> None:
    draft, unknown = story.draft(), (CONFLICT, "service_unknown")
    receipt = story.receipt(draft.person_id)
    directory.stands("ngo", "PROBATION")
    assert refusal(story.draft) == unknown
    assert refusal(lambda: story.draft(service_id="f" * 32)) == unknown
    send = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    assert refusal(lambda: story.ngo.SendReferral(send)) == (CONFLICT, "receiver_not_active")
    directory.stands("ngo", "APPROVED")
    assert story.ngo.SendReferral(send).state == pb.STATE_SENT


def test_c12_a_shelter_on_probation_can_find_its_own_service(
    directory: Directory, service: Service
) -> None:
    directory.stands("shelter", "PROBATION")
    with service.database.transaction(SYSTEM) as tx:
        owners = [members.owner_of_service(tx, SHELTER, ORG[name]) for name in ("shelter", "ngo")]
    assert owners == [ORG["shelter"]] * 2


def test_c12_an_older_fact_does_not_clear_the_mark_of_a_known_shelter(
    directory: Directory, service: Service
) -> None:
    body = facts_pb2.ServiceFact(service_id=SHELTER, organization_id=ORG["shelter"], active=True)
    directory._apply("enlace.service.changed.v1", body)
    with service.database.transaction(SYSTEM) as tx:
        assert members.shelters(tx, [SHELTER, CLINIC]) == {SHELTER}


def test_c12_a_service_of_unknown_kind_counts_as_a_shelter_if_its_member_is_one(
    service: Service, directory: Directory
) -> None:
    directory.stands("ngo", "PROBATION")
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE directory_services SET shelter = NULL")
        tx.execute("UPDATE members SET type = 'SHELTER' WHERE id = %s", (ORG["shelter"],))
        owners = [members.owner_of_service(tx, each, ORG["ngo"]) for each in (SHELTER, CLINIC)]
        shelters = members.shelters(tx, [SHELTER, CLINIC])
        tx.execute("UPDATE members SET type = 'NGO' WHERE id = %s", (ORG["shelter"],))
    assert owners == [None, ORG["clinic"]]
    assert shelters == {SHELTER}, "neither a draft nor an enquiry to it goes on"


def test_c12_many_enquiries_are_closed_in_several_transactions(
    asking: EnquiryScene, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        asking.create(service_ids=[CLINIC])
    monkeypatch.setattr(usecase, "_MAX_STOPPED", 2)
    with service.database.transaction(SYSTEM) as tx:
        assert usecase.stop_asking(tx, NOON, ORG["clinic"])
    assert len(asking.rows("SELECT FROM enquiry_offers WHERE need_code IS NOT NULL")) == 1
    with service.database.transaction(SYSTEM) as tx:
        assert not usecase.stop_asking(tx, NOON, ORG["clinic"])
    assert asking.rows("SELECT FROM enquiry_offers WHERE need_code IS NOT NULL") == []


def test_c12_an_answer_of_no_keeps_its_reason() -> None:
    services = [Asked(name, name, None) for name in ("a", "b")]
    enquiry = Enquiry.open(
        "q", ("asker", ""), Content("HOU.EMG", Urgency.IMMEDIATE), services, NOON, DAYS
    )
    enquiry.answer("a", "a", NO, "out_of_area", NOON)
    enquiry.stop_asking({"a"}, NOON + timedelta(minutes=1))
    assert (enquiry.offers[0].reason_code, enquiry.offers[0].content, enquiry.offers[0].state) == (
        "out_of_area",
        None,
        EnquiryState.CANCELLED,
    )
    assert enquiry.state is EnquiryState.OPEN
