"""Two workers at the same time.

A referral that one worker sends appears on the other's open page within seconds, without a reload,
and the text that the other is writing stays.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from chassis.ids import new_id
from protos.referrals.v1 import referrals_pb2 as pb
from tests.journeys.typed import marked
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast

TIME_LIMIT = 8_000  # ms: five seconds, plus what a busy machine adds


@pytest.fixture
def shelter(browser: Browser, stack: LocalStack) -> Iterator[Page]:
    """The page of Petrona, signed in."""
    context = browser.new_context(locale="es-NI")
    context.set_default_timeout(60_000)
    page, account = context.new_page(), stack.account("albergue@lunanueva")
    page.goto(f"{stack.gateway}/sign-in")
    page.fill("#email", account["email"])
    page.fill("#password", account["password"])
    page.get_by_role("main").get_by_role("button").click()
    page.wait_for_url("**/today")
    yield page
    context.close()


@pytest.fixture
def cast(stack: LocalStack) -> Cast:
    return Cast(stack)


def send(cast: Cast) -> pb.Referral:
    """Sends a referral, as the other worker does meanwhile."""
    person_id, receipt_id = cast.person()
    draft = cast.sender.referrals.CreateReferral(cast.draft(person_id))
    referral: pb.Referral = cast.sender.referrals.SendReferral(
        pb.SendReferralRequest(
            id=draft.id, etag=draft.etag, receipt_id=receipt_id, request_id=new_id()
        )
    )
    return referral


def row(page: Page, referral: pb.Referral) -> Any:
    return page.locator(".row", has=page.locator(f"a[href='/referrals/{referral.id}']"))


def test_a_sent_referral_appears_on_the_receivers_open_page_and_is_counted(
    shelter: Page, cast: Cast
) -> None:
    shelter.evaluate("window.same = true")
    referral = send(cast)
    expect(row(shelter, referral)).to_be_visible(timeout=TIME_LIMIT)
    expect(shelter.locator("#live")).to_have_text("Entró 1 remisión nueva")
    assert shelter.evaluate("window.same"), "the page was not reloaded"
    assert shelter.title().startswith("(")


def test_no_text_that_a_worker_is_writing_is_lost_when_the_other_side_takes_a_step(
    shelter: Page, cast: Cast, stack: LocalStack
) -> None:
    referral = send(cast)
    shelter.goto(f"{stack.gateway}/referrals/{referral.id}")
    shelter.get_by_text("Más…", exact=True).click()
    shelter.locator("#form-ask > summary").click()
    note = shelter.locator("#ask textarea")
    note.fill(marked("¿Viene con sus hijos?"))
    event_count = shelter.locator("#timeline li").count()
    cast.receiver.referrals.AcknowledgeReferral(
        pb.AcknowledgeReferralRequest(id=referral.id, etag=referral.etag, request_id=new_id())
    )
    expect(shelter.locator("#timeline li")).to_have_count(event_count + 1, timeout=TIME_LIMIT)
    expect(note).to_have_value(marked("¿Viene con sus hijos?"))
    expect(note).to_be_focused()


def test_the_count_of_the_bell_changes_on_a_page_without_a_list(
    shelter: Page, cast: Cast, stack: LocalStack
) -> None:
    shelter.goto(f"{stack.gateway}/people")
    bell = shelter.locator("#sections a[href='/inbox']")
    former_text = bell.inner_text()
    send(cast)
    expect(bell).not_to_have_text(former_text, timeout=TIME_LIMIT)
    expect(shelter.locator("#sections [aria-current]")).to_have_attribute("href", "/people")
