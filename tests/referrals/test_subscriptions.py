"""The facts of partners and their effects.

A suspended caller is refused, and a service that is no longer offered becomes unknown.
"""

import itertools
from collections.abc import Iterator
from functools import partial

import pytest
from google.protobuf.message import DecodeError

from chassis.tokens import SYSTEM
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals import subscriptions
from services.referrals.network.domain.service import Ages
from services.referrals.network.store import members
from tests.builders import NOON, refusal
from tests.referrals.conftest import ORG, SERVICE, Client, Service, Story
from tests.referrals.test_referrals_rpc import shown

OUT = ("PERMISSION_DENIED", "organization_not_active")
ASK = pb.CountReferralsRequest()


@pytest.fixture
def hear(service: Service) -> Iterator["Hearing"]:
    """Applies facts of partners to the service; reinstates all members after the test."""
    hearing = Hearing(service)
    yield hearing
    for organization in ("ngo", "shelter"):
        hearing.organization(organization, "APPROVED")
    hearing.service_of("shelter_bed", "shelter", True)


class Hearing:
    def __init__(self, service: Service) -> None:
        self._service = service

    def fact(self, type_: str, payload: bytes) -> int:
        """Applies a fact as a subscriber does, with a transaction for each part.

        Returns the number of parts.
        """
        for part in itertools.count(1):
            with self._service.database.transaction(SYSTEM) as tx:
                unfinished = subscriptions.consume(
                    self._service.made.lives,
                    self._service.clock,
                    tx,
                    Fact("subject", 1, type_, payload, NOON),
                )
            if not unfinished:
                return part
        raise AssertionError

    def organization(self, name: str, status: str) -> None:
        body = facts_pb2.OrganizationFact(
            organization_id=ORG[name],
            organization_type_code="NGO",
            status_code=status,
            country_code="NI",
        )
        self.fact("enlace.organization.changed.v1", body.SerializeToString())

    def worker(self, client: Client, status: str) -> int:
        body = facts_pb2.WorkerFact(
            worker_id=client.caller.id,
            organization_id=client.caller.organization_id,
            status_code=status,
        )
        return self.fact("enlace.worker.suspended.v1", body.SerializeToString())

    def key(self, client: Client, live: bool) -> None:
        body = facts_pb2.ApiKeyFact(
            api_key_id=client.caller.id, organization_id=client.caller.organization_id, live=live
        )
        self.fact("enlace.api_key.revoked.v1", body.SerializeToString())

    def service_of(self, name: str, owner: str, active: bool) -> None:
        body = facts_pb2.ServiceFact(
            service_id=SERVICE[name], organization_id=ORG[owner], active=active
        )
        self.fact("enlace.service.changed.v1", body.SerializeToString())


@pytest.mark.parametrize("status", ["SUSPENDED", "PENDING", "", "SOMETHING_NEW"])
def test_a_member_not_in_good_standing_is_refused_even_with_a_fresh_token(
    status: str, story: Story, hear: Hearing
) -> None:
    hear.organization("ngo", status)
    assert refusal(lambda: story.ngo.CountReferrals(ASK)) == OUT
    assert story.shelter.CountReferrals(ASK).total >= 0
    hear.organization("ngo", "APPROVED")
    assert story.ngo.CountReferrals(ASK).total >= 0


@pytest.mark.parametrize("status", ["APPLIED", "REJECTED"])
def test_an_organisation_that_only_applied_is_unknown(
    status: str, story: Story, hear: Hearing, service: Service
) -> None:
    body = facts_pb2.OrganizationFact(
        organization_id="f" * 32,
        organization_type_code="NGO",
        status_code=status,
        country_code="NI",
    )
    hear.fact("enlace.organization.applied.v1", body.SerializeToString())
    with service.database.transaction(SYSTEM) as tx:
        assert members.organization(tx, "f" * 32) == ("", "")


def test_a_member_on_probation_can_work_and_send_five_referrals_in_all(
    story: Story, hear: Hearing
) -> None:
    hear.organization("shelter", "PROBATION")
    assert story.shelter.CountReferrals(ASK).total >= 0
    hear.organization("ngo", "PROBATION")
    sent = 0
    reason = ""
    while not reason and sent < 10:
        draft = story.draft()
        receipt = story.receipt(draft.person_id)
        request = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
        if sent < 5:
            created = story.ngo.SendReferral(request)
            story.ngo.WithdrawReferral(  # those that have ended count, too
                pb.WithdrawReferralRequest(
                    id=created.id, etag=created.etag, reason_code=pb.WITHDRAW_REASON_MOVED
                )
            )
            sent += 1
        else:
            reason = refusal(partial(story.ngo.SendReferral, request))[1]
    assert (sent, reason) == (5, "referral_limit")


def test_a_suspended_worker_is_refused_and_her_colleagues_are_not(
    service: Service, hear: Hearing
) -> None:
    gone, colleague = (
        service.as_("ngo", "WORKER", "MANAGER"),
        service.as_("ngo", "WORKER", "OPERATOR"),
    )
    assert gone.CountReferrals(ASK).total >= 0
    hear.worker(gone, "SUSPENDED")
    assert refusal(lambda: gone.CountReferrals(ASK)) == OUT
    assert colleague.CountReferrals(ASK).total >= 0


def test_a_revoked_key_is_refused(service: Service, hear: Hearing) -> None:
    key, other = (
        service.as_("ngo", scopes=("referrals.read",)),
        service.as_("ngo", scopes=("referrals.read", "people.read")),
    )
    hear.key(key, True)
    assert key.CountReferrals(ASK).total >= 0
    hear.key(key, False)
    assert refusal(lambda: key.CountReferrals(ASK)) == OUT
    assert other.CountReferrals(ASK).total >= 0


