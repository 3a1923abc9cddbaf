"""The facts of partners and their effects.

A suspended caller is refused, and a service that is no longer offered becomes unknown.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import cast

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError

from chassis.tokens import SYSTEM
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import facts_pb2 as referral_facts
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals import subscriptions
from services.referrals.network.domain.service import Ages
from services.referrals.network.store import members
from tests.builders import NOON, refusal
from tests.parts.loops import eventually
from tests.referrals.conftest import (
    ARRIVAL,
    LONG,
    ORG,
    SERVICE,
    Client,
    Service,
    Story,
    read,
    send_request,
)
from tests.referrals.test_referrals_rpc import shown
from tests.referrals.test_withdrawal import waiting

NOT_ACTIVE = ("PERMISSION_DENIED", "organization_not_active")


@pytest.fixture
def partners_facts(service: Service) -> Iterator["PartnersFacts"]:
    """Applies facts of partners to the service; reinstates all members after the test."""
    facts = PartnersFacts(service)
    yield facts
    for organization in ("ngo", "shelter"):
        facts.organization(organization, "APPROVED")
    facts.service_of("shelter_bed", "shelter", True)


class PartnersFacts:
    """Applies facts of the partners service to the referrals service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def fact(self, type_: str, payload: bytes) -> int:
        """Applies a fact as a subscriber does, with a transaction for each part.

        Returns the number of parts.
        """
        for part in itertools.count(1):
            with self._service.database.transaction(SYSTEM) as tx:
                unfinished = subscriptions.consume(
                    self._service.made.referral_changes,
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
    status: str, story: Story, partners_facts: PartnersFacts
) -> None:
    for _ in range(2):  # a repeated fact has the effect of one
        partners_facts.organization("ngo", status)
    assert refusal(story.ngo.CountReferrals) == NOT_ACTIVE
    story.shelter.CountReferrals()
    for _ in range(2):
        partners_facts.organization("ngo", "APPROVED")
    story.ngo.CountReferrals()


@pytest.mark.parametrize("status", ["APPLIED", "REJECTED"])
def test_an_organisation_that_was_never_approved_is_unknown(
    status: str, story: Story, partners_facts: PartnersFacts, service: Service
) -> None:
    body = facts_pb2.OrganizationFact(
        organization_id="f" * 32,
        organization_type_code="NGO",
        status_code=status,
        country_code="NI",
    )
    partners_facts.fact("enlace.organization.applied.v1", body.SerializeToString())
    assert service.in_transaction(members.organization, "f" * 32) == ("", "")


