"""Services of police, prosecution, migration and consulates are marked wherever they are found.

One rule applies to all of them.
"""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as pb
from services.partners.members.domain.organization import OrganizationType
from services.partners.members.domain.shares_with import shares_with
from services.partners.members.domain.worker import Role
from services.referrals.network.domain.codes import REACHED_BY_OVERRIDE
from tests.builders import refusal
from tests.partners.scene import Scene

MARKED = [type for type in OrganizationType if shares_with(type)]


def test_marked_organisations_are_those_that_no_override_and_no_enquiry_reaches() -> None:
    assert {type.value for type in OrganizationType if not shares_with(type)} == REACHED_BY_OVERRIDE


@pytest.mark.parametrize("type", MARKED)
def test_services_of_marked_organisations_are_marked_everywhere_and_no_member_hides_the_mark(
    type: OrganizationType, scene: Scene
) -> None:
    organization = scene.organization("Comisaría", type=type)
    created = scene.service(organization, "Denuncia", "LEG.CRM", tiers=())
    other = scene.service(scene.organization("Puentes"), "Consejería", "LEG.CRM")
    worker = scene.by(scene.organization("Otra"), Role.WORKER)
    mark = pb.SharesWith.Value(f"SHARES_WITH_{shares_with(type)}")
    searched = worker.SearchServices(need_code="LEG.CRM").services
    matched = [
        match.service for match in worker.MatchServices(need_code="LEG.CRM", country="NI").matches
    ]
    named = worker.BatchGet(service_ids=[created.id, other.id]).services
    for services in (searched, matched, named):
        assert {service.id: service.shares_with for service in services} == {
            created.id: mark,
            other.id: 0,
        }
    assert worker.GetService(id=created.id).shares_with == mark
    assert worker.GetOrganization(id=organization.id).shares_with == mark
    manager = scene.by(organization, Role.MANAGER)
    etag = manager.GetService(id=created.id).etag
    narrowed = pb.Service(
        id=created.id,
        etag=etag,
        tiers=[pb.FieldTier(field="shares_with", tier=contract_pb2.TIER_COORDINATOR)],
    )
    assert refusal(
        lambda: manager.UpdateService(service=narrowed, update_mask=FieldMask(paths=["tiers"]))
    ) == ("INVALID_ARGUMENT", "invalid_fields")