def test_the_attributes_that_a_service_uses_are_known_once_published(
    service: Service, hear: Hearing
) -> None:
    def uses() -> object:
        with service.database.transaction(SYSTEM) as tx:
            row = tx.execute(
                "SELECT uses FROM directory_services WHERE id = %s", (SERVICE["shelter_bed"],)
            ).fetchone()
            return row and row["uses"]

    assert uses() is None, "an earlier fact does not state it"
    body = facts_pb2.ServiceFact(
        service_id=SERVICE["shelter_bed"],
        organization_id=ORG["shelter"],
        active=True,
        criterion_codes=["gender", "age", "mood"],
        criteria_said=True,
    )
    hear.fact("enlace.service.changed.v1", body.SerializeToString())
    assert uses() == ["gender", "age_band"], (
        "attributes newer than this service do not occur in enquiries"
    )


def test_b9_the_ages_that_a_service_accepts_are_known_once_published(
    service: Service, hear: Hearing
) -> None:
    def ages() -> Ages:
        with service.database.transaction(SYSTEM) as tx:
            return members.receiver(tx, SERVICE["shelter_bed"], ORG["shelter"], ORG["ngo"]).ages

    body = facts_pb2.ServiceFact(
        service_id=SERVICE["shelter_bed"], organization_id=ORG["shelter"], active=True
    )
    body.minimum_age, body.maximum_age = 0, 17
    hear.fact("enlace.service.changed.v1", body.SerializeToString())
    assert ages() == Ages(0, 17)
    body.ClearField("maximum_age")
    hear.fact("enlace.service.changed.v1", body.SerializeToString())
    assert ages() == Ages(0, None)


def test_the_country_of_a_member_is_known_once_published(service: Service, hear: Hearing) -> None:
    hear.organization("shelter", "APPROVED")
    with service.database.transaction(SYSTEM) as tx:
        assert members.countries(tx, [ORG["shelter"], "f" * 32]) == {ORG["shelter"]: "NI"}


def test_a_service_that_is_no_longer_offered_is_not_known(story: Story, hear: Hearing) -> None:
    draft = story.draft()
    receipt = story.receipt(draft.person_id)
    send = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt.id)
    hear.service_of("shelter_bed", "shelter", False)
    assert refusal(story.draft) == ("FAILED_PRECONDITION", "service_unknown")
    assert refusal(lambda: story.ngo.SendReferral(send)) == (
        "FAILED_PRECONDITION",
        "service_unknown",
    )
    hear.service_of("shelter_bed", "ngo", True)
    assert refusal(lambda: story.ngo.SendReferral(send)) == (
        "FAILED_PRECONDITION",
        "service_unknown",
    ), "the service belongs to another organisation now"
    hear.service_of("shelter_bed", "shelter", True)
    assert (
        story.ngo.GetReferral(pb.GetReferralRequest(id=draft.id)).service_id
        == SERVICE["shelter_bed"]
    )
    assert story.draft().receiver_organization_id == ORG["shelter"]


def test_a_repeated_fact_has_the_effect_of_one(story: Story, hear: Hearing) -> None:
    for _ in range(2):
        hear.organization("ngo", "SUSPENDED")
    for _ in range(2):
        hear.organization("ngo", "APPROVED")
    assert story.ngo.CountReferrals(ASK).total >= 0


@pytest.mark.parametrize(
    "type_",
    [
        "enlace.weather.changed.v1",
        "enlace.organization.changed.v2",
        "other.organization.changed.v1",
        "enlace.organization.v1",
        "organization",
        "",
    ],
)
def test_a_fact_of_an_unknown_kind_is_held(type_: str, hear: Hearing) -> None:
    with pytest.raises(NewerKind):
        hear.fact(type_, b"")


def test_an_unreadable_body_is_refused(hear: Hearing) -> None:
    with pytest.raises(DecodeError):
        hear.fact("enlace.organization.changed.v1", b"\xff\xff\xff")


@pytest.mark.parametrize(
    ("side", "status"),
    [("shelter", "SUSPENDED"), ("ngo", "SUSPENDED"), ("shelter", "LEFT"), ("ngo", "LEFT")],
)
def test_live_referrals_with_a_suspended_member_are_pressing(
    side: str, status: str, story: Story, hear: Hearing
) -> None:
    calm, accepted = (
        story.sent(urgency=pb.URGENCY_NORMAL),
        story.accepted(urgency=pb.URGENCY_NORMAL),
    )
    draft, over = story.draft(urgency=pb.URGENCY_NORMAL), story.sent(urgency=pb.URGENCY_NORMAL)
    withdrawal = pb.WithdrawReferralRequest(
        id=over.id,
        etag=over.etag,
        reason_code=pb.WITHDRAW_REASON_NEEDS_MET_ELSEWHERE,
        request_id=story.request_id(),
    )
    story.ngo.WithdrawReferral(withdrawal)
    mine = {calm.id, accepted.id, draft.id, over.id}
    assert not mine & shown(story.coordinator, box=pb.BOX_NETWORK, pressing=True).keys()
    hear.organization(side, status)
    pressing = shown(story.coordinator, box=pb.BOX_NETWORK, pressing=True)
    assert mine & pressing.keys() == {calm.id, accepted.id}
    for waits in (calm, accepted):
        assert "reroute" in pressing[waits.id].allowed_verbs, "the coordinators ask another service"
    other = {"shelter": story.ngo, "ngo": story.shelter}[side]
    assert mine & shown(other, box=pb.BOX_MINE, pressing=True).keys() == {calm.id, accepted.id}, (
        "the remaining side sees it too"
    )
    hear.organization(side, "APPROVED")
    assert not mine & shown(story.coordinator, box=pb.BOX_NETWORK, pressing=True).keys()