def test_a_member_on_probation_can_work_and_send_five_referrals_in_all(
    story: Story, partners_facts: PartnersFacts
) -> None:
    partners_facts.organization("shelter", "PROBATION")
    story.shelter.CountReferrals()
    partners_facts.organization("ngo", "PROBATION")
    for _ in range(5):
        sent = story.sent()
        # those that have ended count, too
        story.ngo.WithdrawReferral(id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    draft = story.draft()
    request = send_request(draft, story.receipt(draft.person_id).id)
    assert refusal(lambda: story.ngo.SendReferral(request))[1] == "referral_limit"


def test_a_suspended_worker_is_refused_and_her_colleagues_are_not(
    service: Service, partners_facts: PartnersFacts
) -> None:
    suspended = service.as_("ngo", "WORKER", "MANAGER")
    suspended.CountReferrals()
    partners_facts.worker(suspended, "SUSPENDED")
    assert refusal(suspended.CountReferrals) == NOT_ACTIVE
    service.as_("ngo", "WORKER", "OPERATOR").CountReferrals()


def test_a_revoked_key_is_refused(service: Service, partners_facts: PartnersFacts) -> None:
    key = service.as_("ngo", scopes=("referrals.read",))
    partners_facts.key(key, True)
    key.CountReferrals()
    partners_facts.key(key, False)
    assert refusal(key.CountReferrals) == NOT_ACTIVE
    service.as_("ngo", scopes=("referrals.read", "people.read")).CountReferrals()


def test_the_attributes_that_a_service_uses_are_known_once_published(
    service: Service, partners_facts: PartnersFacts
) -> None:
    def uses() -> object:
        query = "SELECT uses FROM directory_services WHERE id = %s"
        return service.rows(query, SERVICE["shelter_bed"])[0]["uses"]

    assert uses() is None, "an earlier fact does not state the attributes"
    body = facts_pb2.ServiceFact(
        service_id=SERVICE["shelter_bed"],
        organization_id=ORG["shelter"],
        active=True,
        criterion_codes=["gender", "age", "mood"],
        criteria_said=True,
    )
    partners_facts.fact("enlace.service.changed.v1", body.SerializeToString())
    assert uses() == ["gender", "age_band"], (
        "attributes newer than this service do not occur in enquiries"
    )


def test_the_ages_that_a_service_accepts_are_known_once_published(
    service: Service, partners_facts: PartnersFacts
) -> None:
    def ages() -> Ages:
        with service.database.transaction(SYSTEM) as tx:
            return members.query_receiver(
                tx, SERVICE["shelter_bed"], ORG["shelter"], ORG["ngo"]
            )().ages

    body = facts_pb2.ServiceFact(
        service_id=SERVICE["shelter_bed"], organization_id=ORG["shelter"], active=True
    )
    body.minimum_age, body.maximum_age = 0, 17
    partners_facts.fact("enlace.service.changed.v1", body.SerializeToString())
    assert ages() == Ages(0, 17)
    body.ClearField("maximum_age")
    partners_facts.fact("enlace.service.changed.v1", body.SerializeToString())
    assert ages() == Ages(0, None)


def test_the_country_of_a_member_is_known_once_published(
    service: Service, partners_facts: PartnersFacts
) -> None:
    partners_facts.organization("shelter", "APPROVED")
    countries = service.in_transaction(members.countries, [ORG["shelter"], "f" * 32])
    assert countries == {ORG["shelter"]: "NI"}


def test_a_service_that_is_no_longer_offered_is_not_known(
    story: Story, partners_facts: PartnersFacts
) -> None:
    draft, service_unknown = story.draft(), ("FAILED_PRECONDITION", "service_unknown")
    send = send_request(draft, story.receipt(draft.person_id).id)
    partners_facts.service_of("shelter_bed", "shelter", False)
    assert refusal(story.draft) == service_unknown
    assert refusal(lambda: story.ngo.SendReferral(send)) == service_unknown
    partners_facts.service_of("shelter_bed", "ngo", True)  # it belongs to another organisation now
    assert refusal(lambda: story.ngo.SendReferral(send)) == service_unknown
    partners_facts.service_of("shelter_bed", "shelter", True)
    assert read(story.ngo, draft.id).service_id == SERVICE["shelter_bed"]
    assert story.draft().receiver_organization_id == ORG["shelter"]


@pytest.mark.parametrize(
    ("type_", "body", "error"),
    [
        ("enlace.weather.changed.v1", b"", NewerKind),
        ("enlace.organization.changed.v2", b"", NewerKind),
        ("other.organization.changed.v1", b"", NewerKind),
        ("enlace.organization.v1", b"", NewerKind),
        ("organization", b"", NewerKind),
        ("", b"", NewerKind),
        ("enlace.organization.changed.v1", b"\xff\xff\xff", DecodeError),
    ],
)
def test_a_fact_of_an_unknown_kind_is_held_and_an_unreadable_body_is_refused(
    type_: str, body: bytes, error: type[Exception], partners_facts: PartnersFacts
) -> None:
    with pytest.raises(error):
        partners_facts.fact(type_, body)


@pytest.mark.parametrize(
    ("side", "status"),
    [("shelter", "SUSPENDED"), ("ngo", "SUSPENDED"), ("shelter", "LEFT"), ("ngo", "LEFT")],
)
def test_live_referrals_with_a_member_that_is_suspended_or_has_left_are_pressing(
    side: str, status: str, story: Story, partners_facts: PartnersFacts
) -> None:
    normal = pb.URGENCY_NORMAL
    live = {story.sent(urgency=normal).id, story.accepted(urgency=normal).id}
    ended = story.sent(urgency=normal)
    story.ngo.WithdrawReferral(id=ended.id, etag=ended.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    own_ids = {*live, ended.id, story.draft(urgency=normal).id}
    assert not own_ids & shown(story.coordinator, box=pb.BOX_NETWORK, pressing=True).keys()
    partners_facts.organization(side, status)
    pressing = shown(story.coordinator, box=pb.BOX_NETWORK, pressing=True)
    assert own_ids & pressing.keys() == live
    for referral_id in live:
        # so that the coordinators can ask another service
        assert "reroute" in pressing[referral_id].allowed_verbs
    other_side = {"shelter": story.ngo, "ngo": story.shelter}[side]
    # the remaining side sees these referrals too
    assert own_ids & shown(other_side, box=pb.BOX_MINE, pressing=True).keys() == live
    partners_facts.organization(side, "APPROVED")
    assert not own_ids & shown(story.coordinator, box=pb.BOX_NETWORK, pressing=True).keys()


# Live referrals when a member is suspended or returns, and the counts of the member's work.


def member_facts(service: Service, referral: pb.Referral) -> list[tuple[str, str]]:
    """Returns (verb, member) of each fact that a side of the referral was suspended or returned."""
    rows = service.rows(
        "SELECT type, payload FROM outbox WHERE subject = %s"
        " AND type LIKE 'enlace.referral.side\\_%%' ORDER BY version",
        referral.id,
    )
    return [
        (
            row["type"].split(".")[2],
            referral_facts.ReferralFact.FromString(row["payload"]).actor_organization_id,
        )
        for row in rows
    ]


@pytest.mark.parametrize("side", ["shelter", "ngo"])
def test_a_suspension_and_a_return_are_each_published_once_to_the_other_side(
    side: str, story: Story, service: Service, partners_facts: PartnersFacts
) -> None:
    live, withdrawn, draft = story.sent(), story.sent(), story.draft()
    story.ngo.WithdrawReferral(
        id=withdrawn.id, etag=withdrawn.etag, reason_code=pb.WITHDRAW_REASON_MOVED
    )
    before = read(story.coordinator, live.id).etag
    expected = []
    for status, verb in (("SUSPENDED", "side_out"), ("APPROVED", "side_back")):
        partners_facts.organization(side, status)
        partners_facts.organization(side, status)
        expected.append((verb, ORG[side]))
        assert member_facts(service, live) == expected
    assert [member_facts(service, referral) for referral in (withdrawn, draft)] == [[], []]
    assert read(story.coordinator, live.id).etag == before, "no etag has become stale"


@pytest.mark.usefixtures("unhurried")
def test_the_sender_of_a_referral_that_is_being_sent_learns_of_the_receivers_suspension(
    story: Story, service: Service, partners_facts: PartnersFacts
) -> None:
    draft = story.draft()
    request = send_request(draft, story.receipt(draft.person_id).id, arrival=ARRIVAL)
    with ThreadPoolExecutor(2) as pool:
        with service.database.transaction(SYSTEM) as tx:
            tx.execute("SELECT FROM referrals WHERE id = %s FOR UPDATE", (draft.id,)).fetchone()
            sent = pool.submit(story.ngo.SendReferral, request)
            assert eventually(lambda: waiting(service) == 1 or sent.done(), LONG)
            suspended = pool.submit(partners_facts.organization, "shelter", "SUSPENDED")
            assert eventually(lambda: waiting(service) == 2 or suspended.done(), LONG)
        assert sent.result().state == pb.STATE_SENT
        suspended.result()
    assert member_facts(service, draft) == [("side_out", ORG["shelter"])]


def test_changes_of_the_other_side_do_not_report_a_suspended_member_again(
    story: Story, service: Service, partners_facts: PartnersFacts
) -> None:
    live = story.sent()
    partners_facts.organization("shelter", "SUSPENDED")
    partners_facts.organization("ngo", "APPROVED")  # the member changed its phone number
    assert member_facts(service, live) == [("side_out", ORG["shelter"])]
    partners_facts.organization("ngo", "SUSPENDED")
    partners_facts.organization("shelter", "APPROVED")
    assert member_facts(service, live)[1:] == [
        ("side_out", ORG["ngo"]),
        ("side_back", ORG["shelter"]),
    ]
    partners_facts.organization("ngo", "APPROVED")
    assert member_facts(service, live)[3:] == [("side_back", ORG["ngo"])]


def work(story: Story, member: str) -> pb.MemberWork:
    return cast(pb.MemberWork, story.coordinator.CountMemberWork(organization_id=ORG[member]))


def test_only_coordinators_see_how_much_work_a_member_has(story: Story) -> None:
    before = work(story, "shelter")
    story.sent()
    after = work(story, "shelter")
    assert (after.received_count, after.due_count) == (
        before.received_count + 1,
        before.due_count + 1,
    )
    assert refusal(lambda: story.ngo.CountMemberWork(organization_id=ORG["shelter"])) == (
        "PERMISSION_DENIED",
        "right_missing",
    )


def test_a_referral_that_came_back_is_due_work_of_its_sender(story: Story) -> None:
    live = story.sent(urgency=pb.URGENCY_IMMEDIATE)
    before = work(story, "ngo").due_count
    story.decline(live)
    assert work(story, "ngo").due_count == before + 1


def test_the_open_contacts_and_owed_calls_of_a_line_are_its_due_work(story: Story) -> None:
    before = work(story, "hotline").due_count
    operator, contact = story.operator, story.contact().contact
    assert work(story, "hotline").due_count == before + 1
    callback = c.Callback(
        contact_id=contact.id, day_code=c.DAY_BAND_TODAY, hour_code=c.HOUR_BAND_NIGHT
    )
    call = operator.CreateCallback(callback=callback)
    assert work(story, "hotline").due_count == before + 2
    operator.SettleCallback(id=call.id, etag=call.etag, outcome_code=c.CALLBACK_OUTCOME_REACHED)
    contact.outcome_code = c.CONTACT_OUTCOME_ADVISED
    operator.UpdateContact(contact=contact, update_mask=FieldMask(paths=["outcome_code"]))
    assert work(story, "hotline").due_count == before


def test_a_count_of_a_members_files_is_rounded_and_reveals_no_single_person(
    story: Story,
) -> None:
    before = work(story, "ngo").most_people
    for _ in range(6):
        story.ngo.CreatePerson(request_id=story.request_id())
        assert work(story, "ngo").most_people == before, (
            "the count is not updated before the period ends"
        )
    story.service.clock.set(NOON + timedelta(hours=6))
    after = work(story, "ngo").most_people
    assert (before % 5, after % 5, after > before) == (0, 0, True)


def test_a_suspended_side_is_not_reminded_because_no_notice_reaches_it(
    story: Story, partners_facts: PartnersFacts
) -> None:
    sent = story.sent()
    for side, receiver_verbs in (("ngo", {"remind"}), ("shelter", set())):
        partners_facts.organization(side, "SUSPENDED")
        referral = read(story.coordinator, sent.id)
        assert set(referral.allowed_verbs) & {"remind"} == receiver_verbs, side
    remind = partial(story.coordinator.RemindReferral, id=sent.id, etag=sent.etag)
    assert refusal(remind) == ("FAILED_PRECONDITION", "illegal_transition")
    partners_facts.organization("shelter", "APPROVED")
    assert remind().turn == pb.TURN_RECEIVER
