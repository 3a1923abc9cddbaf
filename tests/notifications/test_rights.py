"""The rights to call each rpc: every cell of docs/rights.md about this service is tested."""

from typing import Any

import pytest

from tests import rights_table
from tests.notifications.conftest import RECEIVER, Service
from tests.rights_table import SCOPES

SERVICES = rights_table.services_of("notifications")


@pytest.mark.parametrize("descriptor", SERVICES, ids=lambda descriptor: descriptor.name)
def test_every_rpc_admits_exactly_the_callers_that_the_page_names(
    descriptor: Any, service: Service
) -> None:
    def metadata(role: str, scope: str) -> Any:
        return service.as_(
            RECEIVER, *([role] if role else []), scopes=(scope,) if scope else ()
        ).metadata()

    assert rights_table.check(
        descriptor, service.channel, metadata, SCOPES, service.database
    ) == len(descriptor.methods) * (1 + len(rights_table.ROLES) + len(SCOPES))
