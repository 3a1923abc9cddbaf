"""A ministry has accounts of its own.

Two coordinators agree to the ministry's provider, and an official signs in through it, without a
password of ours.
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
    created = Provider(f"{stack.gateway}/sign-in/return", people)
    yield created
    created.stop()


def signs_in_at_the_ministry(page: Page, user: str) -> None:
    page.fill("[name=user]", user)
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Seguir").click()


@pytest.mark.timeout(180)
def test_a_ministrys_official_signs_in_through_the_ministry(
    actors: Actors, stack: LocalStack, provider: Provider
) -> None:
    path = f"/directory/organizations/{stack.worker(OFFICIAL).organization_id}"
    first = actors.enter("coordinacion@coalicion.demo")
    first.goes_to(path)
    first.presses("Entrar por su organización")
    first.sees(provider.redirect_uri)
    first.page.fill("#issuer", provider.issuer)
    first.page.fill("#client_id", provider.client.id)
    first.page.fill("#client_secret", provider.client.secret)
    first.presses("Proponer el cambio")
    first.sees("Usted lo propuso")

    second = actors.enter("segunda@coalicion.demo")
    second.goes_to(f"{path}/sign-in")
    second.sees(provider.issuer)
    second.presses("Confirmar el cambio")
    second.sees("tres días para objetar")
    with stack.database("partners") as database:  # as if the days to object had passed
        database.execute(
            "UPDATE sign_in_providers SET propose_time = propose_time - interval '3 days'"
        )
    second.goes_to(f"{path}/sign-in")
    second.presses("Confirmar el cambio")
    second.sees("El enlace para su gente")
    link = second.page.locator("code", has_text="/sign-in/with/").inner_text()

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

    another = actors.enter()
    another.page.goto(link)
    signs_in_at_the_ministry(another.page, "otra")
    # the ministry claims that the official is the coordinator, for whom it may not speak
    another.sees("Su organización no la reconoció")
    assert "s" not in {cookie["name"] for cookie in another.context.cookies()}

    second.goes_to(f"{path}/sign-in")
    second.presses("Dejar de usarlo")
    late = actors.enter()
    late.page.goto(link)
    late.sees("Por este enlace no se entra")
