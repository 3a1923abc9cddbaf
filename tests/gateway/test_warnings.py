"""Warnings of dangers to the person are seen first and never covered.

That holds on a phone of 360 px and in both colour schemes. A printed page says no more than its
reader may know.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import pytest
from playwright.sync_api import Browser, FloatRect, Locator, Page

from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, FakePageServices, missing, pages, referral, served
from tests.gateway.test_pages_in_browser import open_pages, open_window, paths
from tests.words import TRANSLATED

pytestmark = pytest.mark.long

WARNINGS = ".note.bad, .note.soon, .safe"
FIND_OVERLAPS = """selector => [...document.querySelectorAll(selector)].filter(one => one.offsetParent).flatMap(one => {
  scrollTo(0, one.getBoundingClientRect().top + scrollY - innerHeight / 3);
  const box = one.getBoundingClientRect(), bottom = Math.min(box.bottom, box.top + 200), over = [];
  for (const part of [.02, .25, .5, .75, .98]) for (let y = box.top + 4; y < bottom - 2; y += 12) {
    const top = document.elementFromPoint(box.left + box.width * part, y);
    if (top && !one.contains(top) && !top.contains(one)) over.push(`${top.tagName}.${top.className} over "${one.textContent.trim().slice(0, 40)}"`);
  }
  return [...new Set(over)];
})"""  # noqa: E501
FIND_EMPTY_BOXES = """() => [...document.querySelectorAll("main :is(div, section, ul, ol, dl, p, li, details)")]
.filter(one => one.checkVisibility() && parseFloat(getComputedStyle(one).borderBlockStartWidth) > 0
  && !one.innerText.trim() && !one.querySelector("svg, img"))
