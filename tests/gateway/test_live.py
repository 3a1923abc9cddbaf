"""Open pages check whether they are out of date.

A page with a ticket of its viewer's own session is answered from memory, as long as the version
there is recent. Requests that a page makes by itself do not prolong the session.
"""

import itertools
import json
import re
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import NoReturn
from unittest.mock import Mock

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from chassis import errors
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.credentials import SignedIn
from services.gateway.edge.gates import THREADS
from services.gateway.site.shell import live as live_module
from services.gateway.site.shell.live import (
    ABSENCE_SECONDS,
    FRESH_SECONDS,
    MAX_AGE_SECONDS,
    RENEW_SECONDS,
    Answer,
    Live,
)
from tests.gateway.api_gateway import ID, KEY
from tests.gateway.pages_gateway import (
    SECRET,
    FakePageServices,
    enter,
    missing,
    page_at,
    pages,
    routes,
)
from tests.gateway.served_gateway import Gateway, Service, all_at, crowd, hanging_answer
from tests.parts.local_stack import until

PASSIVE_HEADER = {"Passive": "1"}
"""The header of a request that a page makes by itself."""
ROSA = SignedIn({}, organization_id="a" * 32, secret="rosa", roles=frozenset({"worker"}))


@pytest.fixture
def time() -> Mock:
    """The clock of the versions; the test moves its `return_value`."""
    return Mock(return_value=1000.0)


@pytest.fixture
def live(time: Mock) -> Live:
    return Live(b"k" * 32, time)


def answer(version: str, tokens: tuple[str, str] = ("", "")) -> Answer:
    return Answer(version, "", tokens)


def must_not_be_called(*_: object) -> NoReturn:
    pytest.fail("called again")


def fetched_version(
    live: Live, version: str = "1", worker: SignedIn = ROSA, tokens: tuple[str, str] = ("", "")
) -> str:
    """Fetches a version for this worker, and returns her ticket."""
    fetched = live.version(worker, lambda: answer(version, tokens), must_not_be_called)
    assert fetched == f"{version}."
    return live.ticket(worker)


def test_a_viewer_with_a_ticket_of_her_session_is_answered_from_memory(live: Live) -> None:
    assert live.cached_version("rosa", fetched_version(live)) == "1."


def test_one_viewers_request_refreshes_the_version_for_her_whole_organisation(
    live: Live, time: Mock
) -> None:
    colleague = replace(ROSA, secret="ana")
    fetched_version(live)
    assert live.version(colleague, must_not_be_called, must_not_be_called) == "1."
    time.return_value += FRESH_SECONDS + 0.1
    answers = (
        live.cached_version("rosa", live.ticket(ROSA)),
        live.cached_version("ana", live.ticket(colleague)),
    )
    assert answers == (None, "1."), "one viewer has to refresh the version, the other need not wait"
    fetched_version(live, "2")
    assert live.cached_version("ana", live.ticket(colleague)) == "2."


def test_a_version_that_could_not_be_refreshed_is_not_given_out_as_current(
    live: Live, time: Mock
) -> None:
    ticket = fetched_version(live)
    time.return_value += MAX_AGE_SECONDS + 0.1
    assert live.cached_version("rosa", ticket) is None
    assert live.last_version(ROSA) == "1."  # the page is at least as new as this version


ANA = replace(ROSA, organization_id="b" * 32, secret="ana")
ROSA_TOKENS, ANA_TOKENS = ("queue a", "bell a"), ("queue b", "bell b")


def test_one_viewers_request_refreshes_the_versions_of_every_watched_organisation(
    live: Live, time: Mock
) -> None:
    rosas_ticket, anas_ticket = (
        fetched_version(live, "1", ROSA, ROSA_TOKENS),
        fetched_version(live, "2", ANA, ANA_TOKENS),
    )
    fetched_version(live, "3", replace(ROSA, organization_id="c" * 32), ("queue c", "bell c"))
    for _ in range(4):
        time.return_value += ABSENCE_SECONDS / 4
        live.cached_version("rosa", rosas_ticket), live.cached_version("ana", anas_ticket)
    fetch_all = Mock(side_effect=lambda tokens: [answer("new", token) for token in tokens])
    assert live.version(ROSA, must_not_be_called, fetch_all) == "new."
    # no version for organisations that nobody has watched for ten seconds
    fetch_all.assert_called_once_with([ROSA_TOKENS, ANA_TOKENS])
    assert live.cached_version("ana", anas_ticket) == "new."
    time.return_value += FRESH_SECONDS + 0.1
    assert [live.cached_version("ana", anas_ticket), live.cached_version("rosa", rosas_ticket)] == [
        None,
        "new.",
    ], "only one of the viewers has to refresh the versions"


