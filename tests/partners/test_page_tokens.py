"""Page tokens that nobody was given: refused, whatever is in them."""

import base64
import json

import pytest

from protos.partners.v1 import directory_pb2, members_pb2
from services.partners.domain.worker import Role
from tests.builders import refusal_with_fields
from tests.partners.scene import Scene


@pytest.mark.parametrize("place", [["\ud800", "a"], ["a", "x\udfff"], ["a\x00", "b"], ["a"], ["a", 1], {"a": "b"}, "a", None])
def test_what_a_database_can_not_compare_with_is_no_page_token(place: object, scene: Scene) -> None:
    token = base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")
    manager = scene.by(scene.organization(), Role.MANAGER)
    for ask in (
        lambda: manager.ListOrganizations(directory_pb2.ListOrganizationsRequest(page_token=token)),
        lambda: manager.ListWorkers(members_pb2.ListWorkersRequest(page_token=token)),
        lambda: manager.SearchServices(directory_pb2.SearchServicesRequest(page_token=token)),
    ):
        code, _, fields = refusal_with_fields(ask)
        assert (code, fields) == ("INVALID_ARGUMENT", {"page_token": "malformed"})
