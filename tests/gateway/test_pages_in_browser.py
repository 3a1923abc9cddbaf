"""The pages in a real browser.

They are valid HTML, axe finds no fault, a narrow phone scrolls in one direction only, and quick
exit works.
"""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any, Literal

import axe_playwright_python
import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect
from werkzeug.datastructures import MultiDict

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import READING_VERBS
from services.gateway.site.shell import access
from tests.gateway.api_gateway import ID, OUTPUTS
from tests.gateway.pages_gateway import (
    EXIT,
    SECRET,
    FakePageServices,
    enter,
    pages,
    routes,
    served,
    signed_in,
)
from tests.parts import html

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
WIDTHS = (320, 390, 1280)
# The dark scheme differs only in its colours.
_SCHEMES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast", "link-in-text-block"]},
}
_FORM = re.compile(r'<form method="post"(?: action="([^"]*)")?[^>]*>(.*?)</form>', re.S)
_INPUT = re.compile(r"<input ([^>]*)>")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_SELECT = re.compile(r'<select [^>]*?name="([^"]+)"[^>]*>(.*?)</select>', re.S)
_OPTION = re.compile(r'<option value="([^"]+)"')
_TITLE = re.compile(r"<title>([^<]*)</title>")
_EACH_TIME = re.compile(r'(<input type="hidden"[^>]*>)|( (data-now|data-version|nonce)="[^"]*")')
_BY_ADDRESS = re.compile(
    r'(<title>[^<]*</title>)|( (aria-current|data-page)="[^"]*")|( href="[^"]*lang=\w+")'
)
_NEW_EACH_TIME = ("form_token", "request_id")
_checked: set[str] = set()
ROLES = ("", "worker", "operator", "manager", "coordinator", "auditor")  # "": a visitor


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with served(pages(FakePageServices())) as address:
        yield address


def open_pages(context: BrowserContext, site: str, as_user: bool) -> Page:
    """Returns a new page; with `as_user`, after signing in."""
    page = context.new_page()
    if as_user:
        page.goto(f"{site}/sign-in")
        page.fill("#email", "rosa@puentes.demo")
        page.fill("#password", SECRET)
        page.click("main button")
        page.wait_for_url("**/today")
    return page


@contextmanager
def open_window(browser: Browser, site: str, as_user: bool = True, **kwargs: Any) -> Iterator[Page]:
    """Opens a window with these options, and closes it at the end of the block."""
    context = browser.new_context(**{"locale": "es-NI", **kwargs})
    yield open_pages(context, site, as_user)
    context.close()


@functools.cache
def all_pages() -> tuple[tuple[str, frozenset[str]], ...]:
    """Returns the path and the roles of every route that is a page."""
    skipped = {
        "live.version",
        "home.icon",
        "home.robots",
        "health.alive",
        "health.ready",
        "referral_new.resume",
    }
    skipped |= {"figures.table", "figures.pilot_table", "campaigns.printed", "knowledge.printed"}
    app = pages(FakePageServices())
    return tuple(
        (path, roles)
        for endpoint, path in routes(app)
        if endpoint not in skipped and (roles := access.roles_of(app, endpoint)) is not None
    )


def paths(as_user: bool, role: str = "") -> list[str]:
    """Returns the paths of the public pages, or of all others.

    With `role`, returns only the paths that the role may open.
    """
    return [
        path
        for path, roles in all_pages()
        if bool(roles) == as_user and (not role or role in roles)
    ]


def site_of(role: str) -> Flask:
    """Returns the site as a person with only this role sees it."""
    fakes = FakePageServices()
    if role:
        fakes.answers["IssueToken"] = signed_in(contract_pb2.Role.Value(f"ROLE_{role.upper()}"))
    return pages(fakes)


@pytest.mark.parametrize(
    "role",
    [
        pytest.param(role, id=role or "public", marks=[pytest.mark.long] if role else [])
        for role in ROLES
    ],
)
def test_axe_finds_nothing_in_both_schemes_and_nothing_overflows(
    browser: Browser, role: str
) -> None:
    with served(site_of(role)) as site:
        assert faults_of(browser, site, paths(bool(role), role), as_user=bool(role)) == []


