"""A bed is taken and given back, and only the operator who opens the shelter's address sees it.

The actors are the shelter's manager, its worker, the operator who sends somebody, and her
colleague.
"""

from __future__ import annotations

import re
from typing import Any

from tests.journeys.actors import Actor, Actors, Operator, ShelterWorker
from tests.journeys.typed import marked
from tests.parts.local_stack import until

STREET = "Portón azul detrás del ingenio"
SERVICE = "Albergue de emergencia y casa segura"


class Manager(Actor):
    """The manager, who keeps the shelter's entry."""

    def says_where_the_house_is(self) -> None:
        self.goes_to("/entry/places/new")
        self.page.fill("#name", "Casa de la colina")
        self.page.check("#confidential")
        self.page.fill("#address", marked(STREET))
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

    def waits_for_free_beds(self, beds: int) -> None:
        until(lambda: self.free_beds() == beds, 30, self.free_beds, every=0.5)

    def _row(self) -> Any:
        return self.page.locator("main li", has_text=SERVICE)


def opens_address(actor: Actor, referral: str) -> None:
    """Opens the shelter's address; tries again until partners has received the acceptance.

    Before that, the page says that no address is stored.
    """

    def is_open() -> bool:
        actor.goes_to(referral)
        actor.presses("Ver la dirección")
        return "no ha guardado aquí su dirección" not in actor.main.inner_text()

    until(is_open, 30, every=0.5)


def test_a_bed_is_taken_and_given_back_and_only_the_referring_operator_sees_the_address(
    actors: Actors,
) -> None:
    manager = actors.enter_as(Manager, "gestion@lunanueva.demo")
    manager.says_where_the_house_is()
    free_beds = manager.free_beds()

    operator = actors.enter_as(Operator, "operadora@llamayvive.demo")
    operator.takes_a_contact_without_a_name()
    referral = operator.refers_the_caller_to("Albergue Luna Nueva")
    operator.sees_no("Ver la dirección")

    shelter = actors.enter_as(ShelterWorker, "albergue@lunanueva.demo")
    shelter.goes_to(referral)
    shelter.accepts()
    shelter.sees_no("Ver la dirección")
    manager.waits_for_free_beds(free_beds - 1)

    opens_address(operator, referral)
    operator.sees(marked(STREET))
    colleague = actors.enter("jefa@llamayvive.demo")
    colleague.goes_to(referral)
    colleague.sees_no(STREET)

    shelter.goes_to(referral)
    shelter.begins_and_completes()
    manager.waits_for_free_beds(free_beds)
