"""A bed is taken and given back, and the way to the shelter is shown once.

The actors are the shelter's manager, its worker, the operator who sends somebody, and her
colleague.
"""

from __future__ import annotations

import re
import time
from typing import Any

from playwright.sync_api import Browser, expect

from tests.journeys.test_three_actors import Actor, Operator, ShelterWorker
from tests.journeys.typed import hers

STREET = "Portón azul detrás del ingenio"
SERVICE = "Albergue de emergencia y casa segura"
HEARD_WITHIN = 30.0  # seconds for one service to apply another's fact


class Manager(Actor):
    """The manager, who keeps the shelter's entry."""

    def says_where_the_house_is(self) -> None:
        self.goes_to("/entry/places/new")
        self.page.fill("#name", "Casa de la colina")
        self.page.check("#confidential")
        self.page.fill("#address", hers(STREET))
        self.presses("^Guardar$")
        self.sees("lugar reservado")
        self._row().get_by_role("link").first.click()
        self.page.locator("input[name=location_ids]").last.check()
        self.presses("^Guardar$")
        self.sees("Guardado")

    def free_beds(self) -> int:
        self.goes_to("/entry")
        beds = re.search(r"camas: (\d+)", self._row().inner_text())
        assert beds
        return int(beds[1])

    def counts(self, beds: int) -> None:
        until = time.monotonic() + HEARD_WITHIN
        while self.free_beds() != beds and time.monotonic() < until:
            self.page.wait_for_timeout(500)
        assert self.free_beds() == beds

    def _row(self) -> Any:
        return self.page.locator("main li", has_text=SERVICE)


def opens_the_way(actor: Actor, referral: str) -> None:
    """Opens the way to the shelter, trying until partners has received the acceptance.

    Until then the page says that no address is stored.
    """
    until = time.monotonic() + HEARD_WITHIN
    while True:
        actor.goes_to(referral)
        actor.presses("Ver la dirección")
        if (
            "no ha guardado aquí su dirección" not in actor.page.inner_text("main")
            or time.monotonic() > until
        ):
            return
        actor.page.wait_for_timeout(500)


def test_a_shelters_bed_is_taken_and_given_back_and_the_way_there_opens_once(
    browser: Browser, stack: Any
) -> None:
    manager, shelter = Manager(browser, stack), ShelterWorker(browser, stack)
    operator, colleague = Operator(browser, stack), Actor(browser, stack)
    manager.signs_in("gestion@lunanueva.demo")
    manager.says_where_the_house_is()
    free_beds = manager.free_beds()

    operator.signs_in("operadora@llamayvive.demo")
    operator.takes_a_contact_without_a_name()
    referral = operator.refers_the_caller_to("Albergue Luna Nueva")
    expect(operator.page.get_by_role("main")).not_to_contain_text("Ver la dirección")

    shelter.signs_in("albergue@lunanueva.demo")
    shelter.goes_to(referral)
    shelter.accepts()
    expect(shelter.page.get_by_role("main")).not_to_contain_text("Ver la dirección")
    manager.counts(free_beds - 1)

    opens_the_way(operator, referral)
    operator.sees(hers(STREET))
    colleague.signs_in("jefa@llamayvive.demo")
    colleague.goes_to(referral)
    expect(colleague.page.get_by_role("main")).not_to_contain_text(STREET)

    shelter.goes_to(referral)
    shelter.begins_and_completes()
    manager.counts(free_beds)
    for actor in (manager, shelter, operator, colleague):
        actor.leaves()
