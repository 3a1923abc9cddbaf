"""The life of a membership.

An organisation applies, is admitted, is vetted, is approved by two people, and leaves.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from protos.contract.v1.contract_pb2 import ROLE_MANAGER
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2, letters_pb2
from protos.partners.v1 import locations_pb2 as lo
from protos.partners.v1 import members_pb2 as m
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import (
    ILLEGAL,
    NOON,
    NOT_ACTIVE,
    PASSWORD,
    SECOND_PERSON,
    SESSION_ENDED,
    SIGN_IN_FAILED,
    Scene,
)
from tests.partners.test_invitations import INVALID, accept, invite
from tests.partners.test_password_resets import facts_with_letters

APPLIED = pb.ORGANIZATION_STATUS_APPLIED
PROBATION = pb.ORGANIZATION_STATUS_PROBATION
APPROVED = pb.ORGANIZATION_STATUS_APPROVED
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
    facts = [facts_pb2.ApplicationFact.FromString(row["payload"]) for row in rows]
    return [
        letters_pb2.ApplicationLetter.FromString(
            scene.mail.open_bytes(fact.sealed_letter, f"applications/{fact.application_id}/letter")
        )
        for fact in facts
    ]


def confirm(scene: Scene, token: str) -> pb.ConfirmApplicationResponse:
    return scene.nobody.ConfirmApplication(token=token)  # type: ignore[no-any-return]


def apply(scene: Scene, **other: Any) -> pb.Organization:
    """Makes an application; returns the organisation as the coordinators see it."""
    scene.nobody.ApplyForMembership(application(**other))
    confirm(scene, letters(scene)[-1].token)
    listed = scene.coordinator.ListOrganizations(status=APPLIED).organizations
    return scene.coordinator.GetOrganization(id=listed[-1].id)  # type: ignore[no-any-return]


def admit(scene: Scene, applicant: pb.Organization) -> pb.Organization:
    return scene.coordinator.AdmitOrganization(  # type: ignore[no-any-return]
        id=applicant.id, etag=applicant.etag
    )


def record_evidence(
    scene: Scene,
    organization: pb.Organization,
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
    return scene.coordinator.RecordEvidence(  # type: ignore[no-any-return]
        id=organization.id, etag=organization.etag, evidence=pb.Evidence(**fields)
    )


def verbs(scene: Scene, id: str) -> list[str]:
    """Returns the verbs of the facts about an organisation."""
    return [type.split(".")[2] for _, type in scene.facts(id)]


def requests_for(organization: pb.Organization) -> dict[str, Message]:
    """Returns a request of each rpc that changes an organisation or adds something to it."""
    id, etag = organization.id, organization.etag
    return {
        "CreateInvitation": m.CreateInvitationRequest(
            invitation=m.Invitation(
                organization_id=id, email="jefa@ejemplo.example", roles=[ROLE_MANAGER]
            )
        ),
        "CreateService": pb.CreateServiceRequest(
            service=pb.Service(organization_id=id, name="Comedor", need_codes=["MAT.FOD"])
        ),
        "CreateLocation": lo.CreateLocationRequest(
            location=lo.Location(organization_id=id, name="Salón")
        ),
        "UpdateOrganization": pb.UpdateOrganizationRequest(
            organization=pb.Organization(id=id, etag=etag, name="Mía"),
            update_mask=FieldMask(paths=["name"]),
        ),
        "ApproveOrganization": pb.ApproveOrganizationRequest(id=id, etag=etag),
        "SuspendOrganization": pb.SuspendOrganizationRequest(id=id, etag=etag),
        "ReinstateOrganization": pb.ReinstateOrganizationRequest(id=id, etag=etag),
        "LeaveOrganization": pb.LeaveOrganizationRequest(id=id, etag=etag),
    }


def test_anyone_may_apply_and_the_coordination_sees_whom_to_speak_to(scene: Scene) -> None:
    answer = scene.nobody.ApplyForMembership(application())
    assert (len(answer.reference), answer.answer_within_days) == (9, 14)
    confirmed = confirm(scene, letters(scene)[-1].token)
    assert (confirmed.reference, confirmed.answer_within_days) == (answer.reference, 14)
    (listed,) = scene.coordinator.ListOrganizations(status=APPLIED).organizations
    assert (listed.name, listed.phone, listed.HasField("application")) == (
        "Parroquia San Lucas",
        "+50520000101",
        False,
    )
    stored = scene.coordinator.GetOrganization(id=listed.id).application
    assert (stored.reference, stored.contact_name, stored.contact_email) == (
        answer.reference,
        "Persona de prueba",
        "parroquia@ejemplo.example",
    )
    assert (stored.language, stored.create_time.ToDatetime()) == ("fr", NOON.replace(tzinfo=None))
    assert verbs(scene, listed.id) == ["applied"]


def test_the_auditor_sees_that_somebody_applied_and_not_whom_to_speak_to(scene: Scene) -> None:
    applicant = apply(scene)
    organization = scene.by(scene.coalition, Role.AUDITOR).GetOrganization(id=applicant.id)
    assert (organization.status, organization.HasField("application")) == (APPLIED, False)


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
    scene.organization("Puentes")
    answers = [
        scene.nobody.ApplyForMembership(application(name=name))
        for name in ("Puentes", "Nadie la conoce")
    ]
    assert answers[0].reference != answers[1].reference
    assert {(len(answer.reference), answer.answer_within_days) for answer in answers} == {(9, 14)}


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        ({"name": ""}, "name", "required"),
        ({"type": 0}, "type", "required"),
        ({"country": ""}, "country", "required"),
        ({"contact_email": "nadie"}, "contact_email", "malformed"),
        ({"contact_name": ""}, "contact_name", "required"),
        ({"statement": "x" * 2001}, "statement", "too_long"),
        ({"department": "CR-G"}, "department", "unknown_code"),
        ({"department": "NI-ZZ"}, "department", "unknown_code"),
        ({"phone": "hola"}, "phone", "malformed"),
        ({"url": "javascript:alert(1)"}, "url", "malformed"),
    ],
)
def test_an_invalid_application_is_refused_with_its_field(
    scene: Scene, fields: dict[str, object], path: str, reason: str
) -> None:
    assert wrong_fields(lambda: scene.nobody.ApplyForMembership(application(**fields))) == [
        (path, reason)
    ]


def test_an_application_with_the_same_request_id_counts_once(scene: Scene) -> None:
    request = application(request_id="uno")
    assert scene.nobody.ApplyForMembership(request) == scene.nobody.ApplyForMembership(request)
    assert len(letters(scene)) == 1


def test_an_applicant_does_not_exist_for_anybody_else(scene: Scene) -> None:
    applicant = apply(scene)
    member = scene.organization("Puentes")
    for caller in (
        scene.by(member, Role.MANAGER),
        scene.by(member),
        scene.by_key(member, "directory.read"),
    ):
        assert refusal(partial(caller.GetOrganization, id=applicant.id)) == NOT_FOUND
        assert not caller.BatchGet(organization_ids=[applicant.id]).organizations
        listed = caller.ListOrganizations().organizations
        assert applicant.id not in {organization.id for organization in listed}
        assert not caller.ListOrganizations(status=APPLIED).organizations
        assert not caller.SearchServices(organization_id=applicant.id).services


def test_nothing_can_be_done_for_an_organisation_that_has_only_applied(scene: Scene) -> None:
    applicant = apply(scene)
    assert (
        refusal(lambda: record_evidence(scene, applicant, pb.EVIDENCE_KIND_REGISTRATION)) == ILLEGAL
    )
    requests = requests_for(applicant)
    assert {
        rpc: refusal(partial(getattr(scene.coordinator, rpc), requests[rpc]))
        for rpc in requests
        if rpc != "UpdateOrganization"  # a coordinator may correct the entry
    } == {
        "CreateInvitation": ILLEGAL,
        "CreateService": NOT_FOUND,
        "CreateLocation": NOT_FOUND,
        "ApproveOrganization": ILLEGAL,
        "SuspendOrganization": ILLEGAL,
        "ReinstateOrganization": ILLEGAL,
        "LeaveOrganization": ILLEGAL,
    }


def test_an_applicant_is_not_found_by_any_rpc_of_a_manager_of_another_member(scene: Scene) -> None:
    applicant = apply(scene)
    manager = scene.by(scene.organization("Puentes"), Role.MANAGER)
    requests = requests_for(applicant)
    for rpc in (
        "LeaveOrganization",
        "UpdateOrganization",
        "CreateService",
        "CreateLocation",
        "CreateInvitation",
    ):
        assert refusal(partial(getattr(manager, rpc), requests[rpc])) == NOT_FOUND, rpc


def test_an_applicant_is_admitted_once_and_is_then_on_probation(scene: Scene) -> None:
    applicant = apply(scene)
    admitted = admit(scene, applicant)
    assert (admitted.status, bool(admitted.registered_by_worker_id)) == (PROBATION, True)
    assert verbs(scene, applicant.id) == ["applied", "admitted"]
    assert refusal(lambda: admit(scene, admitted)) == ILLEGAL
    rejection = pb.RejectApplicationRequest(
        id=applicant.id, etag=admitted.etag, reason=pb.REJECTION_REASON_SAFETY
    )
    assert refusal(lambda: scene.coordinator.RejectApplication(rejection)) == ILLEGAL


def test_the_data_of_a_rejected_applicant_are_deleted(scene: Scene) -> None:
    applicant = apply(scene)
    request = pb.RejectApplicationRequest(
        id=applicant.id, etag=applicant.etag, reason=pb.REJECTION_REASON_NOT_VERIFIED
    )
    rejected = scene.coordinator.RejectApplication(request)
    assert (
        rejected.status,
        rejected.rejection_reason,
        rejected.phone,
        rejected.url,
        rejected.description,
    ) == (REJECTED, pb.REJECTION_REASON_NOT_VERIFIED, "", "", "")
    assert scene.rows("SELECT * FROM applications") == []
    assert not scene.coordinator.GetOrganization(id=applicant.id).HasField("application")
    other = scene.by(scene.organization("Puentes"))
    assert refusal(lambda: other.GetOrganization(id=applicant.id)) == NOT_FOUND
    scene.sweep(days=181)
    assert refusal(lambda: scene.coordinator.GetOrganization(id=applicant.id)) == NOT_FOUND
    assert refusal(
        lambda: scene.coordinator.RejectApplication(id=applicant.id, etag=applicant.etag)
    ) == ("INVALID_ARGUMENT", "invalid_fields")


def test_an_application_that_nobody_answers_for_ninety_days_is_rejected(scene: Scene) -> None:
    applicant = apply(scene)
    scene.sweep(days=89)
    assert verbs(scene, applicant.id) == ["applied"]
    scene.sweep(days=2)
    organization = scene.coordinator.GetOrganization(id=applicant.id)
    assert (organization.status, organization.rejection_reason) == (
        REJECTED,
        pb.REJECTION_REASON_UNANSWERED,
    )
    assert scene.rows("SELECT * FROM applications") == []


def test_an_applicants_contact_is_deleted_once_the_organisation_has_a_manager(scene: Scene) -> None:
    applicant = admit(scene, apply(scene))
    scene.sweep()
    assert len(scene.rows("SELECT * FROM applications")) == 1
    scene.worker(scene.stored(applicant.id), Role.MANAGER)
    scene.sweep()
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
    ("kind", "fields", "path", "reason"),
    [
        (1, {"seen_date": "2026-03-15"}, "seen_date", "out_of_range"),
        (1, {"seen_date": "2026-02-30"}, "seen_date", "malformed"),
        (1, {"seen_date": ""}, "seen_date", "required"),
        (1, {"reference": "  "}, "reference", "required"),
        (4, {"expire_date": "2026-03-13"}, "expire_date", "out_of_range"),
        (4, {"expire_date": "2207-03-14"}, "expire_date", "out_of_range"),
        (0, {}, "kind", "required"),
    ],
)
def test_impossible_evidence_is_refused_with_its_field(
    scene: Scene, kind: int, fields: dict[str, str], path: str, reason: str
) -> None:
    applicant = admit(scene, apply(scene))
    assert wrong_fields(
        lambda: record_evidence(scene, applicant, pb.EvidenceKind.ValueType(kind), **fields)
    ) == [(f"evidence.{path}", reason)]


def test_one_coordinator_does_not_approve_twice_with_two_sessions(
    scene: Scene, new_member: Organization
) -> None:
    worker = scene.worker(scene.coalition, Role.COORDINATOR)
    request = pb.ApproveOrganizationRequest(
        id=new_member.id, etag=etag_of(scene.vet(new_member.id)), request_id="una"
    )
    request.etag = scene.as_worker(worker).ApproveOrganization(request).etag
    for request_id in ("dos", ""):
        request.request_id = request_id
        assert (
            refusal(partial(scene.as_worker(worker).ApproveOrganization, request)) == SECOND_PERSON
        )


def test_one_of_two_coordinators_who_approve_at_once_has_to_read_the_entry_again(
    scene: Scene, new_member: Organization
) -> None:
    request = pb.ApproveOrganizationRequest(
        id=new_member.id, etag=etag_of(scene.vet(new_member.id))
    )

    def approve(caller: Any) -> str:
        try:
            return str(pb.OrganizationStatus.Name(caller.ApproveOrganization(request).status))
        except grpc.RpcError as error:
            return str(error.code().name)

    coordinators = [scene.by(scene.coalition, Role.COORDINATOR) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(approve, coordinators)) == [
            "ABORTED",
            "ORGANIZATION_STATUS_PROBATION",
        ]


def test_one_reference_or_the_same_reference_twice_is_not_enough(scene: Scene) -> None:
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
    for reference, references in (("EXP-8", ["exp-7", "EXP-8"]), ("EXP-9", ["EXP-8", "EXP-9"])):
        applicant = record_evidence(
            scene, applicant, pb.EVIDENCE_KIND_REFERENCES, reference=reference
        )
        assert list(applicant.missing_evidence) == []
        assert [
            evidence.reference
            for evidence in applicant.evidence
            if evidence.kind == pb.EVIDENCE_KIND_REFERENCES
        ] == references


@pytest.mark.parametrize("changed", ["name", "evidence"])
def test_two_people_have_to_approve_again_after_a_change_of_the_name_or_of_the_evidence(
    scene: Scene, changed: str
) -> None:
    member = scene.organization("Casa Luna", approved=False)
    first, second = (scene.by(scene.coalition, Role.COORDINATOR) for _ in range(2))
    proposed = first.ApproveOrganization(id=member.id, etag=etag_of(scene.vet(member.id)))
    if changed == "name":
        manager = scene.by(member, Role.MANAGER)
        etag = manager.GetOrganization(id=member.id).etag
        manager.UpdateOrganization(
            organization=pb.Organization(id=member.id, etag=etag, name="Ministerio"),
            update_mask=FieldMask(paths=["name"]),
        )
    else:
        record_evidence(scene, proposed, pb.EVIDENCE_KIND_REFERENCES)
    again = second.ApproveOrganization(id=member.id, etag=scene.etag(member.id))
    assert again.status == PROBATION
    assert first.ApproveOrganization(id=member.id, etag=again.etag).status == APPROVED


def test_a_manager_ends_the_membership_of_her_own_organisation(scene: Scene) -> None:
    organization = scene.organization("Puentes")
    scene.service(organization)
    colleague = scene.worker(organization, Role.MANAGER)
    manager, key = (
        scene.by(organization, Role.MANAGER),
        scene.by_key(organization, "directory.read"),
    )
    worker = scene.by(organization)
    left = manager.LeaveOrganization(id=organization.id, etag=etag_of(organization))
    assert (left.status, verbs(scene, organization.id)[-1]) == (LEFT, "left")
    assert colleague.id in {fact.worker_id for fact, _ in facts_with_letters(scene, "member_left")}
    for caller in (manager, worker, key):
        assert refusal(caller.ListOrganizations) == NOT_ACTIVE
    other = scene.by(scene.organization("Otra"))
    assert not other.SearchServices().services
    assert other.GetOrganization(id=organization.id).name == "Puentes", (
        "old referrals still show its name"
    )
    again = pb.LeaveOrganizationRequest(id=organization.id, etag=left.etag)
    assert refusal(lambda: scene.coordinator.LeaveOrganization(again)) == ILLEGAL


def test_sessions_and_invitations_end_with_the_membership(scene: Scene) -> None:
    organization = scene.organization("Puentes")
    sign_in = m.SignInRequest(email=scene.worker(organization).entry.email, password=PASSWORD)
    secret = scene.nobody.SignIn(sign_in).session_secret
    invitation = invite(scene.by(organization, Role.MANAGER))
    for by in (scene.coordinator, scene.neighbour):
        by.LeaveOrganization(id=organization.id, etag=scene.etag(organization.id))
    assert refusal(lambda: scene.nobody.IssueToken(session_secret=secret)) == SESSION_ENDED
    assert refusal(lambda: scene.nobody.SignIn(sign_in)) == SIGN_IN_FAILED
    assert refusal(lambda: accept(scene, invitation)) == INVALID


def test_the_coordinating_organisation_cannot_leave_no_matter_who_requests_it(scene: Scene) -> None:
    for caller in (scene.coordinator, scene.by(scene.coalition, Role.MANAGER)):
        request = pb.LeaveOrganizationRequest(id=scene.coalition.id, etag=etag_of(scene.coalition))
        assert refusal(partial(caller.LeaveOrganization, request)) == ILLEGAL
    assert scene.coordinator.GetOrganization(id=scene.coalition.id).status == APPROVED
