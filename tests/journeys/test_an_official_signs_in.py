"""A ministry has accounts of its own.

Two coordinators approve the ministry's identity provider, and an official signs in through it,
without a password of ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.journeys.actors import Actors
from tests.parts.local_stack import LocalStack
from tests.parts.provider import PASSWORD, Person, Provider

OFFICIAL = "familia@gobierno.demo"


@pytest.fixture
def provider(stack: LocalStack) -> Iterator[Provider]:
    people = {
        "oficial": Person("o-17", OFFICIAL),
        "otra": Person("o-18", "coordinacion@coalicion.demo"),
    }
    running_provider = Provider(f"{stack.gateway}/sign-in/return", people)
    yield running_provider
    running_provider.stop()


def signs_in_at_the_ministry(page: Page, user: str) -> None:
    page.fill("[name=user]", user)
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Seguir").click()


@pytest.mark.timeout(180)
def test_a_ministrys_official_signs_in_through_the_ministry(
    actors: Actors, stack: LocalStack, provider: Provider
) -> None:
    path = f"/directory/organizations/{stack.worker(OFFICIAL).organization_id}"
    first_coordinator = actors.enter("coordinacion@coalicion.demo")
    first_coordinator.goes_to(path)
    first_coordinator.presses("Entrar por su organización")
    first_coordinator.sees(provider.redirect_uri)
    first_coordinator.page.fill("#issuer", provider.issuer)
    first_coordinator.page.fill("#client_id", provider.client.id)
    first_coordinator.page.fill("#client_secret", provider.client.secret)
    first_coordinator.presses("Proponer el cambio")
    first_coordinator.sees("Usted lo propuso")

    second_coordinator = actors.enter("segunda@coalicion.demo")
    second_coordinator.goes_to(f"{path}/sign-in")
    second_coordinator.sees(provider.issuer)
    second_coordinator.presses("Confirmar el cambio")
    second_coordinator.sees("tres días para objetar")
    with stack.database("partners") as database:  # as if the days to object had passed
        database.execute(
            "UPDATE sign_in_providers SET propose_time = propose_time - interval '3 days'"
        )
    second_coordinator.goes_to(f"{path}/sign-in")
    second_coordinator.presses("Confirmar el cambio")
    second_coordinator.sees("El enlace para su gente")
    link = second_coordinator.page.locator("code", has_text="/sign-in/with/").inner_text()

    official = actors.enter()
    official.page.goto(link)
    assert official.page.url.startswith(provider.issuer), (
        "her password is typed at the ministry, and nowhere else"
    )
    signs_in_at_the_ministry(official.page, "oficial")
    official.page.wait_for_url(f"{stack.gateway}/today")
    official.goes_to("/account")
    official.sees("Mi cuenta")
    assert {"s", "p"} & {cookie["name"] for cookie in official.context.cookies()} == {"s"}

    impostor = actors.enter()
    impostor.page.goto(link)
    signs_in_at_the_ministry(impostor.page, "otra")
    # the provider claims that this user is the coordinator, for whom it may not vouch
    impostor.sees("Su organización no reconoció su cuenta")
    assert "s" not in {cookie["name"] for cookie in impostor.context.cookies()}

    second_coordinator.goes_to(f"{path}/sign-in")
    second_coordinator.presses("Dejar de usarlo")
    official_after_removal = actors.enter()
    official_after_removal.page.goto(link)
    official_after_removal.sees("Por este enlace no se entra")
