"""In a real browser, an open page shows changes and announces each of them once.

It does not touch text that a worker is writing, and states when it is no longer up to date.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from chassis import errors
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import (
    ALL_ROLES,
    FakePageServices,
    pages,
    referral,
    served,
    signed_in,
)
from tests.gateway.test_pages_in_browser import open_pages

PATIENCE_MS = 8_000  # ms: a page checks every 2.5 s, and a version is remembered for 2 s


class Desk(FakePageServices):
    """Fake services with a list of referrals that grows, and a version that changes with it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rows: list[r.Referral] = []
        self.version = 0
        self.passive_flags: list[bool] = []
        self.answers |= {
            "ListReferrals": lambda request: r.ListReferralsResponse(
                referrals=[] if request.filter.unanswered else self.rows
            ),
            "CountReferrals": lambda _: r.CountReferralsResponse(waiting_for_me=len(self.rows)),
            "ListContacts": c.ListContactsResponse(),
            "ListCallbacks": c.ListCallbacksResponse(),
            "ListLateSteps": pb.ListLateStepsResponse(),
            "ListEnquiries": e.ListEnquiriesResponse(),
            "GetQueueVersion": lambda _: r.QueueVersion(version=str(self.version)),
            "IssueToken": self.issue,
        }

    def issue(self, request: m.IssueTokenRequest) -> m.IssueTokenResponse:
        self.passive_flags.append(request.passive)
        return signed_in(*ALL_ROLES)

    def add_referral(self, urgency: r.Urgency.ValueType = r.URGENCY_IMMEDIATE) -> None:
        """Adds a referral at the top, which is due in a quarter of an hour."""
        number = len(self.rows) + 1
        row = referral(id=f"{number:032x}", code=f"R-{number:04d}", urgency=urgency)
        del row.clocks[:]
        clock = row.clocks.add(kind=r.CLOCK_KIND_ACKNOWLEDGE)
        clock.start_time.GetCurrentTime()
        clock.due_time.FromDatetime(datetime.now(UTC) + timedelta(minutes=15))
        self.rows.insert(0, row)
        self.version += 1


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.add_referral()
    return desk


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(locale="es-NI")
    yield context
    context.close()


def expect_rows(page: Page, count: int) -> None:
    """Waits until the page shows `count` referrals."""
    expect(page.locator(".row")).to_have_count(count, timeout=PATIENCE_MS)


@pytest.fixture
def today(desk: Desk, context: BrowserContext) -> Iterator[Page]:
    with served(pages(desk)) as site:
        page = open_pages(context, site, as_user=True)
        with page.expect_response("**/live"):
            page.reload()
        # The gateway now knows the version, so the page reloads only when the version changes.
        page.reload()
        expect(page.locator(".row")).to_have_count(1)
        expect(page.locator("#live")).not_to_have_attribute("data-version", "")
        yield page
        page.goto("about:blank")


def test_a_new_referral_is_shown_announced_once_and_counted_in_the_title(
    today: Page, desk: Desk
) -> None:
    expect(today).to_have_title("(1) Hoy")
    desk.add_referral()
    expect_rows(today, 2)
    expect(today.locator("#live")).to_have_text("Entró 1 remisión nueva")
    expect(today).to_have_title("(2) Hoy")
    assert True in desk.passive_flags


def test_focus_stays_on_the_row_that_moved(today: Page, desk: Desk) -> None:
    links = today.locator(".row h3 a")
    links.first.focus()
    href = links.first.get_attribute("href")
    desk.add_referral()
    expect_rows(today, 2)
    assert today.evaluate("document.activeElement.getAttribute('href')") == href
    assert links.nth(1).get_attribute("href") == href


def test_an_opened_form_stays_with_its_own_row(desk: Desk, context: BrowserContext) -> None:
    calls = [c.Callback(id=f"{n:032x}", contact_id=f"{n:032x}", etag="1") for n in (1, 2)]
    for call in calls:
        call.clocks.add(kind=r.CLOCK_KIND_CALLBACK).due_time.GetCurrentTime()
    desk.answers["ListCallbacks"] = lambda _request: c.ListCallbacksResponse(callbacks=calls)
    with served(pages(desk)) as site:
        page = open_pages(context, site, as_user=True)
        with page.expect_response("**/live"):
            page.goto(f"{site}/line")
        page.reload()
        page.locator("#work summary").first.click()
        calls.reverse()
        desk.version += 1
        link = page.locator("#work .row h3 a").first
        expect(link).to_have_attribute("href", f"/line/{2:032x}", timeout=PATIENCE_MS)
        open_forms = page.locator("#work details[open] form")
        expect(open_forms).to_have_count(1)
        expect(open_forms).to_have_attribute("action", f"/line/calls/{1:032x}")
        page.goto("about:blank")


