"""Words for the line, and for a caller who looks up her request with reference and PIN."""

from chassis.languages import N_

REVERSED = frozenset({"safe_to_talk", "safe_place_tonight"})
"""Questions that are worded as the opposite of the contract's field.

As worded on the page, "no" is then the reassuring answer to every question.
"""

TABLES: dict[str, dict[str, str]] = {
    "triage": {
        "safe_to_talk": N_("¿Corre peligro si habla ahora?"),
        "danger_now": N_("¿Está en peligro en este momento?"),
        "medical_emergency": N_("¿Hay una emergencia médica?"),
        "escape_under_way": N_("¿Está escapando ahora mismo?"),
        "still_held": N_("¿Todavía la retienen o la controlan?"),
        "wants_out": N_("¿Quiere salir de ahí?"),
        "child_unsafe": N_("¿Hay un niño, niña o adolescente en peligro?"),
        "safe_place_tonight": N_("¿Le falta un lugar seguro para esta noche?"),
        "exploiters_looking": N_("¿La están buscando quienes la explotaron?"),
        "sexual_violence_120h": N_("¿Hubo violencia sexual en los últimos cinco días?"),
        "wants_protection": N_("¿Pide protección?"),
        "need_within_days": N_("¿Necesita ayuda en estos días?"),
    },
    # Words that spell a reference's letters over a bad line; digits are read as they are.
    "spelling": {
        "A": N_("A de Ana"),
        "B": N_("B de Bueno"),
        "C": N_("C de Casa"),
        "D": N_("D de Dedo"),
        "E": N_("E de Elena"),
        "F": N_("F de Foca"),
        "G": N_("G de Gato"),
        "H": N_("H de Hotel"),
        "J": N_("J de Juan"),
        "K": N_("K de Kilo"),
        "M": N_("M de María"),
        "N": N_("N de Nube"),
        "P": N_("P de Pan"),
        "Q": N_("Q de Queso"),
        "R": N_("R de Rosa"),
        "S": N_("S de Sol"),
        "T": N_("T de Tierra"),
        "V": N_("V de Vaca"),
        "W": N_("W de Wendy"),
        "X": N_("X de Xilófono"),
        "Y": N_("Y de Yate"),
        "Z": N_("Z de Zapato"),
    },
    "answer": {"yes": N_("Sí"), "no": N_("No"), "did_not_say": N_("No dijo"), "": N_("Saltar")},
    "contact_kind": {
        "crisis": N_("Pide ayuda para sí o para otra persona"),
        "tip": N_("Da un aviso"),
        "information": N_("Pide información"),
        "unrelated": N_("No es del tema"),
        "prank": N_("Broma"),
    },
    "speaker": {
        "person": N_("La persona misma"),
        "guardian": N_("Madre, padre o tutor de una persona menor de edad"),
        "family": N_("Familia"),
        "witness": N_("Alguien que vio algo"),
        "professional": N_("Profesional o autoridad"),
        "unknown": N_("No se sabe"),
    },
    "campaign": {
        "tv": N_("Televisión"),
        "radio": N_("Radio"),
        "poster": N_("Afiche"),
        "web": N_("Internet"),
        "friend": N_("Alguien se lo dijo"),
        "authority": N_("Una autoridad"),
        "other": N_("Otro medio"),
    },
    "contact_outcome": {
        "open": N_("Sigue abierto"),
        "advised": N_("Se le orientó"),
        "referred": N_("Se remitió"),
        "handed_over": N_("Se pasó la llamada"),
        "dropped": N_("Se cortó"),
        "nothing_to_do": N_("No había nada que hacer"),
    },
    "emergency_number": {
        "general": N_("Emergencias (911)"),
        "police": N_("Policía"),
        "ambulance": N_("Ambulancia"),
        "fire": N_("Bomberos"),
        "child_protection": N_("Protección de niñez"),
    },
    "day_band": {
        "today": N_("hoy"),
        "tomorrow": N_("mañana"),
        "in_two_days": N_("pasado mañana"),
        "in_three_days": N_("en tres días"),
    },
    "hour_band": {
        "morning": N_("por la mañana, de 8 a 12"),
        "afternoon": N_("por la tarde, de 12 a 5"),
        "evening": N_("al anochecer, de 5 a 8"),
        "night": N_("por la noche, de 8 a 11"),
    },
    "callback_outcome": {
        "reached": N_("Se habló con ella"),
        "again": N_("No contestó: otra hora"),
        "given_up": N_("No contestó: ya no se llama"),
        "not_safe": N_("Ya no es seguro llamar"),
    },
    "pathway": {
        "protection_on_the_line": N_("Protección pedida en la línea"),
        "sexual_violence_120h": N_("Violencia sexual reciente: primeras 120 horas"),
        "child": N_("Niñez y adolescencia"),
        "return_and_reintegration": N_("Retorno y reintegración"),
    },
    "reference_status": {
        "being_prepared": N_("Se está preparando su pedido."),
        "asked": N_("Ya se pidió la ayuda. Estamos esperando la respuesta."),
        "accepted": N_("Dijeron que sí. Llame a la línea para saber cuándo y cómo seguir."),
        "waiting_list": N_("Está en lista de espera."),
        "in_progress": N_("La ayuda ya empezó."),
        "done": N_("Nos dicen que la ayuda ya se dio."),
        "not_possible": N_("Ahí no se pudo. Llame a la línea para saber de otro lugar."),
        "stopped": N_("Este pedido se detuvo."),
    },
    "reference_contact": {
        "accepted": N_("Dijeron que sí. Se pondrán en contacto con usted solo como usted pidió."),
    },
    "time_band": {
        "today": N_("hoy"),
        "this_week": N_("esta semana"),
        "earlier": N_("hace más de una semana"),
    },
}
