"""The rights to open pages, the checks of forms, and the content of every page."""

import re
from concurrent.futures import Future

import grpc
import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import members_pb2 as m
from services.gateway.api import PATHS
from services.gateway.edge.app import PROBES
from services.gateway.edge.clients import READING_VERBS, ServiceFault, Standing, standing_of
from services.gateway.site.desk import inbox
from services.gateway.site.shell import access
from tests.gateway.page_forms import Page, posted_forms, sent_fields
from tests.gateway.pages_gateway import (
    ALL_ROLES,
    EXIT,
    ID,
    SECRET,
    FakePageServices,
    enter,
    missing,
    page_at,
    pages,
    routes,
    send,
    signed_in_as,
    submit,
    token_of,
)

UNTYPED = ("hidden", "checkbox", "radio", "submit", "file")
# Written down a second time on purpose: a page that becomes public by mistake fails here.
PUBLIC_ENDPOINTS = {
    "static", "home.home", "home.icon", "home.robots", "signin.form", "signin.enter",
    "signin.enter_code", "signin.begin_with_passkey", "signin.leave", "signin.quick_exit",
    "signin.leave_for_provider", "signin.come_back_from_provider",
    "links.forgotten", "links.ask_for_reset", "links.reset", "links.change_password",
    "links.invitation", "links.accept_invitation", "my_referral.form", "my_referral.status",
    "my_referral.confirm", "my_referral.withdraw",
    "my_referral.note", "my_referral.readings", "my_referral.call",
    "home.status", "figures.figures", "figures.table", "campaigns.country", "campaigns.placed",
    "campaigns.printed", "campaigns.radio",
    "links.join", "links.apply", "links.join_confirm", "links.confirm_application",
    "open_directory.search", "open_directory.results", "open_directory.organization",
}  # fmt: skip


def test_every_page_declares_who_may_open_it_and_only_listed_pages_are_public() -> None:
    app = pages(FakePageServices())
    roles_of = {
        rule.endpoint: access.roles_of(app, rule.endpoint)
        for rule in app.url_map.iter_rules()
        if not rule.rule.startswith((*PATHS, *PROBES))
    }
    assert None not in roles_of.values()
    assert {
        endpoint for endpoint, roles in roles_of.items() if roles == access.ANYBODY
    } == PUBLIC_ENDPOINTS


def test_a_page_without_declared_access_opens_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    app = pages(FakePageServices())
    client = enter(app.test_client())
    assert client.get("/today").status_code == 200
    monkeypatch.delattr(app.view_functions["today.today"], "roles")
    assert client.get("/today").status_code == 404


def test_without_a_session_only_the_allow_list_opens(visitor: FlaskClient) -> None:
    for endpoint, path in routes(visitor.application):
        answer = visitor.get(path)
        if endpoint in PUBLIC_ENDPOINTS:
            assert answer.status_code == 200, endpoint
        elif endpoint == "live.version":  # requested by a script
            assert (answer.status_code, answer.data) == (401, b"")
        else:
            assert answer.status_code == 302, endpoint
            assert answer.headers["Location"].startswith("/sign-in"), endpoint


