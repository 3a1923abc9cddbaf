"""Steps of several referrals at once.

Each step is requested by itself, on the version that was seen; each result is shown, and no step is
taken twice.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, expect

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import ServiceFault
from tests.gateway.pages_gateway import (
    ID,
    FakePageServices,
    missing,
    pages,
    served,
    signed_in_as,
    token_of,
)
from tests.gateway.test_pages_in_browser import open_pages

IDS = [f"{number:032x}" for number in range(1, 6)]


def sent_referral(identifier: str, etag: str = "v3", *verbs: str) -> r.Referral:
    """Returns a referral that was sent, and that allows its sender these steps."""
    return r.Referral(
        id=identifier,
        etag=etag,
        code=f"K7M2Q{identifier[-1]}",
        state=r.STATE_SENT,
        need_code="HOU.EMG",
        service_id=ID,
        allowed_verbs=verbs or ("remind", "reroute", "withdraw"),
    )


def list_pressing(fakes: FakePageServices, *rows: r.Referral) -> None:
    """Sets the pressing referrals of the service to these."""
    fakes.answers["ListReferrals"] = lambda request: r.ListReferralsResponse(
        referrals=rows if request.filter.pressing else []
    )


def answer_unless_refused(refusals: dict[str, Exception]) -> Callable[[Any], r.Referral]:
    """Returns the answer of a service that refuses a step of these referrals."""

    def answer(request: Any) -> r.Referral:
        if request.id in refusals:
            raise refusals[request.id]
        return sent_referral(request.id)

    return answer


def post(client: FlaskClient, path: str, page: str, **data: Any) -> Any:
    return client.post(path, data={"form_token": token_of(page), "request_id": "one", **data})


def take_steps(client: FlaskClient, ids: list[str], step: str = "remind") -> Any:
    """Ticks these referrals on the board and requests a step."""
    page, chosen = client.get("/board").text, [f"{identifier}:v3" for identifier in ids]
    return post(client, "/board/several", page, step=step, chosen=chosen)


def test_a_row_can_be_ticked_only_for_steps_that_it_allows(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    list_pressing(
        fakes,
        sent_referral(IDS[0]),
        sent_referral(IDS[1], "v4", "reroute"),
        sent_referral(IDS[2], "v5", "withdraw"),
    )
    page = client.get("/board").text
    assert re.findall(
        r'<input type="checkbox" name="chosen" form="several" value="([^"]+)"', page
    ) == [f"{IDS[0]}:v3", f"{IDS[1]}:v4"]
    assert re.findall(r'form="several" name="only" value="([^"]+)"', page) == [f"{IDS[0]}:v3"]
    assert page.count('<form id="several"') == 1


def test_the_bar_for_several_rows_is_there_while_a_row_is_ticked(
    browser: Browser, fakes: FakePageServices
) -> None:
    list_pressing(fakes, sent_referral(IDS[0]))
    with served(pages(fakes)) as site:
        context = browser.new_context(viewport={"width": 360, "height": 640})
        page = open_pages(context, site, as_user=True)
        page.goto(f"{site}/board")
        tick, bar = page.locator("[name=chosen]"), page.locator("#several")
        expect(bar).to_be_hidden()
        tick.check()
        expect(bar).to_be_visible()
        tick.uncheck()
        expect(bar).to_be_hidden()
        context.close()


def test_each_referral_is_reminded_on_its_own_version_and_with_its_own_request_id(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    list_pressing(fakes, *map(sent_referral, IDS))
    page = client.get("/board").text
    chosen = [f"{IDS[0]}:v3", f"{IDS[1]}:v9", f"{IDS[0]}:v3"]
    for _twice in range(2):
        assert "2 hechas" in post(client, "/board/several", page, step="remind", chosen=chosen).text
    requests = fakes.requests("RemindReferral")
    assert [(request.id, request.etag, request.request_id) for request in requests] == [
        (IDS[0], "v3", f"one-{IDS[0]}"),
        (IDS[1], "v9", f"one-{IDS[1]}"),
    ] * 2


def test_a_rows_own_button_acts_on_that_row_alone(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = client.get("/board").text
    post(client, "/board/several", page, only=f"{IDS[2]}:v3", chosen=[f"{IDS[0]}:v3"])
    assert [request.id for request in fakes.requests("RemindReferral")] == [IDS[2]]


def test_a_refusal_for_one_referral_stops_no_other_and_is_shown_beside_it(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "RemindReferral": answer_unless_refused(
            {
                IDS[1]: errors.Stale(),
                IDS[2]: errors.Conflict("reminded_lately"),
                IDS[3]: errors.NotFound(),
                IDS[4]: errors.Unavailable("deadline_exceeded"),
            }
        ),
        "GetReferral": lambda request: sent_referral(request.id),
    }
    page = take_steps(client, IDS).text
    assert [request.id for request in fakes.requests("RemindReferral")] == IDS
    assert missing(page, "1 hecha", "4 sin hacer") == []
    rows = re.findall(r"<h3>.*?</li>", page, re.DOTALL)
    for identifier, result in {
        IDS[1]: "Cambió mientras tanto",
        IDS[2]: "hace menos de una hora",
        IDS[3]: "Ya no está a su alcance",
        IDS[4]: "No se sabe si se hizo",
        IDS[0]: "Recordada: les mandamos el aviso.",
    }.items():
        [row] = [row for row in rows if f"/referrals/{identifier}" in row]
        assert result in row
    assert "Recordada" in rows[-1], "failed steps come first"


def test_a_failed_step_is_not_called_done_and_a_row_that_cannot_be_shown_is_named(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "RemindReferral": answer_unless_refused({IDS[0]: ServiceFault("INTERNAL")}),
        "GetReferral": errors.Unavailable("store_unavailable"),
    }
    page = client.get("/board").text
    fakes.answers["BatchGet"] = errors.Unavailable("service_away")
    chosen = [f"{identifier}:v3" for identifier in IDS[:2]]
    text = post(client, "/board/several", page, step="remind", chosen=chosen).text
    assert missing(text, "1 sin hacer", f'href="/referrals/{IDS[0]}"') == []


def test_a_form_whose_session_ends_midway_is_kept_until_she_signs_in_again(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["RemindReferral"] = answer_unless_refused(
        {IDS[1]: errors.Unauthenticated("session_ended")}
    )
    answer = take_steps(client, IDS)
    assert answer.status_code == 401
    assert 'name="kept"' in answer.text, (
        "sent again, the form repeats the request ids of the steps that were taken"
    )


@pytest.mark.parametrize("data", [{}, {"chosen": ["", ":", "x", ":v3"]}, {"step": "reroute"}])
def test_a_form_with_nothing_ticked_leads_back_to_the_list_with_a_hint(
    fakes: FakePageServices, client: FlaskClient, data: Any
) -> None:
    list_pressing(fakes, sent_referral(IDS[0]))
    answer = post(client, "/board/several", client.get("/board").text, **data)
    assert answer.location == "/board?nothing=1#queue"
    assert "Elija al menos una remisión." in client.get("/board?nothing=1").text
    assert fakes.requests("RemindReferral") == []


@pytest.mark.parametrize("step", ["remind", "reroute"])
def test_a_page_to_which_a_browser_cannot_come_back_opens_its_referrals_in_another_window(
    step: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "GetReferral": lambda request: sent_referral(request.id),
        "RemindReferral": lambda request: sent_referral(request.id),
    }
    page = take_steps(client, IDS[:1], step).text
    assert re.findall(rf'href="/referrals/{IDS[0]}"([^>]*)>', page) == [' target="_blank"']


def test_a_form_without_a_valid_token_does_nothing(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    data = {"chosen": f"{IDS[0]}:v3", "form_token": "x"}
    for path in ("/board/several", "/board/several/reroute", "/referrals/several/assign"):
        assert client.post(path, data=data).status_code == 403
    for rpc in ("RemindReferral", "RerouteReferral", "AssignReferral"):
        assert fakes.requests(rpc) == []


def matches(*letters: str) -> d.MatchServicesResponse:
    """Returns a fitting service for each letter."""
    services = [
        d.Service(id=letter * 32, name=f"Casa {letter}", organization_name="Luna")
        for letter in letters
    ]
    return d.MatchServicesResponse(
        matches=[d.Match(service=service, verdict=d.VERDICT_FITS) for service in services]
    )


def test_another_service_is_chosen_for_each_referral_before_anything_is_done(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    unanswered_referral = sent_referral(IDS[2], "v7", "remind")
    unanswered_referral.unanswered = True
    fakes.answers |= {
        "GetReferral": lambda request: (
            unanswered_referral if request.id == IDS[2] else sent_referral(request.id, "v6")
        ),
        "MatchServices": matches("a", "b"),
    }
    check_page = take_steps(client, IDS[:3], "reroute").text
    assert fakes.requests("RerouteReferral") == []
    assert re.findall(r'name="chosen" value="([^"]+)"', check_page) == [
        f"{IDS[0]}:v6",
        f"{IDS[1]}:v6",
    ], "the step uses the version shown on this page"
    assert check_page.count(f'<option value="{"a" * 32}" selected>') == 2
    assert "Recuérdeselo" in check_page
    data = {
        "chosen": [f"{IDS[0]}:v6", f"{IDS[1]}:v6"],
        f"service.{IDS[0]}": "b" * 32,
        f"service.{IDS[1]}": "",
    }
    text = post(client, "/board/several/reroute", check_page, **data).text
    [request] = fakes.requests("RerouteReferral")
    assert (request.id, request.etag, request.service_id, request.request_id) == (
        IDS[0],
        "v6",
        "b" * 32,
        f"one-{IDS[0]}",
    )
    assert "1 hecha" in text


def test_nothing_can_be_sent_if_no_service_fits(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "GetReferral": lambda request: sent_referral(request.id),
        "MatchServices": d.MatchServicesResponse(),
    }
    check_page = take_steps(client, IDS[:1], "reroute").text
    assert missing(
        check_page, "Ahora no hay otro servicio que encaje.", "Pedirlas a estos servicios"
    ) == ["Pedirlas a estos servicios"]


def test_a_manager_assigns_received_referrals_to_one_worker(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "ListReferrals": r.ListReferralsResponse(
            referrals=[sent_referral(IDS[0], "v3", "assign"), sent_referral(IDS[1], "v3", "accept")]
        ),
        "ListWorkers": m.ListWorkersResponse(
            workers=[m.Worker(id="b" * 32, name="Inés", status=m.WORKER_STATUS_ACTIVE)]
        ),
    }
    page = client.get("/referrals?box=inbox").text
    assert re.findall(r'name="chosen" form="several" value="([^"]+)"', page) == [f"{IDS[0]}:v3"]
    post(
        client,
        "/referrals/several/assign",
        page,
        chosen=[f"{IDS[0]}:v3"],
        responsible_worker_id="b" * 32,
    )
    [request] = fakes.requests("AssignReferral")
    assert (request.id, request.etag, request.responsible_worker_id) == (IDS[0], "v3", "b" * 32)
    worker = signed_in_as(fakes, contract_pb2.ROLE_WORKER)
    assert "several" not in worker.get("/referrals?box=inbox").text
    assert (
        post(worker, "/referrals/several/assign", page, chosen=[f"{IDS[0]}:v3"]).status_code == 404
    )


def test_the_number_of_pressing_referrals_is_on_every_page_of_the_list(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    list_pressing(fakes, *map(sent_referral, IDS))
    fakes.answers["CountReferrals"] = lambda request: r.CountReferralsResponse(
        total=73 if request.filter.pressing else 200
    )
    for path in ("/board", "/board?page=next"):
        assert "<b>73</b> · por urgencia" in client.get(path).text
