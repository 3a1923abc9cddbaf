"""The end of a member's agreement: warnings, the last day, and what follows."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

from chassis.local_time import zone_of
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2
from services.partners.members.domain.organization import Organization, OrganizationType
from services.partners.members.domain.worker import Role
from tests.builders import refusal
from tests.partners.scene import NOON, SECOND_PERSON, Scene, Stubs
from tests.partners.test_membership import APPROVED, PROBATION, record_evidence, verbs


def days_of_warnings(scene: Scene, id: str) -> list[int]:
    """Returns for each warning how many days the agreement of a member still held."""
    rows = scene.rows(
        "SELECT payload FROM outbox WHERE subject = %s AND type LIKE %s ORDER BY version",
        id,
        "%agreement_ending%",
    )
    return [facts_pb2.OrganizationFact.FromString(row["payload"]).days for row in rows]


def test_a_member_is_warned_sixty_thirty_and_seven_days_before_its_agreement_ends(
    scene: Scene, new_member: Organization
) -> None:
    scene.approve(new_member.id, until=NOON.date() + timedelta(days=100))
    for _ in range(101):
        scene.sweep()
        scene.sweep()
        scene.advance(days=1)
    assert days_of_warnings(scene, new_member.id) == [60, 30, 7]
    assert verbs(scene, new_member.id)[-1] == "agreement_ending", (
        "the agreement holds on its last day"
    )
    scene.sweep()
    assert verbs(scene, new_member.id)[-1] == "agreement_expired"
    organization = scene.coordinator.GetOrganization(id=new_member.id)
    assert (organization.status, list(organization.missing_evidence)) == (
        PROBATION,
        [pb.EVIDENCE_KIND_AGREEMENT],
    )
    scene.sweep()
    assert verbs(scene, new_member.id)[-2:] == ["agreement_ending", "agreement_expired"]


def test_an_agreement_holds_until_its_last_day_ends_in_the_members_country(
    scene: Scene, new_member: Organization
) -> None:
    scene.approve(new_member.id, until=date(2026, 3, 20))
    last = datetime(2026, 3, 20, 23, 30, tzinfo=zone_of("NI"))  # in UTC this is the 21st
    scene.clock.set(last.astimezone(UTC))
    scene.sweep()
    assert "agreement_expired" not in verbs(scene, new_member.id)
    assert not scene.coordinator.GetOrganization(id=new_member.id).missing_evidence
    scene.sweep(minutes=31)
    assert verbs(scene, new_member.id)[-1] == "agreement_expired"


def test_agreements_that_end_soon_are_listed_for_coordinators_and_auditors(scene: Scene) -> None:
    for name, until in (("Pronto", date(2026, 4, 1)), ("Tarde", date(2027, 4, 1))):
        scene.approve(scene.organization(name, approved=False).id, until=until)
    request = pb.ListOrganizationsRequest(agreement_expire_before_date="2026-05-01")
    for caller, names in (
        (scene.coordinator, ["Pronto"]),
        (scene.by(scene.coalition, Role.AUDITOR), ["Pronto"]),
        (scene.by(scene.organization("Otra"), Role.MANAGER), []),
    ):
        listed = caller.ListOrganizations(request).organizations
        assert [organization.name for organization in listed] == names


def test_a_newer_agreement_keeps_a_member_approved_and_after_its_end_two_people_approve_again(
    scene: Scene, new_member: Organization
) -> None:
    approved = scene.approve(new_member.id, until=date(2026, 4, 1))
    scene.sweep()
    warned_member = scene.coordinator.GetOrganization(id=new_member.id)
    renewed_member = record_evidence(scene, warned_member, pb.EVIDENCE_KIND_AGREEMENT, "2026-09-01")
    assert (approved.status, renewed_member.status) == (APPROVED, APPROVED)
    scene.clock.set(NOON.replace(month=8, day=1))
    scene.sweep()
    assert days_of_warnings(scene, new_member.id) == [18, 31], (
        "the member is warned of the new end, too"
    )
    scene.clock.set(NOON.replace(month=9, day=2))
    scene.sweep()
    before_renewal = scene.coordinator.GetOrganization(id=new_member.id)
    after_renewal = record_evidence(scene, before_renewal, pb.EVIDENCE_KIND_AGREEMENT, "2027-09-01")
    assert (before_renewal.status, after_renewal.status) == (PROBATION, PROBATION)
    assert scene.approve(new_member.id, until=date(2027, 9, 1)).status == APPROVED


def record_agreement(by: Stubs, organization: pb.Organization, until: str) -> pb.Organization:
    """Records an agreement that ends on this day; returns the organisation."""
    evidence = pb.Evidence(
        kind=pb.EVIDENCE_KIND_AGREEMENT,
        reference="EXP-8",
        seen_date="2026-03-14",
        expire_date=until,
    )
    return by.RecordEvidence(  # type: ignore[no-any-return]
        id=organization.id, etag=organization.etag, evidence=evidence
    )


def test_an_approved_members_agreement_is_prolonged_by_another_person_than_the_last_time(
    scene: Scene, new_member: Organization, second_of_coalition: Stubs
) -> None:
    approved = scene.approve(new_member.id, until=date(2026, 6, 1))
    renewed = record_agreement(scene.coordinator, approved, "2027-06-01")
    prolong_again = partial(record_agreement, scene.coordinator, renewed, "2031-03-01")
    assert refusal(prolong_again) == SECOND_PERSON
    shortened = record_agreement(scene.coordinator, renewed, "2027-05-01")
    by_another = record_agreement(second_of_coalition, shortened, "2031-03-01")
    assert by_another.agreement_expire_date == "2031-03-01"


def test_a_member_on_probation_since_its_agreement_ended_is_shown_no_shelters(
    scene: Scene, new_member: Organization
) -> None:
    scene.service(
        scene.organization("Casa", type=OrganizationType.SHELTER), "Albergue", confidential=True
    )
    scene.approve(new_member.id, until=date(2026, 4, 1))
    worker = scene.by(scene.stored(new_member.id))
    assert len(worker.SearchServices().services) == 1
    scene.sweep(days=30)
    assert len(worker.SearchServices().services) == 0


def test_the_coordination_sees_the_evidence_and_a_members_people_see_the_end_of_its_agreement(
    scene: Scene, member: Organization
) -> None:
    scene.vet(member.id)
    for caller, evidence, expire_date in (
        (scene.coordinator, 5, "2027-03-14"),
        (scene.by(scene.coalition, Role.AUDITOR), 5, "2027-03-14"),
        (scene.by(member, Role.MANAGER), 0, "2027-03-14"),
        (scene.by(scene.organization("Otra"), Role.MANAGER), 0, ""),
    ):
        organization = caller.GetOrganization(id=member.id)
        assert (
            len(organization.evidence),
            organization.agreement_expire_date,
            len(organization.missing_evidence),
        ) == (evidence, expire_date, 0)