def test_a_head_request_changes_no_more_than_a_get(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    for endpoint, path in routes(client.application):
        writes = []
        for method in ("GET", "HEAD"):
            fakes.calls.clear()
            client.open(path, method=method)
            writes.append([rpc for rpc, *_ in fakes.calls if not rpc.startswith(READING_VERBS)])
        assert writes[0] == writes[1], endpoint


def test_no_cookie_is_set_before_sign_in(visitor: FlaskClient) -> None:
    for endpoint, path in routes(visitor.application):
        if endpoint in PUBLIC_ENDPOINTS:
            assert "Set-Cookie" not in visitor.get(path + "?lang=fr").headers, endpoint


@pytest.mark.parametrize("role", sorted(access.EVERYONE))
def test_a_page_is_not_found_for_another_role(fakes: FakePageServices, role: str) -> None:
    client = signed_in_as(fakes, contract_pb2.Role.Value(f"ROLE_{role.upper()}"))
    for endpoint, path in routes(client.application):
        roles = access.roles_of(client.application, endpoint)
        if roles and role not in roles:
            assert client.get(path).status_code == 404, endpoint


@pytest.mark.parametrize("role", ALL_ROLES)
def test_every_link_of_the_navigation_opens_for_its_reader(
    fakes: FakePageServices, role: contract_pb2.Role.ValueType
) -> None:
    client = signed_in_as(fakes, role)
    today = client.get("/today").text
    rail, tabs = re.findall(r'<nav class="(?:rail|tabs)".*?</nav>', today, re.DOTALL)
    for path in re.findall(r'href="(/[^"]+)"', rail + tabs):
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize("role", ALL_ROLES)
def test_a_message_leads_its_reader_only_to_pages_that_open_for_her(
    fakes: FakePageServices, role: contract_pb2.Role.ValueType
) -> None:
    fakes.answers["ListMessages"] = n.ListMessagesResponse(
        messages=[
            n.Message(id=ID, kind=kind, read_time=Timestamp(seconds=1)) for kind in inbox.LINKS
        ]
    )
    client = signed_in_as(fakes, role)
    paths = re.findall(r'<a class="button quiet" href="([^"]+)"', client.get("/inbox").text)
    assert "/account" in paths
    for path in {*paths}:
        assert client.get(path).status_code == 200, path


def test_every_page_opens_and_has_its_security_headers(client: FlaskClient) -> None:
    for endpoint, path in routes(client.application):
        answer = client.get(path)
        if answer.status_code in (301, 302):
            continue
        assert answer.status_code == 200, endpoint
        policy = answer.headers["Content-Security-Policy"]
        assert missing(policy, "default-src 'none'", "unsafe") == ["unsafe"], endpoint
        expected = {
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        assert {name: answer.headers[name] for name in expected} == expected, endpoint
        assert answer.headers["X-Request-Id"], endpoint
        if answer.mimetype != "text/html":
            continue
        page = answer.text
        parts = ('class="exit"', 'href="/quick-exit"', '<html lang="es"')
        assert missing(page, *parts) == [], endpoint
        assert not re.search(
            r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)|javascript:", page
        ), endpoint
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//(?!partner\.example)', page), (
            endpoint
        )
        assert "Enlace" not in re.search(r"<title>(.*?)</title>", page, re.DOTALL)[1], endpoint  # type: ignore[index]
        assert len(page) < 60_000, endpoint


def test_error_pages_have_the_security_policy_and_the_exit(client: FlaskClient) -> None:
    for answer, status in (
        (client.get("/no-such-page"), 404),
        (client.get("/static/no-such-file"), 404),
        (client.delete("/today"), 405),
    ):
        assert (answer.status_code, 'class="exit"' in answer.text) == (status, True)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_browser_that_opens_the_address_of_a_form_is_led_to_a_page(client: FlaskClient) -> None:
    dead_ends = {
        path: answer.status_code
        for _endpoint, path in routes(client.application, "POST")
        if (answer := client.get(path, follow_redirects=True)).status_code != 200
    }
    assert dead_ends == {}


def test_every_form_is_signed_and_acts_once(client: FlaskClient) -> None:
    form_count = 0
    # forms that change nothing, or that may be sent twice without harm
    harmless_targets = ("/sign-in", "/sign-out", "/my-referral", "/directory", "/services#found")
    for endpoint, path in routes(client.application):
        for form in posted_forms(page_at(client, path), path):
            form_count += 1
            action = form.attributes.get("action", "")
            assert any(form.sent.get("form_token", [])), (endpoint, action)
            [request_id] = form.sent.get("request_id", [""])
            assert action in harmless_targets or re.fullmatch(r"[0-9a-f]{32}", request_id), (
                endpoint,
                action,
            )
    assert form_count > 60


def test_a_shared_computer_remembers_nothing_that_is_typed(client: FlaskClient) -> None:
    # a password manager may fill in these fields of a worker
    allowed = {"username", "name", "current-password", "new-password"}
    field_count = 0
    for endpoint, path in routes(client.application):
        for tag, field in Page(page_at(client, path)).elements:
            if tag not in ("input", "textarea") or field.get("type") in UNTYPED:
                continue
            field_count += 1
            assert field.get("autocomplete") in allowed | {"off"}, (endpoint, field["name"])
            assert field.get("spellcheck") == "false" or field.get("type") in (
                "password",
                "email",
            ), (endpoint, field["name"])
    assert field_count > 100


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({"Origin": "https://evil.example"}, {}, 403),
        ({"Origin": "https://[evil"}, {}, 403),
        ({}, {"form_token": "made-up"}, 403),
        ({"Origin": "null"}, {}, 303),
    ],
)
def test_a_form_sent_from_another_site_is_refused(
    visitor: FlaskClient, headers: dict[str, str], fields: dict[str, str], status: int
) -> None:
    token = token_of(visitor.get("/sign-in").text)
    data = {"email": "a@b.demo", "password": "x", "form_token": token, **fields}
    assert visitor.post("/sign-in", data=data, headers=headers).status_code == status


