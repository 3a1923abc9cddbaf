"""Words for pathways and plans."""

from chassis.languages import N_

TABLES: dict[str, dict[str, str]] = {
    "plan_step_state": {
        "open": N_("Pendiente"),
        "referred": N_("Remitido"),
        "met": N_("Cumplido"),
        "not_needed": N_("No hace falta"),
        "refused_by_person": N_("Ella no lo quiere"),
    },
    "leg_kind": {
        "departure": N_("con este paso sale de viaje"),
        "arrival": N_("se pide antes de que salga"),
    },
    "skip_reason": {
        "has_it": N_("Ya lo tiene"),
        "does_not_apply": N_("No corresponde a su situación"),
        "done_elsewhere": N_("Ya se hizo en otro lugar"),
        "not_safe": N_("No es seguro para ella"),
        "not_available": N_("Nadie lo ofrece aquí"),
    },
    "skipped": {
        "refused_by_person": N_("ella no lo quiso"),
        "has_it": N_("ya lo tenía"),
        "does_not_apply": N_("no correspondía"),
        "done_elsewhere": N_("se hizo en otro lugar"),
        "not_safe": N_("no era seguro"),
        "not_available": N_("nadie lo ofrece"),
    },
    "plan_close_reason": {
        "fulfilled": N_("Se cumplió"),
        "person_ended": N_("Ella decidió terminarlo"),
        "contact_lost": N_("Se perdió el contacto con ella"),
        "other_pathway": N_("Sigue otra ruta"),
        "entered_in_error": N_("Se abrió por error"),
        "consent_withdrawn": N_("Retiró sus permisos"),
    },
    "plan_document": {
        "risk_assessment": N_("valoración de riesgo"),
        "safety_plan": N_("plan de seguridad"),
        "return_consent": N_("consentimiento para volver"),
        "travel_document": N_("documento de viaje"),
        "identity_document": N_("documento de identidad"),
        "birth_certificate": N_("partida de nacimiento"),
        "reception_record": N_("acta de recepción"),
        "medical_consent": N_("consentimiento para la atención médica"),
        "medical_report": N_("informe médico"),
        "forensic_report": N_("informe forense"),
        "family_assessment": N_("valoración de la familia"),
        "best_interest_decision": N_("decisión por su interés superior"),
        "guardian_appointment": N_("nombramiento de quien la representa"),
        "reintegration_plan": N_("plan de reintegración"),
        "follow_up_record": N_("nota de seguimiento"),
    },
    "legal_basis": {
        "palermo_6_3": N_("Protocolo de Palermo, artículo 6.3"),
        "palermo_6_4": N_("Protocolo de Palermo, artículo 6.4"),
        "palermo_6_5": N_("Protocolo de Palermo, artículo 6.5"),
        "palermo_8": N_("Protocolo de Palermo, artículo 8"),
        "coe_12": N_("Convenio del Consejo de Europa contra la trata, artículo 12"),
        "coe_16": N_("Convenio del Consejo de Europa contra la trata, artículo 16"),
        "crc_3": N_("Convención sobre los Derechos del Niño, artículo 3"),
        "crc_39": N_("Convención sobre los Derechos del Niño, artículo 39"),
    },
    "plan_role": {
        "case_worker": N_("quien la acompaña"),
        "sending_organization": N_("la organización que la envía, en el país de destino"),
        "consulate": N_("el consulado"),
        "receiving_organization": N_("la organización que la recibe"),
        "line_operator": N_("quien atiende la línea"),
        "shelter": N_("el albergue"),
        "health_service": N_("el servicio de salud"),
        "psychologist": N_("psicología"),
        "lawyer": N_("asistencia legal"),
        "child_authority": N_("la autoridad de niñez"),
        "registry": N_("el registro civil"),
        "police_or_prosecution": N_("policía o fiscalía"),
    },
    "line_problem": {
        "required": N_("una llegada espera a la salida: diga tras qué paso va, en «after»"),
        "too_short": N_("hace falta al menos un paso"),
        "unknown_field": N_("esta palabra no existe en una ruta"),
        "unknown_code": N_("ese código no existe"),
        "unknown_step": N_("no hay ningún paso que se llame así"),
        "language_missing": N_("falta un idioma: van es, en y fr"),
        "repeated": N_("está dos veces"),
        "cycle": N_("este paso termina esperándose a sí mismo"),
        "out_of_range": N_("está fuera de lo permitido; la versión tiene que ser la que sigue"),
        "malformed": N_("no se entiende; revise comillas, corchetes y espacios"),
        "too_long": N_("es demasiado largo"),
    },
    "done": {
        "plan_begun": N_("El plan empezó."),
        "published": N_(
            "Publicada. Los planes que empiecen desde ahora la siguen;"
            " los que ya corren conservan la suya."
        ),
        "card_published": N_("Publicada. Toda la línea la lee desde ahora."),
        "deadlines_published": N_(
            "Publicados. Rigen para lo que empiece desde ahora; lo que ya corre conserva su plazo."
        ),
    },
    "field": {
        "pathway_id": N_("Ruta"),
        "start_time": N_("Desde cuándo"),
        "state": N_("Cómo está"),
        "referral_id": N_("Remisión"),
        "text": N_("Texto de la ruta"),
    },
    "out_of_range": {
        "start_time": N_("tiene que ser una hora que ya pasó, de hace un año como máximo"),
    },
    "missing": {
        "pathway_id": N_("elija una ruta"),
        "state": N_("elija cómo está el paso"),
        "referral_id": N_("elija la remisión"),
    },
    "conflict": {
        "step_waits": N_("Antes falta otro paso. Cúmplalo, o diga que no hace falta."),
        "plan_closed": N_("Este plan ya terminó. Si hace falta, empiece otro."),
        "legs_not_accepted": N_(
            "Todavía no puede salir: en cada etapa que sigue tiene que haber aceptado una"
            " organización activa. Vea cuáles faltan en el viaje por etapas."
        ),
        "receipt_of_another_leg": N_(
            "Otra etapa del viaje ya va con este consentimiento. Cada etapa lleva el suyo:"
            " pídale uno nuevo."
        ),
        "plan_exists": N_("Ya tiene un plan con esta ruta: siga con ese, o ciérrelo antes."),
    },
}
