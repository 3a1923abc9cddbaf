"""Page tokens that the service never issued are refused, whatever is in them."""

import base64
import json

import pytest

from services.partners.members.domain.worker import Role
from tests.builders import refusal_with_fields
from tests.partners.scene import Scene


@pytest.mark.parametrize(
    "cursor",
    [["\ud800", "a"], ["a", "x\udfff"], ["a\x00", "b"], ["a"], ["a", 1], {"a": "b"}, "a", None],
)
def test_a_page_token_with_values_that_the_database_cannot_compare_is_refused(
    cursor: object, scene: Scene
) -> None:
    token = base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode().rstrip("=")
    manager = scene.by(scene.organization(), Role.MANAGER)
    for call in (
        lambda: manager.ListOrganizations(page_token=token),
        lambda: manager.ListWorkers(page_token=token),
        lambda: manager.SearchServices(page_token=token),
    ):
        code, _, fields = refusal_with_fields(call)
        assert (code, fields) == ("INVALID_ARGUMENT", {"page_token": "malformed"})


def test_the_longest_names_have_a_page_token_that_is_accepted(scene: Scene) -> None:
    """Folding turns the one letter of these names into eighteen."""
    manager = scene.by(scene.organization("ﷺ" * 200), Role.MANAGER)
    scene.organization("ﷺ" * 199)
    first = manager.ListOrganizations(page_size=1)
    ids, token = [], first.next_page_token
    while token:
        assert len(token) <= 2000
        page = manager.ListOrganizations(page_size=1, page_token=token)
        ids += [organization.id for organization in page.organizations]
        token = page.next_page_token
    assert len(ids) == len(set(ids)) > 0
