"""Words for the audit trail, on the auditor's page."""

from chassis.languages import N_

TABLES: dict[str, dict[str, str]] = {
    "anomaly_kind": {
        "outside_files": N_("Más de 20 personas de expedientes ajenos en un día"),
        "across_organizations": N_("Expedientes de muchas organizaciones en un día"),
        "at_night": N_("Abrió expedientes de noche sin estar de turno"),
        "opening_quota": N_("Quiso abrir más expedientes de lo que permite una hora"),
    },
    "review_outcome": {
        "explained": N_("Su trabajo lo explica"),
        "mistake": N_("Fue un error, ya se conversó"),
        "misuse": N_("No debió ser: su organización y la coordinación actúan"),
    },
    "trail_fault": {
        "altered": N_("se cambió"),
        "missing": N_("falta"),
        "forked": N_("antes había otra"),
        "cut": N_("había más filas después"),
        "forged": N_("no la escribió el sistema: la firma no es la suya"),
        "unmarked": N_("no la escribió el sistema: no lleva su firma"),
        "untied": N_("dice quién fue, sin prueba de que esa persona estaba conectada"),
        "repeated": N_("es copia de una fila anterior"),
    },
    "trail_action": {
        "open_identity": N_("Abrió datos sellados"),
        "read_notes": N_("Leyó notas"),
        "read_safe_contact": N_("Abrió el contacto seguro"),
        "read_contact": N_("Leyó la nota de un contacto"),
        "search_people": N_("Buscó un nombre"),
        "send": N_("Envió con consentimiento"),
        "send_override": N_("Envió sin consentimiento"),
        "confirm_override": N_("Confirmó un envío sin consentimiento"),
        "withdraw_consent": N_("Retiró un consentimiento"),
        "open_in_emergency": N_("Abrió por emergencia"),
        "review_emergency": N_("Revisó un acceso de emergencia"),
        "review_anomaly": N_("Revisó algo fuera de lo común"),
    },
    "trail_actor": {
        "worker": N_("persona de la red"),
        "key": N_("sistema"),
        "person": N_("ella misma, con su referencia"),
        "system": N_("Enlace"),
        "public": N_("alguien sin sesión"),
    },
    "done": {
        "reviewed": N_("Quedó anotado qué fue."),
        "emergency": N_(
            "Abierto por una hora, solo a usted. Se avisa a quien lleva su expediente y a la"
            " coordinación."
        ),
    },
    "missing": {"review_code": N_("diga qué fue")},
    "field": {
        "review_code": N_("Qué fue"),
        "object_id": N_("De quién o de qué"),
        "actor_id": N_("Quién"),
        "organization_id": N_("Organización"),
    },
}
