"""Two coordinators of different members suspend, reinstate and expel a member, with a reason.

One coordinator alone can suspend a member for a day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import members_pb2 as m
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import Scene, Stubs
from tests.partners.test_invitations import ILLEGAL, answer
from tests.partners.test_membership import verbs as verbs_of
from tests.partners.test_password_resets import facts_with_letters

SUSPENDED, APPROVED = pb.ORGANIZATION_STATUS_SUSPENDED, pb.ORGANIZATION_STATUS_APPROVED
OWN_PROPOSAL = ("FAILED_PRECONDITION", "second_person_required")
HELD_LATELY = ("FAILED_PRECONDITION", "held_lately")
NO_SECOND = ("FAILED_PRECONDITION", "no_second_coordinator")


def suspend(
    scene: Scene,
    by: Stubs,
    own: Organization,
    reason: int = pb.SUSPENSION_REASON_HARM,
    *,
    hold: bool = False,
) -> pb.Organization:
    return by.SuspendOrganization(  # type: ignore[no-any-return]
        id=own.id, etag=scene.etag(own.id), reason=reason, hold=hold
    )


def reinstate(scene: Scene, by: Stubs, own: Organization) -> pb.Organization:
    return by.ReinstateOrganization(  # type: ignore[no-any-return]
        id=own.id, etag=scene.etag(own.id)
    )


def leave(scene: Scene, by: Stubs, own: Organization) -> pb.Organization:
    return by.LeaveOrganization(  # type: ignore[no-any-return]
        id=own.id, etag=scene.etag(own.id)
    )


def works(by: Stubs) -> bool:
    """Returns whether calls with these stubs are answered."""
    return answer(by.ListOrganizations) == "OK"


def verbs(scene: Scene, own: Organization) -> list[str]:
    return verbs_of(scene, own.id)


@pytest.fixture
def own(scene: Scene) -> Organization:
    return scene.organization("Casa Luna")


@pytest.fixture
def second(scene: Scene) -> Stubs:
    return scene.neighbour


def test_d24_one_coordinator_only_proposes_and_a_second_of_another_member_suspends(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    worker = scene.by(own)
    proposed = suspend(scene, scene.coordinator, own)
    assert (proposed.status, proposed.suspension.reason, works(worker)) == (
        APPROVED,
        pb.SUSPENSION_REASON_HARM,
        True,
    )
    assert proposed.suspension.HasField("expire_time")
    colleague = scene.by(scene.coalition, Role.COORDINATOR)
    assert refusal(lambda: suspend(scene, scene.coordinator, own)) == OWN_PROPOSAL
    assert refusal(lambda: suspend(scene, colleague, own)) == (
        "FAILED_PRECONDITION",
        "not_independent",
    )
    agreed = suspend(scene, second, own, pb.SUSPENSION_REASON_UNSPECIFIED)
    assert (agreed.status, agreed.suspension.reason, works(worker)) == (
        SUSPENDED,
        pb.SUSPENSION_REASON_HARM,
        False,
    )
    assert not agreed.suspension.HasField("expire_time")
    assert agreed.suspension.second_worker_id not in ("", agreed.suspension.worker_id)
    assert refusal(lambda: suspend(scene, second, own)) == ILLEGAL


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("hold", [False, True])
def test_d24_nobody_is_suspended_without_a_reason(
    hold: bool, scene: Scene, own: Organization
) -> None:
    assert wrong_fields(
        lambda: suspend(scene, scene.coordinator, own, pb.SUSPENSION_REASON_UNSPECIFIED, hold=hold)
    ) == [("reason", "required")]
    assert verbs(scene, own)[-1] == "approved"


def test_d24_the_second_coordinator_confirms_only_the_version_that_she_saw(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    etag = scene.etag(own.id)
    suspend(scene, scene.coordinator, own)
    assert refusal(
        lambda: second.SuspendOrganization(id=own.id, etag=etag, reason=pb.SUSPENSION_REASON_HARM)
    ) == ("ABORTED", "stale_etag")


def test_d24_a_proposal_that_nobody_confirms_is_dropped_after_seven_days(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    suspend(scene, scene.coordinator, own)
    scene.advance(days=7)
    scene.sweep()
    assert verbs(scene, own)[-1] == "suspension_dropped"
    assert suspend(scene, second, own).status == APPROVED, (
        "the other coordinator is the first to propose now"
    )


@pytest.mark.usefixtures("second")
def test_d24_one_coordinator_alone_can_suspend_a_member_at_once_and_for_a_day(
    scene: Scene, own: Organization
) -> None:
    worker, key = scene.by(own), scene.by_key(own, "directory.read")
    manager = scene.worker(own, Role.MANAGER, email="jefa@casa.example")
    suspended = suspend(scene, scene.coordinator, own, pb.SUSPENSION_REASON_FRONT, hold=True)
    assert (suspended.status, works(worker), works(key)) == (SUSPENDED, False, False)
    scene.advance(hours=24, seconds=-1)
    scene.sweep()
    assert not works(worker)
    scene.advance(seconds=1)
    scene.sweep()
    assert (works(worker), works(key)) == (True, True)
    assert verbs(scene, own)[-2:] == ["held", "hold_ended"]
    letters = [
        letter.email
        for fact in ("member_held", "member_reinstated")
        for _, letter in facts_with_letters(scene, fact)
    ]
    assert letters == [manager.entry.email] * 2


def test_d24_a_hold_that_a_second_coordinator_confirms_is_a_suspension(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    scene.worker(own, Role.MANAGER)
    suspend(scene, scene.coordinator, own, hold=True)
    assert refusal(lambda: suspend(scene, scene.coordinator, own)) == OWN_PROPOSAL
    assert suspend(scene, second, own).status == SUSPENDED
    scene.advance(days=30)
    scene.sweep()
    assert scene.coordinator.GetOrganization(id=own.id).status == SUSPENDED
    assert verbs(scene, own)[-2:] == ["held", "suspension_confirmed"]
    for fact in ("member_held", "member_suspended"):
        assert len(facts_with_letters(scene, fact)) == 1


def test_d24_a_hold_on_another_coordinators_proposal_confirms_it(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    suspend(scene, scene.coordinator, own)
    assert not suspend(scene, second, own, hold=True).suspension.HasField("expire_time")


def test_d24_nobody_suspends_a_member_alone_by_one_hold_after_another(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    suspend(scene, scene.coordinator, own, hold=True)
    scene.advance(hours=24)
    scene.sweep()
    for by in (scene.coordinator, scene.by(scene.coalition, Role.COORDINATOR)):
        assert refusal(partial(suspend, scene, by, own, hold=True)) == HELD_LATELY
    assert suspend(scene, second, own, hold=True).status == SUSPENDED, (
        "an independent coordinator may hold the member"
    )
    scene.advance(hours=24)
    scene.sweep()
    scene.advance(days=29)
    assert suspend(scene, scene.coordinator, own, hold=True).status == SUSPENDED


def test_d24_a_reinstatement_takes_two_people_as_well(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    worker = scene.by(own)
    scene.worker(own, Role.MANAGER)
    scene.suspend(own.id)
    proposed = reinstate(scene, scene.coordinator, own)
    assert (proposed.status, works(worker)) == (SUSPENDED, False)
    assert proposed.reinstatement_proposed_by_worker_id
    assert refusal(lambda: reinstate(scene, scene.coordinator, own)) == OWN_PROPOSAL
    back = reinstate(scene, second, own)
    assert (back.status, works(worker)) == (APPROVED, True)
    assert (back.HasField("suspension"), back.reinstatement_proposed_by_worker_id) == (False, "")
    assert len(facts_with_letters(scene, "member_reinstated")) == 1


def test_d24_a_coordinator_who_held_a_member_alone_cannot_reinstate_it_alone(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    suspend(scene, scene.coordinator, own, hold=True)
    assert reinstate(scene, scene.coordinator, own).status == SUSPENDED
    assert reinstate(scene, second, own).status == APPROVED
    assert refusal(lambda: suspend(scene, scene.coordinator, own, hold=True)) == HELD_LATELY


def test_d24_in_a_network_without_a_second_coordinator_a_member_can_still_be_held(
    scene: Scene, own: Organization
) -> None:
    assert refusal(lambda: suspend(scene, scene.coordinator, own)) == NO_SECOND
    assert refusal(lambda: leave(scene, scene.coordinator, own)) == NO_SECOND
    assert suspend(scene, scene.coordinator, own, hold=True).status == SUSPENDED
    assert refusal(lambda: reinstate(scene, scene.coordinator, own)) == NO_SECOND
    scene.advance(hours=24)
    scene.sweep()
    assert scene.coordinator.GetOrganization(id=own.id).status == APPROVED


def test_d24_a_coordinator_alone_cannot_end_a_membership_either(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    worker = scene.by(own)
    proposed = leave(scene, scene.coordinator, own)
    assert (proposed.status, works(worker)) == (APPROVED, True)
    assert proposed.leaving_proposed_by_worker_id
    assert refusal(lambda: leave(scene, scene.coordinator, own)) == OWN_PROPOSAL
    assert leave(scene, second, own).status == pb.ORGANIZATION_STATUS_LEFT


def test_d24_a_manager_ends_her_own_organisations_membership_alone(
    scene: Scene, own: Organization
) -> None:
    assert leave(scene, scene.by(own, Role.MANAGER), own).status == pb.ORGANIZATION_STATUS_LEFT


def test_d24_only_the_coordination_sees_the_reason_which_is_in_no_fact(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    manager, auditor = scene.by(own, Role.MANAGER), scene.by(scene.coalition, Role.AUDITOR)
    suspend(scene, scene.coordinator, own, pb.SUSPENSION_REASON_FRONT)
    assert not manager.GetOrganization(id=own.id).HasField("suspension")
    for by in (second, auditor):
        suspension = by.GetOrganization(id=own.id).suspension
        assert suspension.reason == pb.SUSPENSION_REASON_FRONT
    assert scene.rows("SELECT detail_codes FROM audit WHERE action = 'organization_suspend'") == [
        {"detail_codes": ["FRONT", "proposed"]}
    ]
    payloads = scene.rows("SELECT payload FROM outbox WHERE subject = %s", own.id)
    assert not any(b"FRONT" in bytes(row["payload"]) for row in payloads)


def test_d24_the_effects_of_a_suspension_are_counted_beforehand(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    manager = scene.by(own, Role.MANAGER)
    scene.by(own)
    scene.by_key(own, "directory.read")
    service = scene.service(own)
    manager.CreateInvitation(
        invitation=m.Invitation(email="nueva@casa.example", roles=[contract_pb2.ROLE_WORKER])
    )
    for referral_id, places, ago in (("r", 2, timedelta(hours=7)), ("later", 9, timedelta(0))):
        scene.rows(
            "INSERT INTO places_taken (referral_id, service_id, places, take_time)"
            " VALUES (%s, %s, %s, %s) RETURNING referral_id",
            referral_id,
            service.id,
            places,
            scene.clock.now() - ago,
        )
    counted = scene.coordinator.CountMemberAccess(organization_id=own.id)
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
    again = scene.coordinator.CountMemberAccess(organization_id=own.id)
    assert again.most_people_inside == 5, "a recent departure is not revealed either"
    assert refusal(lambda: manager.CountMemberAccess(organization_id=own.id)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    assert (
        refusal(lambda: scene.coordinator.CountMemberAccess(organization_id="0" * 32)) == NOT_FOUND
    )


def test_d24_the_reason_for_a_workers_suspension_is_on_the_trail(
    scene: Scene, own: Organization
) -> None:
    manager, gone = scene.by(own, Role.MANAGER), scene.worker(own)
    manager.SuspendWorker(id=gone.id, reason=m.WORKER_SUSPENSION_REASON_DEVICE_LOST)
    assert scene.rows("SELECT detail_codes FROM audit WHERE action = 'worker_suspend'") == [
        {"detail_codes": ["device_lost"]}
    ]


def approve(scene: Scene, by: Stubs, own: Organization) -> pb.Organization:
    return by.ApproveOrganization(  # type: ignore[no-any-return]
        id=own.id, etag=scene.etag(own.id)
    )


STEPS = {
    "approve": (approve, pb.ORGANIZATION_STATUS_PROBATION, APPROVED),
    "suspend": (suspend, APPROVED, SUSPENDED),
    "reinstate": (reinstate, SUSPENDED, APPROVED),
    "leave": (leave, APPROVED, pb.ORGANIZATION_STATUS_LEFT),
}


def prepare(scene: Scene, own: Organization, step: str) -> Callable[[Stubs], pb.Organization]:
    """Brings the member into the state before the step; returns the step as a call."""
    if step == "approve":
        own = scene.organization("Por aprobar", approved=False)
        scene.vet(own.id)
    if step == "reinstate":
        scene.suspend(own.id)
    take, _, _ = STEPS[step]
    return lambda by: take(scene, by, own)


@pytest.mark.parametrize("step", STEPS)
def test_d24_a_step_that_a_coordinator_proposed_who_is_suspended_since_takes_two_others(
    step: str, scene: Scene, own: Organization, second: Stubs
) -> None:
    bribed = scene.worker(scene.organization("Red del sur"), Role.COORDINATOR)
    _, before, after = STEPS[step]
    take = prepare(scene, own, step)
    proposed = take(scene.as_worker(bribed))
    assert proposed.status == before
    for by in (scene.coordinator, second):
        by.SuspendWorker(id=bribed.id)
    organization = second.GetOrganization(id=proposed.id)
    assert bribed.id not in str(organization), "no page says that a first person has agreed"
    assert not second.ListOrganizations(waits_for_second=True).organizations
    assert take(second).status == before, "she is the first now"
    assert take(scene.coordinator).status == after


@pytest.mark.parametrize("step", ["suspend", "reinstate", "leave"])
def test_d24_a_step_that_nobody_agreed_to_within_seven_days_takes_two_coordinators_again(
    step: str, scene: Scene, own: Organization, second: Stubs
) -> None:
    _, before, after = STEPS[step]
    take = prepare(scene, own, step)
    take(scene.coordinator)
    scene.advance(days=7)
    assert take(second).status == before, "even before the sweep"
    scene.advance(days=7)
    scene.sweep()
    assert not second.ListOrganizations(waits_for_second=True).organizations
    take(second)
    scene.advance(days=7, seconds=-1)
    scene.sweep()
    assert take(scene.coordinator).status == after


def test_d24_a_hold_of_a_coordinator_who_is_suspended_since_becomes_a_suspension_by_two_others(
    scene: Scene, own: Organization, second: Stubs
) -> None:
    bribed = scene.worker(scene.organization("Red del sur"), Role.COORDINATOR)
    suspend(scene, scene.as_worker(bribed), own, hold=True)
    for by in (scene.coordinator, second):
        by.SuspendWorker(id=bribed.id)
    first = suspend(scene, second, own)
    assert (first.status, first.suspension.HasField("expire_time")) == (SUSPENDED, True)
    assert refusal(lambda: suspend(scene, second, own)) == OWN_PROPOSAL
    assert not suspend(scene, scene.coordinator, own).suspension.HasField("expire_time")
