"""A girl of fifteen calls.

Each decision for her needs two people, her own opinion is recorded, and nobody ends her plan alone.
The browser, the pages, the services, the databases and the facts between them are real. No
JavaScript is needed, so it is switched off.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.journeys.actors import Actors, Operator, ShelterWorker
from tests.journeys.typed import marked
from tests.parts.local_stack import until


class ChildOperator(Operator):
    """An operator who takes the call of a child."""

    def takes_her_call(self) -> None:
        """Takes the call of the child, who needs a home for tonight."""
        self.goes_to("/line/new")
        self.chooses("danger_now", "no")
        self.chooses("safe_place_tonight", "no")
        self.chooses("child_unsafe", "yes")
        self.page.select_option("[name=speaker_code]", "person")
        self.page.select_option("[name=need_code]", "HOU.SAFE")
        self.presses("Guardar y dar referencia")
        self.sees("Siempre se avisa a protección de niñez.")

    def opens_her_file(self) -> None:
        """Opens a file with the child's age and chooses a home for girls of fifteen.

        Stops at the question of consent.
        """
        self.presses("Empezar una remisión")
        self.page.fill("[name=age]", "15")
        self.page.select_option("[name=gender_code]", "Feminine")
        self.presses("^Seguir$")
        self.unfolds("Quién es")
        self.page.fill("[name=given_name]", marked("Lucía"))
        self.chooses("channel_code", "none")
        self.presses("^Seguir$")
        self.presses("no nombró a nadie: seguir")
        self.page.locator("li", has_text="Hogar El Jícaro").get_by_role("button").first.click()

    def asks_her_and_decides_in_her_interest(self) -> None:
        """Records the child's assent and a decision in her best interest."""
        for box in self.page.locator("input[name=explained_codes]").all():
            box.check()
        self.presses("Ya le expliqué los siete puntos")
        for group in ("identity", "contact"):
            self.chooses(f"answer_{group}", "yes")
        self.presses("A lo demás dijo que no")
        self.finds_nothing_ticked()
        for giver in (
            "Madre, padre o tutor",
            "Autoridad de niñez",
            "Decisión por su interés superior, con otra persona",
        ):
            self.sees(giver)
        self.chooses("giver_code", "person")
        self.chooses("manner_code", "spoken")
        self.presses("Guardar el consentimiento y seguir")
        self.sees("Hay un problema")
        self.chooses("assent_code", "given")
        self.presses("Guardar el consentimiento y seguir")
        self.sees("elija quién lo da: su madre, padre o tutor, la autoridad de niñez")
        self.chooses("giver_code", "best_interest")
        self.presses("Guardar el consentimiento y seguir")
        self.sees("Revise y envíe")

    def finds(self, code: str, decision: str) -> None:
        """Opens the file with this code from the list, and the open decision in the file."""
        self.opens_person(code)
        self.main.get_by_role("link", name=decision).first.click()

    def opens_person(self, code: str) -> None:
        self.goes_to("/people")
        self.main.get_by_role("link", name=code).first.click()


@pytest.mark.timeout(180)
def test_each_decision_for_a_girl_of_fifteen_needs_two_people(actors: Actors) -> None:
    operator = actors.enter_as(ChildOperator, "operadora@llamayvive.demo")
    second_operator = actors.enter_as(ChildOperator, "jefa@llamayvive.demo")

    operator.takes_her_call()
    operator.opens_her_file()
    operator.asks_her_and_decides_in_her_interest()
    review_page, code = operator.where(), operator.page.locator("main dd .code").first.inner_text()
    operator.presses("Enviar la remisión")
    operator.sees("Falta que otra persona lo confirme")
    operator.finds(code, "Hogar El Jícaro")
    operator.sees("No abre nada hasta que otra persona del equipo lo confirme.")
    operator.sees("Está de acuerdo")
    expect(
        operator.page.get_by_role("button", name="Confirmar como segunda persona")
    ).to_have_count(0)

    def notice_arrived() -> bool:
        second_operator.goes_to("/inbox")
        return (
            "Lo que otros decidieron por una persona, por su interés superior o en su lugar,"
            " espera a alguien más"
        ) in second_operator.main.inner_text()

    until(notice_arrived)
    second_operator.finds(code, "Hogar El Jícaro")
    second_operator.presses("Confirmar como segunda persona")
    second_operator.sees("Confirmado.")
    operator.goes_to(review_page)
    operator.says_how_she_arrives()
    operator.presses("Enviar la remisión")
    operator.finds_it("Enviada")
    shelter = actors.enter_as(ShelterWorker, "hogar@jicaro.demo")
    shelter.goes_to(operator.where())
    shelter.sees("12 a 17 años")
    shelter.sees(marked("con una promotora"))
    shelter.opens("Lucía")

    operator.opens_person(code)
    operator.unfolds("Empezar un plan")
    operator.page.get_by_label("Niña, niño o adolescente").check()
    operator.presses("^Empezar$")
    operator.sees("Alguien que responda por ella")
    for message in (
        "Es de una niña, un niño o adolescente, o falta su edad en el expediente, así que falta"
        " otra persona.",
        "Lo tiene que confirmar otra persona",
    ):
        operator.unfolds("Terminar el plan")
        operator.page.select_option("main [name=reason_code]:not([id*='-'])", "contact_lost")
        operator.presses("^Terminar$")
        operator.sees(message)
    expect(operator.page.get_by_role("button", name="Terminar como segunda persona")).to_have_count(
        0
    )
    second_operator.finds(code, "Niña, niño o adolescente")
    second_operator.presses("Terminar como segunda persona")
    second_operator.sees("Terminó el")
