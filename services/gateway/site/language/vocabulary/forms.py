"""Names of fields, and texts for errors and for steps that are not possible."""

from chassis.languages import N_

TABLES: dict[str, dict[str, str]] = {
    "field": {
        "email": N_("Correo"),
        "password": N_("Contraseña"),
        "new_password": N_("La nueva"),
        "again": N_("La nueva, otra vez"),
        "token": N_("Código de la invitación"),
        "roles": N_("Tareas"),
        "need_code": N_("Qué ayuda necesita"),
        "urgency": N_("Qué tan pronto"),
        "urgency_reason_code": N_("Si es menos urgente que lo que contestó en la línea: por qué"),
        "acknowledged_codes": N_("Lo que ya se sabe"),
        "unsafe_code": N_("Con quién o dónde no está a salvo"),
        "unsafe_organization_ids": N_("Con quién no está a salvo"),
        "excluded_organization_ids": N_("No preguntar a"),
        "unsafe_departments": N_("Dónde no"),
        "unsafe_search": N_("Otra organización"),
        "note": N_("Nota"),
        "expected": N_("Cuándo llega"),
        "way": N_("Cómo viene, y adónde"),
        "company": N_("Con quién viene"),
        "sign": N_("Cómo se reconocen"),
        "reason_code": N_("Motivo"),
        "override_reason_code": N_("Motivo de emergencia"),
        "until_time": N_("Hasta cuándo"),
        "expire_time": N_("Deja de servir el"),
        "connected_live": N_("¿Quedaron hablando?"),
        "campaign_code": N_("Cómo supo de la línea"),
        "trafficking_status_code": N_("¿Es trata de personas?"),
        "kinds": N_("Cuáles"),
        "narrowed": N_("Solo para la coordinación y ustedes"),
        "field_groups": N_("Qué datos"),
        "purpose_codes": N_("Para qué"),
        "purpose_code": N_("Para qué"),
        "explained_codes": N_("Lo que se le explicó"),
        "recipient_organization_id": N_("A quién"),
        "giver_code": N_("Quién da el permiso"),
        "assent_code": N_("Qué dice la niña, el niño o adolescente"),
        "adult_ground_code": N_("Si es mayor de edad"),
        "giver_ground_code": N_("Por qué no lo da ella misma"),
        "receipt_id": N_("Consentimiento"),
        "manner_code": N_("Cómo lo dio"),
        "channel_code": N_("Cómo contactarla"),
        "birth_date": N_("Fecha de nacimiento"),
        "age": N_("Edad en años"),
        "age_band": N_("Edad"),
        "country": N_("País"),
        "period": N_("Período"),
        "department": N_("Departamento"),
        "language": N_("Idioma"),
        "dependants": N_("Hijos o familiares a cargo"),
        "phone": N_("Teléfono"),
        "url": N_("Dirección web"),
        "pin": N_("PIN"),
        "reference": N_("Referencia"),
        "name": N_("Nombre"),
        "available": N_("Lugares libres"),
        "maximum": N_("Lugares en total"),
        "words": N_("Palabras"),
        "q": N_("Qué busca"),
        "service_id": N_("Servicio"),
        "line_country": N_("País de la línea"),
        "kind_code": N_("Qué tipo de contacto"),
        "speaker_code": N_("Quién habla"),
        "day_code": N_("Qué día"),
        "hour_code": N_("A qué hora"),
        "handed_over_organization_id": N_("Con qué organización"),
        "emergency_number_code": N_("Número de emergencia"),
        "sign_in_provider": N_("Entrar por su organización"),
        "issuer": N_("Dirección"),
        "client_id": N_("Cómo nos conoce"),
        "client_secret": N_("Secreto"),
        "label": N_("Nombre de la clave"),
        "placement_code": N_("Código del afiche o del mensaje"),
        "media_codes": N_("Por qué medios"),
        "scopes": N_("Permisos"),
        "description": N_("Frases sobre lo que hace"),
        "languages": N_("Idiomas"),
        "type": N_("Tipo"),
        "hotline_number": N_("Número público"),
        "need_codes": N_("Qué ayuda es"),
        "eligibility": N_("A quién recibe"),
        "minimum_age": N_("Desde qué edad"),
        "maximum_age": N_("Hasta qué edad"),
        "genders": N_("Géneros"),
        "takes_dependants": N_("Con hijos o familiares"),
        "maximum_dependants": N_("Cuántos familiares, lo más"),
        "maximum_age_of_boys": N_("Hijos varones hasta qué edad"),
        "confidential": N_("Lugar reservado"),
        "location_ids": N_("En qué lugares atiende"),
        "public": N_("Puede encontrarlo cualquiera, sin entrar"),
        "active": N_("Se ofrece ahora"),
        "schedules": N_("Cuándo recibe gente"),
        "byday": N_("Días"),
        "opens_at": N_("Abre"),
        "closes_at": N_("Cierra"),
        "area_codes": N_("De dónde recibe"),
        "area_code": N_("Municipio"),
        "accessibility": N_("Para personas con discapacidad"),
        "tiers": N_("Quién lo ve"),
        "address": N_("Dirección"),
        "transportation": N_("Cómo se llega"),
        "latitude": N_("Latitud"),
        "longitude": N_("Longitud"),
        "intake": N_("¿Hay lugar?"),
        "unit": N_("Qué se cuenta"),
        "contact_name": N_("Su nombre"),
        "contact_email": N_("Correo"),
        "statement": N_("Por qué quieren entrar"),
        "reason": N_("Motivo"),
        "kind": N_("Qué se vio"),
        "seen_date": N_("Día en que lo vio"),
        "expire_date": N_("Último día del convenio"),
        "content": N_("Archivo"),
        "ages": N_("Edades"),
        "organization": N_("Organización"),
        "id": N_("Código"),
        "spoke": N_("Quién lo pide"),
        "given_name": N_("Nombres"),
        "family_name": N_("Apellidos"),
        "document_number": N_("Número de documento"),
        "health_note": N_("Salud"),
        "family_note": N_("Familia"),
        "exploitation_note": N_("Lo que vivió"),
        "exploitation_country": N_("A qué país la habían llevado"),
        "hours": N_("A qué horas"),
        "code_word": N_("Palabra clave para empezar"),
        "never_say": N_("Lo que nunca hay que decir"),
        "assault_time": N_("Cuándo fue"),
        "code": N_("El código que muestra la aplicación"),
        "title_es": N_("De qué trata"),
        "title_en": N_("De qué trata"),
        "title_fr": N_("De qué trata"),
        "lines_es": N_("Qué decir o hacer"),
        "lines_en": N_("Qué decir o hacer"),
        "lines_fr": N_("Qué decir o hacer"),
    },
    "missing": {
        "q": N_("escriba un código, una referencia o un nombre"),
        "channel_code": N_("elija cómo se la puede contactar"),
        "need_code": N_("elija qué ayuda necesita"),
        "media_codes": N_("elija uno por lo menos"),
        "urgency": N_("elija qué tan pronto la necesita"),
        "urgency_reason_code": N_("por lo que contestó es más urgente; diga por qué no"),
        "service_id": N_("elija un servicio"),
        "reason_code": N_("elija el motivo"),
        "note": N_("escriba la explicación"),
        "expected": N_("diga cuándo llega"),
        "way": N_("diga cómo viene y adónde"),
        "company": N_("diga con quién viene, o que viene sola"),
        "sign": N_("diga cómo se reconocen"),
        "day_code": N_("elija qué día"),
        "hour_code": N_("elija a qué hora"),
        "spoke": N_("hable con ella antes, y márquelo"),
        "connected_live": N_("diga si quedaron hablando"),
        "handed_over_organization_id": N_("elija con quién, o con qué número de emergencia"),
        "need_codes": N_("marque una por lo menos"),
        "giver_code": N_("marque quién lo da"),
        "manner_code": N_("marque si fue de palabra o por escrito"),
        "assent_code": N_("pregúntele, y marque lo que dijo"),
    },
    "malformed": {
        "assault_time": N_("escriba el día y la hora así: 2026-11-29 14:30"),
        "placement_code": N_("ese código no existe; pregúntelo otra vez, o déjelo vacío"),
    },
    "unknown_code": {
        "placement_code": N_("ese código no existe; pregúntelo otra vez, o déjelo vacío"),
    },
    "out_of_range": {
        "available": N_("no pueden ser más que el total; corrija una de las dos cifras"),
        "birth_date": N_("tiene que ser un día que ya pasó; si no la sabe, déjela vacía"),
        "until_time": N_("elija un día después de hoy, a un año como máximo"),
        "expire_time": N_("elija un día después de hoy, a dos años como máximo"),
        "seen_date": N_("tiene que ser un día que ya llegó"),
        "hour_code": N_("de esas horas ya no queda tiempo; elija otras, u otro día"),
        "emergency_number_code": N_("elija una organización o un número, no los dos"),
        "url": N_("tiene que empezar con https:// y ser de internet, no de una red interna"),
        "public": N_("un albergue no sale en el directorio público; quite esta marca"),
    },
    "too_easy": {
        "pin": N_(
            "es de los que se adivinan pronto; elija cuatro cifras sin orden, que no sean un año"
        ),
    },
    "wrong": {
        "code": N_(
            "no es el código de ahora; escriba el que muestra la aplicación en este momento"
        ),
        **dict.fromkeys(
            ("challenge", "credential", "passkey"),
            N_("no se reconoció, o tardó demasiado; pruebe otra vez"),
        ),
    },
    "violation": {
        "required": N_("falta; complételo"),
        "unknown_code": N_("elija una de las opciones"),
        "too_long": N_("es demasiado largo; acórtelo"),
        "out_of_range": N_("está fuera de lo permitido; revise la cifra o la fecha"),
        "malformed": N_("no tiene la forma correcta; escríbalo otra vez"),
        "not_in_order": N_(
            "lo más urgente no puede tener más tiempo, ni se responde antes de decir que ya la"
            " vieron"
        ),
        "not_translated": N_("no tiene las mismas frases que en español"),
        "wrong": N_("no es la contraseña"),
        "too_easy": N_("es de las que se adivinan pronto; ponga cuatro palabras que no van juntas"),
        "too_short": N_("es demasiado corto; escriba más"),
        "ambiguous": N_("se puede leer de dos maneras; escríbalo sin duda"),
        "duplicate": N_("otra fila ya dice lo mismo; quite una"),
        "unknown_organization": N_("no es una organización por la que usted pueda hablar"),
        "shared_issuer": N_(
            "es la dirección común de muchas organizaciones; ponga la propia de esta"
        ),
        "contradicts": N_("contradice otra respuesta; corrija una de las dos"),
        "overlaps": N_("dice las mismas horas que otro horario; corrija uno de los dos"),
        "member_only": N_("solo lo dice la propia organización; pídalo a quien la dirige"),
    },
    "not_independent": {  # by the subject of the refusal
        "kin": N_(
            "Usted no cuenta como segunda persona: la misma persona invitó a las dos cuentas, o una"
            " a la otra, hace menos de 30 días; o comparten correo, dispositivo o cuenta. Pídalo a"
            " alguien a quien invitó otra persona, o espere los 30 días."
        ),
        "second_factor": N_(
            "Su cuenta entra solo con contraseña, y así no cuenta como segunda persona."
            " Ponga un código o una llave en Mi cuenta y pruebe otra vez."
        ),
        "organization": N_(
            "Quien lo empezó coordina desde la misma organización que usted."
            " Lo confirma alguien de la coordinación de otra organización."
        ),
        "unknown": N_(
            "No se sabe cómo se abrió su cuenta, y así no cuenta como segunda persona."
            " Pídalo a otra persona."
        ),
        "too_many": N_(
            "Su cuenta está ligada a demasiadas otras para contar como segunda persona."
            " Pídalo a otra persona."
        ),
    },
    "conflict": {
        "stale_etag": N_(
            "Alguien lo cambió mientras tanto. Lo que usted escribió sigue aquí:"
            " mire en otra pestaña cómo está ahora, y envíelo otra vez si lo suyo debe quedar."
        ),
        "put_together": N_(
            "Otra persona lo cambió mientras tanto: quedó junto lo suyo y lo de ella, sin guardar."
            " Revíselo y guárdelo."
        ),
        "request_id_reused": N_(
            "Esto ya se había enviado, con otros datos. Mire en otra pestaña cómo quedó antes de"
            " enviarlo otra vez."
        ),
        "illegal_transition": N_(
            "Alguien ya dio este paso, o ya no es posible. Vuelva a abrir la página para ver cómo"
            " está ahora."
        ),
        "not_a_draft": N_(
            "Ya no es un borrador: se envió, o ya terminó. En una remisión enviada se corrigen solo"
            " la urgencia y los datos; si otra cosa está mal, retírela y haga otra."
        ),
        "address_opened": N_(
            "La dirección ya se abrió para esta remisión. Si todavía hace falta, pídala al servicio"
            " por teléfono."
        ),
        "location_in_use": N_("Todavía se atiende ahí: quite primero los servicios de este lugar."),
        "reminded_lately": N_("Ya se recordó hace menos de una hora. Espere, o llame."),
        "call_not_safe": N_(
            "El plan de contacto no permite llamadas. Se puede llamar a la línea a cualquier hora."
        ),
        "callback_settled": N_(
            "Esa llamada ya se hizo o se dejó. Si quiere otra, acuerden otra hora."
        ),
        "too_much_said": N_("Ya se anotó mucho hoy con esta referencia. Llame a la línea."),
        "line_not_active": N_(
            "No se guardó: la línea a la que usted llamó no atiende ahora, y nadie lo leería. Llame"
            " a otra línea: su referencia vale en todas."
        ),
        "resume_token_lost": N_("Los datos se restauraron de una copia. Empiece de nuevo."),
        "already_replaced": N_(
            "Ya se envió otra remisión en lugar de la misma. Anule este borrador."
        ),
        "service_unknown": N_(
            "Ese servicio ya no está disponible, o acaba de inscribirse."
            " Elija otro o espere un minuto."
        ),
        "incomplete_draft": N_("Falta completar un paso antes de enviar. Revise la lista."),
        "safe_contact_missing": N_(
            "Falta decir cómo se la puede contactar sin peligro, o que no se la puede contactar."
        ),
        "receipt_missing": N_(
            "Falta el consentimiento de la persona para compartir con esta organización."
        ),
        "receipt_expired": N_("El consentimiento ya venció. Pídale uno nuevo."),
        "receipt_withdrawn": N_(
            "La persona retiró su permiso: con él ya no se abre ni se envía nada."
        ),
        "receipt_recipient_differs": N_(
            "El consentimiento es para otra organización. Pídale uno para esta."
        ),
        "receipt_purpose_differs": N_(
            "El consentimiento no cubre este tipo de ayuda. Elija otro propósito o pídale uno"
            " nuevo."
        ),
        "receipt_field_group_differs": N_(
            "El permiso no abarca esos datos. Abra solo los que abarca."
        ),
        "receipt_unconfirmed": N_(
            "Falta que otra persona lo confirme, o ya pasó el plazo para confirmarlo."
        ),
        "guardian_required": N_(
            "Es menor de edad, o no se sabe, y no lo autoriza sola. En la página «¿Cómo dio su"
            " permiso?», elija quién lo da: su madre, padre o tutor, la autoridad de niñez, o una"
            " decisión por su interés superior, que confirma otra persona. Si su expediente no"
            " dice la edad y es mayor, marque ahí cómo se sabe."
        ),
        "assent_required": N_(
            "Falta su sí: es o puede ser menor de edad, y dijo que no o no se le preguntó. Contra"
            " su no, solo por su interés superior, entre dos."
        ),
        "own_consent_required": N_(
            "Por una persona adulta nadie más da este permiso: pregúntele a ella."
            " Si no puede contestar y no hay tiempo, use el permiso de emergencia."
        ),
        "unsafe_not_asked": N_("Falta preguntarle con quién o dónde no está a salvo."),
        "unsafe_for_her": N_(
            "Ella dijo que ahí, o con ellos, no está a salvo. Elija otro;"
            " o siga si ella lo quiere igual."
        ),
        "age_not_taken": N_(
            "No es para su edad. Elija de nuevo, o marque en «Lo que ya se sabe» por qué sí."
        ),
        "adulthood_changes": N_(
            "Con esa fecha de nacimiento pasa de menor de edad a adulta, o al revés: cambia quién"
            " da permiso por ella. Revise el año, o marque en «Lo que ya se sabe» que es correcta."
        ),
        "two_people_required": N_(
            "El tipo, el país y el número público los decide la coordinación, entre dos personas."
        ),
        "second_person_required": N_("Lo tiene que confirmar otra persona, no quien lo empezó."),
        "not_independent": N_(
            "Usted no cuenta como segunda persona: la misma persona invitó a las dos cuentas, o una"
            " a la otra, hace menos de 30 días; comparten correo o dispositivo; o su cuenta no pide"
            " un código además de la contraseña. Pídalo a alguien a quien invitó otra persona,"
            " ponga un código en Mi cuenta, o espere los 30 días."
        ),
        "objection_time": N_(
            "La organización tiene tres días para objetar, y aún no pasan. Confírmelo después."
        ),
        "no_second_coordinator": N_(
            "Esto lo deciden dos personas de la coordinación, de dos organizaciones, y solo hay de"
            " una. Quien administra la red inscribe otra (found-elsewhere). "
            "Mientras tanto puede detenerla por 24 horas."
        ),
        "held_lately": N_(
            "Ya la detuvo una persona de su organización hace menos de 30 días y nadie más lo"
            " confirmó. Proponga la suspensión, y que la confirme la "
            "coordinación de otra organización."
        ),
        "evidence_missing": N_(
            "Falta ver, o ya venció, algo de lo que se pide antes de aprobar:"
            " mire la lista y anótelo."
        ),
        "override_after_withdrawal": N_(
            "Ella retiró su permiso para esta organización. Solo por un peligro nuevo, y tiene que"
            " hacerlo otra persona."
        ),
        "receiver_not_active": N_(
            "Esa organización está suspendida o se retiró. Elija otro servicio."
        ),
        "person_erased": N_("Este expediente se borró."),
        "referral_limit": N_(
            "Una organización en período de prueba puede enviar cinco remisiones en total."
            " Llame a la coordinación y pida que la apruebe."
        ),
        "already_asked": N_("Ya se preguntó una vez. Llame si necesita aclarar algo más."),
        "nothing_to_confirm": N_(
            "Ya no hay nada pendiente: se confirmó, se retiró, se objetó o venció."
            " Vea cómo quedó; si no lo ve, llame y pregunte."
        ),
        "emergency_not_needed": N_(
            "Hay un consentimiento que cubre esta ayuda: abra con él."
            " Lo que ella limitó no se amplía."
        ),
        "review_owed": N_(
            "Falta revisar un acceso de emergencia anterior de su organización."
            " Pida a quien lleva el expediente o a auditoría que lo revise."
        ),
        "nothing_to_review": N_("Alguien ya dijo qué fue."),
        "email_taken": N_(
            "Ya tiene una cuenta con este correo en otra organización."
            " Para trabajar también en esta hace falta otro correo."
        ),
        "manager_exists": N_(
            "Esta organización ya tiene quien la dirige, y ella misma invita a su gente."
        ),
        "too_many_invitations": N_(
            "Son demasiadas invitaciones para tres días. Espere a que venza alguna."
        ),
        "no_mail": N_("Esta red no envía correos. Entregue la invitación en papel."),
        "too_many_keys": N_(
            "Hay dos claves activas, que es el máximo. Revoque una antes de crear otra."
        ),
        "too_many_webhooks": N_(
            "Ya tiene el máximo de direcciones. Quite una antes de agregar otra."
        ),
        "too_many_passkeys": N_("Ya tiene diez llaves de acceso. Quite una que no use."),
        "passkeys_unavailable": N_(
            "A esta red se llega por un número, y así ningún navegador crea llaves de acceso."
            " Use un código."
        ),
        "own_account": N_(
            "Nadie quita lo suyo sin su contraseña: en Mi cuenta, o pídalo a otra persona que"
            " dirija su organización."
        ),
        "secret_rotating": N_(
            "El secreto de antes todavía firma. Espere a que termine, o marque que se filtró:"
            " entonces deja de firmar ahora."
        ),
        "not_in_development": N_("Esta página solo existe en desarrollo."),
        "member_on_probation": N_(
            "Su organización está en período de prueba: todavía no puede abrir datos personales."
        ),
    },
    "done": {
        "saved": N_("Guardado."),
        "read": N_("Marcado como leído."),
    },
    # titles of the pages that show a refusal, and what to do about it
    "error_title": {
        # the words are the same whether an object does not exist or belongs to others
        "not_found": N_("Aquí no hay nada"),
        "invalid": N_("Hay un problema"),
        "stale_etag": N_("Alguien lo cambió mientras tanto"),
        "request_id_reused": N_("Esto ya se había enviado"),
        "opening_quota": N_("Demasiados expedientes en una hora"),
        "too_many_attempts": N_("Demasiados intentos"),
        "conflict": N_("Ahora no se puede"),
        "form_foreign": N_("Este formulario ya no sirve"),
        "form_expired": N_("Este formulario ya no sirve"),
        "answer_lost": N_("La respuesta no llegó"),
        "service_away": N_("Una parte del sistema no responde"),
        "too_long": N_("El texto es demasiado largo"),
        "unusable": N_("Así no se puede abrir"),
        "not_recognised": N_("Su organización no reconoció su cuenta"),
        "fault": N_("Algo falló de nuestro lado"),
    },
    "error_advice": {
        "not_found": N_(
            "La dirección no existe, o lo que busca no es de su organización. Vuelva al inicio."
        ),
        "invalid": N_("Revise lo que escribió y envíelo otra vez."),
        "stale_etag": N_(
            "Vuelva a abrir la página: verá cómo está ahora y podrá decidir de nuevo."
            " Su cambio no se guardó."
        ),
        "request_id_reused": N_(
            "Se guardó la primera vez, con otros datos. Vuelva a abrir la página para ver"
            " cómo quedó."
        ),
        "form_foreign": N_(
            "Vuelva a la página anterior, cárguela de nuevo y envíela otra vez. No se cambió nada."
        ),
        "form_expired": N_(
            "Pasó mucho tiempo, o usted entró otra vez mientras tanto. No se cambió nada:"
            " revíselo y envíelo otra vez."
        ),
        "answer_lost": N_(
            "Puede que se haya guardado. Vuelva a la página anterior y mire cómo está antes de"
            " enviarlo otra vez. Si es urgente, llame."
        ),
        "service_away": N_(
            "No se guardó nada. Pruebe en un minuto. Si es urgente, llame por teléfono."
        ),
        "too_long": N_("Acórtelo y envíelo otra vez. No se guardó nada."),
        "unusable": N_("Vuelva a la página anterior y pruebe con los botones de la página."),
        "not_recognised": N_("Cierre esta ventana y empiece otra vez en la otra."),
    },
}
