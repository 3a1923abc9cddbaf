"""Two coordinators of different members appoint an auditor; two of one member cannot."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from chassis.ids import new_id
from tests.journeys.test_first_manager import link_for
from tests.journeys.test_three_actors import Actor
from tests.parts.local_stack import LocalStack


@pytest.mark.timeout(120)
def test_a_network_role_is_given_by_two_coordinators_of_different_members(
    browser: Browser, stack: LocalStack
) -> None:
    email = f"auditora-{new_id()[:8]}@coalicion.example"
    first = Actor(browser, stack)
    first.signs_in("coordinacion@coalicion.demo")
    first.goes_to("/network/roles")
    first.page.locator("summary", has_text="Invitar a la coordinación").click()
    first.page.fill("#email", email)
    first.page.get_by_label("Auditoría").check()
    first.presses("Proponer la invitación")
    first.sees("Falta que la confirme otra persona")
    first.leaves()
    for account, done in (
        ("segunda@coalicion.demo", False),
        ("coordinacion@gobernacion.demo", True),
    ):
        other = Actor(browser, stack)
        other.signs_in(account)
        other.goes_to("/network/roles")
        other.page.locator("main .row", has_text=email).get_by_role(
            "button", name="Confirmar"
        ).click()
        if done:
            other.sees("Invitación enviada")
            expect(other.page.get_by_role("main")).not_to_contain_text(email)
        else:
            expect(other.page.get_by_role("main")).to_contain_text(email)
            expect(other.page.get_by_role("alert")).to_be_visible()
        other.leaves()
    assert link_for(stack, email).startswith("/invitation")