def test_every_post_without_a_token_changes_nothing(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.calls.clear()
    for endpoint, path in routes(client.application, "POST"):
        assert client.post(path, data={}).status_code == 403, endpoint
    # hotline numbers that are half a minute old are read again
    assert {rpc for rpc, _, _ in fakes.calls} <= {"IssueToken", "CountUnread", "ListHotlines"}


def test_a_form_of_another_session_is_refused(fakes: FakePageServices, client: FlaskClient) -> None:
    token = token_of(client.get("/line/new").text)
    fakes.answers["SignIn"] = m.SignInResponse(session_secret="another-session")
    other_client = enter(pages(fakes).test_client())
    assert other_client.post("/line/new", data={"form_token": token}).status_code == 403


def test_the_session_cookie_is_for_this_site_alone(fakes: FakePageServices) -> None:
    client = pages(fakes, development=False).test_client()
    answer = send(client, "/sign-in", email="a", password="b")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"__Host-s={SECRET};")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Expires" not in cookie


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "",
        "/\nx",
        "/\t/evil.example",
        "/\r/evil.example",
        "/x\r\nSet-Cookie: a=b",
        "/\x00",
        "/ /evil.example",
        "/x\\y",
        "/ñ",
    ],
)
def test_the_sign_in_never_leads_to_another_site(visitor: FlaskClient, target: str) -> None:
    answer = send(visitor, "/sign-in", email="a", password="b", to=target)
    assert answer.headers["Location"] == "/today"


@pytest.mark.parametrize("page", ["/people", f"/referrals/new?contact={ID}&page=2"])
def test_an_ended_session_leads_to_the_sign_in_and_back_to_the_page(
    fakes: FakePageServices, client: FlaskClient, page: str
) -> None:
    client.application.extensions["exchange"].forget(SECRET)
    fakes.answers["IssueToken"] = errors.Unauthenticated("session_ended")
    answer = client.get(page)
    assert "s=;" in answer.headers["Set-Cookie"]
    sign_in = client.get(answer.location).text
    assert "15 minutos" in sign_in
    assert submit(client, "/sign-in", sign_in, **sent_fields(sign_in)).location == page


def test_the_sign_in_link_of_an_open_page_leads_back_to_that_page(
    client: FlaskClient,
) -> None:
    links = [
        re.findall(r'data-signin="([^"]*)"', client.get(page).text)
        for page in ("/referrals?all=1", "/today")
    ]
    assert links == [["/sign-in?to=/referrals?all%3D1"], ["/sign-in"]]


def test_a_session_whose_token_a_service_refuses_leads_to_the_sign_in_and_not_back_at_once(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    """Checks the case of a wrong clock: the session is known, but its tokens are not valid."""
    fakes.answers["ListPeople"] = errors.Unauthenticated("token_invalid")
    assert "15 minutos" in client.get("/people", follow_redirects=True).text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_quick_exit_ends_the_session_and_leads_away(
    fakes: FakePageServices, client: FlaskClient, method: str
) -> None:
    answer = client.open("/quick-exit", method=method)
    assert answer.location == EXIT
    assert "s=;" in answer.headers["Set-Cookie"]
    assert fakes.last("EndSession").session_secret == SECRET
    assert client.get("/today").status_code == 302


def test_quick_exit_keeps_the_device_cookie_that_protects_her_from_strangers_guesses(
    visitor: FlaskClient,
) -> None:
    assert send(visitor, "/my-referral", reference="7QK4M2X7", pin="4821").status_code == 200
    device = visitor.get_cookie("d")
    assert device is not None
    visitor.get("/quick-exit")
    assert visitor.get_cookie("d") == device


@pytest.mark.parametrize(
    "fault",
    [errors.Unavailable("service_unreachable"), ServiceFault("INTERNAL"), RuntimeError("anything")],
)
def test_quick_exit_leads_away_whatever_is_broken(
    fakes: FakePageServices, client: FlaskClient, fault: Exception
) -> None:
    client.application.extensions["exchange"].forget(SECRET)
    fakes.answers["EndSession"] = fakes.answers["IssueToken"] = fault
    answer = client.get("/quick-exit")
    assert answer.location == EXIT
    assert "s=;" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (errors.NotFound(), 404),
        (errors.NotAllowed("right_missing"), 404),
        (errors.Conflict("person_erased"), 409),
        (errors.Stale(), 409),
        (errors.Reused(), 409),
        (errors.Invalid(("page_token", "malformed")), 422),
        (errors.Exhausted("too_many_attempts", 90), 429),
        (errors.Unavailable("service_unreachable"), 503),
    ],
)
def test_each_refusal_is_a_page_in_words_without_the_code_of_the_reason(
    fakes: FakePageServices, client: FlaskClient, refusal: errors.Refusal, status: int
) -> None:
    fakes.answers["ListPeople"] = refusal
    answer = client.get("/people")
    assert (answer.status_code, "<h1>" in answer.text) == (status, True)
    assert refusal.reason not in answer.text


