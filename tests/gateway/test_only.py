"""One process for pages and API, or one for each.

The tests check which paths each process answers, and what each never reveals.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from services.gateway.config import from_environment
from tests.gateway.pages_gateway import EXIT
from tests.gateway.served_gateway import NAMES, SERVE, Gateway, Service
from tests.parts.local_stack import ROOT

OF_THE_API = ("/api/v1/openapi.json", "/api/v1/docs", "/hsds")
OF_THE_SITE = ("/", "/sign-in", "/static/enlace.css", "/robots.txt")
OF_BOTH = ("/healthz", "/readyz")
OF_PAGES = {"Content-Security-Policy", "X-Frame-Options", "Permissions-Policy", "Set-Cookie"}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    created = Service()
    yield created
    created.stop()


def _started(
    folder: str, tmp: pytest.TempPathFactory, service: Service, *more: str, **settings: str
) -> Iterator[Gateway]:
    created = Gateway(
        tmp.mktemp(folder),
        dict.fromkeys(NAMES, f"127.0.0.1:{service.port}"),
        (*SERVE, *more),
        settings,
    )
    yield created
    created.process.stop()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Gateway]:
    # Settings that only pages need may even be wrong: they are not read.
    yield from _started(
        "api",
        tmp_path_factory,
        service,
        "--only",
        "api",
        ENLACE_LINES="no pairs",
        ENLACE_DEMO="neither yes nor no",
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Gateway]:
    yield from _started("site", tmp_path_factory, service, "--only", "site")


def _get(gateway: Gateway, path: str) -> requests.Response:
    return requests.get(f"{gateway.url}{path}", timeout=15, allow_redirects=False)


def test_a_process_with_only_the_api_answers_systems_and_probes(api: Gateway) -> None:
    assert {path: _get(api, path).status_code for path in (*OF_THE_API, *OF_BOTH)} == dict.fromkeys(
        (*OF_THE_API, *OF_BOTH), 200
    )
    assert api.api().status_code == 200


@pytest.mark.parametrize("path", [*OF_THE_SITE, "/quick-exit", "/live"])
def test_the_api_answers_the_path_of_a_page_with_a_problem(api: Gateway, path: str) -> None:
    answer = _get(api, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["reason"] == "not_found"


def test_the_api_sets_no_cookie_and_has_no_policy_for_pages(api: Gateway) -> None:
    for path in (*OF_THE_API, *OF_THE_SITE, *OF_BOTH):
        if path != "/api/v1/docs":  # a page of its own, with a policy of its own
            assert not OF_PAGES & _get(api, path).headers.keys(), path
    assert (
        _get(api, "/api/v1/docs")
        .headers["Content-Security-Policy"]
        .startswith("default-src 'none'; style-src 'self'; base-uri")
    )


def test_a_process_with_only_the_site_answers_people_and_probes(site: Gateway) -> None:
    assert {
        path: _get(site, path).status_code for path in (*OF_THE_SITE, *OF_BOTH)
    } == dict.fromkeys((*OF_THE_SITE, *OF_BOTH), 200)
    assert _get(site, "/quick-exit").headers["Location"] == EXIT


@pytest.mark.parametrize("path", [*OF_THE_API, "/api/v1/people"])
def test_the_site_answers_the_path_of_the_api_with_a_page(site: Gateway, path: str) -> None:
    answer = _get(site, path)
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


def test_the_gateway_loads_no_library_that_it_needs_seldom_or_never() -> None:
    """A driver of a database would cost each process 7 MB, what draws a PDF 8 MB."""
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; import services.gateway.__main__, services.gateway.api,"
            " services.gateway.site;"
            " print(*{'psycopg', 'kafka', 'holidays', 'pyroaring', 'reportlab'}"
            " & sys.modules.keys())",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert loaded.split() == []
