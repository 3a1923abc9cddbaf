"""The number to call is on every public, status and error page.

That holds even when everything behind the gateway is down, and after a restart.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
import requests

from chassis import errors
from protos.partners.v1.directory_pb2 import Hotline, ListHotlinesResponse
from protos.referrals.v1.campaigns_pb2 import Placement
from services.gateway.edge.clients import Clients
from services.gateway.site.shell import access
from services.gateway.site.shell.lines import AGE_SECONDS, TRY_AGAIN_SECONDS, Lines
from tests.gateway.api_gateway import OUTPUTS
from tests.gateway.pages_gateway import FakePageServices, enter, page_at, pages, routes, submit
from tests.gateway.served_gateway import (
    NAMES,
    Gateway,
    Service,
    all_at,
    dead_address,
    store_unavailable,
)
from tests.parts.local_stack import until

DIAL = 'href="tel:133"'
SERVICE_DOWN = errors.Unavailable("service_unreachable")
HOTLINES = [Hotline(country="NI", number="133"), Hotline(country="CR", number="1022")]


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices({"ListHotlines": ListHotlinesResponse(hotlines=HOTLINES)})


def take_services_down(fakes: FakePageServices) -> None:
    fakes.answers |= dict.fromkeys(OUTPUTS, SERVICE_DOWN)


def test_every_public_page_has_a_number_to_call(fakes: FakePageServices) -> None:
    app = pages(fakes)
    client = app.test_client()
    values = {
        path: page_at(client, path)
        for endpoint, path in routes(app)
        if access.roles_of(app, endpoint) == access.ANYBODY
    }
    assert {path for path, page in values.items() if page and DIAL not in page} == set()


@pytest.mark.parametrize(
    ("path", "status", "number"),
    [
        ("/", 200, "133"),
        ("/status", 200, "133"),
        ("/my-referral", 200, "133"),
        ("/sign-in", 200, "133"),
        ("/services", 503, "133"),
        ("/figures/public", 404, "133"),
        ("/nowhere", 404, "133"),
        ("/lines/NI", 200, "133"),
        ("/lines/CR?code=7K2V", 200, "1022"),
        ("/lines/NI/radio", 200, "133"),
        ("/lines/NI/poster-A4.svg", 200, "133"),
        ("/l/7K2V", 200, "133"),
        ("/lines/NI/poster-A5.svg", 404, "133"),
    ],
)
def test_the_number_stays_when_everything_behind_the_gateway_goes_down(
    fakes: FakePageServices, path: str, status: int, number: str
) -> None:
    client = pages(fakes).test_client()
    assert DIAL in client.get("/").text
    take_services_down(fakes)
    answer = client.get(path)
    assert (answer.status_code, number in answer.text) == (status, True)


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (SERVICE_DOWN, 503),
        (errors.Exhausted("too_many_requests", 30), 429),
        (RuntimeError("a fault"), 500),
        (errors.NotFound(), 404),
    ],
    ids=["503", "429", "500", "404"],
)
def test_an_error_page_has_the_number_for_visitors_and_for_workers(
    fakes: FakePageServices, refusal: Exception, status: int
) -> None:
    client = pages(fakes, development=False).test_client()
    fakes.answers["GetFigures"] = fakes.answers["ListPeople"] = refusal
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    for answer in (client.get("/figures"), enter(client).get("/people")):
        assert (answer.status_code, DIAL in answer.text) == (status, True)


def test_the_status_page_of_a_reference_has_every_number_even_if_the_status_is_unavailable(
    fakes: FakePageServices,
) -> None:
    client = pages(fakes).test_client()
    page, credential = client.get("/my-referral").text, {"reference": "W43P-VWJF", "pin": "4821"}
    status_page = submit(client, "/my-referral", page, **credential).text
    assert [
        line.number for line in HOTLINES if f'href="tel:{line.number}"' not in status_page
    ] == []
    for refusal, status in (
        (errors.Exhausted("guesses", 60), 429),
        (errors.Unauthenticated("reference_or_pin_wrong"), 401),
        (SERVICE_DOWN, 503),
    ):
        fakes.answers["GetReferenceStatus"] = refusal
        answer = submit(client, "/my-referral", page, **credential)
        assert (answer.status_code, DIAL in answer.text) == (status, True)


@pytest.mark.parametrize(
    "answer_for_code",
    [errors.NotFound(), Placement(code="7K2V", country="PE", active=True)],
    ids=["unknown", "the line of its country has left"],
)
def test_the_code_of_any_poster_leads_to_a_page_with_a_number(
    fakes: FakePageServices, answer_for_code: errors.NotFound | Placement
) -> None:
    fakes.answers["GetPlacement"] = answer_for_code
    answer = pages(fakes).test_client().get("/l/7K2V")
    assert (answer.status_code, DIAL in answer.text) == (200, True)


def numbers(**by_country: str) -> ListHotlinesResponse:
    """Returns the answer of a directory that knows these lines."""
    return ListHotlinesResponse(
        hotlines=[Hotline(country=country, number=by_country[country]) for country in by_country]
    )


@pytest.fixture
def dead_directory() -> FakePageServices:
    return FakePageServices({"ListHotlines": SERVICE_DOWN})


def line_numbers(lines: Lines, services: FakePageServices) -> dict[str, str]:
    return {line.country: line.number for line in lines.hotlines(cast(Clients, services))}


def test_the_last_numbers_survive_a_restart_and_replace_the_configured_numbers(
    tmp_path: Path, fakes: FakePageServices, dead_directory: FakePageServices
) -> None:
    fakes.answers["ListHotlines"] = numbers(NI="134", SV="1333")
    configured_numbers, file = {"NI": "133"}, tmp_path / "lines.json"
    assert line_numbers(Lines(configured_numbers, file), dead_directory) == {"NI": "133"}
    assert line_numbers(Lines(configured_numbers, file), fakes) == {"NI": "134", "SV": "1333"}
    assert line_numbers(Lines(configured_numbers, file), dead_directory) == {
        "NI": "134",
        "SV": "1333",
    }
    file.write_text("{ torn")
    assert line_numbers(Lines(configured_numbers, file), dead_directory) == {"NI": "133"}
    missing_folder = tmp_path / "no" / "folder"
    assert line_numbers(Lines(configured_numbers, missing_folder), fakes) == {
        "NI": "134",
        "SV": "1333",
    }


def test_the_directory_is_queried_once_in_a_while_and_a_changed_number_is_shown(
    fakes: FakePageServices,
) -> None:
    now = Mock(return_value=1000.0)
    lines = Lines({}, None, now)
    fakes.answers["ListHotlines"] = numbers(NI="133")
    assert [line_numbers(lines, fakes) for _ in range(3)] == [{"NI": "133"}] * 3
    assert len(fakes.calls) == 1
    fakes.answers["ListHotlines"] = numbers(NI="134")
    now.return_value += AGE_SECONDS + 1
    assert line_numbers(lines, fakes) == {"NI": "134"}
    fakes.answers["ListHotlines"] = SERVICE_DOWN
    now.return_value += AGE_SECONDS + 1
    assert [line_numbers(lines, fakes) for _ in range(3)] == [{"NI": "134"}] * 3
    assert len(fakes.calls) == 3
    now.return_value += TRY_AGAIN_SECONDS + 1
    fakes.answers["ListHotlines"] = numbers(NI="135")
    assert line_numbers(lines, fakes) == {"NI": "135"}


def test_the_numbers_are_complete_only_after_an_answer_of_the_directory(
    fakes: FakePageServices, dead_directory: FakePageServices
) -> None:
    for services, is_complete in ((dead_directory, False), (fakes, True)):
        lines = Lines({"NI": "133"}, None)
        line_numbers(lines, services)
        assert lines.complete is is_complete


def test_an_unknown_line_is_no_404_while_the_directory_is_down(fakes: FakePageServices) -> None:
    take_services_down(fakes)
    client = pages(fakes, lines={"NI": "133"}).test_client()
    answer = client.get("/lines/PE")
    assert (answer.status_code, DIAL in answer.text) == (503, True)


@pytest.fixture
def dead_addresses() -> Iterator[dict[str, str]]:
    reserved, address = dead_address()
    with reserved:
        yield dict.fromkeys(NAMES, address)


def test_a_gateway_that_starts_without_services_shows_the_configured_numbers(
    tmp_path: Path, dead_addresses: dict[str, str]
) -> None:
    settings = {"ENLACE_LINES": "NI=133,CR=1022"}
    with Gateway(tmp_path, dead_addresses, settings=settings) as gateway:
        for path, status in (
            ("/", 200),
            ("/status", 200),
            ("/lines/NI", 200),
            ("/l/7K2V", 200),
            ("/nowhere", 404),
            ("/figures", 503),
        ):
            answer = requests.get(gateway.url + path, timeout=15)
            assert (answer.status_code, DIAL in answer.text) == (status, True), path


def test_a_gateway_that_restarts_without_services_shows_the_last_numbers(
    tmp_path: Path, service: Service
) -> None:
    service.answer = lambda rpc, context: (
        ListHotlinesResponse(hotlines=HOTLINES) if rpc == "ListHotlines" else None
    )
    settings = {"ENLACE_LINES_FILE": str(tmp_path / "lines.json")}
    with Gateway(tmp_path, all_at(service), settings=settings) as gateway:
        until(lambda: DIAL in requests.get(gateway.url, timeout=15).text, 30)
    service.answer = store_unavailable
    with Gateway(tmp_path, all_at(service), settings=settings) as gateway:
        assert DIAL in requests.get(gateway.url, timeout=15).text


def test_two_processes_that_save_the_numbers_at_once_do_not_disturb_each_other(
    tmp_path: Path, fakes: FakePageServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, replace = tmp_path / "lines.json", Path.replace
    texts: list[str] = []

    def replace_while_another_process_saves(new: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        texts.append(new.read_text())
        assert line_numbers(Lines({}, file), FakePageServices({"ListHotlines": numbers(NI="134")}))
        texts.append(new.read_text())
        return new.replace(target)

    monkeypatch.setattr(Path, "replace", replace_while_another_process_saves)
    line_numbers(Lines({}, file), fakes)
    assert texts[0] == texts[1]
    assert json.loads(file.read_text()) == {"NI": "133", "CR": "1022"}
