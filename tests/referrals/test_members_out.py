"""Live referrals when a member is suspended or returns, and the counts of the member's work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.counts import round_up
from tests.builders import NOON, refusal
from tests.referrals.conftest import ORG, Service, Story
from tests.referrals.test_subscriptions import Hearing


@pytest.fixture
def hear(service: Service) -> Iterator[Hearing]:
    hearing = Hearing(service)
    yield hearing
    for organization in ("ngo", "shelter"):
        hearing.organization(organization, "APPROVED")


def member_facts(service: Service, referral: pb.Referral) -> list[tuple[str, str]]:
    """Returns (verb, member whose status changed) of each fact since the sending."""
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT type, payload FROM outbox WHERE subject = %s ORDER BY version", (referral.id,)
        ).fetchall()
    facts = [
        (row["type"].split(".")[2], facts_pb2.ReferralFact.FromString(row["payload"]))
        for row in rows
    ]
    return [(verb, fact.actor_organization_id) for verb, fact in facts if verb.startswith("side_")]


@pytest.mark.parametrize("side", ["shelter", "ngo"])
def test_d24_a_suspension_and_a_return_are_each_published_once_to_the_other_side(
    side: str, story: Story, service: Service, hear: Hearing
) -> None:
    live, over, draft = story.sent(), story.sent(), story.draft()
    withdrawal = pb.WithdrawReferralRequest(
        id=over.id,
        etag=over.etag,
        reason_code=pb.WITHDRAW_REASON_MOVED,
        request_id=story.request_id(),
    )
    story.ngo.WithdrawReferral(withdrawal)
    before = story.coordinator.GetReferral(pb.GetReferralRequest(id=live.id)).etag
    hear.organization(side, "SUSPENDED")
    hear.organization(side, "SUSPENDED")
    assert member_facts(service, live) == [("side_out", ORG[side])]
    hear.organization(side, "APPROVED")
    hear.organization(side, "APPROVED")
    assert member_facts(service, live) == [("side_out", ORG[side]), ("side_back", ORG[side])]
    assert [member_facts(service, each) for each in (over, draft)] == [[], []]
    assert story.coordinator.GetReferral(pb.GetReferralRequest(id=live.id)).etag == before, (
        "no etag has become stale"
    )


def test_d24_changes_of_the_other_side_do_not_report_a_suspended_member_again(
    story: Story, service: Service, hear: Hearing
) -> None:
    live = story.sent()
    hear.organization("shelter", "SUSPENDED")
    hear.organization("ngo", "APPROVED")  # the member changed its phone number
    assert member_facts(service, live) == [("side_out", ORG["shelter"])]
    hear.organization("ngo", "SUSPENDED")
    hear.organization("shelter", "APPROVED")
    assert member_facts(service, live)[1:] == [
        ("side_out", ORG["ngo"]),
        ("side_back", ORG["shelter"]),
    ]
    hear.organization("ngo", "APPROVED")
    assert member_facts(service, live)[3:] == [("side_back", ORG["ngo"])]


def test_d24_only_coordinators_see_how_much_work_a_member_has(story: Story) -> None:
    request = pb.CountMemberWorkRequest(organization_id=ORG["shelter"])
    before = story.coordinator.CountMemberWork(request)
    story.sent()
    after = story.coordinator.CountMemberWork(request)
    assert (after.received_count - before.received_count, after.due_count - before.due_count) == (
        1,
        1,
    )
    assert refusal(lambda: story.ngo.CountMemberWork(request)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )


def test_d24_a_referral_that_came_back_is_due_work_of_its_sender(story: Story) -> None:
    request = pb.CountMemberWorkRequest(organization_id=ORG["ngo"])
    live = story.sent(urgency=pb.URGENCY_IMMEDIATE)
    before = story.coordinator.CountMemberWork(request).due_count
    story.shelter.DeclineReferral(
        pb.DeclineReferralRequest(
            id=live.id, etag=live.etag, reason_code=pb.DECLINE_REASON_NO_CAPACITY
        )
    )
    assert story.coordinator.CountMemberWork(request).due_count == before + 1


def test_the_open_contacts_and_owed_calls_of_a_line_are_its_due_work(story: Story) -> None:
    def due() -> int:
        request = pb.CountMemberWorkRequest(organization_id=ORG["hotline"])
        return int(story.coordinator.CountMemberWork(request).due_count)

    before = due()
    operator, created = story.service.as_("hotline", "OPERATOR"), story.contact()
    assert due() == before + 1
    callback = c.Callback(
        contact_id=created.contact.id,
        day_code=c.DAY_BAND_TODAY,
        hour_code=c.HOUR_BAND_NIGHT,
    )
    call = operator.CreateCallback(c.CreateCallbackRequest(callback=callback))
    assert due() == before + 2
    reached = c.CALLBACK_OUTCOME_REACHED
    operator.SettleCallback(
        c.SettleCallbackRequest(id=call.id, etag=call.etag, outcome_code=reached)
    )
    advised = c.Contact(
        id=created.contact.id, etag=created.contact.etag, outcome_code=c.CONTACT_OUTCOME_ADVISED
    )
    operator.UpdateContact(
        c.UpdateContactRequest(contact=advised, update_mask=FieldMask(paths=["outcome_code"]))
    )
    assert due() == before


def test_d24_a_count_of_a_members_files_is_rounded_and_reveals_no_single_person(
    story: Story,
) -> None:
    request = pb.CountMemberWorkRequest(organization_id=ORG["ngo"])
    before = story.coordinator.CountMemberWork(request).most_people
    for _ in range(6):
        story.ngo.CreatePerson(people_pb2.CreatePersonRequest(request_id=story.request_id()))
        assert story.coordinator.CountMemberWork(request).most_people == before, (
            "the count is not updated before the period ends"
        )
    story.service.clock.set(NOON + timedelta(hours=6))
    after = story.coordinator.CountMemberWork(request).most_people
    assert (before % 5, after % 5, after > before) == (0, 0, True)
    assert [round_up(count) for count in (0, 1, 5, 6)] == [0, 5, 5, 10]
