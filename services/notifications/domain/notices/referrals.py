"""Notices about referrals: their steps, their deadlines, and events that endanger them."""

from chassis.languages import N_
from services.notifications.domain.notices.notice import (
    ALL,
    BOTH,
    OTHER_SIDE,
    OVERSEEING,
    RECEIVER,
    RECEIVER_AND_SENDER_UNLESS_ACTOR,
    SENDER,
    Notice,
    Party,
)

NOTICES: tuple[Notice, ...] = (
    Notice(
        "referral_sent",
        "sent",
        RECEIVER,
        N_("Llegó una remisión para su organización."),
    ),
    Notice(
        "referral_amended",
        "amended",
        RECEIVER,
        N_("Se corrigió una remisión que su organización recibió."),
    ),
    Notice(
        "referral_answered",
        "answered",
        RECEIVER,
        N_("Respondieron a su pregunta sobre una remisión."),
    ),
    Notice(
        "referral_withdrawn",
        "withdrawn",
        RECEIVER_AND_SENDER_UNLESS_ACTOR,
        N_("Se retiró una remisión."),
    ),
    Notice(
        "referral_consent_withdrawn",
        "consent_withdrawn",
        RECEIVER_AND_SENDER_UNLESS_ACTOR,
        N_("Se retiró el consentimiento de una remisión: borre lo que haya guardado."),
    ),
    Notice(
        "referral_closed",
        "closed",
        RECEIVER_AND_SENDER_UNLESS_ACTOR,
        N_("Se cerró una remisión."),
    ),
    Notice(
        "referral_reopened",
        "reopened",
        RECEIVER_AND_SENDER_UNLESS_ACTOR,
        N_("Se reabrió una remisión: la ayuda todavía no llegó."),
    ),
    Notice(
        "referral_entered_in_error",
        "entered_in_error",
        RECEIVER_AND_SENDER_UNLESS_ACTOR,
        N_("Se anuló una remisión: se hizo por error."),
    ),
    Notice(
        "referral_acknowledged",
        "acknowledged",
        SENDER,
        N_("Vieron su remisión."),
    ),
    Notice(
        "referral_info_requested",
        "info_requested",
        SENDER,
        N_("Piden un dato sobre su remisión."),
    ),
    Notice(
        "referral_accepted",
        "accepted",
        SENDER,
        N_("Aceptaron su remisión."),
    ),
    Notice(
        "referral_waitlisted",
        "waitlisted",
        SENDER,
        N_("Su remisión está en lista de espera."),
    ),
    Notice(
        "referral_declined",
        "declined",
        SENDER,
        N_("No pueden tomar su remisión: busque otro servicio."),
    ),
    Notice(
        "referral_not_delivered",
        "not_delivered",
        SENDER,
        N_("La ayuda de su remisión no se dio: vea el motivo."),
    ),
    Notice(
        "referral_need_closed",
        "need_closed",
        (Party.SENDER_UNLESS_ACTOR,),
        N_("Se cerró la búsqueda de otro servicio para una remisión: vea el motivo."),
    ),
    Notice(
        "referral_appointment_scheduled",
        "appointment_scheduled",
        SENDER,
        N_("Se fijó una cita para su remisión."),
    ),
    Notice(
        "referral_appointment_missed",
        "appointment_missed",
        SENDER,
        N_("No se dio una cita de su remisión: vea el motivo."),
    ),
    Notice(
        "referral_appointment_cancelled",
        "appointment_cancelled",
        SENDER,
        N_("Se canceló una cita de su remisión: vea el motivo."),
    ),
    Notice(
        "referral_note_added",
        "note_added",
        OTHER_SIDE,
        N_("Hay una nota nueva en una remisión."),
    ),
    Notice(
        "referral_completed",
        "completed",
        SENDER,
        N_("Terminó la atención de su remisión: vea el resultado y confirme si la ayuda llegó."),
    ),
    Notice(
        "referral_expired",
        "expired",
        BOTH,
        N_("Una remisión venció sin respuesta: quien la envió debe buscar otro servicio."),
    ),
    Notice(
        "referral_rerouted",
        "rerouted",
        OTHER_SIDE,
        N_("Una remisión pasó a otro servicio."),
    ),
    Notice(
        "referral_assigned",
        "assigned",
        (Party.RESPONSIBLE,),
        N_("Cambió quién se encarga de una remisión: véala."),
    ),
    Notice(
        "referral_reminded",
        "reminded",
        (Party.REMINDED,),
        N_("La coordinación le recuerda una remisión: se espera lo que le toca a su organización."),
    ),
    Notice(
        "referral_deletion_confirmed",
        "deletion_confirmed",
        SENDER,
        N_("Confirmaron que ya no guardan nada de la persona de una remisión."),
    ),
    Notice(
        "referral_override_confirmed",
        "override_confirmed",
        SENDER,
        N_("Otra persona confirmó su envío de emergencia."),
    ),
    Notice(
        "referral_consent_attached",
        "consent_attached",
        RECEIVER,
        N_("Una remisión tiene un consentimiento nuevo: vea qué autoriza."),
    ),
    Notice(
        "referral_side_out",
        "side_out",
        OTHER_SIDE,
        N_(
            "La otra organización de una remisión está suspendida o se retiró: no contesta."
            " Busque otro servicio, o llame a la coordinación."
        ),
    ),
    Notice(
        "referral_side_back",
        "side_back",
        OTHER_SIDE,
        N_("La otra organización de una remisión está otra vez en la red y puede contestar."),
    ),
    Notice(
        "referral_consent_ending",
        "consent_ending",
        SENDER,
        N_(
            "Un consentimiento termina pronto, por su fecha o por la edad de ella: si quiere que"
            " la ayuda siga, pregúntele otra vez."
        ),
    ),
    Notice(
        "referral_leg_lost",
        "leg_lost",
        OVERSEEING,
        N_("Una persona va en camino y una etapa de su viaje se cayó: busque ya quién la reciba."),
    ),
    Notice(
        "clock_reminded",
        "clock_reminded",
        RECEIVER,
        N_("Pasó la mitad de un plazo."),
    ),
    Notice(
        "clock_breached",
        "clock_breached",
        BOTH,
        N_("Se pasó un plazo."),
    ),
    Notice(
        "clock_escalated",
        "clock_escalated",
        ALL,
        N_("Un plazo se pasó hace rato: hay que buscar otra salida."),
    ),
)

SILENT = frozenset({"drafted", "started", "appointment_attended"})
"""Known verbs without a notice: steps that concern only the sender, or that go as planned."""
