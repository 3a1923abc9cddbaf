"""The program that takes pictures of the pages (tests/pictures.py)."""

from tests.gateway.pages_gateway import FakePageServices, enter, pages, routes
from tests.pictures import NO_PAGES, is_file


def test_the_path_of_a_file_has_an_extension_and_the_path_of_a_page_has_none() -> None:
    client = enter(pages(FakePageServices()).test_client())
    checked = set()
    for endpoint, path in routes(client.application):
        response = client.get(path)
        if endpoint not in NO_PAGES and response.status_code == 200:
            assert is_file(path) != (response.mimetype == "text/html"), endpoint
            checked.add(is_file(path))
    assert checked == {True, False}
