"""A person's safe-contact plan.

The tests cover the organisations that see the plan, its sealed parts and the record of accesses.
Every receiver sees if nobody may call the person.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOON, NOT_FOUND, refusal
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_people import withdraw, withdraw_consent

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
NO_CONTACT = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)


def sent_with_plan(story: Story, plan: people_pb2.SafeContact = PLAN, **values: Any) -> pb.Referral:
    return story.sent(person=story.person(plan=plan), **values)


def outline(client: Client, referral: pb.Referral) -> people_pb2.SafeContact:
    return cast(people_pb2.SafeContact, client.GetSafeContact(referral_id=referral.id))


def open_plan(client: Client, referral: pb.Referral) -> people_pb2.SafeContact:
    return cast(people_pb2.SafeContact, client.OpenSafeContact(referral_id=referral.id))


def refusal_of_both(client: Client, referral: pb.Referral) -> tuple[str, str]:
    """Returns the refusal of both rpcs, which is the same."""
    expected = refusal(lambda: outline(client, referral))
    assert refusal(lambda: open_plan(client, referral)) == expected
    return expected


def readings(story: Story, referral: pb.Referral) -> list[tuple[str, str, list[int], bool]]:
    """Returns (organisation, purpose, field groups, allowed) of each access, the newest first."""
    return [
        (reading.organization_id, reading.purpose_code, list(reading.field_groups), reading.allowed)
        for reading in story.ngo.ListReadings(person_id=referral.person_id).readings
    ]


def test_a_receiver_sees_the_outline_of_the_plan_and_its_sealed_parts_only_on_opening(
    story: Story,
) -> None:
    referral = sent_with_plan(story)
    assert outline(story.shelter, referral) == OUTLINE
    assert readings(story, referral) == []
    assert open_plan(story.shelter, referral) == PLAN
    assert readings(story, referral) == [(ORG["shelter"], "HOU.EMG", [CONTACT], True)]


def test_the_files_own_organisation_sees_the_plan_too_and_its_opening_is_recorded(
    story: Story, service: Service
) -> None:
    referral = sent_with_plan(story)
    # Even on probation, an organisation that calls its own person must know when and how.
    with service.member_with_status("ngo", "PROBATION"):
        assert outline(story.ngo, referral) == OUTLINE
        assert open_plan(story.ngo, referral) == PLAN
    assert readings(story, referral) == [(ORG["ngo"], "HOU.EMG", [CONTACT], True)]


def test_without_the_field_group_contact_a_receiver_sees_nothing_of_the_plan(story: Story) -> None:
    referral = sent_with_plan(story, field_groups=[IDENTITY])
    assert refusal_of_both(story.shelter, referral) == (
        "FAILED_PRECONDITION",
        "receipt_field_group_differs",
    )
    assert readings(story, referral) == [(ORG["shelter"], "HOU.EMG", [CONTACT], False)]


def test_every_receiver_sees_that_nobody_may_call_the_person_and_nothing_else(
    story: Story, service: Service
) -> None:
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_NONE, never_say="that she left", code_word="jocote"
    )
    referral = sent_with_plan(story, plan, field_groups=[IDENTITY])
    with service.member_with_status("shelter", "PROBATION"):
        for client in (
            story.shelter,
            service.as_("shelter", "MANAGER"),
            service.as_("shelter", scopes=("people.read",)),
            story.ngo,
        ):
            assert outline(client, referral) == NO_CONTACT
        assert refusal(lambda: open_plan(story.shelter, referral)) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )
    # the consent has ended but the referral has not, and still nobody may call her
    service.clock.advance(timedelta(days=90))
    assert outline(story.shelter, referral) == NO_CONTACT
    assert refusal(lambda: open_plan(story.shelter, referral)) == (
        "FAILED_PRECONDITION",
        "receipt_expired",
    )


def test_a_receiver_sees_the_current_version_of_a_plan(story: Story) -> None:
    referral = sent_with_plan(story)
    person = story.ngo.GetPerson(id=referral.person_id)
    story.ngo.SetSafeContact(id=person.id, etag=person.etag, safe_contact=NO_CONTACT)
    assert outline(story.shelter, referral) == NO_CONTACT


def test_roles_that_do_not_work_with_people_see_nothing_of_the_plan(
    story: Story, service: Service
) -> None:
    referral = sent_with_plan(story)
    right_missing = ("PERMISSION_DENIED", "right_missing")
    for client, expected in (
        (service.as_("shelter", "MANAGER"), right_missing),
        (service.as_("shelter", "COORDINATOR"), right_missing),
        (service.as_("shelter", "AUDITOR"), right_missing),
        (service.as_("shelter", scopes=("people.read",)), right_missing),
        # workers with these roles see no person at all
        (service.as_("shelter", "COORDINATOR", "WORKER"), NOT_FOUND),
        (service.as_("shelter", "AUDITOR", "WORKER"), NOT_FOUND),
        (service.as_("clinic", "WORKER"), NOT_FOUND),
    ):
        assert refusal_of_both(client, referral) == expected
    assert open_plan(service.as_("shelter", scopes=("people.open",)), referral) == PLAN


@pytest.mark.parametrize("role", ["COORDINATOR", "AUDITOR"])
def test_a_coordinator_or_auditor_opens_no_plan_even_as_a_worker_of_the_files_organisation(
    role: str, story: Story, service: Service
) -> None:
    referral = sent_with_plan(story)
    worker = service.as_("ngo", role, "WORKER")
    right_missing = ("PERMISSION_DENIED", "right_missing")
    assert refusal(lambda: worker.GetPerson(id=referral.person_id)) == right_missing
    assert refusal(lambda: open_plan(worker, referral)) == right_missing
    assert [allowed for _, _, _, allowed in readings(story, referral)] == [False, False]
    file = worker.GetPerson(id=referral.person_id, outline_only=True)
    assert file.safe_contact == outline(worker, referral) == OUTLINE
    assert not worker.GetPerson(id=story.person(plan=None).id).HasField("safe_contact")


@pytest.mark.parametrize("end", [withdraw, Story.decline, withdraw_consent])
@pytest.mark.parametrize("plan", [PLAN, NO_CONTACT])
def test_an_ended_referral_no_longer_shows_the_plan_even_if_another_one_is_live(
    plan: people_pb2.SafeContact, end: Callable[[Story, pb.Referral], object], story: Story
) -> None:
    person = story.person(plan=plan)
    ended, live = story.sent(person=person), story.sent(person=person)
    end(story, ended)
    assert refusal_of_both(story.shelter, ended) == NOT_FOUND
    assert open_plan(story.shelter, live) == plan
    assert [allowed for _, _, _, allowed in readings(story, live)] == [True, False]


def test_neither_probation_nor_an_expired_or_tampered_consent_opens_the_plan_to_the_receiver(
    story: Story, service: Service
) -> None:
    referral = sent_with_plan(story)
    with service.member_with_status("shelter", "PROBATION"):
        assert refusal_of_both(story.shelter, referral) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )
    service.clock.advance(timedelta(days=90))
    assert refusal_of_both(story.shelter, referral) == ("FAILED_PRECONDITION", "receipt_expired")
    assert open_plan(story.ngo, referral) == PLAN
    service.clock.set(NOON)
    service.as_owner(
        "UPDATE receipts SET field_groups = '{identity,contact,notes}' WHERE id = %s",
        referral.receipt_id,
    )
    assert refusal_of_both(story.shelter, referral) == ("FAILED_PRECONDITION", "receipt_missing")


def test_an_unconfirmed_override_shows_the_plan_until_its_confirmation_is_due(
    story: Story, service: Service
) -> None:
    referral = story.overridden(person=story.person(plan=PLAN))
    assert open_plan(story.shelter, referral) == PLAN
    service.clock.set(NOON + timedelta(hours=12))
    assert refusal_of_both(story.shelter, referral) == (
        "FAILED_PRECONDITION",
        "receipt_unconfirmed",
    )


def test_before_the_person_was_asked_there_is_no_plan_to_see(story: Story) -> None:
    draft = story.draft(story.ngo.CreatePerson())
    assert refusal_of_both(story.ngo, draft) == ("FAILED_PRECONDITION", "safe_contact_missing")


def test_an_erased_person_has_no_plan(story: Story, service: Service) -> None:
    referral = sent_with_plan(story)
    person_id = referral.person_id
    service.as_owner("UPDATE people SET erased = true WHERE id = %s", person_id)
    service.as_owner("UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", person_id)
    for client in (story.ngo, story.shelter):
        assert refusal_of_both(client, referral) == ("FAILED_PRECONDITION", "person_erased")