.map(one => one.outerHTML.slice(0, 80))"""  # noqa: E501
Scheme = Literal["light", "dark"]


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "GetReferral": r.Referral(
                id=ID,
                etag="1",
                code="H7JX7J",
                person_id=ID,
                need_code="HOU.EMG",
                urgency=r.URGENCY_IMMEDIATE,
                side=r.SIDE_RECEIVER,
                state=r.STATE_SENT,
                send_time=datetime(2026, 9, 21, 1, 30),  # type: ignore[arg-type]
                live=True,
                main_step="acknowledge",
                allowed_verbs=["acknowledge", "accept", "decline"],
            ),
            "GetSafeContact": p.SafeContact(channel_code=p.SAFE_CHANNEL_NONE),
            "ListHotlines": d.ListHotlinesResponse(
                hotlines=[d.Hotline(country="NI", number="133")]
            ),
        }
    )


@pytest.fixture
def page(browser: Browser, fakes: FakePageServices) -> Iterator[Page]:
    """A phone on which a worker has signed in."""
    with served(pages(fakes)) as site:
        context = browser.new_context(
            locale="es-NI", base_url=site, viewport={"width": 360, "height": 740}
        )
        yield open_pages(context, site, as_user=True)
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_element_overlaps_a_warning_on_a_phone(page: Page, scheme: Scheme) -> None:
    page.emulate_media(color_scheme=scheme)
    overlaps_by_path: dict[str, list[str]] = {}
    for path in paths(as_user=True):
        page.goto(path)
        if overlaps := page.evaluate(FIND_OVERLAPS, WARNINGS):
            overlaps_by_path[path] = overlaps
    assert overlaps_by_path == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_warning_that_nobody_may_contact_her_is_seen_first_and_in_full(
    page: Page, scheme: Scheme
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(f"/referrals/{ID}")
    warning = box_of(page.locator("#safe_contact"))
    for name in (".stick", ".tabs", ".tabs .plus"):
        assert warning["y"] + warning["height"] < box_of(page.locator(name))["y"], name
    assert warning["y"] < box_of(page.locator("main .card, main .steps, main form").first)["y"]


def test_on_a_phone_the_unread_count_does_not_cover_the_exit_and_the_bars_leave_no_gap(
    page: Page, fakes: FakePageServices
) -> None:
    fakes.answers["CountUnread"] = n.CountUnreadResponse(unread=148)
    page.goto(f"/referrals/{ID}")
    count, exit_button, sticky, tabs = (
        box_of(page.locator(name)) for name in (".bell .count", "#exit", ".stick", ".tabs")
    )
    assert count["x"] + count["width"] <= exit_button["x"]
    assert sticky["y"] + sticky["height"] >= tabs["y"]


def box_of(element: Locator) -> FloatRect:
    """Returns the place of an element, which has to be visible."""
    box = element.bounding_box()
    assert box
    return box


def printed_text(page: Page, path: str = f"/referrals/{ID}") -> str:
    """Returns the words of the printed page."""
    page.goto(path)
    page.emulate_media(media="print")
    return " ".join(page.locator("body").inner_text().split())


def test_the_card_of_her_arrival_comes_before_everything_but_the_warning(
    page: Page, fakes: FakePageServices
) -> None:
    arrival = r.Arrival(
        expected="hoy a las 19:30", way="en bus", company="con su hijo", sign="muestra el código"
    )
    fakes.answers["ListReferralEvents"] = r.ListReferralEventsResponse(
        events=[r.ReferralEvent(version=2, verb="sent", arrival=arrival)]
    )
    page.goto(f"/referrals/{ID}")
    card = page.locator("main .card").first
    answers = (arrival.expected, arrival.way, arrival.company, arrival.sign)
    assert missing(card.inner_text(), *answers, "Enviada: 20 sept, 19:30") == []
    assert "con su hijo" in printed_text(page)


def test_her_slip_has_the_code_and_a_number_and_nothing_else(
    page: Page, fakes: FakePageServices
) -> None:
    fakes.answers["GetReferral"] = referral(
        side=r.SIDE_SENDER, state=r.STATE_SENT, code="H7JX7J", live=True
    )
    assert printed_text(page) == "H7JX7J 133"
    assert page.locator(".slip .qr").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.slip')).page") == "slip", (
        "the browser adds no address and no title"
    )


def test_the_receivers_copy_is_a_separate_sheet_that_names_the_sender_and_forbids_calls(
    page: Page,
) -> None:
    copy = printed_text(page)
    expected = (
        "H7JX7J",
        "La envía",
        "La recibe",
        "No la contacte",
        "no sale de aquí",
        "Firma de quien la recibe",
    )
    assert missing(copy, *expected) == []
    assert "Rosa" not in copy


def test_the_printed_sheet_of_a_shift_names_nobody(page: Page) -> None:
    sheet = printed_text(page, "/line/shift")
    assert ("Contactos abiertos" in sheet, "Rosa" in sheet) == (True, False)


def test_no_heading_stands_alone_at_the_end_of_a_printed_page(page: Page) -> None:
    printed_text(page, "/line/shift")
    breaks = page.locator("h1, h2, h3").evaluate_all(
        "all => all.map(e => getComputedStyle(e).breakAfter)"
    )
    assert set(breaks) == {"avoid"}


def test_no_printed_page_has_an_empty_box(page: Page) -> None:
    page.emulate_media(media="print")
    boxes_by_path: dict[str, list[str]] = {}
    for path in [*paths(as_user=True), *paths(as_user=False)]:
        page.goto(path)
        if boxes := page.evaluate(FIND_EMPTY_BOXES):
            boxes_by_path[path] = boxes
    assert boxes_by_path == {}


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_page_is_wider_than_a_narrow_phone_in_another_language(
    browser: Browser, language: str
) -> None:
    phone = {"width": 320, "height": 800}
    wide_paths = []
    with (
        served(pages(FakePageServices())) as site,
        open_window(browser, site, viewport=phone) as page,
    ):
        page.goto(f"{site}/today?lang={language}")
        for path in paths(as_user=True):
            page.goto(site + path)
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            if page.evaluate("document.documentElement.scrollWidth") > phone["width"]:
                wide_paths.append(path)
    assert wide_paths == []