def test_axe_finds_nothing_on_the_question_that_has_no_url_of_its_own(browser: Browser) -> None:
    fakes = FakePageServices(
        {"GetContact": c.Contact(id=ID, need_code="HOU.EMG", urgency=r.URGENCY_URGENT)}
    )
    with served(pages(fakes)) as site:
        assert faults_of(browser, site, [f"/referrals/new?contact={ID}"], as_user=True) == []


def faults_of(browser: Browser, site: str, page_paths: list[str], as_user: bool) -> list[str]:
    """Returns the faults of these pages."""
    faults: list[str] = []
    # bypass_csp: the test injects axe, which the site's own policy rightly refuses
    with open_window(browser, site, as_user, bypass_csp=True) as page:
        for path in page_paths:
            page.goto(site + path)
            content, frame = parts_of(page.content())
            # a page that two roles see alike is checked once
            if content not in _checked or frame not in _checked:
                faults += [f"{path}: {fault}" for fault in faults_shown(page)]
            _checked.update((content, frame))
    return faults


def parts_of(text: str) -> tuple[str, str]:
    """Returns the content of a page and the frame around it.

    Both are returned without the parts that differ each time.
    """
    text = _EACH_TIME.sub("", text)
    before, content, after = re.split(r"(<main.*</main>)", text, flags=re.S)
    return content, _BY_ADDRESS.sub("", before + after)


def faults_shown(page: Page) -> list[str]:
    """Returns the findings of axe on the open page, with everything on it unfolded.

    Findings of any impact count, as do the contrast in the dark scheme and elements wider than the
    window. The narrowest window is as wide as a window of 640 px at a zoom of 200 %.
    """
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate(AXE)
    faults: list[str] = []
    for scheme, options in _SCHEMES.items():
        page.emulate_media(color_scheme=scheme)
        result: dict[str, Any] = page.evaluate("options => axe.run(document, options)", options)
        faults += [
            f"{scheme}: {v['impact']} {v['id']} {v['nodes'][0]['html'][:120]}"
            for v in result["violations"]
        ]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth") > width:
            faults.append(f"wider than {width}px")
    return faults


@pytest.mark.timeout(300)  # the first run on a machine downloads the checker
def test_every_page_is_valid_html() -> None:
    app = pages(FakePageServices())
    visitor, worker = app.test_client(), enter(app.test_client())
    answers = {path: (worker if roles else visitor).get(path) for path, roles in all_pages()}
    text_by_path = {
        path: answer.text for path, answer in answers.items() if answer.status_code == 200
    }
    assert answers.keys() - text_by_path.keys() == {
        path for path in answers if path.endswith("/reroute")
    }, "these pages redirect to the draft that was begun"
    assert html.faults(text_by_path | answers_to_forms()) == []


@functools.cache
def answers_to_forms() -> dict[str, str]:
    """Returns the pages that answer every form of every page.

    Each form is sent filled in, empty, and so that it is refused; then the forms in the answers are
    sent, as long as the answers contain further questions. Redirects are left out.
    """
    accepting = pages(FakePageServices())
    apps = {"filled in": accepting, "empty": accepting, "refused": pages(RefusingServices())}
    answers: dict[str, str] = {}
    # forms that are on every page, like the sign-out, are sent from one page
    sent_forms = set[tuple[object, ...]]()
    for path, roles in all_pages():
        as_user = bool(roles)
        client = enter(accepting.test_client()) if as_user else accepting.test_client()
        todo = [(path, client.get(path).text, 0)]
        while todo:
            address, text, depth = todo.pop()
            for action, content in _FORM.findall(text):
                target = unescape(action) or address
                for case, app in apps.items():
                    fields = fields_of(content, hidden_only=case == "empty")
                    form = (
                        target,
                        case,
                        as_user,
                        *(
                            (name, value)
                            for name, value in fields.items(multi=True)
                            if name not in _NEW_EACH_TIME
                        ),
                    )
                    if form in sent_forms:
                        continue
                    sent_forms.add(form)
                    client = enter(app.test_client()) if as_user else app.test_client()
                    client.get(path)  # a public page sets the cookie that its form needs
                    answer = client.post(target, data=fields)
                    title = _TITLE.search(answer.text)
                    name = f"POST {target}: {title[1] if title else ''}, {case}"
                    if (
                        answer.status_code in (200, 409, 422)
                        and answer.mimetype == "text/html"
                        and name not in answers
                    ):
                        answers[name] = answer.text
                        todo += (
                            [(target, answer.text, depth + 1)]
                            if depth < 6 and case == "filled in"
                            else []
                        )
    assert len(answers) > 40, "some pages are shown only as the answer to a form"
    return answers


