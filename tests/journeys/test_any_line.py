"""A caller takes her reference over a border.

Another line records her call under the same reference, she adds a note by herself, and both lines
see the note. Everything is real: the browser, the pages, the services, the databases and the facts
between them. No JavaScript is needed, so it is switched off.
"""

from tests.journeys.actors import Actors, Caller, Operator
from tests.journeys.typed import marked


def records_the_call_of(operator: Operator, reference: str, pin: str) -> None:
    """Records a call under the reference that she gives."""
    operator.searches_for(reference, pin)
    operator.sees("Así va su pedido")
    operator.sees_no("Abrir su contacto")
    operator.presses("Anotar esta llamada")
    operator.chooses("danger_now", "no")
    operator.presses("Guardar y dar referencia")
    operator.sees("Ya había llamado")


def contact_path(operator: Operator) -> str:
    """Returns the path of the contact on the open page."""
    return operator.page.locator("form[data-autosave]").get_attribute("action") or ""


def test_a_caller_continues_at_another_line_with_the_reference_that_she_has(
    actors: Actors,
) -> None:
    first = actors.enter_as(Operator, "operadora-cr@llamayvive.demo")
    reference, pin = first.takes_a_contact_without_a_name()
    of_first = contact_path(first)

    second = actors.enter_as(Operator, "operadora@llamayvive.demo")
    records_the_call_of(second, reference, pin)
    of_second = contact_path(second)
    second.unfolds("Acordar una llamada")
    second.page.select_option("[name=hour_code]", "evening")
    second.presses("Guardar la llamada")
    second.sees("Llamadas que debemos")

    caller = actors.enter_as(Caller)
    caller.reads(reference, pin, "La línea la llama: mañana, 17:00")
    caller.unfolds("Quiero decir algo más")
    caller.page.fill("#note", marked("Ya crucé la frontera y estoy donde una amiga."))
    caller.presses("^Enviar$")
    caller.sees("Lo lee solo la línea a la que usted llamó")

    for line, contact in ((first, of_first), (second, of_second)):
        line.goes_to("/line")
        line.sees("dijo algo más")
        line.goes_to(contact)
        line.sees("Ya crucé la frontera")

    caller.reads(reference, pin, "Así va su pedido")
    caller.presses("Ver la lista")
    caller.sees("Línea de ayuda · 2 veces")

    second.goes_to("/line")
    second.presses("Se habló con ella")
    second.sees("Guardado")
    caller.reads(reference, pin, "Así va su pedido")
    caller.sees_no("La línea la llama")