def test_a_viewer_whose_tokens_are_refused_fetches_the_version_for_herself(
    live: Live, time: Mock
) -> None:
    fetched_version(live, "1", ROSA, ROSA_TOKENS)
    time.return_value += FRESH_SECONDS + 0.1
    refuse_tokens = Mock(return_value=[answer("", ROSA_TOKENS)])
    assert live.version(ROSA, lambda: answer("own", ANA_TOKENS), refuse_tokens) == "own."
    time.return_value += FRESH_SECONDS + 0.1
    accept_tokens = Mock(side_effect=lambda tokens: [answer(str(tokens[0]), tokens[0])])
    assert live.version(ROSA, must_not_be_called, accept_tokens) == f"{ANA_TOKENS}."


def test_tokens_are_renewed_by_a_viewer_of_their_own_organisation_before_they_expire(
    live: Live, time: Mock
) -> None:
    rosas_ticket, anas_ticket = (
        fetched_version(live, "1", ROSA, ROSA_TOKENS),
        fetched_version(live, "2", ANA, ANA_TOKENS),
    )
    time.return_value += RENEW_SECONDS + 0.1
    # as if other requests had just refreshed all versions
    live._groups[live_module._group(ANA)].requested_at = time.return_value
    live._groups[live_module._group(ROSA)].requested_at = time.return_value
    answers = (
        live.cached_version("rosa", rosas_ticket),
        live.cached_version("rosa", rosas_ticket),
        live.cached_version("ana", anas_ticket),
    )
    assert answers == (None, "1.", None), (
        "a viewer of each organisation is sent to renew the tokens, and only once"
    )
    time.return_value += FRESH_SECONDS + 0.1
    assert live.version(ROSA, lambda: answer("own", ROSA_TOKENS), must_not_be_called) == "own."


def test_another_organisation_or_another_view_has_another_version(live: Live) -> None:
    workers = {
        "own": ROSA,
        "network": replace(ROSA, roles=frozenset({"worker", "coordinator"})),
        "other": replace(ROSA, organization_id="b" * 32),
    }
    for version, worker in workers.items():
        fetched_version(live, version, worker)
    assert [live.last_version(worker) for worker in workers.values()] == [
        "own.",
        "network.",
        "other.",
    ]


@pytest.mark.parametrize(
    ("secret", "ticket"),
    [
        ("rosa", ""),
        ("rosa", "x"),
        ("rosa", "rosa:aaa.x.y"),
        ("rosa", Live(b"x" * 32).ticket(ROSA)),
        ("ana", None),
    ],
    ids=["empty", "short", "made up", "another key", "another session"],
)
def test_a_ticket_that_was_not_issued_to_the_session_is_refused(
    live: Live, secret: str, ticket: str | None
) -> None:
    issued_ticket = fetched_version(live)
    assert live.cached_version(secret, issued_ticket if ticket is None else ticket) is None


