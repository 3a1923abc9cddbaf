"""The pages in a real browser: they are valid HTML, axe finds nothing at all, a narrow phone scrolls in one direction only, and one can leave at once."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any, Literal

import axe_playwright_python
import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page
from werkzeug.datastructures import MultiDict

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import access
from services.gateway.clients import READING_VERBS
from tests.gateway.api_gateway import ID, OUTPUTS
from tests.gateway.pages_gateway import EXIT, SECRET, PlayedServices, enter, pages, routes, served, signed_in
from tests.parts import html

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
WIDTHS = (320, 390, 1280)
_FORM = re.compile(r'<form method="post"(?: action="([^"]*)")?[^>]*>(.*?)</form>', re.S)
_FIELD = re.compile(r'<input (?:id="[^"]*" )?(?:type="(hidden)" )?name="([^"]+)"[^>]*? value="([^"]*)"')
ROLES = ("", "worker", "operator", "manager", "coordinator", "auditor")  # nobody first


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with served(pages(PlayedServices())) as address:
        yield address


def open_pages(context: BrowserContext, site: str, signed: bool) -> Page:
    page = context.new_page()
    if signed:
        page.goto(f"{site}/sign-in")
        page.fill("#email", "rosa@puentes.demo")
        page.fill("#password", SECRET)
        page.click("main button")
        page.wait_for_url("**/today")
    return page


@functools.cache
def all_pages() -> tuple[tuple[str, access.Access], ...]:
    """Address and access of every route that is a page."""
    skipped = {"live.version", "home.icon", "home.robots", "health.alive", "health.ready", "referral_new.resume"}
    skipped |= {"figures.table", "figures.pilot_table"}
    app = pages(PlayedServices())
    found = [(path, access.of(app, endpoint)) for endpoint, path in routes(app) if endpoint not in skipped]
    return tuple((path, page) for path, page in found if page)


def paths(signed: bool, role: str = "") -> list[str]:
    """The addresses of the public part or of the rest; of a role only its own."""
    return [path for path, page in all_pages() if page.is_public != signed and (not role or role in page.roles)]


def site_of(role: str) -> Flask:
    """The site as it is for somebody who has this role alone."""
    played = PlayedServices()
    if role:
        played.answers["IssueToken"] = signed_in(contract_pb2.Role.Value(f"ROLE_{role.upper()}"))
    return pages(played)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role or "public")
def test_axe_finds_nothing_and_nothing_overflows(browser: Browser, role: str) -> None:
    with served(site_of(role)) as site:
        found = faults_of(browser, site, paths(bool(role), role), "light", signed=bool(role))
    assert found == []


@pytest.mark.parametrize("signed", [False, True], ids=["public", "signed in"])
def test_axe_finds_nothing_in_the_dark(browser: Browser, site: str, signed: bool) -> None:
    assert faults_of(browser, site, paths(signed), "dark", signed) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_question_about_her_that_no_address_leads_to(browser: Browser, scheme: Literal["light", "dark"]) -> None:
    played = PlayedServices()
    played.answers["GetContact"] = c.Contact(id=ID, need_code="HOU.EMG", urgency=r.URGENCY_URGENT)
    with served(pages(played)) as site:
        assert faults_of(browser, site, [f"/referrals/new?contact={ID}"], scheme, signed=True) == []


def faults_of(browser: Browser, site: str, addresses: list[str], scheme: Literal["light", "dark"], signed: bool) -> list[str]:
    """What axe says of these pages with everything on them unfolded, whatever its impact; and, in the light, where a page is wider than its window. The
    narrowest window is what 200 % of zoom leaves of 640 px, too."""
    # bypass_csp: axe is injected by the test, which our own policy would rightly refuse
    context = browser.new_context(color_scheme=scheme, locale="es-NI", bypass_csp=True)
    page = open_pages(context, site, signed)
    found: list[str] = []
    for path in addresses:
        page.goto(site + path)
        found += [f"{path}: {fault}" for fault in faults_shown(page, WIDTHS if scheme == "light" else ())]
    context.close()
    return found


def faults_shown(page: Page, widths: tuple[int, ...] = WIDTHS) -> list[str]:
    """Of the page that is open."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate(AXE)
    result: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    found = [f"{v['impact']} {v['id']} {v['nodes'][0]['html'][:120]}" for v in result["violations"]]
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"wider than {width}px")
    return found


@pytest.mark.skipif(not shutil.which("java"), reason="the HTML checker needs a Java runtime, version 17 or later")
@pytest.mark.timeout(300)  # the first one on a machine fetches the checker
def test_every_page_is_valid_html() -> None:
    app = pages(PlayedServices())
    nobody, somebody = app.test_client(), enter(app.test_client())
    shown = {path: (nobody if page.is_public else somebody).get(path) for path, page in all_pages()}
    whole = {path: answer.text for path, answer in shown.items() if answer.status_code == 200}
    assert shown.keys() - whole.keys() == {path for path in shown if path.endswith("/reroute")}, "it leads on to a draft that was begun"
    assert html.faults(whole | answers_to_forms()) == []


