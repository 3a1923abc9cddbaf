"""The program that takes pictures of the pages (tests/pictures.py)."""

from tests.gateway.pages_gateway import FakePageServices, enter, pages, routes
from tests.pictures import NO_PAGES, is_file


def test_an_address_has_an_extension_if_it_leads_to_a_file() -> None:
    client = enter(pages(FakePageServices()).test_client())
    checked = set()
    for endpoint, path in routes(client.application):
        response = client.get(path)
        if endpoint not in NO_PAGES and response.status_code == 200:
            assert is_file(path) != (response.mimetype == "text/html"), endpoint
            checked.add(is_file(path))
    assert checked == {True, False}
