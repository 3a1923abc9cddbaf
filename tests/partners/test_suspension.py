"""Two coordinators of different members suspend, reinstate and expel a member, with a reason.

One coordinator alone can suspend a member for a day.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import members_pb2 as m
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import (
    ILLEGAL,
    NOT_INDEPENDENT,
    RIGHT_MISSING,
    SECOND_PERSON,
    STALE_ETAG,
    Scene,
    Stubs,
)
from tests.partners.test_invitations import answer
from tests.partners.test_membership import verbs as verbs_of
from tests.partners.test_password_resets import facts_with_letters

SUSPENDED, APPROVED = pb.ORGANIZATION_STATUS_SUSPENDED, pb.ORGANIZATION_STATUS_APPROVED
HELD_LATELY = ("FAILED_PRECONDITION", "held_lately")
NO_SECOND = ("FAILED_PRECONDITION", "no_second_coordinator")


def suspend(
    scene: Scene,
    by: Stubs,
    member: Organization,
    reason: int = pb.SUSPENSION_REASON_HARM,
    *,
    hold: bool = False,
) -> pb.Organization:
    return by.SuspendOrganization(  # type: ignore[no-any-return]
        id=member.id, etag=scene.etag(member.id), reason=reason, hold=hold
    )


def reinstate(scene: Scene, by: Stubs, member: Organization) -> pb.Organization:
    return by.ReinstateOrganization(  # type: ignore[no-any-return]
        id=member.id, etag=scene.etag(member.id)
    )


def leave(scene: Scene, by: Stubs, member: Organization) -> pb.Organization:
    return by.LeaveOrganization(  # type: ignore[no-any-return]
        id=member.id, etag=scene.etag(member.id)
    )


def can_call(by: Stubs) -> bool:
    """Returns whether calls with these stubs are answered."""
    return answer(by.ListOrganizations) == "OK"


def verbs(scene: Scene, member: Organization) -> list[str]:
    return verbs_of(scene, member.id)


@pytest.fixture
def second_coordinator(scene: Scene) -> Stubs:
    return scene.neighbour


def test_one_coordinator_only_proposes_and_a_second_of_another_member_suspends(
    scene: Scene, member: Organization, second_coordinator: Stubs, second_of_coalition: Stubs
) -> None:
    worker = scene.by(member)
    proposed = suspend(scene, scene.coordinator, member)
    assert (proposed.status, proposed.suspension.reason, can_call(worker)) == (
        APPROVED,
        pb.SUSPENSION_REASON_HARM,
        True,
    )
    assert proposed.suspension.HasField("expire_time")
    assert refusal(lambda: suspend(scene, scene.coordinator, member)) == SECOND_PERSON
    assert refusal(lambda: suspend(scene, second_of_coalition, member)) == NOT_INDEPENDENT
    suspended = suspend(scene, second_coordinator, member, pb.SUSPENSION_REASON_UNSPECIFIED)
    assert (suspended.status, suspended.suspension.reason, can_call(worker)) == (
        SUSPENDED,
        pb.SUSPENSION_REASON_HARM,
        False,
    )
    assert not suspended.suspension.HasField("expire_time")
    assert suspended.suspension.second_worker_id not in ("", suspended.suspension.worker_id)
    assert refusal(lambda: suspend(scene, second_coordinator, member)) == ILLEGAL


@pytest.mark.usefixtures("second_coordinator")
@pytest.mark.parametrize("hold", [False, True])
def test_nobody_is_suspended_without_a_reason(
    hold: bool, scene: Scene, member: Organization
) -> None:
    assert wrong_fields(
        lambda: suspend(
            scene, scene.coordinator, member, pb.SUSPENSION_REASON_UNSPECIFIED, hold=hold
        )
    ) == [("reason", "required")]
    assert verbs(scene, member)[-1] == "approved"


def test_the_second_coordinator_confirms_only_the_version_that_she_saw(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    etag = scene.etag(member.id)
    suspend(scene, scene.coordinator, member)
    assert (
        refusal(
            lambda: second_coordinator.SuspendOrganization(
                id=member.id, etag=etag, reason=pb.SUSPENSION_REASON_HARM
            )
        )
        == STALE_ETAG
    )


def test_no_member_sees_that_a_suspension_or_the_end_of_a_membership_is_proposed(
    scene: Scene, second_coordinator: Stubs
) -> None:
    front = scene.organization("Fachada")
    own_manager, other_manager = (
        scene.by(member, Role.MANAGER) for member in (front, scene.organization("Otra"))
    )

    def visible_entries() -> list[pb.Organization]:
        return [
            own_manager.GetOrganization(id=front.id),
            own_manager.BatchGet(organization_ids=[front.id]).organizations[0],
            other_manager.GetOrganization(id=front.id),
            next(
                one for one in other_manager.ListOrganizations().organizations if one.id == front.id
            ),
        ]

    before = visible_entries()
    scene.advance(minutes=1)
    suspend(scene, scene.coordinator, front)
    leave(scene, scene.coordinator, front)
    assert visible_entries() == before
    mask = FieldMask(paths=["description"])
    guess = pb.Organization(id=front.id, etag=scene.etag(front.id))
    assert guess.etag != before[0].etag
    assert refusal(
        lambda: own_manager.UpdateOrganization(organization=guess, update_mask=mask)
    ) == (STALE_ETAG), "a member cannot find out the coordinators' version by trying"
    entry = pb.Organization(id=front.id, etag=before[0].etag, description="Otra cosa")
    changed = own_manager.UpdateOrganization(organization=entry, update_mask=mask)
    assert (changed.etag != before[0].etag, changed.update_time != before[0].update_time) == (
        True,
        True,
    )
    assert int(changed.etag[1:]) == int(before[0].etag[1:]) + 1, "a gap would show the proposals"
    before = visible_entries()
    assert before[0] == changed
    scene.sweep(days=7)
    assert verbs(scene, front)[-1] == "suspension_dropped"
    assert visible_entries() == before


def test_a_proposal_that_nobody_confirms_is_dropped_after_seven_days(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    suspend(scene, scene.coordinator, member)
    scene.sweep(days=7)
    assert verbs(scene, member)[-1] == "suspension_dropped"
    assert suspend(scene, second_coordinator, member).status == APPROVED, (
        "the other coordinator makes a new proposal"
    )


@pytest.mark.usefixtures("second_coordinator")
def test_one_coordinator_alone_can_suspend_a_member_at_once_and_for_a_day(
    scene: Scene, member: Organization
) -> None:
    worker, key = scene.by(member), scene.by_key(member, "directory.read")
    manager = scene.worker(member, Role.MANAGER, email="jefa@casa.example")
    suspended = suspend(scene, scene.coordinator, member, pb.SUSPENSION_REASON_FRONT, hold=True)
    assert (suspended.status, can_call(worker), can_call(key)) == (SUSPENDED, False, False)
    scene.sweep(hours=24, seconds=-1)
    assert not can_call(worker)
    scene.sweep(seconds=1)
    assert (can_call(worker), can_call(key)) == (True, True)
    assert verbs(scene, member)[-2:] == ["held", "hold_ended"]
    letters = [
        letter.email
        for fact in ("member_held", "member_reinstated")
        for _, letter in facts_with_letters(scene, fact)
    ]
    assert letters == [manager.entry.email] * 2


def test_a_hold_that_a_second_coordinator_confirms_is_a_suspension(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    scene.worker(member, Role.MANAGER)
    suspend(scene, scene.coordinator, member, hold=True)
    assert refusal(lambda: suspend(scene, scene.coordinator, member)) == SECOND_PERSON
    assert suspend(scene, second_coordinator, member).status == SUSPENDED
    scene.sweep(days=30)
    assert scene.coordinator.GetOrganization(id=member.id).status == SUSPENDED
    assert verbs(scene, member)[-2:] == ["held", "suspension_confirmed"]
    for fact in ("member_held", "member_suspended"):
        assert len(facts_with_letters(scene, fact)) == 1


def test_a_hold_on_another_coordinators_proposal_confirms_it(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    suspend(scene, scene.coordinator, member)
    assert not suspend(scene, second_coordinator, member, hold=True).suspension.HasField(
        "expire_time"
    )


def test_nobody_suspends_a_member_alone_by_one_hold_after_another(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    suspend(scene, scene.coordinator, member, hold=True)
    scene.sweep(hours=24)
    for by in (scene.coordinator, scene.by(scene.coalition, Role.COORDINATOR)):
        assert refusal(partial(suspend, scene, by, member, hold=True)) == HELD_LATELY
    assert suspend(scene, second_coordinator, member, hold=True).status == SUSPENDED, (
        "an independent coordinator may hold the member"
    )
    scene.sweep(hours=24)
    scene.advance(days=29)
    assert suspend(scene, scene.coordinator, member, hold=True).status == SUSPENDED


def test_a_reinstatement_takes_two_people_too(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    worker = scene.by(member)
    scene.worker(member, Role.MANAGER)
    scene.suspend(member.id)
    proposed = reinstate(scene, scene.coordinator, member)
    assert (proposed.status, can_call(worker)) == (SUSPENDED, False)
    assert proposed.reinstatement_proposed_by_worker_id
    assert refusal(lambda: reinstate(scene, scene.coordinator, member)) == SECOND_PERSON
    reinstated = reinstate(scene, second_coordinator, member)
    assert (reinstated.status, can_call(worker)) == (APPROVED, True)
    assert (reinstated.HasField("suspension"), reinstated.reinstatement_proposed_by_worker_id) == (
        False,
        "",
    )
    assert len(facts_with_letters(scene, "member_reinstated")) == 1


def test_a_coordinator_who_held_a_member_alone_cannot_reinstate_it_alone(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    suspend(scene, scene.coordinator, member, hold=True)
    assert reinstate(scene, scene.coordinator, member).status == SUSPENDED
    assert reinstate(scene, second_coordinator, member).status == APPROVED
    assert refusal(lambda: suspend(scene, scene.coordinator, member, hold=True)) == HELD_LATELY


def test_in_a_network_without_a_second_coordinator_a_member_can_still_be_held(
    scene: Scene, member: Organization
) -> None:
    assert refusal(lambda: suspend(scene, scene.coordinator, member)) == NO_SECOND
    assert refusal(lambda: leave(scene, scene.coordinator, member)) == NO_SECOND
    assert suspend(scene, scene.coordinator, member, hold=True).status == SUSPENDED
    assert refusal(lambda: reinstate(scene, scene.coordinator, member)) == NO_SECOND
    scene.sweep(hours=24)
    assert scene.coordinator.GetOrganization(id=member.id).status == APPROVED


def test_one_coordinator_alone_cannot_end_a_membership(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    worker = scene.by(member)
    proposed = leave(scene, scene.coordinator, member)
    assert (proposed.status, can_call(worker)) == (APPROVED, True)
    assert proposed.leaving_proposed_by_worker_id
    assert refusal(lambda: leave(scene, scene.coordinator, member)) == SECOND_PERSON
    assert leave(scene, second_coordinator, member).status == pb.ORGANIZATION_STATUS_LEFT


def test_the_reason_is_shown_to_the_coordination_only_and_is_in_no_fact(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    manager, auditor = scene.by(member, Role.MANAGER), scene.by(scene.coalition, Role.AUDITOR)
    suspend(scene, scene.coordinator, member, pb.SUSPENSION_REASON_FRONT)
    assert not manager.GetOrganization(id=member.id).HasField("suspension")
    for by in (second_coordinator, auditor):
        assert by.GetOrganization(id=member.id).suspension.reason == pb.SUSPENSION_REASON_FRONT
    assert scene.rows("SELECT detail_codes FROM audit WHERE action = 'organization_suspend'") == [
        {"detail_codes": ["FRONT", "proposed"]}
    ]
    payloads = scene.rows("SELECT payload FROM outbox WHERE subject = %s", member.id)
    assert not any(b"FRONT" in bytes(row["payload"]) for row in payloads)


def test_the_effects_of_a_suspension_are_counted_beforehand(
    scene: Scene, member: Organization, manager: Stubs, second_coordinator: Stubs
) -> None:
    scene.by(member)
    scene.by_key(member, "directory.read")
    service = scene.service(member)
    manager.CreateInvitation(
        invitation=m.Invitation(email="nueva@casa.example", roles=[contract_pb2.ROLE_WORKER])
    )
    for referral_id, places, age in (("r", 2, timedelta(hours=7)), ("later", 9, timedelta(0))):
        scene.rows(
            "INSERT INTO places_taken (referral_id, service_id, places, take_time)"
            " VALUES (%s, %s, %s, %s) RETURNING referral_id",
            referral_id,
            service.id,
            places,
            scene.clock.now() - age,
        )
    counted = scene.coordinator.CountMemberAccess(organization_id=member.id)
    assert counted == pb.MemberAccess(
        worker_count=2,
        api_key_count=1,
        service_count=1,
        invitation_count=1,
        most_people_inside=5,  # neither the exact number nor a recent arrival is revealed
        has_second_coordinator=True,
    )
    scene.rows(
        "UPDATE places_taken SET leave_time = take_time + interval '1 minute'"
        " WHERE referral_id = 'r' RETURNING referral_id"
    )
    again = scene.coordinator.CountMemberAccess(organization_id=member.id)
    assert again.most_people_inside == 5, "a recent departure is not revealed either"
    assert refusal(lambda: manager.CountMemberAccess(organization_id=member.id)) == RIGHT_MISSING
    assert (
        refusal(lambda: scene.coordinator.CountMemberAccess(organization_id="0" * 32)) == NOT_FOUND
    )


def test_the_reason_for_a_workers_suspension_is_on_the_trail(
    scene: Scene, member: Organization
) -> None:
    manager, worker = scene.by(member, Role.MANAGER), scene.worker(member)
    manager.SuspendWorker(id=worker.id, reason=m.WORKER_SUSPENSION_REASON_DEVICE_LOST)
    assert scene.rows("SELECT detail_codes FROM audit WHERE action = 'worker_suspend'") == [
        {"detail_codes": ["device_lost"]}
    ]


def approve(scene: Scene, by: Stubs, member: Organization) -> pb.Organization:
    return by.ApproveOrganization(  # type: ignore[no-any-return]
        id=member.id, etag=scene.etag(member.id)
    )


STEPS = {
    "approve": (approve, pb.ORGANIZATION_STATUS_PROBATION, APPROVED),
    "suspend": (suspend, APPROVED, SUSPENDED),
    "reinstate": (reinstate, SUSPENDED, APPROVED),
    "leave": (leave, APPROVED, pb.ORGANIZATION_STATUS_LEFT),
}


def prepare(scene: Scene, member: Organization, step: str) -> Callable[[Stubs], pb.Organization]:
    """Brings the member into the state before a step; returns a function that takes the step."""
    if step == "approve":
        member = scene.organization("Por aprobar", approved=False)
        scene.vet(member.id)
    if step == "reinstate":
        scene.suspend(member.id)
    take, _, _ = STEPS[step]
    return lambda by: take(scene, by, member)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_proposed_by_a_coordinator_who_was_suspended_later_takes_two_others(
    step: str, scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    bribed = scene.worker(scene.organization("Red del sur"), Role.COORDINATOR)
    _, before, after = STEPS[step]
    take = prepare(scene, member, step)
    proposed = take(scene.as_worker(bribed))
    assert proposed.status == before
    for by in (scene.coordinator, second_coordinator):
        by.SuspendWorker(id=bribed.id)
    current_organization = second_coordinator.GetOrganization(id=proposed.id)
    assert bribed.id not in str(current_organization), "no page says that a first person has agreed"
    assert not second_coordinator.ListOrganizations(waits_for_second=True).organizations
    assert take(second_coordinator).status == before, "this is the first of two agreements"
    assert take(scene.coordinator).status == after


@pytest.mark.parametrize("step", ["suspend", "reinstate", "leave"])
def test_a_step_that_nobody_agreed_to_within_seven_days_takes_two_coordinators_again(
    step: str, scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    _, before, after = STEPS[step]
    take = prepare(scene, member, step)
    take(scene.coordinator)
    scene.advance(days=7)
    assert take(second_coordinator).status == before, (
        "the proposal has expired even before the sweep"
    )
    scene.sweep(days=7)
    assert not second_coordinator.ListOrganizations(waits_for_second=True).organizations
    take(second_coordinator)
    scene.sweep(days=7, seconds=-1)
    assert take(scene.coordinator).status == after


def test_a_hold_by_a_coordinator_who_was_suspended_later_is_confirmed_by_two_others(
    scene: Scene, member: Organization, second_coordinator: Stubs
) -> None:
    bribed = scene.worker(scene.organization("Red del sur"), Role.COORDINATOR)
    suspend(scene, scene.as_worker(bribed), member, hold=True)
    for by in (scene.coordinator, second_coordinator):
        by.SuspendWorker(id=bribed.id)
    first = suspend(scene, second_coordinator, member)
    assert (first.status, first.suspension.HasField("expire_time")) == (SUSPENDED, True)
    assert refusal(lambda: suspend(scene, second_coordinator, member)) == SECOND_PERSON
    assert not suspend(scene, scene.coordinator, member).suspension.HasField("expire_time")
