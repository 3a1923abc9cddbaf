"""Words for enquiries."""

from chassis.languages import N_

TABLES: dict[str, dict[str, str]] = {
    "enquiry_state": {
        "open": N_("Abierta"),
        "matched": N_("Se tomó un ofrecimiento"),
        "cancelled": N_("Cancelada"),
        "exhausted": N_("Nadie pudo"),
    },
    "offer_answer": {
        "yes": N_("Sí"),
        "maybe": N_("Tal vez"),
        "waitlist": N_("Lista de espera"),
        "no": N_("No"),
        "": N_("Sin respuesta"),
    },
    "accessibility": {
        "step_free": N_("Entrada sin gradas"),
        "sign_language": N_("Lengua de señas"),
        "low_vision": N_("Apoyo por baja visión"),
        "easy_language": N_("Palabras sencillas"),
        "personal_assistance": N_("Ayuda de otra persona para lo diario"),
    },
    "enquiry_attribute": {
        "age_band": N_("Edad"),
        "gender": N_("Género"),
        "dependants": N_("Hijos o familiares a cargo"),
        "languages": N_("Idioma"),
        "department": N_("Departamento"),
    },
    # Reasons for the end of an enquiry, in addition to the reasons for which services decline.
    "enquiry_reason": {
        "no_response": N_("no respondieron a tiempo"),
        "not_taken": N_("nadie tomó un ofrecimiento a tiempo"),
        "not_referred": N_("no se envió la remisión a tiempo"),
        "offer_gone": N_(
            "quien ofreció ayuda está suspendida, se retiró o ya no ofrece ese servicio"
        ),
        "by_asker": N_("ustedes dejaron de preguntar"),
        "consent_withdrawn": N_("la persona ya no quiere que se pregunte"),
    },
    "notice": {
        "enquiry_opened": N_("Preguntan si pueden recibir a alguien"),
        "enquiry_offered": N_("Un servicio puede ayudar"),
        "enquiry_offers_waiting": N_("Una consulta espera"),
        "enquiry_matched": N_("Tomaron su ofrecimiento"),
        "enquiry_released": N_("Ya no llegará una remisión"),
        "enquiry_not_taken": N_("No hace falta el lugar"),
        "enquiry_exhausted": N_("Nadie pudo ayudar"),
        "enquiry_cancelled": N_("Una consulta se cerró"),
    },
    "done": {
        "asked": N_("Ya se preguntó. Las respuestas aparecen aquí."),
        "answered": N_("Respuesta enviada. Puede cambiarla mientras siga abierta."),
        "taken": N_("Tomado. A los demás ya no se les pregunta, y lo que leyeron se borró."),
        "stopped": N_("Ya no se pregunta a nadie, y lo que leyeron se borró."),
    },
    "field": {
        "languages": N_("Idioma"),
        "gender_code": N_("Género"),
        "accessibility_codes": N_("Acceso"),
        "answer": N_("Respuesta"),
    },
    "conflict": {
        "enquiry_taken": N_("Ya se tomó un ofrecimiento. Abajo se ve si todavía falta algo."),
        "enquiry_cancelled": N_("Esta consulta se canceló: por ella ya no llega nadie."),
        "enquiry_exhausted": N_(
            "Esta consulta terminó sin que nadie pudiera. Pueden preguntar otra vez."
        ),
        "offer_gone": N_(
            "Ese servicio ya no ofrece eso. Mire cómo está ahora y tome otro ofrecimiento."
        ),
        "too_many_enquiries": N_(
            "Su organización tiene demasiadas consultas. Cierre alguna, o espere."
        ),
    },
}
