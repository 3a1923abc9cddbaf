"""What is said on the line, and to whoever asks with reference and PIN."""

from services.gateway.i18n import N_

TABLES: dict[str, dict[str, str]] = {
    "triage": {
        "safe_to_talk": N_("¿Puede hablar sin peligro ahora?"),
        "danger_now": N_("¿Está en peligro en este momento?"),
        "medical_emergency": N_("¿Hay una emergencia médica?"),
        "escape_under_way": N_("¿Está escapando ahora mismo?"),
        "still_held": N_("¿Todavía la retienen o la controlan?"),
        "wants_out": N_("¿Quiere salir de ahí?"),
        "child_unsafe": N_("¿Hay un niño, niña o adolescente en peligro?"),
        "safe_place_tonight": N_("¿Tiene un lugar seguro para esta noche?"),
        "exploiters_looking": N_("¿La están buscando quienes la explotaron?"),
        "sexual_violence_120h": N_("¿Hubo violencia sexual en los últimos cinco días?"),
        "wants_protection": N_("¿Pide protección?"),
        "need_within_days": N_("¿Necesita ayuda en estos días?"),
    },
    "answer": {"yes": N_("Sí"), "no": N_("No"), "did_not_say": N_("No dijo"), "": N_("Sin preguntar")},
    "contact_kind": {
        "crisis": N_("Pide ayuda para sí o para otra persona"),
        "tip": N_("Da un aviso"),
        "information": N_("Pide información"),
        "unrelated": N_("No es del tema"),
    },
    "speaker": {
        "person": N_("La persona misma"),
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
    "time_band": {"today": N_("hoy"), "this_week": N_("esta semana"), "earlier": N_("hace más de una semana")},
}
