"""A caller uses her reference at the line of another country.

That line records her call under the same reference, she adds a note by herself, and both lines
see the note. Everything is real: the browser, the pages, the services, the databases and the facts
between them. No JavaScript is needed, so it is switched off.
"""

from tests.journeys.actors import Actors, Caller, Operator
from tests.journeys.typed import marked


def record_call(operator: Operator, reference: str, pin: str) -> None:
    """Records a call under the reference that the caller gives."""
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


def test_a_caller_continues_at_another_line_with_the_reference_that_she_has(actors: Actors) -> None:
    first_operator = actors.enter_as(Operator, "operadora-cr@llamayvive.demo")
    reference, pin = first_operator.takes_a_contact_without_a_name()
    first_contact = contact_path(first_operator)

    second_operator = actors.enter_as(Operator, "operadora@llamayvive.demo")
    record_call(second_operator, reference, pin)
    second_contact = contact_path(second_operator)
    second_operator.unfolds("Acordar una llamada")
    second_operator.page.select_option("[name=hour_code]", "evening")
    second_operator.presses("Guardar la llamada")
    second_operator.sees("Llamadas que debemos")

    caller = actors.enter_as(Caller)
    caller.reads(reference, pin, "La línea le llama: mañana, 17:00")
    caller.unfolds("Quiero decir algo más")
    caller.page.fill("#note", marked("Ya crucé la frontera y estoy donde una amiga."))
    caller.presses("^Enviar$")
    caller.sees("Lo leen solo las líneas a las que usted llamó")

    for operator, contact in ((first_operator, first_contact), (second_operator, second_contact)):
        operator.goes_to("/line")
        operator.sees("dijo algo más")
        operator.goes_to(contact)
        operator.sees("Ya crucé la frontera")

    caller.reads(reference, pin, "Así va su pedido")
    caller.presses("Ver la lista")
    caller.sees("Línea de ayuda · 2 veces")

    second_operator.goes_to("/line")
    second_operator.presses("Se habló con ella")
    second_operator.sees("Guardado")
    caller.reads(reference, pin, "Así va su pedido")
    caller.sees_no("La línea le llama")