def fields_of(form: str, *, hidden_only: bool) -> MultiDict[str, str]:
    """Returns the fields that a browser would send of the form.

    Every box is ticked, the first answer to each question and the last entry of each list are
    chosen, and texts stay as they are.
    """
    fields: MultiDict[str, str] = MultiDict()
    for tag in _INPUT.findall(form):
        field = {name: unescape(value) for name, value in _ATTRIBUTE.findall(tag)}
        kind = field.get("type", "text")
        if kind == "hidden" or (kind == "checkbox" and not hidden_only):
            fields.add(field["name"], field["value"])
        elif not hidden_only:
            fields.setdefault(field["name"], field.get("value", ""))
    for name, content in () if hidden_only else _SELECT.findall(form):
        if options := _OPTION.findall(content):
            fields[unescape(name)] = unescape(options[-1])
    return fields


class RefusingServices(FakePageServices):
    """Services that answer every read and refuse every write."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sign_in_rpcs = ("IssueToken", "SignIn")
        self.answers |= {
            rpc: errors.Invalid(("note", "required"))
            for rpc in OUTPUTS
            if not rpc.startswith(READING_VERBS) and rpc not in sign_in_rpcs
        }


@pytest.mark.long
def test_axe_finds_nothing_in_the_answers_to_forms(browser: Browser, site: str) -> None:
    context = browser.new_context(locale="es-NI", bypass_csp=True)
    page = context.new_page()
    faults: list[str] = []
    last_text = ""
    page.route(
        f"{site}/shown",
        lambda route: route.fulfill(body=last_text, content_type="text/html; charset=utf-8"),
    )
    for name, text in answers_to_forms().items():
        content, _ = parts_of(text)
        if content in _checked:
            continue
        _checked.add(content)
        last_text = text
        page.goto(f"{site}/shown")
        faults += [f"{name}: {fault}" for fault in faults_shown(page)]
    context.close()
    assert faults == []


def test_no_page_breaks_its_own_policy(browser: Browser, site: str) -> None:
    messages: list[str] = []
    with open_window(browser, site) as page:
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        for path in paths(as_user=False) + paths(as_user=True):
            page.goto(site + path)
    assert messages == []


def test_the_exit_button_is_always_in_the_same_corner_and_big_enough(
    browser: Browser, site: str
) -> None:
    places = set[tuple[float, int]]()

    def check_exit(path: str, height: int) -> None:
        page.goto(site + path)
        page.evaluate("window.scrollTo(0, 1e6)")
        box = page.locator("#exit").bounding_box()
        assert box
        assert box["height"] == height
        places.add((box["x"] + box["width"], round(box["y"] + box["height"] / 2)))

    with open_window(browser, site, viewport={"width": 390, "height": 800}) as page:
        for path in ("/", "/my-referral", "/today", "/line/new", "/board"):
            check_exit(path, 40)
        page.context.clear_cookies()
        for path in ("/", "/my-referral"):  # visitors who are no workers see a large button
            check_exit(path, 48)
    assert len(places) == 1


def test_a_callers_addition_does_not_cover_the_time_of_her_contact(
    browser: Browser, site: str
) -> None:
    covered = """all => all.filter(pill => {
        const time = pill.closest('.row').querySelector('.time').getBoundingClientRect()
        const own = pill.getBoundingClientRect()
        return own.right > time.left && own.bottom > time.top && own.top < time.bottom
    }).length"""
    with open_window(browser, site, locale="fr", viewport={"width": 360, "height": 740}) as page:
        page.goto(f"{site}/line?lang=fr")
        pills = page.locator(".row .what .pill")
        assert pills.count() > 0
        assert pills.evaluate_all(covered) == 0


@pytest.mark.parametrize("path", ["/deadlines", "/keys", "/members"])
def test_the_label_of_a_cell_on_a_phone_does_not_overlap_the_next_label(
    path: str, browser: Browser, site: str
) -> None:
    longer = """all => all.filter(
        cell => parseFloat(getComputedStyle(cell, '::before').height) > cell.clientHeight
    ).map(cell => cell.dataset.label)"""
    with open_window(browser, site, viewport={"width": 360, "height": 740}) as page:
        page.goto(site + path)
        cells = page.locator("td[data-label]")
        assert cells.count() > 0
        assert cells.evaluate_all(longer) == []


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_one_click_leaves_the_site(browser: Browser, site: str, script: bool) -> None:
    requested: list[str] = []
    with open_window(browser, site, java_script_enabled=script) as page:
        page.on("request", lambda request: requested.append(request.url))
        page.wait_for_load_state()
        assert page.get_by_text("tres veces la tecla Mayús").is_visible() == script
        page.click("#exit")
        page.wait_for_timeout(500)
        assert requested[-1] == EXIT
        assert {cookie["name"] for cookie in page.context.cookies()} <= {"d"}, (
            "the device cookie reveals nothing and protects her from strangers' guesses"
        )


def test_pressing_shift_three_times_leaves_the_site_and_typing_with_shift_does_not(
    browser: Browser, site: str
) -> None:
    requested: list[str] = []
    with open_window(browser, site) as page:
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"{site}/directory")
        for key in ("Shift+A", "Shift+B", "Shift+C", "Shift+D"):
            page.press("#words", key)
        page.wait_for_timeout(300)
        assert EXIT not in requested
        for _ in range(3):
            page.keyboard.press("Shift")
        page.wait_for_timeout(500)
        assert requested[-1] == EXIT


@pytest.mark.parametrize("as_user", [False, True])
@pytest.mark.parametrize("script", [False, True])
def test_a_search_on_a_phone_leads_to_its_results(
    browser: Browser, site: str, script: bool, as_user: bool
) -> None:
    phone = {"width": 360, "height": 640}
    with open_window(browser, site, as_user, java_script_enabled=script, viewport=phone) as page:
        page.goto(site + ("/directory" if as_user else "/services"))
        page.fill("main [name=words]", "abogado")
        page.get_by_role("main").get_by_role("button", name="Buscar", exact=True).click()
        expect(page.locator("#found")).to_be_in_viewport()


def test_the_script_sends_the_filter_that_was_pressed(browser: Browser, site: str) -> None:
    with open_window(browser, site) as page:
        page.goto(f"{site}/directory")
        page.click("[name=chip][value=open]")
        expect(page.locator("[name=chip][value=open]")).to_have_attribute("aria-pressed", "true")


def test_a_contact_can_be_recorded_with_the_keyboard_alone(browser: Browser, site: str) -> None:
    with open_window(browser, site) as page:
        page.goto(f"{site}/line/new")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        # the controls of the main part come next
        assert page.evaluate("document.activeElement.getAttribute('href')") == "/line"
        page.keyboard.press("2")
        page.wait_for_selector(".readout")


def test_a_long_address_stays_within_a_narrow_phone(browser: Browser) -> None:
    invitation = m.Invitation(
        id="a" * 32,
        email=f"{'persona.' * 7}x@{'casa-de-acogida.' * 4}example",
        roles=[contract_pb2.ROLE_WORKER],
    )
    fakes = FakePageServices(
        {"ListInvitations": m.ListInvitationsResponse(invitations=[invitation])}
    )
    phone = {"width": 320, "height": 740}
    with served(pages(fakes)) as address, open_window(browser, address, viewport=phone) as page:
        page.goto(f"{address}/members")
        assert invitation.email in page.content()
        assert page.evaluate("document.documentElement.scrollWidth") == 320