def test_a_fault_shows_its_number_and_nothing_else(
    fakes: FakePageServices, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes.answers["ListPeople"] = RuntimeError("María López, Chinandega")
    answer = client.get("/people")
    text = answer.text + "".join(capsys.readouterr())
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] in answer.text
    assert missing(text, "María", "López") == ["María", "López"]


def test_the_log_contains_the_route_and_no_more(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    send(client, "/directory", "/directory?lang=es", words="albergue secreto")
    client.get("/people/0123456789abcdef0123456789abcdef?done=saved")
    text = "".join(capsys.readouterr())
    assert "/people/<identifier>" in text
    secrets = ("secreto", "0123456789abcdef0123456789abcdef", "a@b.demo", "done=", SECRET)
    assert [secret for secret in secrets if secret in text] == []


def test_readiness_is_about_this_process_and_the_status_page_about_every_service(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    assert "Todas las partes responden." in visitor.get("/status").text
    fakes.standings["partners"] = Standing(answers=True, ready=False, publishes=False)
    fakes.standings["referrals"] = Standing(answers=False, ready=False, publishes=False)
    fakes.standings["notifications"] = Standing(answers=True, ready=True, publishes=False)
    assert visitor.get("/healthz").json == {"status": "alive"}
    readiness = visitor.get("/readyz")
    assert (readiness.status_code, readiness.json) == (200, {"status": "ready"})
    page = visitor.get("/status")
    assert page.status_code == 200
    assert re.findall(r'class="pill (\w+)">([^<]+)<', page.text) == [
        ("late", "No llega a sus datos"),
        ("late", "No responde"),
        ("soon", "Responde; lo nuevo se avisará más tarde"),
    ]
    assert "Todas las partes responden." not in page.text


@pytest.mark.parametrize(
    ("language", "pill", "sentence"),
    [
        ("es", "algo quedó en espera", "Una novedad aún no llegó"),
        ("en", "something is held up", "has not yet reached"),
        ("fr", "quelque chose reste en attente", "Une nouvelle"),
    ],
)
def test_the_status_page_names_a_service_that_holds_received_facts(
    fakes: FakePageServices, visitor: FlaskClient, language: str, pill: str, sentence: str
) -> None:
    fakes.standings["notifications"] = Standing(
        answers=True, ready=True, publishes=False, holds=True
    )
    page = visitor.get(f"/status?lang={language}").text
    pills = re.findall(r'class="pill (\w+)">([^<]+)<', page)
    assert [tone for tone, _ in pills] == ["done", "done", "soon"]
    assert (pill in pills[2][1], sentence in page) == (True, True)


def test_a_service_that_receives_no_facts_is_not_reported_as_holding_any() -> None:
    class Unknown(grpc.RpcError):
        pass

    def health_future(status: int | None) -> Future[health_pb2.HealthCheckResponse]:
        call: Future[health_pb2.HealthCheckResponse] = Future()
        if status is None:
            call.set_exception(Unknown())
        else:
            call.set_result(health_pb2.HealthCheckResponse(status=status))
        return call

    serving, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert [
        standing_of(health_future(serving), health_future(serving), health_future(facts)).holds
        for facts in (serving, not_serving, None)
    ] == [False, True, False]


@pytest.mark.parametrize(
    ("reason", "status", "sentence"),
    [
        ("deadline_exceeded", 504, "Puede que se haya guardado"),
        ("service_unreachable", 503, "Puede que se haya guardado"),
        ("service_away", 503, "No se guardó nada"),
        ("store_unavailable", 503, "No se guardó nada"),
    ],
)
def test_a_form_whose_answer_got_lost_is_not_reported_as_unsaved(
    fakes: FakePageServices, client: FlaskClient, reason: str, status: int, sentence: str
) -> None:
    fakes.answers["SearchServices"] = errors.Unavailable(reason)
    answer = send(client, "/directory", words="albergue")
    assert (answer.status_code, sentence in answer.text, "Retry-After" in answer.headers) == (
        status,
        True,
        True,
    )
