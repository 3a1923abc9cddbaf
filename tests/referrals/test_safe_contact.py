"""A person's safe-contact plan.

The tests cover who sees the plan, what is sealed, that every receiver sees if nobody may call the
person, and that each access is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.store import members
from tests.builders import NOON, refusal
from tests.referrals.conftest import ORG, Client, Service, Story

IDENTITY, CONTACT = people_pb2.FIELD_GROUP_IDENTITY, people_pb2.FIELD_GROUP_CONTACT
PLAN = people_pb2.SafeContact(
    channel_code=people_pb2.SAFE_CHANNEL_PHONE,
    hours="mornings",
    code_word="jocote",
    never_say="the shelter",
    message_may_be_left=True,
)
OUTLINE = people_pb2.SafeContact(
    channel_code=people_pb2.SAFE_CHANNEL_PHONE, message_may_be_left=True
)
NOBODY = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)
NOT_FOUND = ("NOT_FOUND", "not_found")


def sent_with_plan(story: Story, plan: people_pb2.SafeContact = PLAN, **values: Any) -> pb.Referral:
    return story.sent(person=story.person(plan=plan), **values)


def outline(client: Client, referral: pb.Referral) -> people_pb2.SafeContact:
    plan: people_pb2.SafeContact = client.GetSafeContact(
        people_pb2.GetSafeContactRequest(referral_id=referral.id)
    )
    return plan


def open_plan(client: Client, referral: pb.Referral) -> people_pb2.SafeContact:
    plan: people_pb2.SafeContact = client.OpenSafeContact(
        people_pb2.OpenSafeContactRequest(referral_id=referral.id)
    )
    return plan


def refusals_of(client: Client, referral: pb.Referral) -> list[tuple[str, str]]:
    """Returns the refusals of both rpcs."""
    return [refusal(partial(ask, client, referral)) for ask in (outline, open_plan)]


def readings(story: Story, referral: pb.Referral) -> list[tuple[str, str, list[int], bool]]:
    listed = story.ngo.ListReadings(
        people_pb2.ListReadingsRequest(person_id=referral.person_id)
    ).readings
    return [
        (reading.organization_id, reading.purpose_code, list(reading.field_groups), reading.allowed)
        for reading in listed
    ]


@pytest.fixture
def on_probation(service: Service) -> Iterator[Callable[..., None]]:
    def put(organization: str, standing: str = "PROBATION") -> None:
        with service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", ORG[organization], True, standing, "NGO")

    yield put
    for organization in ("ngo", "shelter"):
        put(organization, "APPROVED")


def test_a_receiver_sees_the_outline_of_the_plan_and_its_sealed_parts_only_on_opening(
    story: Story,
) -> None:
    referral = sent_with_plan(story)
    assert outline(story.shelter, referral) == OUTLINE
    assert readings(story, referral) == []
    assert open_plan(story.shelter, referral) == PLAN
    assert readings(story, referral) == [(ORG["shelter"], "HOU.EMG", [CONTACT], True)]


def test_the_files_own_organisation_sees_the_plan_too_and_its_opening_is_recorded(
    story: Story, on_probation: Callable[..., None]
) -> None:
    referral = sent_with_plan(story)
    on_probation("ngo")  # probation does not matter for the organisation's own file
    assert outline(story.ngo, referral) == OUTLINE
    assert open_plan(story.ngo, referral) == PLAN
    assert readings(story, referral) == [(ORG["ngo"], "HOU.EMG", [CONTACT], True)]


def test_without_the_field_group_contact_a_receiver_sees_nothing_of_the_plan(story: Story) -> None:
    referral = sent_with_plan(story, field_groups=[IDENTITY])
    assert (
        refusals_of(story.shelter, referral)
        == [("FAILED_PRECONDITION", "receipt_field_group_differs")] * 2
    )
    assert readings(story, referral) == [(ORG["shelter"], "HOU.EMG", [CONTACT], False)]


def test_every_receiver_sees_that_nobody_may_call_the_person_and_nothing_else(
    story: Story, service: Service, on_probation: Callable[..., None]
) -> None:
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_NONE, never_say="that she left", code_word="jocote"
    )
    referral = sent_with_plan(story, plan, field_groups=[IDENTITY])
    on_probation("shelter")
    for client in (
        story.shelter,
        service.as_("shelter", "MANAGER"),
        service.as_("shelter", scopes=("people.read",)),
        story.ngo,
    ):
        assert outline(client, referral) == NOBODY
    assert refusal(lambda: open_plan(story.shelter, referral)) == (
        "PERMISSION_DENIED",
        "member_on_probation",
    )
    on_probation("shelter", "APPROVED")
    # the consent has ended but the referral has not, and still nobody may call her
    service.clock.advance(timedelta(days=90))
    assert outline(story.shelter, referral) == NOBODY
    assert refusal(lambda: open_plan(story.shelter, referral)) == (
        "FAILED_PRECONDITION",
        "receipt_expired",
    )


def test_a_receiver_sees_the_current_version_of_a_plan(story: Story) -> None:
    referral = sent_with_plan(story)
    person = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=referral.person_id))
    story.ngo.SetSafeContact(
        people_pb2.SetSafeContactRequest(id=person.id, etag=person.etag, safe_contact=NOBODY)
    )
    assert outline(story.shelter, referral) == NOBODY


def test_a_member_on_probation_sees_nothing_of_the_plan(
    story: Story, on_probation: Callable[..., None]
) -> None:
    referral = sent_with_plan(story)
    on_probation("shelter")
    assert (
        refusals_of(story.shelter, referral) == [("PERMISSION_DENIED", "member_on_probation")] * 2
    )


def test_roles_that_do_not_work_with_people_see_nothing_of_the_plan(
    story: Story, service: Service
) -> None:
    referral = sent_with_plan(story)
    missing = ("PERMISSION_DENIED", "right_missing")
    steering: tuple[tuple[str, ...], ...] = (("MANAGER",), ("COORDINATOR",), ("AUDITOR",))
    for roles in steering:
        assert refusals_of(service.as_("shelter", *roles), referral) == [missing] * 2
    assert refusals_of(service.as_("shelter", scopes=("people.read",)), referral) == [missing] * 2
    for roles in (("COORDINATOR", "WORKER"), ("AUDITOR", "WORKER")):  # who see no person at all
        assert refusals_of(service.as_("shelter", *roles), referral) == [NOT_FOUND] * 2
    assert refusals_of(service.as_("clinic", "WORKER"), referral) == [NOT_FOUND] * 2
    assert open_plan(service.as_("shelter", scopes=("people.open",)), referral) == PLAN


def withdraw(story: Story, referral: pb.Referral) -> None:
    story.ngo.WithdrawReferral(
        pb.WithdrawReferralRequest(
            id=referral.id, etag=referral.etag, reason_code=pb.WITHDRAW_REASON_MOVED
        )
    )


def decline(story: Story, referral: pb.Referral) -> None:
    story.shelter.DeclineReferral(
        pb.DeclineReferralRequest(
            id=referral.id, etag=referral.etag, reason_code=pb.DECLINE_REASON_NO_CAPACITY
        )
    )


def withdraw_consent(story: Story, referral: pb.Referral) -> None:
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=referral.receipt_id))


@pytest.mark.parametrize("end", [withdraw, decline, withdraw_consent])
@pytest.mark.parametrize("plan", [PLAN, NOBODY])
def test_an_ended_referral_no_longer_shows_the_plan_even_if_another_one_is_live(
    plan: people_pb2.SafeContact, end: Callable[[Story, pb.Referral], None], story: Story
) -> None:
    person = story.person(plan=plan)
    ended, live = story.sent(person=person), story.sent(person=person)
    end(story, ended)
    assert refusals_of(story.shelter, ended) == [NOT_FOUND] * 2
    assert open_plan(story.shelter, live) == plan
    assert [allowed for _, _, _, allowed in readings(story, live)] == [True, False]


def test_an_expired_consent_no_longer_opens_the_plan_to_the_receiver(
    story: Story, service: Service
) -> None:
    referral = sent_with_plan(story)
    service.clock.advance(timedelta(days=90))
    assert refusals_of(story.shelter, referral) == [("FAILED_PRECONDITION", "receipt_expired")] * 2
    assert open_plan(story.ngo, referral) == PLAN


def test_a_tampered_consent_opens_no_plan(story: Story, service: Service) -> None:
    referral = sent_with_plan(story)
    with psycopg.connect(service.migration_url) as owner:
        owner.execute(
            "UPDATE receipts SET field_groups = '{identity,contact,notes}' WHERE id = %s",
            (referral.receipt_id,),
        )
    assert refusals_of(story.shelter, referral) == [("FAILED_PRECONDITION", "receipt_missing")] * 2


def test_an_unconfirmed_override_shows_the_plan_until_its_confirmation_is_due(
    story: Story, service: Service
) -> None:
    referral = story.overridden(person=story.person(plan=PLAN))
    assert open_plan(story.shelter, referral) == PLAN
    service.clock.set(NOON + timedelta(hours=12))
    assert (
        refusals_of(story.shelter, referral) == [("FAILED_PRECONDITION", "receipt_unconfirmed")] * 2
    )


def test_before_the_person_was_asked_there_is_no_plan_to_see(story: Story) -> None:
    draft = story.draft(
        person=story.ngo.CreatePerson(people_pb2.CreatePersonRequest(request_id=story.request_id()))
    )
    assert refusals_of(story.ngo, draft) == [("FAILED_PRECONDITION", "safe_contact_missing")] * 2


def test_an_erased_person_has_no_plan(story: Story, service: Service) -> None:
    referral = sent_with_plan(story)
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE people SET erased = true WHERE id = %s", (referral.person_id,))
        tx.execute(
            "UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", (referral.person_id,)
        )
    for client in (story.ngo, story.shelter):
        assert refusals_of(client, referral) == [("FAILED_PRECONDITION", "person_erased")] * 2