@functools.cache
def answers_to_forms() -> dict[str, str]:
    """What is shown in answer to every form of every page, where that is a page and not the way to one: sent as it stands, sent empty, and refused."""
    works, refuses = pages(PlayedServices()), pages(Refusing())
    found: dict[str, str] = {}
    for path, page in all_pages():
        shown = enter(works.test_client()).get(path).text if not page.is_public else works.test_client().get(path).text
        for action, inside in _FORM.findall(shown):
            fields = [(unescape(name), unescape(value), kind == "hidden") for kind, name, value in _FIELD.findall(inside)]
            for how, app in (("as it stands", works), ("empty", works), ("refused", refuses)):
                client = enter(app.test_client()) if not page.is_public else app.test_client()
                client.get(path)  # public forms bring a cookie of their own
                sent = MultiDict((name, value) for name, value, hidden in fields if hidden or how != "empty")
                answer = client.post(unescape(action) or path, data=sent)
                if answer.status_code in (200, 409, 422) and answer.mimetype == "text/html":
                    found.setdefault(f"POST {unescape(action) or path} {how}", answer.text)
    assert len(found) > 40, "the pages that only an answer to a form shows"
    return found


class Refusing(PlayedServices):
    """Services that tell everything and take nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        kept = ("IssueToken", "SignIn")
        self.answers |= {
            rpc: errors.Invalid(("note", "required")) for rpc in OUTPUTS if not rpc.startswith(READING_VERBS) and rpc not in kept
        }


def test_axe_finds_nothing_in_what_is_shown_in_answer_to_a_form(browser: Browser, site: str) -> None:
    context = browser.new_context(locale="es-NI", bypass_csp=True)
    page = context.new_page()
    found: list[str] = []
    shown = ""
    page.route(f"{site}/shown", lambda route: route.fulfill(body=shown, content_type="text/html; charset=utf-8"))
    for name, text in answers_to_forms().items():
        shown = text
        page.goto(f"{site}/shown")
        found += [f"{name}: {fault}" for fault in faults_shown(page)]
    context.close()
    assert found == []


def test_no_page_breaks_its_own_policy(browser: Browser, site: str) -> None:
    context = browser.new_context(locale="es-NI")
    page = open_pages(context, site, signed=True)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for path in paths(signed=False) + paths(signed=True):
        page.goto(site + path)
    context.close()
    assert said == []


def test_the_exit_is_always_in_the_same_corner_and_big_enough(browser: Browser, site: str) -> None:
    context = browser.new_context(locale="es-NI", viewport={"width": 390, "height": 800})
    page = open_pages(context, site, signed=True)
    places = set()
    for path in ["/", "/my-referral", "/today", "/line/new", "/board"]:
        page.goto(site + path)
        page.evaluate("window.scrollTo(0, 1e6)")
        box = page.locator("#exit").bounding_box()
        assert box
        assert box["height"] == 40
        places.add((box["x"] + box["width"], round(box["y"] + box["height"] / 2)))
    page.context.clear_cookies()
    for path in ["/", "/my-referral"]:  # whoever is not at work there finds it large
        page.goto(site + path)
        box = page.locator("#exit").bounding_box()
        assert box
        assert box["height"] == 48
        places.add((box["x"] + box["width"], round(box["y"] + box["height"] / 2)))
    context.close()
    assert len(places) == 1


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_one_click_leaves(browser: Browser, site: str, script: bool) -> None:
    context = browser.new_context(locale="es-NI", java_script_enabled=script)
    page = open_pages(context, site, signed=True)
    gone: list[str] = []
    page.on("request", lambda request: gone.append(request.url))
    page.click("#exit")
    page.wait_for_timeout(500)
    assert gone[-1] == EXIT
    assert context.cookies() == []
    context.close()


def test_shift_three_times_leaves_and_shift_in_typing_does_not(browser: Browser, site: str) -> None:
    context = browser.new_context(locale="es-NI")
    page = open_pages(context, site, signed=True)
    gone: list[str] = []
    page.on("request", lambda request: gone.append(request.url))
    page.goto(f"{site}/directory")
    for key in ("Shift+A", "Shift+B", "Shift+C", "Shift+D"):
        page.press("#words", key)
    page.wait_for_timeout(300)
    assert EXIT not in gone
    for _ in range(3):
        page.keyboard.press("Shift")
    page.wait_for_timeout(500)
    assert gone[-1] == EXIT
    context.close()


def test_the_keyboard_alone_takes_a_contact(browser: Browser, site: str) -> None:
    context = browser.new_context(locale="es-NI")
    page = open_pages(context, site, signed=True)
    page.goto(f"{site}/line/new")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "/line"  # what is in the main part comes next
    page.keyboard.press("2")
    page.wait_for_selector(".readout")
    context.close()


def test_a_long_address_stays_within_a_narrow_phone(browser: Browser) -> None:
    played = PlayedServices()
    long = m.Invitation(id="a" * 32, email=f"{'persona.' * 7}x@{'casa-de-acogida.' * 4}example", roles=[contract_pb2.ROLE_WORKER])
    played.answers["ListInvitations"] = m.ListInvitationsResponse(invitations=[long])
    with served(pages(played)) as address:
        context = browser.new_context(locale="es-NI", viewport={"width": 320, "height": 740})
        page = open_pages(context, address, signed=True)
        page.goto(f"{address}/members")
        assert long.email in page.content()
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        context.close()
