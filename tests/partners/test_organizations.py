"""Organisations: their entry, their life, who may change them, and their facts."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2
from services.partners.members.domain.organization import Organization, OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import (
    ILLEGAL,
    NEIGHBOUR,
    NOT_ACTIVE,
    RIGHT_MISSING,
    STALE_ETAG,
    Scene,
    Stubs,
)
from tests.partners.test_invitations import answer


def entry(**more: object) -> pb.Organization:
    return pb.Organization(
        **({"name": "Fundación Nueva", "type": pb.ORGANIZATION_TYPE_NGO, "country": "NI"} | more)  # type: ignore[arg-type]
    )


def create(scene: Scene, **more: object) -> pb.Organization:
    return scene.coordinator.CreateOrganization(  # type: ignore[no-any-return]
        organization=entry(**more)
    )


def change_of(
    organization: Organization, *paths: str, **fields: object
) -> pb.UpdateOrganizationRequest:
    """Returns a request that changes the given paths, or all given fields, of an organisation."""
    return pb.UpdateOrganizationRequest(
        organization=pb.Organization(id=organization.id, etag=etag_of(organization), **fields),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=paths or list(fields)),
    )


def names(page: pb.ListOrganizationsResponse) -> list[str]:
    return [organization.name for organization in page.organizations]


def test_a_new_member_is_on_probation_whatever_was_sent(scene: Scene) -> None:
    created = create(scene, status=pb.ORGANIZATION_STATUS_APPROVED, id="mine", etag="mine")
    assert (created.status, len(created.id)) == (pb.ORGANIZATION_STATUS_PROBATION, 32)
    organization = scene.coordinator.GetOrganization(id=created.id)
    organization.ClearField("has_manager")  # only this answer has the field
    assert organization == created


def test_a_phone_number_is_stored_in_its_international_form(scene: Scene) -> None:
    assert create(scene, phone="+505 2000-0101").phone == "+50520000101"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": " "}, [("name", "required")]),
        ({"name": "x" * 201}, [("name", "too_long")]),
        ({"name": "a\x00b"}, [("name", "malformed")]),
        ({"type": 0}, [("type", "required")]),
        ({"type": 99}, [("type", "unknown_code")]),
        ({"country": ""}, [("country", "required")]),
        ({"country": "Nicaragua"}, [("country", "malformed")]),
        ({"department": "CR-G"}, [("department", "unknown_code")]),
        ({"department": "NI-ZZ"}, [("department", "unknown_code")]),
        ({"phone": "2000-0101"}, [("phone", "malformed")]),
        ({"phone": "+5051"}, [("phone", "malformed")]),
        ({"url": "javascript:alert(1)"}, [("url", "malformed")]),
        ({"languages": ["español"]}, [("languages.0", "malformed")]),
        ({"languages": ["es", "es"]}, [("languages", "malformed")]),
        ({"description": "x" * 2001}, [("description", "too_long")]),
        ({"hotline_number": "one three three"}, [("hotline_number", "malformed")]),
        (
            {"name": "", "country": "", "url": "x"},
            [("name", "required"), ("country", "required"), ("url", "malformed")],
        ),
    ],
)
def test_all_errors_of_an_entry_are_reported_at_once_with_the_paths_of_their_fields(
    scene: Scene, fields: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert wrong_fields(lambda: create(scene, **fields)) == [
        (f"organization.{path}", reason) for path, reason in expected
    ]


def test_only_the_coordinator_registers_members(scene: Scene) -> None:
    for caller, expected in (
        (scene.by(scene.coalition, Role.MANAGER), RIGHT_MISSING),
        (scene.by_key(scene.coalition, "directory.write"), RIGHT_MISSING),
        (scene.nobody, ("UNAUTHENTICATED", "token_missing")),
    ):
        assert refusal(partial(caller.CreateOrganization, organization=entry())) == expected


def test_a_registration_with_the_same_request_id_counts_once(scene: Scene) -> None:
    request = pb.CreateOrganizationRequest(organization=entry(), request_id="uno")
    first, second = (scene.coordinator.CreateOrganization(request) for _ in range(2))
    assert first == second
    assert names(scene.coordinator.ListOrganizations()) == ["Coalición", "Fundación Nueva"]
    request.organization.name = "Otra"
    assert refusal(lambda: scene.coordinator.CreateOrganization(request)) == (
        "ALREADY_EXISTS",
        "request_id_reused",
    )


def test_all_steps_of_a_membership_are_published_in_order_and_without_a_gap(scene: Scene) -> None:
    created = create(scene)
    scene.approve(created.id)
    assert scene.suspend(created.id).status == pb.ORGANIZATION_STATUS_SUSPENDED
    assert scene.reinstate(created.id).status == pb.ORGANIZATION_STATUS_APPROVED
    suspended = ["suspension_proposed", "suspended", "reinstatement_proposed", "reinstated"]
    verbs = ["registered", *["evidence_recorded"] * 5, "approval_proposed", "approved", *suspended]
    assert scene.facts(created.id) == [
        (version, f"enlace.organization.{verb}.v1") for version, verb in enumerate(verbs, 1)
    ]
    [row] = scene.rows("SELECT payload FROM outbox WHERE subject = %s AND version = 10", created.id)
    fact = facts_pb2.OrganizationFact.FromString(row["payload"])
    assert (fact.status_code, fact.organization_type_code, fact.country_code) == (
        "SUSPENDED",
        "NGO",
        "NI",
    )


def test_a_step_that_the_state_does_not_allow_is_refused(
    scene: Scene, second_of_coalition: Stubs
) -> None:
    created, by = create(scene), scene.coordinator
    for rpc in (by.SuspendOrganization, by.ReinstateOrganization):
        assert refusal(partial(rpc, id=created.id, etag=created.etag)) == ILLEGAL
    approved = scene.approve(created.id)
    assert (
        refusal(partial(second_of_coalition.ApproveOrganization, id=created.id, etag=approved.etag))
        == ILLEGAL
    )


def test_coordinators_cannot_suspend_the_coordinating_organisation(scene: Scene) -> None:
    request = pb.SuspendOrganizationRequest(id=scene.coalition.id, etag=etag_of(scene.coalition))
    assert refusal(lambda: scene.coordinator.SuspendOrganization(request)) == ILLEGAL


def test_a_step_needs_the_etag_of_the_current_version(scene: Scene) -> None:
    created, approve = create(scene), scene.coordinator.ApproveOrganization
    assert refusal(lambda: approve(id=created.id, etag="other")) == STALE_ETAG
    assert wrong_fields(lambda: approve(id=created.id)) == [("etag", "required")]
    for unknown in ("0" * 32, "x", ""):
        assert refusal(partial(approve, id=unknown, etag="x")) == NOT_FOUND


def test_a_manager_changes_the_entry_of_her_own_organisation_and_no_other(scene: Scene) -> None:
    organization, other = scene.organization("Propia"), scene.organization("Ajena")
    manager = scene.by(organization, Role.MANAGER)
    change = change_of(organization, "name", name="Propia y nueva", phone="+50520000101")
    changed = manager.UpdateOrganization(change)
    assert (changed.name, changed.phone, changed.country) == ("Propia y nueva", "", "NI")
    assert scene.facts(organization.id)[-1] == (3, "enlace.organization.renamed.v1")
    change = change_of(other, name="Tomada")
    assert refusal(lambda: manager.UpdateOrganization(change)) == NOT_FOUND


def test_a_change_without_effect_publishes_no_fact(scene: Scene) -> None:
    organization = scene.organization("Propia")
    unchanged = scene.coordinator.UpdateOrganization(change_of(organization, name="Propia"))
    assert (unchanged.etag, len(scene.facts(organization.id))) == (etag_of(organization), 2)


@pytest.mark.parametrize(
    ("paths", "violation"),
    [
        ([], ("update_mask", "required")),
        (["status"], ("update_mask", "unknown_code")),
        (["name", "check"], ("update_mask", "unknown_code")),
        (["name.first"], ("update_mask", "unknown_code")),
    ],
)
def test_a_mask_may_name_only_fields_that_can_be_changed(
    scene: Scene, paths: list[str], violation: tuple[str, str]
) -> None:
    request = change_of(scene.coalition, name="Otra")
    request.update_mask.paths[:] = paths
    assert wrong_fields(lambda: scene.coordinator.UpdateOrganization(request)) == [violation]


def test_of_several_changes_of_the_same_version_exactly_one_succeeds(
    scene: Scene, member: Organization
) -> None:
    calls = [
        partial(scene.coordinator.UpdateOrganization, change_of(member, name=name))
        for name in ("Uno", "Dos", "Tres", "Cuatro", "Cinco")
    ]
    with ThreadPoolExecutor(5) as pool:
        answers = sorted(pool.map(answer, calls))
    assert answers == ["OK"] + ["stale_etag"] * 4
    assert [version for version, _ in scene.facts(member.id)] == [1, 2, 3]


def test_the_list_is_sorted_by_name_without_accents_and_each_page_continues_the_page_before(
    scene: Scene,
) -> None:
    for name in ("Zeta", "Ágora", "beta", "Alba"):
        scene.organization(name)
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        page = scene.coordinator.ListOrganizations(page_size=2, page_token=token)
        pages.append(names(page))
        token = page.next_page_token
    assert pages == [["Ágora", "Alba"], ["beta", "Coalición"], ["Zeta"]]


def test_the_list_is_narrowed_by_country_type_and_status(scene: Scene) -> None:
    scene.organization("Casa", type=OrganizationType.SHELTER, country="CR", department="CR-G")
    scene.organization("Nueva", approved=False)
    for request, expected in (
        (pb.ListOrganizationsRequest(country="CR"), ["Casa"]),
        (pb.ListOrganizationsRequest(type=pb.ORGANIZATION_TYPE_SHELTER), ["Casa"]),
        (pb.ListOrganizationsRequest(status=pb.ORGANIZATION_STATUS_PROBATION), ["Nueva"]),
    ):
        assert names(scene.coordinator.ListOrganizations(request)) == expected


@pytest.mark.parametrize(
    "token", ["x", "bm90IG91cnM", "W10", "WzEsMl0", "WyJhIiwiXHUwMDAwIl0", "x" * 3000, "ñ"]
)
def test_an_invalid_page_token_is_refused(scene: Scene, token: str) -> None:
    assert wrong_fields(lambda: scene.coordinator.ListOrganizations(page_token=token)) == [
        ("page_token", "malformed")
    ]


def test_members_that_are_not_active_are_listed_for_the_coordinator_only(scene: Scene) -> None:
    suspended = scene.organization("Suspendida")
    scene.suspend(suspended.id)
    worker = scene.by(scene.organization("Puentes"))
    assert names(worker.ListOrganizations()) == ["Coalición", "Puentes", NEIGHBOUR]
    assert len(scene.coordinator.ListOrganizations().organizations) == 4
    # Old referrals still show its name.
    assert worker.GetOrganization(id=suspended.id).name == "Suspendida"


def test_a_suspension_ends_access_at_once_even_for_tokens_that_are_still_valid(
    scene: Scene, member: Organization
) -> None:
    worker, key = scene.by(member), scene.by_key(member, "directory.read")
    scene.suspend(member.id)
    for caller in (worker, key):
        assert refusal(caller.ListOrganizations) == NOT_ACTIVE


def test_each_step_of_a_membership_is_on_the_trail(scene: Scene) -> None:
    created = create(scene)
    scene.approve(created.id)
    trail = scene.rows(
        "SELECT action, allowed FROM audit WHERE object_id = %s ORDER BY sequence", created.id
    )
    assert [tuple(row.values()) for row in trail] == [
        ("organization_create", True),
        *[("organization_approve", True)] * 2,
    ]


def test_anyone_may_list_the_hotlines_one_for_each_country(scene: Scene) -> None:
    scene.organization(
        "Llama y Vive", type=OrganizationType.HOTLINE, department="", hotline_number="133"
    )
    scene.advance(days=1)
    scene.organization(
        "Otra línea", type=OrganizationType.HOTLINE, department="", hotline_number="134"
    )
    scene.organization("Sin número", type=OrganizationType.HOTLINE, country="PE", department="")
    scene.organization(
        "Línea a prueba",
        type=OrganizationType.HOTLINE,
        country="EC",
        department="",
        hotline_number="199",
        approved=False,
    )
    [line] = scene.nobody.ListHotlines().hotlines
    assert (line.country, line.number, line.organization_name) == ("NI", "133", "Llama y Vive")


def test_anyone_may_list_the_taxonomy(scene: Scene) -> None:
    terms = {term.code: term for term in scene.nobody.ListTaxonomyTerms().terms}
    assert len([term for term in terms.values() if not term.parent_code]) == 14
    emergency = terms["HOU.EMG"]
    assert (emergency.parent_code, set(emergency.names), list(emergency.htcds_spl_types)) == (
        "HOU",
        {"es", "en", "fr"},
        ["SocialCare"],
    )
