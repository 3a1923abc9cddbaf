"""Two coordinators of different members appoint an auditor; two of one member cannot."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from chassis.ids import new_id
from tests.journeys.accounts import link_for
from tests.journeys.actors import Actor, Actors
from tests.parts.local_stack import LocalStack


def confirms(coordinator: Actor, email: str) -> None:
    coordinator.goes_to("/network/roles")
    row = coordinator.page.locator("main .row", has_text=email)
    row.get_by_role("button", name="Confirmar").click()


@pytest.mark.timeout(120)
def test_a_network_role_is_given_by_two_coordinators_of_different_members(
    actors: Actors, stack: LocalStack
) -> None:
    email = f"auditora-{new_id()[:8]}@coalicion.example"
    coordinator = actors.enter("coordinacion@coalicion.demo")
    coordinator.goes_to("/network/roles")
    coordinator.unfolds("Invitar a la coordinación")
    coordinator.page.fill("#email", email)
    coordinator.page.get_by_label("Auditoría").check()
    coordinator.presses("Proponer la invitación")
    coordinator.sees("Falta que la confirme otra persona")
    colleague = actors.enter("segunda@coalicion.demo")
    colleague.goes_to("/network/roles")
    row = colleague.page.locator("main .row", has_text=email)
    expect(row).to_contain_text("La confirma la coordinación de otra organización")
    expect(row.get_by_role("button")).to_have_count(0)
    other_coordinator = actors.enter("coordinacion@gobernacion.demo")
    confirms(other_coordinator, email)
    other_coordinator.sees("Invitación enviada")
    other_coordinator.sees_no(email)
    assert link_for(stack, email).startswith("/invitation")
