"""Pages and API in one process, or each in its own (`--only`).

The tests check the paths that each process answers, and the headers that the API must not send.
"""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from services.gateway.config import from_environment
from tests.gateway.pages_gateway import EXIT
from tests.gateway.served_gateway import SERVE, Gateway, Service, all_at
from tests.parts.local_stack import ROOT

API_PATHS = ("/api/v1/openapi.json", "/api/v1/docs", "/hsds")
SITE_PATHS = ("/", "/sign-in", "/static/enlace.css", "/robots.txt")
SHARED_PATHS = ("/healthz", "/readyz")
PAGE_HEADERS = {"Content-Security-Policy", "X-Frame-Options", "Permissions-Policy", "Set-Cookie"}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as server:
        yield server


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Gateway]:
    # Settings that only pages need may even be wrong: they are not read.
    settings = {"ENLACE_LINES": "no pairs", "ENLACE_DEMO": "neither yes nor no"}
    folder, command = tmp_path_factory.mktemp("api"), (*SERVE, "--only", "api")
    with Gateway(folder, all_at(service), command, settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Gateway]:
    folder, command = tmp_path_factory.mktemp("site"), (*SERVE, "--only", "site")
    with Gateway(folder, all_at(service), command) as gateway:
        yield gateway


def get(gateway: Gateway, path: str) -> requests.Response:
    return requests.get(f"{gateway.url}{path}", timeout=15, allow_redirects=False)


def statuses(gateway: Gateway, paths: tuple[str, ...]) -> dict[str, int]:
    return {path: get(gateway, path).status_code for path in paths}


def test_a_process_with_only_the_api_answers_systems_and_probes(api: Gateway) -> None:
    paths = (*API_PATHS, *SHARED_PATHS)
    assert statuses(api, paths) == dict.fromkeys(paths, 200)
    assert api.api().status_code == 200


@pytest.mark.parametrize("path", [*SITE_PATHS, "/quick-exit", "/live"])
def test_the_api_answers_the_path_of_a_page_with_problem_json(api: Gateway, path: str) -> None:
    answer = get(api, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["reason"] == "not_found"


def test_the_api_sets_no_cookie_and_has_no_policy_for_pages(api: Gateway) -> None:
    # the documentation of the API is a page with its own policy
    docs = "/api/v1/docs"
    for path in {*API_PATHS, *SITE_PATHS, *SHARED_PATHS} - {docs}:
        assert not PAGE_HEADERS & get(api, path).headers.keys(), path
    policy = get(api, docs).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; base-uri")


def test_a_process_with_only_the_site_answers_people_and_probes(site: Gateway) -> None:
    paths = (*SITE_PATHS, *SHARED_PATHS)
    assert statuses(site, paths) == dict.fromkeys(paths, 200)
    assert get(site, "/quick-exit").headers["Location"] == EXIT


@pytest.mark.parametrize("path", [*API_PATHS, "/api/v1/people"])
def test_the_site_answers_the_path_of_the_api_with_a_page(site: Gateway, path: str) -> None:
    answer = get(site, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]


def test_a_process_without_pages_reads_none_of_their_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENLACE_DEVELOPMENT", "1")
    monkeypatch.setenv("ENLACE_LINES", "no pairs")
    assert from_environment(with_site=False).site is None
    with pytest.raises(SystemExit, match="ENLACE_LINES"):
        from_environment()


def test_the_gateway_loads_no_library_that_it_needs_rarely_or_never() -> None:
    """The driver of a database would cost each process 7 MB, and the library for PDFs 8 MB."""
    program = (
        "import sys; import services.gateway.__main__, services.gateway.api, services.gateway.site;"
        " print(*{'psycopg', 'kafka', 'holidays', 'pyroaring', 'reportlab'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.split() == []
