"""A gateway whose log cannot be written answers as usual, and stops cleanly."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.gateway.pages_gateway import EXIT, SECRET, token_of
from tests.gateway.served_gateway import Gateway, Service, all_at, refusing_answer

pytestmark = pytest.mark.long

SERVE = f"exec {sys.executable} -m services.gateway serve"


@pytest.fixture
def gateway(tmp_path: Path, service: Service) -> Iterator[Gateway]:
    """A gateway whose standard output and error are full."""
    command = ["sh", "-c", f"exec >/dev/full 2>&1; {SERVE}"]
    with Gateway(tmp_path, all_at(service), command) as gateway:
        yield gateway


def test_pages_the_api_and_quick_exit_keep_working_when_the_log_has_no_room(
    gateway: Gateway,
) -> None:
    for path, status in (("/", 200), ("/no-such-page", 404)):
        assert requests.get(gateway.url + path, timeout=15).status_code == status
    assert gateway.api().status_code == 200
    answer = requests.post(f"{gateway.url}/quick-exit", timeout=15, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, EXIT)


def test_a_stop_ends_cleanly_when_the_log_has_no_room(gateway: Gateway) -> None:
    requests.get(f"{gateway.url}/", timeout=15)
    assert gateway.process.stop(15) == 0


def test_a_full_database_gives_a_503_for_writes_while_reads_continue(
    gateway: Gateway, service: Service
) -> None:
    service.answer = refusing_answer("store_full", "RESOURCE_EXHAUSTED", only="CreatePerson")
    assert gateway.api().status_code == 200
    answer = gateway.api("people", method="POST", json={})
    assert (answer.status_code, answer.json()["reason"], answer.headers["Retry-After"]) == (
        503,
        "store_full",
        "5",
    ), answer.text


def test_an_upload_is_accepted_even_if_no_file_can_be_written(
    tmp_path: Path, service: Service
) -> None:
    # not even a line of the log can be written
    command = ["sh", "-c", f"ulimit -f 0; {SERVE}"]
    with Gateway(tmp_path, all_at(service), command) as gateway, requests.Session() as browser:
        browser.cookies["s"] = SECRET
        url = f"{gateway.url}/directory/import"
        form = {"form_token": token_of(browser.get(url, timeout=15).text), "step": "try"}
        files = {"content": ("x.csv", b"a" * 600_000)}
        answer = browser.post(url, form, files=files, timeout=15, allow_redirects=False)
        assert answer.status_code == 303, answer.text
        assert "CreateImport" in service.calls
