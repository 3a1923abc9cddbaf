"""Words for the steps of a referral, and for the code lists that a step asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.languages import N_


@dataclass(frozen=True)
class Step:
    """All words of one step: button, explanation, confirmation and questions.

    `event` names the step's event in the history; `notice` names its notice, if somebody is
    notified.
    """

    label: str
    hint: str  # empty for a step with a page of its own
    done: str
    event_verb: str
    event: str
    notice: str = ""
    questions: Mapping[str, str] = field(default_factory=dict)  # that no other form has


STEPS: dict[str, Step] = {
    "send": Step(
        N_("Enviar"),
        hint="",
        done=N_("Enviada. Le avisaremos en cuanto respondan."),
        event_verb="sent",
        event=N_("Se envió"),
        notice=N_("Envío"),
    ),
    "acknowledge": Step(
        N_("Ya la vimos"),
        hint=N_(
            "Quien envió la remisión sabrá que ustedes ya la vieron."
            " Todavía no se comprometen a nada."
        ),
        done=N_("Anotado. Le avisamos a quien envió la remisión que ustedes la vieron."),
        event_verb="acknowledged",
        event=N_("Vieron la remisión"),
        notice=N_("Vista"),
    ),
    "accept": Step(
        N_("Aceptar"),
        hint=N_("Diga cuándo será el primer contacto."),
        done=N_("Aceptada. Cumpla el primer contacto en el plazo."),
        event_verb="accepted",
        event=N_("La aceptaron"),
        notice=N_("Aceptada"),
        questions={
            "planned_first_contact_time": N_("Primer contacto"),
            "responsible_worker_id": N_("Quién se encarga"),
        },
    ),
    "ask": Step(
        N_("Pedir un dato"),
        hint=N_("Una sola vez. El plazo para responder se detiene hasta que le contesten."),
        done=N_("Pregunta enviada. El plazo de ustedes está en pausa."),
        event_verb="info_requested",
        event=N_("Pidieron un dato"),
        notice=N_("Piden un dato"),
        questions={"question_code": N_("Sobre qué pregunta")},
    ),
    "waitlist": Step(
        N_("Poner en lista de espera"),
        hint=N_(
            "Diga cuánto habrá que esperar y cuándo lo revisarán."
            " Quien la envió puede buscar otro lugar."
        ),
        done=N_("En lista de espera. Le recordaremos la fecha de revisión."),
        event_verb="waitlisted",
        event=N_("La pusieron en lista de espera"),
        notice=N_("En lista de espera"),
        questions={
            "expected_wait_days": N_("Días de espera"),
            "review_time": N_("Fecha de revisión"),
        },
    ),
    "decline": Step(
        N_("No podemos recibirla"),
        hint=N_("Diga por qué. Quien la envió podrá buscar otro servicio."),
        done=N_("Respuesta enviada con su motivo. Gracias por contestar."),
        event_verb="declined",
        event=N_("No la pudieron recibir"),
        notice=N_("No la pudieron recibir"),
    ),
    "answer": Step(
        N_("Responder la pregunta"),
        hint=N_("Conteste lo que preguntan, sin nombres ni direcciones si no hacen falta."),
        done=N_("Respuesta enviada."),
        event_verb="answered",
        event=N_("Se respondió la pregunta"),
        notice=N_("Respuesta"),
    ),
    "start": Step(
        N_("Anotar el primer contacto"),
        hint=N_("La persona ya fue contactada o atendida por primera vez."),
        done=N_("Anotado: ya hubo un primer contacto."),
        event_verb="started",
        event=N_("Hubo un primer contacto"),
        questions={"first_contact_time": N_("Primer contacto")},
    ),
    "assign": Step(
        N_("Decir quién se encarga"),
        hint=N_(
            "La persona elegida responde desde ahora por la remisión. Si no es usted, Enlace le"
            " avisa."
        ),
        done=N_("Anotado: cambió quién se encarga."),
        event_verb="assigned",
        event=N_("Cambió quién se encarga"),
        notice=N_("Cambió quién se encarga"),
    ),
    "amend": Step(
        N_("Corregir la urgencia o los datos"),
        hint=N_(
            "Si algo cambió. Más urgente: los plazos se cuentan de nuevo."
            " Su edad y los demás datos que no la señalan se toman del expediente, como están"
            " ahora."
        ),
        done=N_("Corregida. Le avisamos al otro lado."),
        event_verb="amended",
        event=N_("Se corrigió"),
    ),
    "schedule_appointment": Step(
        N_("Fijar una cita"),
        hint=N_(
            "Diga qué día y a qué hora. Si ya había una cita, esta la reemplaza."
            " Hasta entonces no se le piden noticias."
        ),
        done=N_("Cita fijada. Le avisamos a quien envió la remisión."),
        event_verb="appointment_scheduled",
        event=N_("Se fijó una cita"),
        notice=N_("Cita fijada"),
        questions={"appointment_time": N_("Día y hora de la cita")},
    ),
    "attend_appointment": Step(
        N_("Anotar que vino a la cita"),
        hint=N_("La cita se dio. Después puede fijar otra."),
        done=N_("Anotado: vino a la cita."),
        event_verb="appointment_attended",
        event=N_("Vino a la cita"),
    ),
    "miss_appointment": Step(
        N_("Anotar que no vino a la cita"),
        hint=N_("Diga por qué, si lo sabe. Le avisaremos a quien envió la remisión."),
        done=N_("Anotado: no vino. Le avisamos a quien envió la remisión. Puede fijar otra cita."),
        event_verb="appointment_missed",
        event=N_("No vino a la cita"),
        notice=N_("No vino a la cita"),
    ),
    "cancel_appointment": Step(
        N_("Cancelar la cita"),
        hint=N_(
            "Si solo cambia la hora, no la cancele: fije otra cita."
            " Le avisaremos a quien envió la remisión."
        ),
        done=N_("Cita cancelada. Le avisamos a quien envió la remisión."),
        event_verb="appointment_cancelled",
        event=N_("Se canceló la cita"),
        notice=N_("Cita cancelada"),
    ),
    "add_note": Step(
        N_("Dar noticias"),
        hint=N_(
            "Escriba cómo va o qué cambió, sin nombres ni direcciones si no hacen falta."
            " Le avisaremos al otro lado."
        ),
        done=N_("Nota guardada. Le avisamos al otro lado."),
        event_verb="note_added",
        event=N_("Dieron noticias"),
        notice=N_("Noticias"),
    ),
    "complete": Step(
        N_("Terminar la atención"),
        hint=N_("Diga qué se logró. Quien la envió confirmará con la persona."),
        done=N_("Terminada. Falta que la persona lo confirme."),
        event_verb="completed",
        event=N_("Terminó la atención"),
        notice=N_("Atención terminada"),
        questions={"outcome_code": N_("Resultado"), "delivered_need_codes": N_("Ayuda que se dio")},
    ),
    "not_deliver": Step(
        N_("No se pudo atender"),
        hint=N_("Se había aceptado, pero no se pudo. Diga por qué, para buscar otra ayuda."),
        done=N_("Anotado. Quien la envió podrá buscar otra ayuda."),
        event_verb="not_delivered",
        event=N_("No se pudo atender"),
        notice=N_("No se pudo atender"),
    ),
    "close_need": Step(
        N_("Dejar de buscar otro servicio"),
        hint=N_(
            "Solo si ya no hace falta o no es posible. Queda anotado quién lo decidió y por qué."
        ),
        done=N_("Anotado: ya no se busca otro servicio."),
        event_verb="need_closed",
        event=N_("Se dejó de buscar otro servicio"),
        notice=N_("Se dejó de buscar otro servicio"),
    ),
    "close": Step(
        N_("Confirmar y cerrar"),
        hint=N_("Pregunte a la persona si la ayuda le llegó, y anote lo que dijo."),
        done=N_("Anotado."),
        event_verb="closed",
        event=N_("Se confirmó y se cerró"),
        notice=N_("Cierre"),
        questions={"help_came_code": N_("Si la ayuda llegó")},
    ),
    "confirm_override": Step(
        N_("Confirmar la emergencia"),
        hint=N_(
            "Se envió sin preguntarle a ella. Confirme solo si esperar la ponía en peligro;"
            " si nadie confirma a tiempo, el acceso se cierra."
        ),
        done=N_("Emergencia confirmada."),
        event_verb="override_confirmed",
        event=N_("Otra persona confirmó la emergencia"),
        notice=N_("Emergencia confirmada"),
    ),
    "attach_consent": Step(
        N_("Registrar su consentimiento"),
        hint=N_(
            "Cuando se le pudo preguntar, o antes de que termine el que hay:"
            " desde ahora vale lo que este abarca, y el anterior ya no vale para esta remisión."
        ),
        done=N_("Listo: ahora vale el consentimiento nuevo."),
        event_verb="consent_attached",
        event=N_("Se registró un consentimiento nuevo"),
        notice=N_("Consentimiento nuevo"),
    ),
    "withdraw": Step(
        N_("Retirar la remisión"),
        hint=N_("El otro lado deja de poder abrir sus datos al instante."),
        done=N_("Retirada. El otro lado ya no puede abrir sus datos."),
        event_verb="withdrawn",
        event=N_("Se retiró"),
        notice=N_("Retiro"),
    ),
    "confirm_deletion": Step(
        N_("Confirmar que no guardamos nada"),
        hint=N_(
            "Se retiró el consentimiento, o se borró su expediente. Enlace ya cerró sus datos;"
            " destruya lo que anotaron en papel o en otro sistema, y confírmelo."
        ),
        done=N_("Confirmado: su organización ya no guarda nada de ella."),
        event_verb="deletion_confirmed",
        event=N_("Confirmaron que no guardan nada"),
        notice=N_("Ya no guardan nada"),
    ),
    "reroute": Step(
        N_("Pedirla a otro servicio"),
        hint=N_(
            "Deja de esperar a esta organización, que ya no puede abrir sus datos."
            " Queda un borrador para el otro servicio: falta el consentimiento para ese lugar."
        ),
        done=N_(
            "Ya no se espera a esta organización: quien envió la remisión tiene el borrador para"
            " pedirla al otro servicio."
        ),
        event_verb="rerouted",
        event=N_("Se pide a otro servicio"),
        notice=N_("Se pide a otro servicio"),
    ),
    "remind": Step(
        N_("Recordar"),
        hint=N_(
            "Le llega un aviso a la mesa de quien debe dar el siguiente paso. Una vez por hora;"
            " si urge, no espere: llame o busque otro servicio."
        ),
        done=N_("Recordada: les mandamos el aviso."),
        event_verb="reminded",
        event=N_("La coordinación la recordó"),
        notice=N_("Recordatorio de la coordinación"),
    ),
    "enter_in_error": Step(
        N_("Anular: se hizo por error"),
        hint=N_("Sale de todas las cuentas. Solo si nunca debió existir."),
        done=N_("Anulada."),
        event_verb="entered_in_error",
        event=N_("Se anuló por error"),
        notice=N_("Se anuló por error"),
    ),
}

TABLES: dict[str, dict[str, str]] = {
    "field": {
        name: text for step_words in STEPS.values() for name, text in step_words.questions.items()
    },
    "notice": {
        f"referral_{step_words.event_verb}": step_words.notice
        for step_words in STEPS.values()
        if step_words.notice
    },
    "missing": {
        "planned_first_contact_time": N_("diga qué día y a qué hora será"),
        "first_contact_time": N_("diga qué día y a qué hora fue"),
        "review_time": N_("diga qué día se revisa"),
        "expected_wait_days": N_("diga cuántos días, más o menos"),
        "appointment_time": N_("diga qué día y a qué hora"),
        "question_code": N_("elija sobre qué pregunta"),
        "outcome_code": N_("elija qué se logró"),
        "help_came_code": N_("elija lo que ella dijo"),
    },
    "out_of_range": {
        "appointment_time": N_(
            "elija un día y una hora que todavía no hayan pasado, en los próximos 90 días"
        ),
        "review_time": N_("elija un día desde hoy, en menos de un año"),
        "planned_first_contact_time": N_("elija un día desde hoy, en menos de un año"),
    },
    "contradicts": {
        "delivered_need_codes": N_(
            "si no se resolvió, no se dio ninguna: quite la marca, o cambie el resultado"
        ),
    },
    "ahead": {
        "planned_first_contact_time": N_("Primer contacto previsto"),
        "appointment_time": N_("Cita"),
    },
    "verb": {step: step_words.label for step, step_words in STEPS.items()},
    "verb_hint": {step: step_words.hint for step, step_words in STEPS.items() if step_words.hint},
    "done": {step: step_words.done for step, step_words in STEPS.items()},
    # for the auditor; a more exact text is in audit.py
    "trail_call": {f"{step}_referral": step_words.event for step, step_words in STEPS.items()},
    "event": {step_words.event_verb: step_words.event for step_words in STEPS.values()},
    "decline_reason": {
        "no_capacity": N_("No hay lugar"),
        "waitlist_only": N_("Solo hay lista de espera"),
        "not_eligible_age": N_("No atendemos esa edad"),
        "not_eligible_sex_or_gender": N_("No atendemos ese sexo o género"),
        "not_eligible_status": N_("No cumple una condición nuestra"),
        "cannot_take_dependants": N_("No podemos recibir a sus hijos o familiares"),
        "out_of_area": N_("Está fuera de nuestra zona"),
        "service_not_offered": N_("No damos ese servicio"),
        "risk_cannot_be_managed": N_("No podemos manejar ese riesgo"),
        "needs_higher_level_of_care": N_("Necesita atención más especializada"),
        "language_not_available": N_("No tenemos quien hable su idioma"),
        "accessibility_not_available": N_("No tenemos condiciones de acceso"),
        "missing_information": N_("Faltan datos"),
        "duplicate": N_("Está repetida"),
        "consent_not_confirmed": N_("La persona no confirmó su consentimiento"),
        "conflict_of_interest": N_("Hay conflicto de interés"),
        "too_late_to_place": N_("Ya es tarde para ubicarla"),
        "funding_ended": N_("Se acabaron los fondos"),
        "other": N_("Otro motivo"),
    },
    "withdraw_reason": {
        "person_changed_mind": N_("La persona cambió de idea"),
        "needs_met_elsewhere": N_("Ya la ayudan en otra parte"),
        "safety_changed": N_("Cambió su seguridad"),
        "moved": N_("Se mudó"),
        "not_engaged": N_("No siguió en contacto"),
        "work_or_care_commitments": N_("Su trabajo o su familia no se lo permiten"),
        "ineligible": N_("No cumple las condiciones"),
        "mistaken_or_duplicate": N_("Fue un error o está repetida"),
        "died": N_("Falleció"),
        "other": N_("Otro motivo"),
    },
    "not_delivered_reason": {
        "could_not_contact": N_("No se la pudo contactar"),
        "person_declined": N_("La persona no quiso"),
        "no_show_repeated": N_("No llegó varias veces"),
        "capacity_lost": N_("Se perdió el lugar"),
        "safety_incident": N_("Hubo un incidente de seguridad"),
        "person_missing": N_("No se sabe dónde está"),
        "returned_to_exploitation_suspected": N_("Se teme que la exploten otra vez"),
        "other": N_("Otro motivo"),
    },
    "need_close_reason": {
        "met_elsewhere": N_("Ya la ayudan en otra parte"),
        "person_declined": N_("La persona no quiso"),
        "could_not_contact": N_("No se la pudo contactar"),
        "person_missing": N_("No se sabe dónde está"),
        "moved": N_("Se mudó"),
        "died": N_("Falleció"),
        "no_service_found": N_("No hay ningún servicio que pueda; sigue sin ayuda"),
        "mistaken_or_duplicate": N_("Fue un error o está repetida"),
        "other": N_("Otro motivo"),
    },
    "miss_reason": {
        "did_not_come": N_("No vino, y no se sabe por qué"),
        "could_not_contact": N_("No se la pudo contactar"),
        "no_transport": N_("No tuvo cómo llegar"),
        "not_safe": N_("No era seguro para ella"),
        "ill": N_("Estaba enferma"),
        "work_or_care_commitments": N_("Su trabajo o su familia no se lo permiten"),
        "person_declined": N_("La persona no quiso"),
        "other": N_("Otro motivo"),
    },
    "cancel_reason": {
        "by_person": N_("Lo pidió la persona"),
        "by_provider": N_("Nosotros no podemos ese día"),
        "not_safe": N_("No era seguro para ella"),
        "no_longer_needed": N_("Ya no hace falta"),
        "other": N_("Otro motivo"),
    },
    "outcome": {
        "fully_met": N_("Se resolvió todo"),
        "partly_met": N_("Se resolvió una parte"),
        "ongoing_with_provider": N_("Sigue con nosotros"),
        "met_by_other": N_("Lo resolvió otra organización"),
        "person_ended_early": N_("La persona terminó antes"),
        "not_met": N_("No se resolvió"),
    },
    "question": {
        "eligibility": N_("Si cumple las condiciones"),
        "health": N_("Salud"),
        "safety": N_("Seguridad"),
        "dependants": N_("Hijos o familiares a cargo"),
        "language": N_("Idioma"),
        "documents": N_("Documentos"),
        "dates": N_("Fechas"),
        "other": N_("Otra cosa"),
    },
    "help_came": {
        "yes": N_("Sí, la ayuda llegó"),
        "no": N_("No, la ayuda no llegó"),
        "could_not_reach": N_("No la pudimos encontrar para preguntarle"),
    },
}
