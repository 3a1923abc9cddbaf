"""The life of a membership.

An organisation applies, is admitted, vetted, and approved by two people; its agreement ends; it
leaves.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.local_time import zone_of
from chassis.tokens import SYSTEM
from protos.contract.v1.contract_pb2 import ROLE_MANAGER
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2, letters_pb2
from protos.partners.v1 import locations_pb2 as lo
from protos.partners.v1 import members_pb2 as m
from services.partners.directory.usecases.housekeeping import sweep
from services.partners.members.domain.organization import OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import NOON, Scene

APPLIED, PROBATION, APPROVED = (
    pb.ORGANIZATION_STATUS_APPLIED,
    pb.ORGANIZATION_STATUS_PROBATION,
    pb.ORGANIZATION_STATUS_APPROVED,
)
LEFT, REJECTED = pb.ORGANIZATION_STATUS_LEFT, pb.ORGANIZATION_STATUS_REJECTED


def application(**other: Any) -> pb.ApplyForMembershipRequest:
    defaults: dict[str, Any] = {
        "name": "Parroquia San Lucas",
        "type": pb.ORGANIZATION_TYPE_RELIGIOUS,
        "country": "NI",
        "department": "NI-CI",
        "phone": "+505 2000 0101",
        "url": "https://sanlucas.example",
        "languages": ["es"],
        "description": "Comedor y ropero",
        "contact_name": "Persona de prueba",
        "contact_email": "parroquia@ejemplo.example",
        "statement": "Nos piden ayuda y no sabemos a quién llamar",
        "language": "fr",
    }
    return pb.ApplyForMembershipRequest(**(defaults | other))


def letters(scene: Scene) -> list[letters_pb2.ApplicationLetter]:
    """Returns the letters to applicants in the published facts, the oldest first."""
    rows = scene.rows(
        "SELECT payload FROM outbox WHERE type = 'enlace.application.asked.v1'"
        " ORDER BY time, published_at, ctid"
    )
    bodies = [facts_pb2.ApplicationFact.FromString(row["payload"]) for row in rows]
    sent_letters = [
        scene.mail.open_bytes(body.sealed_letter, f"applications/{body.application_id}/letter")
        for body in bodies
    ]
    return [letters_pb2.ApplicationLetter.FromString(each) for each in sent_letters]


def confirm(scene: Scene, token: str) -> pb.ConfirmApplicationResponse:
    answer: pb.ConfirmApplicationResponse = scene.nobody.ConfirmApplication(token=token)
    return answer


def apply(scene: Scene, **other: Any) -> pb.Organization:
    """Makes an application; returns the organisation as the coordinators see it."""
    scene.nobody.ApplyForMembership(application(**other))
    confirm(scene, letters(scene)[-1].token)
    listed = scene.coordinator.ListOrganizations(status=APPLIED).organizations
    return scene.coordinator.GetOrganization(id=listed[-1].id)  # type: ignore[no-any-return]


def admit(scene: Scene, one: pb.Organization) -> pb.Organization:
    return scene.coordinator.AdmitOrganization(  # type: ignore[no-any-return]
        id=one.id, etag=one.etag
    )


def record_evidence(
    scene: Scene,
    one: pb.Organization,
    kind: pb.EvidenceKind.ValueType,
    expire_date: str = "",
    **other: Any,
) -> pb.Organization:
    fields: dict[str, Any] = {
        "kind": kind,
        "reference": "EXP-7",
        "seen_date": "2026-03-14",
        "expire_date": expire_date,
    } | other
    evidence = pb.Evidence(**fields)
    return scene.coordinator.RecordEvidence(  # type: ignore[no-any-return]
        id=one.id, etag=one.etag, evidence=evidence
    )


def run_sweep(scene: Scene) -> None:
    """Runs the sweep, which does everything that is due."""
    with scene.database.transaction(SYSTEM) as tx:
        sweep(tx, scene.clock.now())


def verbs(scene: Scene, id: str) -> list[str]:
    return [type.split(".")[2] for _, type in scene.facts(id)]


def test_anyone_may_apply_and_the_coordination_sees_whom_to_speak_to(scene: Scene) -> None:
    answer = scene.nobody.ApplyForMembership(application())
    assert len(answer.reference) == 9
    assert answer.answer_within_days == 14
    confirmed = confirm(scene, letters(scene)[-1].token)
    assert (confirmed.reference, confirmed.answer_within_days) == (answer.reference, 14)
    listed = scene.coordinator.ListOrganizations(status=APPLIED).organizations
    assert [(one.name, one.phone, one.HasField("application")) for one in listed] == [
        ("Parroquia San Lucas", "+50520000101", False)
    ]
    organization = scene.coordinator.GetOrganization(id=listed[0].id)
    stored = organization.application
    assert (stored.reference, stored.contact_name, stored.contact_email) == (
        answer.reference,
        "Persona de prueba",
        "parroquia@ejemplo.example",
    )
    assert (stored.language, stored.create_time.ToDatetime()) == ("fr", NOON.replace(tzinfo=None))
    assert verbs(scene, organization.id) == ["applied"]


def test_the_auditor_sees_that_somebody_applied_and_not_whom_to_speak_to(scene: Scene) -> None:
    applicant = apply(scene)
    organization = scene.by(scene.coalition, Role.AUDITOR).GetOrganization(id=applicant.id)
    assert organization.status == APPLIED
    assert not organization.HasField("application")


def test_an_applicants_contact_is_stored_sealed_and_is_in_no_fact_and_on_no_trail(
    scene: Scene,
) -> None:
    apply(scene)
    scene.nobody.ApplyForMembership(application())
    for table in ("applications", "application_requests", "outbox", "audit", "organizations"):
        stored = str(scene.rows(f"SELECT t::text AS row FROM {table} AS t"))
        for secret in ("Persona de prueba", "parroquia@ejemplo", "a quién llamar"):
            assert secret not in stored
            assert secret.encode().hex() not in stored


def test_the_answer_is_the_same_for_a_member_and_for_a_stranger(scene: Scene) -> None:
    member = scene.organization("Puentes")
    answers = [
        scene.nobody.ApplyForMembership(application(name=name))
        for name in (member.entry.name, "Nadie la conoce", "Puentes")
    ]
    assert len({answer.reference for answer in answers}) == 3
    assert {(len(answer.reference), answer.answer_within_days) for answer in answers} == {(9, 14)}


@pytest.mark.parametrize(
    ("wrong", "path", "reason"),
    [
        ({"name": ""}, "name", "required"),
        ({"type": 0}, "type", "required"),
        ({"country": ""}, "country", "required"),
        ({"contact_email": "nadie"}, "contact_email", "malformed"),
        ({"contact_name": ""}, "contact_name", "required"),
        ({"statement": "x" * 2001}, "statement", "too_long"),
        ({"department": "CR-G"}, "department", "unknown_code"),
        ({"phone": "hola"}, "phone", "malformed"),
        ({"url": "javascript:alert(1)"}, "url", "malformed"),
    ],
)
def test_an_invalid_application_is_refused_with_its_field(
    scene: Scene, wrong: dict[str, object], path: str, reason: str
) -> None:
    assert wrong_fields(lambda: scene.nobody.ApplyForMembership(application(**wrong))) == [
        (path, reason)
    ]


def test_the_same_request_id_applies_once(scene: Scene) -> None:
    request = application(request_id="uno")
    assert scene.nobody.ApplyForMembership(request) == scene.nobody.ApplyForMembership(request)
    assert len(letters(scene)) == 1


def test_an_applicant_does_not_exist_for_anybody_else(scene: Scene) -> None:
    applicant = apply(scene)
    own = scene.organization("Puentes")
    for caller in (
        scene.by(own, *Role),
        scene.by(own, Role.MANAGER),
        scene.by(own),
        scene.by_key(own, "directory.read"),
    ):
        if caller.GetOrganization(id=own.id).HasField("has_manager"):
            continue  # a coordinator
        assert refusal(partial(caller.GetOrganization, id=applicant.id)) == NOT_FOUND
        assert not caller.BatchGet(organization_ids=[applicant.id]).organizations
        assert applicant.id not in [
            organization.id for organization in caller.ListOrganizations().organizations
        ]
        assert not caller.ListOrganizations(status=APPLIED).organizations
        assert not caller.SearchServices(organization_id=applicant.id).services


def test_nothing_can_be_done_for_an_organisation_that_has_only_applied(scene: Scene) -> None:
    applicant = apply(scene)
    invitation = m.Invitation(
        organization_id=applicant.id, email="jefa@ejemplo.example", roles=[ROLE_MANAGER]
    )
    assert refusal(lambda: scene.coordinator.CreateInvitation(invitation=invitation)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    service = pb.Service(organization_id=applicant.id, name="Comedor", need_codes=["MAT.FOD"])
    assert refusal(lambda: scene.coordinator.CreateService(service=service)) == NOT_FOUND
    assert (
        refusal(
            lambda: scene.coordinator.CreateLocation(
                location=lo.Location(organization_id=applicant.id, name="Salón")
            )
        )
        == NOT_FOUND
    )
    assert refusal(lambda: record_evidence(scene, applicant, pb.EVIDENCE_KIND_REGISTRATION)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    for rpc, request in (
        ("ApproveOrganization", pb.ApproveOrganizationRequest),
        ("SuspendOrganization", pb.SuspendOrganizationRequest),
        ("ReinstateOrganization", pb.ReinstateOrganizationRequest),
        ("LeaveOrganization", pb.LeaveOrganizationRequest),
    ):
        assert refusal(
            partial(getattr(scene.coordinator, rpc), request(id=applicant.id, etag=applicant.etag))
        ) == ("FAILED_PRECONDITION", "illegal_transition")


def test_a_manager_of_another_member_finds_an_applicant_with_no_rpc(scene: Scene) -> None:
    applicant = apply(scene)
    manager = scene.by(scene.organization("Puentes"), Role.MANAGER)
    assert (
        refusal(lambda: manager.LeaveOrganization(id=applicant.id, etag=applicant.etag))
        == NOT_FOUND
    )
    changed = pb.Organization(id=applicant.id, etag=applicant.etag, name="Mía")
    mask = FieldMask(paths=["name"])
    assert (
        refusal(lambda: manager.UpdateOrganization(organization=changed, update_mask=mask))
        == NOT_FOUND
    )
    assert (
        refusal(
            lambda: manager.CreateService(
                service=pb.Service(organization_id=applicant.id, name="Mío", need_codes=["MAT.FOD"])
            )
        )
        == NOT_FOUND
    )
    invitation = m.Invitation(
        organization_id=applicant.id, email="jefa@ejemplo.example", roles=[ROLE_MANAGER]
    )
    assert refusal(lambda: manager.CreateInvitation(invitation=invitation)) == NOT_FOUND


def test_an_applicant_is_admitted_once_and_is_then_on_probation(scene: Scene) -> None:
    applicant = apply(scene)
    admitted = admit(scene, applicant)
    assert admitted.status == PROBATION
    assert admitted.registered_by_worker_id
    assert verbs(scene, applicant.id) == ["applied", "admitted"]
    assert refusal(lambda: admit(scene, admitted)) == ("FAILED_PRECONDITION", "illegal_transition")
    assert refusal(
        lambda: scene.coordinator.RejectApplication(
            id=applicant.id, etag=admitted.etag, reason=pb.REJECTION_REASON_SAFETY
        )
    ) == ("FAILED_PRECONDITION", "illegal_transition")


def test_the_data_of_a_rejected_applicant_are_deleted(scene: Scene) -> None:
    applicant = apply(scene)
    request = pb.RejectApplicationRequest(
        id=applicant.id, etag=applicant.etag, reason=pb.REJECTION_REASON_NOT_VERIFIED
    )
    rejected = scene.coordinator.RejectApplication(request)
    assert (rejected.status, rejected.rejection_reason) == (
        REJECTED,
        pb.REJECTION_REASON_NOT_VERIFIED,
    )
    assert (rejected.phone, rejected.url, rejected.description) == ("", "", "")
    assert scene.rows("SELECT * FROM applications") == []
    assert not scene.coordinator.GetOrganization(id=applicant.id).HasField("application")
    assert (
        refusal(lambda: scene.by(scene.organization("Puentes")).GetOrganization(id=applicant.id))
        == NOT_FOUND
    )
    scene.advance(days=181)
    run_sweep(scene)
    assert refusal(lambda: scene.coordinator.GetOrganization(id=applicant.id)) == NOT_FOUND
    assert refusal(
        lambda: scene.coordinator.RejectApplication(id=applicant.id, etag=applicant.etag)
    ) == ("INVALID_ARGUMENT", "invalid_fields")


def test_an_application_that_nobody_answers_is_rejected_in_the_end(scene: Scene) -> None:
    applicant = apply(scene)
    scene.advance(days=89)
    run_sweep(scene)
    assert verbs(scene, applicant.id) == ["applied"]
    scene.advance(days=2)
    run_sweep(scene)
    organization = scene.coordinator.GetOrganization(id=applicant.id)
    assert (organization.status, organization.rejection_reason) == (
        REJECTED,
        pb.REJECTION_REASON_UNANSWERED,
    )
    assert scene.rows("SELECT * FROM applications") == []


def test_an_applicants_contact_is_deleted_once_the_organisation_has_a_manager(scene: Scene) -> None:
    applicant = admit(scene, apply(scene))
    run_sweep(scene)
    assert len(scene.rows("SELECT * FROM applications")) == 1
    scene.worker(scene.stored(applicant.id), Role.MANAGER)
    run_sweep(scene)
    assert scene.rows("SELECT * FROM applications") == []


def test_no_member_is_approved_before_all_evidence_was_seen(scene: Scene) -> None:
    applicant = admit(scene, apply(scene))
    assert list(applicant.missing_evidence) == [1, 2, 3, 4]
    for number in (1, 2, 3):
        applicant = record_evidence(scene, applicant, pb.EvidenceKind.ValueType(number))
    applicant = record_evidence(scene, applicant, pb.EVIDENCE_KIND_REFERENCES, reference="EXP-8")
    assert list(applicant.missing_evidence) == [pb.EVIDENCE_KIND_AGREEMENT]
    assert refusal(
        lambda: scene.coordinator.ApproveOrganization(id=applicant.id, etag=applicant.etag)
    ) == ("FAILED_PRECONDITION", "evidence_missing")
    applicant = record_evidence(scene, applicant, pb.EVIDENCE_KIND_AGREEMENT, "2027-03-14")
    first = scene.coordinator.ApproveOrganization(id=applicant.id, etag=applicant.etag)
    assert (first.status, bool(first.approval_proposed_by_worker_id)) == (PROBATION, True)
    second = scene.by(scene.coalition, Role.COORDINATOR).ApproveOrganization(
        id=applicant.id, etag=first.etag
    )
    assert (second.status, second.approval_proposed_by_worker_id, second.agreement_expire_date) == (
        APPROVED,
        "",
        "2027-03-14",
    )


@pytest.mark.parametrize(
    ("kind", "wrong", "path", "reason"),
    [
        (1, {"seen_date": "2026-03-15"}, "seen_date", "out_of_range"),
        (1, {"seen_date": "2026-02-30"}, "seen_date", "malformed"),
        (1, {"seen_date": ""}, "seen_date", "required"),
        (1, {"reference": ""}, "reference", "required"),
        (1, {"reference": "  "}, "reference", "required"),
        (1, {"expire_date": "2027-01-01"}, "expire_date", "out_of_range"),
        (4, {}, "expire_date", "required"),
        (4, {"expire_date": "2026-03-13"}, "expire_date", "out_of_range"),
        (4, {"expire_date": "2207-03-14"}, "expire_date", "out_of_range"),
        (0, {}, "kind", "required"),
    ],
)
def test_impossible_evidence_is_refused_with_its_field(
    scene: Scene, kind: int, wrong: dict[str, str], path: str, reason: str
) -> None:
    applicant = admit(scene, apply(scene))
    assert wrong_fields(
        lambda: record_evidence(scene, applicant, pb.EvidenceKind.ValueType(kind), **wrong)
    ) == [(f"evidence.{path}", reason)]


def test_the_coordination_sees_the_evidence_and_a_members_people_see_the_end_of_its_agreement(
    scene: Scene,
) -> None:
    own = scene.organization("Puentes")
    scene.vet(own.id)
    request = pb.GetOrganizationRequest(id=own.id)
    for caller in (scene.coordinator, scene.by(scene.coalition, Role.AUDITOR)):
        assert len(caller.GetOrganization(request).evidence) == 5
    mine = scene.by(own, Role.MANAGER).GetOrganization(request)
    assert (len(mine.evidence), mine.agreement_expire_date) == (0, "2027-03-14")
    other = scene.by(scene.organization("Otra"), Role.MANAGER).GetOrganization(request)
    assert (len(other.evidence), other.agreement_expire_date, len(other.missing_evidence)) == (
        0,
        "",
        0,
    )


def test_one_coordinator_does_not_approve_twice_with_two_sessions(scene: Scene) -> None:
    member = scene.organization("Nueva", approved=False)
    worker = scene.worker(scene.coalition, Role.COORDINATOR)
    etag = etag_of(scene.vet(member.id))
    proposed = scene.as_worker(worker).ApproveOrganization(
        id=member.id, etag=etag, request_id="una"
    )
    for request_id in ("dos", ""):
        request = pb.ApproveOrganizationRequest(
            id=member.id, etag=proposed.etag, request_id=request_id
        )
        assert refusal(partial(scene.as_worker(worker).ApproveOrganization, request)) == (
            "FAILED_PRECONDITION",
            "second_person_required",
        )


def test_the_second_of_two_coordinators_who_approve_at_once_has_to_look_again(
    scene: Scene,
) -> None:
    member = scene.organization("Nueva", approved=False)
    request = pb.ApproveOrganizationRequest(id=member.id, etag=etag_of(scene.vet(member.id)))

    def approve(caller: Any) -> str:
        try:
            return str(pb.OrganizationStatus.Name(caller.ApproveOrganization(request).status))
        except grpc.RpcError as error:
            return str(error.code().name)

    two = [scene.by(scene.coalition, Role.COORDINATOR) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(approve, two)) == ["ABORTED", "ORGANIZATION_STATUS_PROBATION"]


# D25
def test_d25_one_reference_or_the_same_reference_twice_is_not_enough(
    scene: Scene,
) -> None:
    applicant = admit(scene, apply(scene))
    for kind, until in (
        (pb.EVIDENCE_KIND_REGISTRATION, ""),
        (pb.EVIDENCE_KIND_SAFEGUARDING_POLICY, ""),
        (pb.EVIDENCE_KIND_AGREEMENT, "2027-03-14"),
    ):
        applicant = record_evidence(scene, applicant, kind, until)
    for reference in ("EXP-7", "EXP-7", "exp-7"):
        applicant = record_evidence(
            scene, applicant, pb.EVIDENCE_KIND_REFERENCES, reference=reference
        )
        assert list(applicant.missing_evidence) == [pb.EVIDENCE_KIND_REFERENCES]
        assert refusal(
            partial(scene.coordinator.ApproveOrganization, id=applicant.id, etag=applicant.etag)
        ) == ("FAILED_PRECONDITION", "evidence_missing")
    applicant = record_evidence(scene, applicant, pb.EVIDENCE_KIND_REFERENCES, reference="EXP-8")
    assert list(applicant.missing_evidence) == []
    assert [
        evidence.reference
        for evidence in applicant.evidence
        if evidence.kind == pb.EVIDENCE_KIND_REFERENCES
    ] == ["exp-7", "EXP-8"]
    applicant = record_evidence(scene, applicant, pb.EVIDENCE_KIND_REFERENCES, reference="EXP-9")
    assert [
        evidence.reference
        for evidence in applicant.evidence
        if evidence.kind == pb.EVIDENCE_KIND_REFERENCES
    ] == ["EXP-8", "EXP-9"]


def test_a_member_that_changes_its_name_between_two_approvals_is_approved_by_nobody(
    scene: Scene,
) -> None:
    member = scene.organization("Casa Luna", approved=False)
    manager, first, second = (
        scene.by(member, Role.MANAGER),
        scene.by(scene.coalition, Role.COORDINATOR),
        scene.by(scene.coalition, Role.COORDINATOR),
    )
    organization = first.ApproveOrganization(id=member.id, etag=etag_of(scene.vet(member.id)))
    renamed = manager.UpdateOrganization(
        organization=pb.Organization(id=member.id, etag=organization.etag, name="Ministerio"),
        update_mask=FieldMask(paths=["name"]),
    )
    again = second.ApproveOrganization(id=member.id, etag=renamed.etag)
    assert (again.name, again.status) == ("Ministerio", PROBATION)
    assert first.ApproveOrganization(id=member.id, etag=again.etag).status == APPROVED


def test_after_a_change_of_the_evidence_two_people_have_to_approve_again(scene: Scene) -> None:
    member = scene.organization("Nueva", approved=False)
    first, second = (
        scene.by(scene.coalition, Role.COORDINATOR),
        scene.by(scene.coalition, Role.COORDINATOR),
    )
    proposed = first.ApproveOrganization(id=member.id, etag=etag_of(scene.vet(member.id)))
    evidence = pb.Evidence(
        kind=pb.EVIDENCE_KIND_REFERENCES, reference="OTRA", seen_date="2026-03-14"
    )
    swapped = second.RecordEvidence(id=member.id, etag=proposed.etag, evidence=evidence)
    again = second.ApproveOrganization(id=member.id, etag=swapped.etag)
    assert again.status == PROBATION
    assert first.ApproveOrganization(id=member.id, etag=again.etag).status == APPROVED


def days_of_warnings(scene: Scene, id: str) -> list[int]:
    rows = scene.rows(
        "SELECT payload FROM outbox WHERE subject = %s AND type LIKE %s ORDER BY version",
        id,
        "%agreement_ending%",
    )
    return [facts_pb2.OrganizationFact.FromString(row["payload"]).days for row in rows]


def test_a_member_is_warned_sixty_thirty_and_seven_days_before_its_agreement_ends(
    scene: Scene,
) -> None:
    member = scene.organization("Nueva", approved=False)
    scene.approve(member.id, until=NOON.date() + timedelta(days=100))
    for _ in range(101):
        run_sweep(scene)
        run_sweep(scene)
        scene.advance(days=1)
    assert days_of_warnings(scene, member.id) == [60, 30, 7]
    assert verbs(scene, member.id)[-1] == "agreement_ending", "the agreement holds on its last day"
    run_sweep(scene)
    assert verbs(scene, member.id)[-1] == "agreement_expired"
    organization = scene.coordinator.GetOrganization(id=member.id)
    assert (organization.status, list(organization.missing_evidence)) == (
        PROBATION,
        [pb.EVIDENCE_KIND_AGREEMENT],
    )
    run_sweep(scene)
    assert verbs(scene, member.id)[-1] == "agreement_expired"


def test_an_agreement_holds_until_its_last_day_ends_in_the_members_country(scene: Scene) -> None:
    member = scene.organization("Nueva", approved=False)
    scene.approve(member.id, until=date(2026, 3, 20))
    last = datetime(2026, 3, 20, 23, 30, tzinfo=zone_of("NI"))  # in UTC this is the 21st
    scene.clock.set(last.astimezone(UTC))
    run_sweep(scene)
    assert "agreement_expired" not in verbs(scene, member.id)
    assert not scene.coordinator.GetOrganization(id=member.id).missing_evidence
    scene.advance(minutes=31)
    run_sweep(scene)
    assert verbs(scene, member.id)[-1] == "agreement_expired"


def test_after_a_pause_the_nearest_warning_is_given_and_expired_agreements_end(
    scene: Scene,
) -> None:
    soon, over = (scene.organization(name, approved=False) for name in ("Pronto", "Vencida"))
    scene.approve(soon.id, until=date(2026, 6, 30))
    scene.approve(over.id, until=date(2026, 6, 1))
    scene.clock.set(NOON.replace(month=6, day=10))
    run_sweep(scene)
    assert days_of_warnings(scene, soon.id) == [20]
    assert verbs(scene, over.id)[-2:] == ["approved", "agreement_expired"]
    scene.clock.set(NOON.replace(month=6, day=24))
    run_sweep(scene)
    assert days_of_warnings(scene, soon.id) == [20, 6]


def test_agreements_that_end_soon_are_listed_for_coordinators_and_auditors(scene: Scene) -> None:
    for name, until in (("Pronto", date(2026, 4, 1)), ("Tarde", date(2027, 4, 1))):
        one = scene.organization(name, approved=False)
        scene.approve(one.id, until=until)
    request = pb.ListOrganizationsRequest(agreement_expire_before_date="2026-05-01")
    assert [
        organization.name
        for organization in scene.coordinator.ListOrganizations(request).organizations
    ] == ["Pronto"]
    assert (
        not scene.by(scene.organization("Otra"), Role.MANAGER)
        .ListOrganizations(request)
        .organizations
    )


def test_a_newer_agreement_keeps_a_member_approved_and_after_its_end_two_people_approve_again(
    scene: Scene,
) -> None:
    member = scene.organization("Nueva", approved=False)
    approved = scene.approve(member.id, until=date(2026, 4, 1))
    run_sweep(scene)
    renewed = record_evidence(
        scene,
        scene.coordinator.GetOrganization(id=member.id),
        pb.EVIDENCE_KIND_AGREEMENT,
        "2026-09-01",
    )
    assert (approved.status, renewed.status) == (APPROVED, APPROVED)
    scene.clock.set(NOON.replace(month=8, day=1))
    run_sweep(scene)
    assert days_of_warnings(scene, member.id) == [18, 31], "warned of the new end, too"
    scene.clock.set(NOON.replace(month=9, day=2))
    run_sweep(scene)
    ended = scene.coordinator.GetOrganization(id=member.id)
    after = record_evidence(scene, ended, pb.EVIDENCE_KIND_AGREEMENT, "2027-09-01")
    assert (ended.status, after.status) == (PROBATION, PROBATION)
    assert scene.approve(member.id, until=date(2027, 9, 1)).status == APPROVED


def test_a_member_on_probation_since_its_agreement_ended_is_shown_no_shelters(scene: Scene) -> None:
    scene.service(
        scene.organization("Casa", type=OrganizationType.SHELTER), "Albergue", confidential=True
    )
    member = scene.organization("Nueva", approved=False)
    scene.approve(member.id, until=date(2026, 4, 1))
    worker = scene.by(scene.stored(member.id))
    assert len(worker.SearchServices().services) == 1
    scene.advance(days=30)
    run_sweep(scene)
    assert len(worker.SearchServices().services) == 0


def test_a_member_that_is_reinstated_after_its_agreement_ended_is_on_probation(
    scene: Scene,
) -> None:
    member = scene.organization("Nueva", approved=False)
    scene.approve(member.id, until=date(2026, 4, 1))
    scene.suspend(member.id)
    scene.advance(days=30)
    assert scene.reinstate(member.id).status == PROBATION
    assert verbs(scene, member.id)[-4:] == [
        "suspended",
        "reinstatement_proposed",
        "reinstated",
        "agreement_expired",
    ]


def test_a_manager_ends_the_membership_of_her_own_organisation(scene: Scene) -> None:
    own = scene.organization("Puentes")
    service = scene.service(own)
    manager, worker, key = (
        scene.by(own, Role.MANAGER),
        scene.by(own),
        scene.by_key(own, "directory.read"),
    )
    left = manager.LeaveOrganization(id=own.id, etag=etag_of(own))
    assert left.status == LEFT
    assert verbs(scene, own.id)[-1] == "left"
    for caller in (manager, worker, key):
        assert refusal(caller.ListOrganizations) == ("PERMISSION_DENIED", "organization_not_active")
    other = scene.by(scene.organization("Otra"))
    assert not other.SearchServices().services
    assert other.GetOrganization(id=own.id).name == "Puentes", "old referrals still show its name"
    assert service.id
    assert refusal(lambda: scene.coordinator.LeaveOrganization(id=own.id, etag=left.etag)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )


def test_sessions_and_invitations_end_with_the_membership(scene: Scene) -> None:
    own = scene.organization("Puentes")
    worker = scene.worker(own)
    signed = scene.nobody.SignIn(email=worker.entry.email, password="una clave larga")
    for by in (scene.coordinator, scene.neighbour):
        by.LeaveOrganization(id=own.id, etag=scene.etag(own.id))
    assert refusal(lambda: scene.nobody.IssueToken(session_secret=signed.session_secret)) == (
        "UNAUTHENTICATED",
        "session_ended",
    )
    assert refusal(
        lambda: scene.nobody.SignIn(email=worker.entry.email, password="una clave larga")
    ) == ("UNAUTHENTICATED", "sign_in_failed")


def test_the_coordinating_organisation_cannot_leave_whoever_requests_it(
    scene: Scene,
) -> None:
    for caller in (scene.coordinator, scene.by(scene.coalition, Role.MANAGER)):
        assert refusal(
            partial(caller.LeaveOrganization, id=scene.coalition.id, etag=etag_of(scene.coalition))
        ) == ("FAILED_PRECONDITION", "illegal_transition")
    assert scene.coordinator.GetOrganization(id=scene.coalition.id).status == APPROVED
