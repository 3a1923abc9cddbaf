"""Pictures of every page: `python -m tests.pictures`.

Starts the stack with its demo network and takes screenshots of the pages that each role sees, into
build/pictures. A role opens the pages whose address needs no id, and then follows their links to
the first referral, contact, person, receipt … that it meets. Each page is taken once, by the first
role that may open it; Hoy and a referral, which differ by role, are taken by every role.
`build/pictures/index.html` shows all pictures; `--docs` renews the README's pictures in
docs/pictures instead. If no link leads to a page outside of UNREACHED, the page is named at the
end, and the exit code is 1.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flask import Flask
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from services.gateway.site.shell import access
from tests.gateway.pages_gateway import FakePageServices, pages, routes
from tests.parts.browser import PROGRAM
from tests.parts.local_stack import ROOT, LocalStack

OUT, DOCS = ROOT / "build" / "pictures", ROOT / "docs" / "pictures"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# The demo account of each role. The first of several roles that may open a page takes its picture.
# The public pages need no sign-in.
ROLES = {
    "public": "",
    "operator": "operadora@llamayvive.demo",
    "shelter": "albergue@lunanueva.demo",
    "manager": "gestion@puentes.demo",
    "coordinator": "coordinacion@coalicion.demo",
    "auditor": "auditoria@coalicion.demo",
}
TAKEN_BY_EVERY_ROLE = {"today.today", "referral.show", "enquiries.show"}
NO_PAGES = {
    "static",
    "live.version",
    "signin.quick_exit",
    "health.alive",
    "health.ready",
    "referral_new.resume",
}
# Pages to which no link leads: the demo network has no import, no use of emergency access and no
# person with many readings; a poster's code and the results of a search lead to the public pages.
UNREACHED = {
    "campaigns.placed",
    "emergencies.show",
    "imports.show",
    "open_directory.organization",
    "people.accesses",
}
MAX_PAGES = 250  # maximum number of pages that a role opens


class Size(NamedTuple):
    """The size, the colour scheme and the medium of a page's picture."""

    width: int
    scheme: Literal["light", "dark"] = "light"
    media: Literal["screen", "print"] = "screen"


SIZES = {
    "phone": Size(360),
    "desk": Size(1280),
    "dark": Size(1280, "dark"),
    "print": Size(794, media="print"),
}
# name of the file: role, endpoint, size; the picture is the part of the page that is visible
# without scrolling
IN_DOCS = {
    "today": ("shelter", "today.today", "desk"),
    "today-phone": ("shelter", "today.today", "phone"),
    "contact": ("operator", "line.show", "desk"),
    "referral": ("shelter", "referral.show", "desk"),
    "board-dark": ("coordinator", "board.board", "dark"),
    "home-phone": ("public", "home.home", "phone"),
}


def is_file(path: str) -> bool:
    """Returns True if an address has an extension: it leads to a file, not to a page."""
    return "." in path.split("?")[0].rpartition("/")[2]


class Walk:
    """A role's way through the site by its links; each endpoint is yielded once."""

    def __init__(self, page: Page, site: str, app: Flask, role: str) -> None:
        self.page, self.site, self.role = page, site, role
        self._app, self._urls = app, app.url_map.bind("")
        self.seen: set[str] = set()
        self._opened: set[str] = set()

    def signs_in(self, account: dict[str, Any]) -> None:
        self.page.goto(f"{self.site}/sign-in")
        self.page.fill("#email", account["email"])
        self.page.fill("#password", account["password"])
        self.page.click("main button")
        self.page.wait_for_url("**/today**")

    def endpoint(self, path: str) -> str:
        """Returns the endpoint of an address, or "" if the address belongs to no page."""
        try:
            return str(self._urls.match(path.split("?")[0].split("#")[0], method="GET")[0])
        except (HTTPException, RequestRedirect):
            return ""

    def may(self, endpoint: str) -> bool:
        roles = access.roles_of(self._app, endpoint)
        return (
            roles is not None
            and endpoint not in NO_PAGES
            and (roles == access.ANYBODY) == (self.role == "public")
        )

    def pages(self, start: list[str]) -> Iterator[str]:
        """Yields endpoint after endpoint, with the page open.

        If, for example, the first person has no receipt, the walk looks for the link on the pages
        of other people.
        """
        waiting, spare = [path for path in start if "<" not in path], list[str]()
        while waiting or (spare and self._left()):
            path = waiting.pop(0) if waiting else spare.pop(0)
            endpoint_name = self.endpoint(path)
            if is_file(path) or not self.may(endpoint_name) or path in self._opened:
                continue
            if endpoint_name in self.seen and waiting:
                spare.append(path)
                continue
            self._opened.add(path)
            answer = self.page.goto(self.site + path)
            if answer is None or not answer.ok:
                continue
            links: list[str] = self.page.eval_on_selector_all(
                "main a[href], nav a[href]", "all => all.map(a => a.getAttribute('href'))"
            )
            waiting += [link for link in links if link.startswith("/") and link not in self._opened]
            endpoint = self.endpoint(self.page.url.removeprefix(self.site))
            if endpoint not in self.seen:
                self.seen.add(endpoint)
                yield endpoint

    def _left(self) -> set[str]:
        return (
            {rule.endpoint for rule in self._app.url_map.iter_rules() if self.may(rule.endpoint)}
            - self.seen
            if len(self._opened) < MAX_PAGES
            else set()
        )


def drafts_a_referral(page: Page, site: str) -> str:
    """Drafts a referral; returns its address.

    The pages of a new referral belong to a draft, and the demo network has none.
    """
    page.goto(f"{site}/referrals/new")
    page.select_option("main [name=need_code]", "HOU.EMG")
    page.click("main p.save button")
    page.check("main [name=urgency][value=emergency]")
    page.click("main p.save button")
    page.fill("main [name=age]", "19")
    page.click("main p.save button")
    page.click("main [name=nobody_calls]")
    page.click("main [name=names_nothing]")
    page.locator("main [name=service_id]").first.click()
    return page.url


