"""A caller takes her reference over a border.

Another line records her call under the same reference, she adds a note by herself, and both lines
see the note. Everything is real: the browser, the pages, the services, the databases and the facts
between them. No JavaScript is needed, so it is switched off.
"""

from typing import Any

from playwright.sync_api import Browser, expect

from tests.journeys.test_three_actors import Caller, Operator
from tests.journeys.typed import hers


def opens(actor: Operator | Caller, words: str) -> None:
    """Opens a folded part."""
    actor.page.get_by_role("main").locator("summary", has_text=words).first.click()


def records_the_call_of(operator: Operator, reference: str, pin: str) -> str:
    """Records a call under the reference that she gives; returns the contact's address."""
    operator.goes_to("/search")
    operator.page.fill("main #q", reference)
    operator.page.press("main #q", "Enter")
    operator.page.fill("#pin", pin)
    operator.page.press("#pin", "Enter")
    operator.sees("Así va su pedido")
    expect(operator.page.get_by_role("main")).not_to_contain_text("Abrir su contacto")
    operator.presses("Anotar esta llamada")
    operator.chooses("danger_now", "no")
    operator.presses("Guardar y dar referencia")
    operator.sees("Ya había llamado")
    return operator.page.locator("form[data-autosave]").get_attribute("action") or ""


def test_a_caller_continues_at_another_line_with_the_reference_that_she_has(
    browser: Browser, stack: Any
) -> None:
    first, second, caller = (
        Operator(browser, stack),
        Operator(browser, stack),
        Caller(browser, stack),
    )
    first.signs_in("operadora-cr@llamayvive.demo")
    reference, pin = first.takes_a_contact_without_a_name()
    of_first = first.page.locator("form[data-autosave]").get_attribute("action") or ""

    second.signs_in("operadora@llamayvive.demo")
    of_second = records_the_call_of(second, reference, pin)
    opens(second, "Acordar una llamada")
    second.page.select_option("[name=hour_code]", "evening")
    second.presses("Guardar la llamada")
    second.sees("Llamadas que debemos")

    caller.hears(reference, pin, "La línea la llama: mañana, 17:00")
    opens(caller, "Quiero decir algo más")
    caller.page.fill("#note", hers("Ya crucé la frontera y estoy donde una amiga."))
    caller.presses("^Enviar$")
    caller.sees("Lo lee solo la línea a la que usted llamó")

    for line, contact in ((first, of_first), (second, of_second)):
        line.goes_to("/line")
        line.sees("dijo algo más")
        line.goes_to(contact)
        line.sees("Ya crucé la frontera")

    caller.hears(reference, pin, "Así va su pedido")
    caller.presses("Ver la lista")
    caller.sees("Línea de ayuda · 2 veces")

    second.goes_to("/line")
    second.presses("Se habló con ella")
    second.sees("Guardado")
    caller.hears(reference, pin, "Así va su pedido")
    expect(caller.page.get_by_role("main")).not_to_contain_text("La línea la llama")
    for actor in (first, second, caller):
        actor.leaves()
