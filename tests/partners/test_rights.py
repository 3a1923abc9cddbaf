"""The rights to call each rpc: every cell of docs/rights.md about this service."""

from typing import Any

import pytest

from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests import rights_table
from tests.partners.scene import Scene
from tests.rights_table import SCOPES

SERVICES = rights_table.services_of("partners")


@pytest.mark.parametrize("descriptor", SERVICES, ids=lambda descriptor: descriptor.name)
def test_every_rpc_admits_the_callers_that_the_page_of_rights_names(
    descriptor: Any, scene: Scene, member: Organization
) -> None:
    roles = {str(role): scene.by(member, role) for role in Role}
    keys = {}
    for scope in SCOPES:  # an organisation may have two live keys at most
        keys[scope] = scene.by_key(scene.organization(f"Sistema {scope}"), scope)

    def metadata(role: str, scope: str) -> Any:
        return (roles[role] if role else keys[scope]).metadata

    assert rights_table.check(descriptor, scene.channel, metadata, SCOPES, scene.database) == len(
        descriptor.methods
    ) * (1 + len(rights_table.ROLES) + len(SCOPES))
