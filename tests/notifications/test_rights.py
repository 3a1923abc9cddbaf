"""The rights to call each rpc: every cell of docs/rights.md about this service is tested."""

from typing import Any

import pytest

from tests import rights_table
from tests.builders import NOT_FOUND, refusal
from tests.notifications.conftest import COALITION, RECEIVER, Service
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


def test_a_caller_who_is_only_an_auditor_reads_no_messages_of_the_desk(service: Service) -> None:
    service.hear("sent", receiver_organization_id=COALITION)
    auditor = service.as_(COALITION, "AUDITOR")
    manager = service.as_(COALITION, "AUDITOR", "MANAGER")
    assert (auditor.kinds(), auditor.CountUnread().unread) == ([], 0)
    [message] = manager.ListMessages().messages
    assert refusal(lambda: auditor.MarkMessageRead(id=message.id)) == NOT_FOUND
