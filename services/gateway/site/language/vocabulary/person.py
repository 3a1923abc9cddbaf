"""Words for a person and her consent, and the script that is read aloud to her."""

from chassis.languages import N_

TABLES: dict[str, dict[str, str]] = {
    "field_group": {
        "identity": N_("Nombre y fecha de nacimiento"),
        "contact": N_("Teléfono y cómo contactarla"),
        "health": N_("Salud"),
        "exploitation": N_("Lo que vivió"),
        "family": N_("Familia"),
        "location": N_("Dirección"),
        "documents": N_("Documentos"),
        "notes": N_("Notas sobre su situación"),
    },
    "identity_field": {
        "given_name": N_("Nombres"),
        "family_name": N_("Apellidos"),
        "birth_date": N_("Fecha de nacimiento"),
        "phone": N_("Teléfono"),
        "address": N_("Dirección"),
        "health_note": N_("Salud"),
        "exploitation_note": N_("Lo que vivió"),
        "family_note": N_("Familia"),
        "document_number": N_("Número de documento"),
    },
    "age_band": {
        "0-11": N_("0 a 11 años"),
        "12-17": N_("12 a 17 años"),
        "18-24": N_("18 a 24 años"),
        "25-59": N_("25 a 59 años"),
        "60+": N_("60 años o más"),
    },
    "gender": {
        "feminine": N_("Mujer"),
        "masculine": N_("Hombre"),
        "transgender_feminine": N_("Mujer trans"),
        "transgender_masculine": N_("Hombre trans"),
        "non_conforming": N_("Persona no binaria"),
    },
    "person_gender": {
        "Feminine": N_("Mujer"),
        "Masculine": N_("Hombre"),
        "TransgenderFeminine": N_("Mujer trans"),
        "TransgenderMasculine": N_("Hombre trans"),
        "NonConforming": N_("Persona no binaria"),
    },
    "trafficking_status": {
        "PossibleVictimOfTrafficking": N_("Posible: por confirmar"),
        "ActualVictimOfTrafficking": N_("Confirmado"),
        "NotAVictimOfTrafficking": N_("No es trata"),
    },
    "safe_channel": {
        "phone": N_("Llamarla por teléfono"),
        "message": N_("Escribirle un mensaje"),
        "visit": N_("Visitarla"),
        "through_worker": N_("Solo a través de quien la atiende"),
        "none": N_("No contactarla por ningún medio"),
    },
    "no_plan": {
        "receipt_field_group_differs": N_(
            "El permiso no abarca que ustedes la contacten. No la llame: hable con quien la envió."
        ),
        "receipt_missing": N_(
            "No hay un permiso válido para contactarla. No la llame: hable con quien la envió."
        ),
        "receipt_expired": N_(
            "El permiso para contactarla ya venció. No la llame: hable con quien la envió."
        ),
        "receipt_unconfirmed": N_(
            "El permiso de emergencia no se confirmó. No la llame: hable con quien la envió."
        ),
        "member_on_probation": N_(
            "Su organización está en período de prueba y no ve cómo contactarla. No la llame:"
            " hable con quien la envió."
        ),
        "safe_contact_missing": N_(
            "Falta decir cómo se la puede contactar sin peligro. Pregúnteselo antes de llamarla."
        ),
    },
    "open_basis": {
        "file": N_("Es un expediente de su organización. Se abre solo lo que marque, para:"),
        "person": N_("Se abre solo lo que ella autorizó, para:"),
        "others": N_(
            "Ella no dio el permiso: lo dio quien podía darlo por ella."
            " Se abre solo lo que abarca, para:"
        ),
        "override": N_(
            "Se envió sin su consentimiento, y otra persona lo confirmó."
            " Se abre solo lo que hace falta, para:"
        ),
        "unconfirmed": N_(
            "Se envió sin su consentimiento. Hasta que otra persona lo confirme se abren solo su"
            " nombre de pila y cómo contactarla, para:"
        ),
        "emergency": N_("Acceso de emergencia: se abre solo lo que hace falta, para:"),
    },
    "explained": {
        "interview": N_("Puede no contestar, hacer una pausa o terminar cuando quiera."),
        "purpose": N_("Para qué pedimos sus datos: para que este servicio pueda ayudarle."),
        "uses": N_(
            "Quién los verá: nosotros y la organización que usted autorice, que verá solo lo que"
            " usted permita. Sin su permiso, solo en una emergencia que queda escrita."
        ),
        "research_use": N_(
            "Para contar a cuánta gente se ayuda se usan números, nunca su nombre ni nada que diga"
            " quién es usted."
        ),
        "right_to_data": N_(
            "Puede pedir que le lean lo que hay escrito sobre usted y quién lo miró, y corregirlo."
        ),
        "storage_time": N_(
            "Cuánto tiempo: esa organización, hasta la fecha que acordemos;"
            " después ya no puede abrirlos. Nosotros guardamos su expediente."
        ),
        "how_to_withdraw": N_(
            "Puede retirar su permiso cuando quiera: con nosotros, con quien le atiende, o con su"
            " referencia y su PIN, si los tiene. Lo que se pidió con él se detiene, y puede volver"
            " a pedir ayuda."
        ),
    },
    "giver": {
        "person": N_("Ella misma"),
        "guardian": N_("Madre, padre o tutor"),
        "authority": N_("Autoridad de niñez"),
        "best_interest": N_("Decisión por su interés superior, con otra persona"),
    },
    "assent": {
        "given": N_("Está de acuerdo"),
        "refused": N_("No está de acuerdo"),
        "too_young": N_("Es muy pequeña o pequeño para decirlo"),
    },
    "adult_ground": {
        "her_word": N_("Sí: lo dice ella"),
        "document": N_("Sí: lo dice un documento"),
        "known_to_service": N_("Sí: lo dice una organización que la conoce"),
        "unmistakable": N_("Sí: a simple vista, sin ninguna duda"),
    },
    "giver_ground": {
        "cannot_consent_medically": N_("Su estado de salud no le permite decidir ahora"),
        "cannot_express_will": N_("No hay ningún medio de entender lo que quiere"),
        "court_order": N_("Un juez nombró a quien decide por ella"),
    },
    "manner": {"spoken": N_("De palabra"), "written": N_("Por escrito")},
    "field": {
        "identity": N_("Completar o corregir"),
        "cleared_fields": N_("Quitar lo guardado"),
    },
    "missing": {
        "identity": N_("escriba por lo menos un dato"),
        "birth_date": N_(
            "la de una persona menor de edad no se quita, porque dice cuándo cumple los 18;"
            " si está mal, escriba la correcta"
        ),
    },
    "contradicts": {
        "age_band": N_(
            "no es la que se sabe; si antes o ahora es menor de edad, anote su fecha de nacimiento"
            " en «Completar o corregir», aunque sea aproximada"
        ),
    },
    "done": {
        "receipt_confirmed": N_("Confirmado."),
        "receipt_withdrawn": N_("Consentimiento retirado. El acceso terminó."),
        "erasure_proposed": N_("Propuesto. Otra persona de su organización debe confirmarlo."),
        "erased": N_("El expediente se borró para siempre."),
        "receipts_withdrawn": N_(
            "Todo retirado. Con esos permisos ya nadie puede abrir sus datos."
        ),
    },
}