def test_a_ticket_expires_after_three_minutes(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = fetched_version(live)
    timestamp = Mock(return_value=live._signer.get_timestamp() + live_module.TICKET_SECONDS)
    monkeypatch.setattr(live._signer, "get_timestamp", timestamp)
    assert live.cached_version("rosa", ticket) == "1."
    timestamp.return_value += 1
    assert live.cached_version("rosa", ticket) is None


def test_no_thread_and_no_connection_is_held_for_a_viewer(tmp_path: Path, service: Service) -> None:
    """A gateway whose every thread waits for a service still answers a caller with a ticket."""
    answers = service.answer
    with ExitStack() as cleanup:
        gateway = cleanup.enter_context(Gateway(tmp_path, all_at(service)))
        viewer = cleanup.enter_context(requests.Session())
        viewer.cookies.set("s", SECRET)
        round_cleanup = ExitStack()
        # one key alone cannot occupy every thread
        keys = itertools.cycle(KEY.replace("enl_0", f"enl_{number}") for number in range(10))
        # All threads have to be started before everything hangs, because starting takes a while
        # on a busy machine.
        cleanup.enter_context(crowd(THREADS + 4, lambda: gateway.api("people", key=next(keys))))
        cleanup.callback(round_cleanup.close)
        is_fresh = False
        # The round counts only if its first request fetched a new version, and the threads hung
        # while that version was recent. On a busy machine this may take several rounds.
        while not is_fresh:
            round_cleanup.close()
            service.answer, began = answers, monotonic()
            service.calls.clear()
            app_answer = viewer.get(f"{gateway.url}/live", timeout=10)
            if app_answer.status_code == 503:  # the crowd of the round before still waits
                continue
            body, was_called = app_answer.json(), "GetQueueVersion" in service.calls
            assert "X-Request-Id" in app_answer.headers, "the app answered"
            service.calls.clear()
            end = threading.Event()
            round_cleanup.callback(end.set)
            service.answer = hanging_answer(end)
            until(lambda: service.calls.count("ListPeople") + service.calls.count("IssueToken") > 2)
            is_fresh = was_called and monotonic() - began < FRESH_SECONDS / 2
        count_before = len(service.calls)
        ticket = {"Live-Ticket": body["ticket"]}
        answer = viewer.get(f"{gateway.url}/live", headers=ticket, timeout=10)
        assert answer.json() == {"version": body["version"]}
        assert "X-Request-Id" not in answer.headers, "the app did not answer"
        assert answer.headers["Connection"] == "close"
        assert "GetQueueVersion" not in service.calls[count_before:]


@pytest.fixture
def app(fakes: FakePageServices) -> Flask:
    return pages(fakes)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return enter(app.test_client())


def live_answer(client: FlaskClient) -> dict[str, str]:
    """Returns the app's answer to a page."""
    reply: dict[str, str] = json.loads(client.get("/live").data)
    return reply


def test_the_version_covers_referrals_contacts_and_messages_and_the_page_contains_it(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers |= {
        "GetQueueVersion": r.QueueVersion(version="q"),
        "CountUnread": n.CountUnreadResponse(unread=3, version="u"),
    }
    assert 'data-version=""' in client.get("/today").text
    assert live_answer(client)["version"] == "q.u"
    assert client.get("/live").headers["Cache-Control"] == "no-store"
    assert 'data-version="q.u"' in client.get("/today").text


def test_a_viewer_with_a_ticket_is_answered_without_the_app(
    client: FlaskClient, app: Flask, fakes: FakePageServices
) -> None:
    answers = live_module.answers_without_app(app)
    app_answer = live_answer(client)
    headers = {"COOKIE": f"s={SECRET}~es", "LIVE_TICKET": app_answer["ticket"]}
    reply = answers("/live", headers)
    assert reply is not None
    assert (reply.status, json.loads(reply.body), reply.headers["Cache-Control"]) == (
        "200 OK",
        {"version": app_answer["version"]},
        "no-store",
    )
    for path, other_headers in (
        ("/today", headers),
        ("/live", headers | {"COOKIE": "s=other"}),
        ("/live", {"COOKIE": headers["COOKIE"]}),
    ):
        assert answers(path, other_headers) is None
    foreign_cookie = "idioma=espa\xf1ol; "  # of another site in our domain, and not in UTF-8
    assert answers("/live", headers | {"COOKIE": foreign_cookie + headers["COOKIE"]}) == reply
    assert len(fakes.requests("GetQueueVersion")) == 1


def test_the_services_are_queried_with_the_tokens_that_they_issued(
    client: FlaskClient, fakes: FakePageServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "FRESH_SECONDS", 0.0)
    fakes.answers |= {
        "GetQueueVersion": r.QueueVersion(version="q", watch_token="tq"),
        "CountUnread": n.CountUnreadResponse(unread=3, version="u", watch_token="tu"),
        "BatchGetQueueVersions": lambda request: r.BatchGetQueueVersionsResponse(
            versions=[f"for {token}" for token in request.watch_tokens]
        ),
        "BatchGetUnreadVersions": lambda request: n.BatchGetUnreadVersionsResponse(
            versions=[f"for {token}" for token in request.watch_tokens]
        ),
    }
    assert [live_answer(client)["version"] for _ in range(2)] == ["q.u", "for tq.for tu"]
    fakes.answers["BatchGetUnreadVersions"] = errors.Unavailable("service_unreachable")
    assert live_answer(client)["version"] == "for tq."
    assert len(fakes.requests("GetQueueVersion")) == 1


def test_a_version_needs_the_referrals_service_but_not_the_count_of_messages(
    client: FlaskClient, app: Flask, fakes: FakePageServices
) -> None:
    fakes.answers |= {
        "GetQueueVersion": r.QueueVersion(version="q"),
        "CountUnread": errors.Unavailable("service_unreachable"),
    }
    assert live_answer(client)["version"] == "q."
    app.extensions["live"]._groups.clear()
    fakes.answers["GetQueueVersion"] = errors.Unavailable("service_unreachable")
    assert client.get("/live").status_code == 503


def test_every_page_of_a_worker_has_the_time_of_the_server(client: FlaskClient, app: Flask) -> None:
    times = {
        path: re.findall(r'id="live" [^>]*data-now="([^"]*)"', page_at(client, path))
        for _, path in routes(app)
        if path != "/sign-out"
    }
    assert sum(bool(page_times) for page_times in times.values()) > 20
    assert [
        path for path, page_times in times.items() if not all(map(str.isdigit, page_times))
    ] == []


@pytest.mark.parametrize(
    ("path", "headers", "passive"),
    [
        ("/today", PASSIVE_HEADER, True),
        ("/live", PASSIVE_HEADER, True),
        ("/today?auto=1", {}, True),
        ("/today", {}, False),
    ],
)
def test_only_requests_that_a_page_makes_by_itself_do_not_prolong_the_session(
    client: FlaskClient,
    app: Flask,
    fakes: FakePageServices,
    path: str,
    headers: dict[str, str],
    passive: bool,
) -> None:
    app.extensions["exchange"]._known.clear()
    assert client.get(path, headers=headers).status_code == 200
    assert fakes.last("IssueToken") == m.IssueTokenRequest(session_secret=SECRET, passive=passive)


def test_a_click_right_after_a_request_by_the_page_itself_counts_as_use(
    client: FlaskClient, app: Flask, fakes: FakePageServices
) -> None:
    app.extensions["exchange"]._known.clear()
    client.get("/live", headers=PASSIVE_HEADER)
    client.get("/today")
    assert not fakes.last("IssueToken").passive
    count_before = len(fakes.requests("IssueToken"))
    client.get("/live", headers=PASSIVE_HEADER)
    assert len(fakes.requests("IssueToken")) == count_before, (
        "a token from a click also serves requests by the page itself"
    )


def test_the_script_learns_of_an_ended_session_and_the_cookie_stays_for_unsent_text(
    client: FlaskClient, app: Flask, fakes: FakePageServices
) -> None:
    app.extensions["exchange"].forget(SECRET)
    fakes.answers["IssueToken"] = errors.Unauthenticated("session_ended")
    for path, headers in (("/live", {}), ("/live", PASSIVE_HEADER), ("/today", PASSIVE_HEADER)):
        answer = client.get(path, headers=headers)
        has_cookie = "Set-Cookie" in answer.headers
        assert (answer.status_code, answer.data, has_cookie) == (401, b"", False), path
    assert client.get("/today?auto=1").location == "/sign-in?ended=1"


def test_an_unchanged_referral_is_not_sent_again_and_its_notes_are_not_opened(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = client.get(f"/referrals/{ID}").text
    etag = page.split('data-etag="')[1].split('"')[0]
    count_before = len(fakes.requests("ListReferralEvents"))
    unchanged = client.get(f"/referrals/{ID}", headers=PASSIVE_HEADER | {"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert len(fakes.requests("ListReferralEvents")) == count_before
    # a reader's own request is always answered
    for headers in (PASSIVE_HEADER | {"If-None-Match": "older"}, {"If-None-Match": etag}):
        assert client.get(f"/referrals/{ID}", headers=headers).status_code == 200


def test_without_a_script_the_page_today_reloads_itself_and_no_other_page_does(
    client: FlaskClient,
) -> None:
    elements = (
        '<noscript><meta http-equiv="refresh" content="60;'
        ' url=/today?show=late&amp;auto=1"></noscript>',
        '<a href="/today?show=late">Actualizar</a>',
    )
    assert missing(client.get("/today?show=late").text, *elements) == []
    assert "http-equiv" not in client.get("/referrals").text


def test_the_title_of_today_has_the_number_of_waiting_referrals(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    for count, title in ((3, "(3) Hoy"), (0, "Hoy")):
        fakes.answers["CountReferrals"] = r.CountReferralsResponse(waiting_for_me=count)
        assert f"<title>{title}</title>" in client.get("/today").text


def test_a_page_that_answered_a_form_is_not_requested_again(client: FlaskClient) -> None:
    page = client.post("/line/new", data={"form_token": "x"})
    assert (page.status_code, 'data-page="/inbox"' in page.text) == (403, True)