def test_text_being_written_stays_and_new_rows_come_when_it_is_finished(
    today: Page, desk: Desk
) -> None:
    """Adds a field to the list of the page Today, because that page has no field yet."""
    today.evaluate(
        "document.getElementById('work').insertAdjacentHTML('beforeend', '<input id=note"
        " aria-label=nota>')"
    )
    today.fill("#note", "llega a las seis")
    desk.add_referral()
    expect(today.locator("#live")).to_have_text("Entró 1 remisión nueva", timeout=PATIENCE_MS)
    expect(today.locator("#note")).to_have_value("llega a las seis")
    expect(today.locator(".row")).to_have_count(1)
    today.fill("#note", "")
    today.locator("h1").click()
    expect_rows(today, 2)


def test_a_step_being_written_on_a_referral_stays_while_its_history_grows(
    desk: Desk, context: BrowserContext
) -> None:
    with served(pages(desk)) as site:
        page = open_pages(context, site, as_user=True)
        page.goto(f"{site}/referrals/{'ab' * 16}")
        page.evaluate(
            "document.querySelectorAll('#do details').forEach((part) => { part.open = true; })"
        )
        page.locator("#do textarea").first.fill("ya viene en camino")
        events = page.locator("#timeline li")
        count_before = events.count()
        referral = desk.answers["GetReferral"]
        assert isinstance(referral, r.Referral)
        referral.etag, referral.need_code = "other", "HOU"
        history = desk.answers["ListReferralEvents"]
        assert isinstance(history, r.ListReferralEventsResponse)
        history.events.add().CopyFrom(history.events[0])
        history.events[-1].ClearField("clock")
        desk.version += 1
        expect(events).to_have_count(count_before + 1, timeout=PATIENCE_MS)
        expect(page.locator("#do textarea").first).to_have_value("ya viene en camino")
        expect(page.locator("#live")).to_have_text("La página cambió")
        page.goto("about:blank")


def test_a_clock_is_updated_each_minute_and_becomes_late_without_an_answer_from_the_server(
    desk: Desk, context: BrowserContext
) -> None:
    with served(pages(desk)) as site:
        page = context.new_page()
        page.clock.install()
        page.close()
        page = open_pages(context, site, as_user=True)
        clock = page.locator(".clock [data-left]")
        expect(clock).to_have_text("14 min")
        page.clock.fast_forward(5 * 60_000)
        expect(clock).to_have_text("9 min")
        page.clock.fast_forward(10 * 60_000 + 5_000)
        expect(clock).to_have_text("0 min de atraso")
        expect(page.locator(".clock.late")).to_have_count(1)
        page.goto("about:blank")


def test_a_page_without_a_connection_states_when_it_was_last_updated(today: Page) -> None:
    today.context.set_offline(True)
    expect(today.locator("#live-stale")).to_contain_text(
        "Sin conexión: lo que ve es de las", timeout=40_000
    )
    today.context.set_offline(False)
    expect(today.locator("#live-stale")).to_be_hidden(timeout=PATIENCE_MS)


def test_the_page_reports_an_ended_session_and_makes_no_further_requests(
    today: Page, desk: Desk
) -> None:
    desk.answers["IssueToken"] = errors.Unauthenticated("session_ended")
    expect(today.locator("#live-stale")).to_contain_text("Su sesión terminó", timeout=PATIENCE_MS)
    expect(today.locator("#live-stale a")).to_have_attribute("href", "/sign-in")
    expect(today.locator(".row")).to_have_count(1)


def test_the_sign_in_after_an_ended_session_opens_in_a_new_tab_if_text_was_typed(
    today: Page, desk: Desk
) -> None:
    today.goto(today.url.replace("/today", "/people/new"))
    today.fill("main [name=hours]", "después de las seis")
    desk.answers["IssueToken"] = errors.Unauthenticated("session_ended")
    link = today.locator("#live-stale a")
    expect(link).to_have_attribute("target", "_blank", timeout=PATIENCE_MS)
    expect(link).to_have_attribute("href", "/sign-in?to=/people/new")


def test_a_page_that_has_no_list_keeps_its_title_when_something_changes(
    today: Page, desk: Desk
) -> None:
    today.goto(today.url.replace("/today", "/account"))
    with today.expect_response("**/inbox", timeout=PATIENCE_MS):
        desk.add_referral()
    with today.expect_response(
        "**/live", timeout=PATIENCE_MS
    ):  # the answer of /inbox has been processed
        pass
    expect(today).to_have_title("Mi cuenta")


def test_the_sound_is_off_by_default_and_is_played_only_for_immediate_referrals(
    today: Page, desk: Desk
) -> None:
    today.evaluate(
        "() => { window.beeps = 0; window.AudioContext = class extends AudioContext { constructor()"
        " { super(); window.beeps += 1; } }; }"
    )
    button = today.get_by_role("button", name="Sonido para inmediatas")
    expect(button).to_have_attribute("aria-pressed", "false")
    desk.add_referral()
    expect_rows(today, 2)
    assert today.evaluate("beeps") == 0
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert today.evaluate("beeps") == 1, "the sound is played once when it is turned on"
    desk.add_referral(r.URGENCY_NORMAL)
    expect_rows(today, 3)
    assert today.evaluate("beeps") == 1
    desk.add_referral()
    expect_rows(today, 4)
    assert today.evaluate("beeps") == 2