def connects_a_system(page: Page, site: str) -> str:
    """Adds a webhook and sends a test to it; returns its address.

    The demo network has no webhook. Nothing accepts the test, so the pages show a failed delivery.
    """
    page.goto(f"{site}/webhooks")
    page.fill("main [name=url]", "http://127.0.0.1:9/hook")
    page.click("main form.card button")
    url = page.url
    page.goto(f"{site}/webhooks")
    page.click("main h2 a")
    page.click("main form[action$='/test'] button")
    page.wait_for_selector("main a[href*='/deliveries/']")
    return url


PREPARED = {"operator": drafts_a_referral, "manager": connects_a_system}


def answers(walk: Walk, stack: LocalStack) -> Iterator[str]:
    """Opens the pages to which only a form leads, and yields a name for each page."""
    page = walk.page
    if walk.role == "public":
        reference = stack.demo["references"][0]
        page.goto(f"{stack.gateway}/my-referral")
        page.fill("#reference", reference["reference"])
        page.fill("#pin", reference["pin"])
        page.click("main form button")
        yield "my_referral_status"
    if walk.role == "operator":
        page.goto(drafts_a_referral(page, stack.gateway))
        for box in page.locator("main [name=explained_codes]").all():
            box.check()
        page.click("main p.save button")
        yield "referral_new_consent_answers"
        for box in page.locator("main input[value=yes]").all():
            box.check()
        page.click("main p.save button")
        yield "referral_new_consent_manner"


def set_view(page: Page, size: Size) -> None:
    page.set_viewport_size({"width": size.width, "height": 800})
    page.emulate_media(media=size.media, color_scheme=size.scheme)


def take_one(page: Page, size: Size, file: Path) -> None:
    """Takes a picture in a window as high as the page, so that sticky parts are at the edges."""
    set_view(page, size)
    page.set_viewport_size(
        {
            "width": size.width,
            "height": max(800, page.evaluate("document.documentElement.scrollHeight")),
        }
    )
    page.screenshot(path=file)


def take_all(browser: Browser, stack: LocalStack, app: Flask) -> list[str]:
    """Takes every picture; returns the pages that could not be reached."""
    starts = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    taken: set[str] = set()
    results: list[Path] = []
    for role, email in ROLES.items():
        context = browser.new_context(locale="es-NI")
        walk = Walk(context.new_page(), stack.gateway, app, role)
        if email:
            walk.signs_in(stack.account(email))
        if role in PREPARED:
            starts.append(PREPARED[role](walk.page, stack.gateway).removeprefix(stack.gateway))
        walk.seen = taken - TAKEN_BY_EVERY_ROLE
        for name in itertools.chain(walk.pages(starts), answers(walk, stack)):
            for size in SIZES:
                file = OUT / f"{role}-{name.replace('.', '_')}-{size}.png"
                take_one(walk.page, SIZES[size], file)
                results.append(file)
            set_view(walk.page, SIZES["desk"])
        taken |= walk.seen
        context.close()
    (OUT / "index.html").write_text(index(results), encoding="utf-8")
    pages_of_app = {endpoint for endpoint, path in routes(app) if not is_file(path)}
    return sorted(pages_of_app - taken - NO_PAGES - UNREACHED)


def index(files: list[Path]) -> str:
    """Returns one page with all pictures, a row for each page."""
    rows: dict[str, list[Path]] = {}
    for file in files:
        rows.setdefault(file.stem.rsplit("-", 1)[0], []).append(file)
    picture = '<a href="{0}"><img src="{0}" alt="{0}" loading="lazy"></a>'.format
    shown = "".join(
        f"<h2>{escape(name)}</h2>" + "".join(picture(file.name) for file in row)
        for name, row in rows.items()
    )
    style = (
        "img{height:24rem;max-width:45%;object-fit:cover;object-position:top;border:1px solid"
        " #999;margin:.2rem}body{font-family:system-ui}"
    )
    return (
        '<!doctype html><html lang="en"><meta'
        f' charset="utf-8"><title>Pages</title><style>{style}</style>{shown}</html>\n'
    )


def take_for_docs(browser: Browser, stack: LocalStack, app: Flask) -> list[str]:
    """Takes the README's pictures, small enough to be committed; returns the names that failed."""
    DOCS.mkdir(parents=True, exist_ok=True)
    missing = []
    for name, (role, endpoint, how) in IN_DOCS.items():
        size = SIZES[how]
        context = browser.new_context(
            locale="es-NI", device_scale_factor=0.75 if size.width > 1000 else 1
        )
        walk = Walk(context.new_page(), stack.gateway, app, role)
        if role != "public":
            walk.signs_in(stack.account(ROLES[role]))
        set_view(walk.page, size)
        if endpoint in walk.pages(["/", "/today", "/line", "/referrals", "/board"]):
            walk.page.screenshot(path=DOCS / f"{name}.png")
        else:
            missing.append(name)
        context.close()
    return missing


def main() -> int:
    """Takes the pictures; returns 1 and prints the names if pages were not reached."""
    OUT.mkdir(parents=True, exist_ok=True)
    stack = LocalStack()
    try:
        stack.start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
            take = take_for_docs if "--docs" in sys.argv[1:] else take_all
            missing = take(browser, stack, pages(FakePageServices()))
            browser.close()
    finally:
        stack.stop()
    print(f"Pictures: {DOCS if '--docs' in sys.argv[1:] else OUT / 'index.html'}")
    if missing:
        print("Not reached: " + ", ".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
