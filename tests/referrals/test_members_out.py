"""Live referrals when a member is suspended or returns, and the counts of the member's work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.counts import round_up
from tests.builders import NOON, refusal
from tests.referrals.conftest import ORG, Service, Story, read
from tests.referrals.test_subscriptions import Hearing


@pytest.fixture
def hearing(service: Service) -> Iterator[Hearing]:
    """Applies facts of partners to the service; approves the NGO and the shelter afterwards."""
    facts = Hearing(service)
    yield facts
    for organization in ("ngo", "shelter"):
        facts.organization(organization, "APPROVED")


def member_facts(service: Service, referral: pb.Referral) -> list[tuple[str, str]]:
    """Returns (verb, member) of each fact that a side of the referral went out or came back."""
    rows = service.rows(
        "SELECT type, payload FROM outbox WHERE subject = %s"
        " AND type LIKE 'enlace.referral.side\\_%%' ORDER BY version",
        referral.id,
    )
    return [
        (
            row["type"].split(".")[2],
            facts_pb2.ReferralFact.FromString(row["payload"]).actor_organization_id,
        )
        for row in rows
    ]


@pytest.mark.parametrize("side", ["shelter", "ngo"])
def test_d24_a_suspension_and_a_return_are_each_published_once_to_the_other_side(
    side: str, story: Story, service: Service, hearing: Hearing
) -> None:
    live, withdrawn, draft = story.sent(), story.sent(), story.draft()
    story.ngo.WithdrawReferral(
        id=withdrawn.id, etag=withdrawn.etag, reason_code=pb.WITHDRAW_REASON_MOVED
    )
    before = read(story.coordinator, live.id).etag
    expected = []
    for status, verb in (("SUSPENDED", "side_out"), ("APPROVED", "side_back")):
        hearing.organization(side, status)
        hearing.organization(side, status)
        expected.append((verb, ORG[side]))
        assert member_facts(service, live) == expected
    assert [member_facts(service, referral) for referral in (withdrawn, draft)] == [[], []]
    assert read(story.coordinator, live.id).etag == before, "no etag has become stale"


def test_d24_changes_of_the_other_side_do_not_report_a_suspended_member_again(
    story: Story, service: Service, hearing: Hearing
) -> None:
    live = story.sent()
    hearing.organization("shelter", "SUSPENDED")
    hearing.organization("ngo", "APPROVED")  # the member changed its phone number
    assert member_facts(service, live) == [("side_out", ORG["shelter"])]
    hearing.organization("ngo", "SUSPENDED")
    hearing.organization("shelter", "APPROVED")
    assert member_facts(service, live)[1:] == [
        ("side_out", ORG["ngo"]),
        ("side_back", ORG["shelter"]),
    ]
    hearing.organization("ngo", "APPROVED")
    assert member_facts(service, live)[3:] == [("side_back", ORG["ngo"])]


def work(story: Story, member: str) -> pb.MemberWork:
    counts: pb.MemberWork = story.coordinator.CountMemberWork(organization_id=ORG[member])
    return counts


def test_d24_only_coordinators_see_how_much_work_a_member_has(story: Story) -> None:
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


def test_d24_a_referral_that_came_back_is_due_work_of_its_sender(story: Story) -> None:
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


def test_d24_a_count_of_a_members_files_is_rounded_and_reveals_no_single_person(
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
    assert [round_up(count) for count in (0, 1, 5, 6)] == [0, 5, 5, 10]


def test_nobody_reminds_a_side_that_is_suspended_because_no_notice_reaches_it(
    story: Story, hearing: Hearing
) -> None:
    sent = story.sent()
    for side, receiver_verbs in (("ngo", {"remind"}), ("shelter", set())):
        hearing.organization(side, "SUSPENDED")
        referral = read(story.coordinator, sent.id)
        assert set(referral.allowed_verbs) & {"remind"} == receiver_verbs, side
    remind = partial(story.coordinator.RemindReferral, id=sent.id, etag=sent.etag)
    assert refusal(remind) == ("FAILED_PRECONDITION", "illegal_transition")
    hearing.organization("shelter", "APPROVED")
    assert remind().turn == pb.TURN_RECEIVER
