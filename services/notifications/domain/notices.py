"""The table of notices: one row for each notice, with the fact that causes it, its recipients, and
its text in Spanish. The catalogues (services/notifications/words) have the other languages.

The texts are constant and reviewed like code; nothing in them depends on a person, a place or a
need. They are shown in the inbox, behind a sign-in, so they may say what happened.
"""

from dataclasses import dataclass
from enum import Enum

from chassis.languages import N_


class Party(Enum):
    """The recipients of a notice, by their part in the referral or in what happened."""

    RECEIVER = "receiver"  # the receiver's desk
    # the receiver, unless the receiver itself acted
    RECEIVER_OF_OTHERS_DEED = "receiver_of_others_deed"
    SENDER = "sender"  # the sender's desk, and the worker who sent the referral
    # the sender, unless the sender itself acted
    SENDER_OF_OTHERS_DEED = "sender_of_others_deed"
    COORDINATION = "coordination"
    # The coordination, and no desk: the organisation concerned has no desk yet, or no part in the
    # matter. One message a day, however many facts there are.
    COORDINATION_ALONE = "coordination_alone"
    COORDINATION_EACH = "coordination_each"  # the coordination, and no desk, for each fact
    REMINDED = "reminded"  # the side whose turn it is, which the fact names
    AUDITORS = "auditors"  # each auditor; the coordination if there is none
    MANAGERS = "managers"  # each manager of the organisation, and the worker who acted
    # the responsible worker of the receiver, unless she acted herself; if no worker is responsible,
    # as RECEIVER_OF_OTHERS_DEED
    RESPONSIBLE = "responsible"


RECEIVER = (Party.RECEIVER,)
SENDER = (Party.SENDER,)
BOTH = (Party.RECEIVER, Party.SENDER)
RECEIVER_AND_SENDER_OF_OTHERS_DEED = (Party.RECEIVER, Party.SENDER_OF_OTHERS_DEED)
OTHER_SIDE = (Party.RECEIVER_OF_OTHERS_DEED, Party.SENDER_OF_OTHERS_DEED)
OVERSEEING = (Party.SENDER, Party.COORDINATION)
ALL = (Party.RECEIVER, Party.SENDER, Party.COORDINATION)


@dataclass(frozen=True)
class Notice:
    """A row of the table.

    `verb` is the verb of the fact about a referral that causes the notice. `fact` names a fact
    about another subject instead, e.g. `receipt.proposed`. Both are empty for a notice that has a
    rule of its own.
    """

    kind: str
    verb: str
    parties: tuple[Party, ...]
    text: str
    fact: str = ""


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
        RECEIVER_AND_SENDER_OF_OTHERS_DEED,
        N_("Se retiró una remisión."),
    ),
    Notice(
        "referral_consent_withdrawn",
        "consent_withdrawn",
        RECEIVER_AND_SENDER_OF_OTHERS_DEED,
        N_("Se retiró el consentimiento de una remisión: borre lo que haya guardado."),
    ),
    Notice(
        "referral_closed",
        "closed",
        RECEIVER_AND_SENDER_OF_OTHERS_DEED,
        N_("Se cerró una remisión."),
    ),
    Notice(
        "referral_reopened",
        "reopened",
        RECEIVER_AND_SENDER_OF_OTHERS_DEED,
        N_("Se reabrió una remisión: la ayuda todavía no llegó."),
    ),
    Notice(
        "referral_acknowledged",
        "acknowledged",
        SENDER,
        N_("Recibieron su remisión."),
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
        (Party.SENDER_OF_OTHERS_DEED,),
        N_("La coordinación cerró la búsqueda de otro servicio para una remisión: vea el motivo."),
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
        N_("La ayuda de su remisión se dio: confirme que llegó."),
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
        N_("Confirmaron que ya no guardan nada de una persona que retiró su consentimiento."),
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
            "Un consentimiento termina pronto: si ella quiere que la ayuda siga, pregúntele otra"
            " vez antes."
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
        N_("Un plazo está por cumplirse."),
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
    Notice(
        "contact_waiting",
        "",
        (),
        N_("Un contacto de la línea espera: véalo."),
        fact="contact.waiting",
    ),
    Notice(
        "contact_told",
        "",
        (),
        N_("Quien llamó a la línea dijo algo más: véalo."),
        fact="contact.told",
    ),
    Notice(
        "callback_asked",
        "",
        (),
        N_("Alguien pidió que la línea le llame: vea cuándo."),
        fact="callback.asked",
    ),
    Notice(
        "callback_waiting",
        "",
        (),
        N_("La línea debe una llamada y la hora se acaba: véala."),
        fact="callback.waiting",
    ),
    Notice(
        "callback_escalated",
        "",
        (Party.COORDINATION,),
        N_("La línea no hizo una llamada que debía: hay que llamar a la línea."),
        fact="callback.escalated",
    ),
    Notice(
        "contact_escalated",
        "",
        (Party.COORDINATION,),
        N_("Un contacto de la línea espera desde hace demasiado: hay que llamar a la línea."),
        fact="contact.escalated",
    ),
    Notice(
        "override_used",
        "",
        (),
        N_("Se envió una remisión de emergencia sin consentimiento: revísela."),
    ),
    Notice(
        "receipt_proposed",
        "",
        (),
        N_(
            "Lo que otros decidieron por una persona, por su interés superior o en su lugar, espera"
            " a alguien más: sin confirmación no abre nada. Está en su expediente."
        ),
        fact="receipt.proposed",
    ),
    Notice(
        "erasure_proposed",
        "",
        (),
        N_(
            "Alguien propone borrar un expediente: otra persona de su organización debe confirmarlo"
            " en siete días."
        ),
        fact="erasure.proposed",
    ),
    Notice(
        "erasure_done",
        "",
        (),
        N_("Se borró un expediente: dos personas lo decidieron. La constancia está en él."),
        fact="erasure.done",
    ),
    Notice(
        "enquiry_opened",
        "",
        (),
        N_("Preguntan si uno de sus servicios puede recibir a alguien."),
        fact="enquiry.opened",
    ),
    Notice(
        "enquiry_offered",
        "",
        (),
        N_("Un servicio ofrece ayuda para su consulta."),
        fact="enquiry.answered",
    ),
    Notice(
        "enquiry_offers_waiting",
        "",
        (),
        N_("Su consulta espera: tome un ofrecimiento o siga con la remisión."),
        fact="enquiry.offers_waiting",
    ),
    Notice(
        "enquiry_matched",
        "",
        (),
        N_("Tomaron su ofrecimiento: llegará una remisión."),
        fact="enquiry.matched",
    ),
    Notice(
        "enquiry_exhausted",
        "",
        (),
        N_("Nadie pudo responder a una consulta: la persona sigue sin servicio."),
        fact="enquiry.exhausted",
    ),
    Notice(
        "enquiry_cancelled",
        "",
        (),
        N_("Su consulta se cerró: nadie tomó los ofrecimientos a tiempo."),
        fact="enquiry.cancelled",
    ),
    Notice(
        "emergency_opened",
        "",
        (Party.COORDINATION,),
        N_(
            "Alguien abrió datos de una persona sin consentimiento, por emergencia:"
            " revíselo en su expediente."
        ),
        fact="emergency.opened",
    ),
    Notice(
        "emergency_review_overdue",
        "",
        (Party.COORDINATION,),
        N_("Nadie revisó a tiempo un acceso de emergencia: revíselo ya."),
        fact="emergency.review_overdue",
    ),
    Notice(
        "export_made",
        "",
        (Party.MANAGERS,),
        N_(
            "Alguien de su organización sacó de la red la hoja de quién sabe qué de una persona."
            " Si nadie de ustedes quiso eso, hable con quien la sacó."
        ),
        fact="export.made",
    ),
    Notice(
        "anomaly_noted",
        "",
        (Party.AUDITORS,),
        N_("Algo fuera de lo común en quién abrió expedientes: revíselo en Auditoría."),
        fact="anomaly.noted",
    ),
    Notice(
        "message_undeliverable",
        "",
        (),
        N_("Un aviso no llegó por ningún medio: llame por teléfono."),
    ),
    Notice(
        "webhook_disabled",
        "",
        (),
        N_("Su sistema no respondió en tres días; ya no le enviamos avisos."),
    ),
    Notice(
        "organization_applied",
        "",
        (Party.COORDINATION_ALONE,),
        N_("Hay organizaciones que piden entrar a la red: mire sus solicitudes."),
        fact="organization.applied",
    ),
    Notice(
        "approval_proposed",
        "",
        (Party.COORDINATION_ALONE,),
        N_("Proponen aprobar a una organización: hace falta otra persona de la coordinación."),
        fact="organization.approval_proposed",
    ),
    Notice(
        "agreement_ending",
        "",
        (Party.COORDINATION,),
        N_("Un convenio con la red termina pronto: hay que firmar otro y anotarlo antes."),
        fact="organization.agreement_ending",
    ),
    Notice(
        "agreement_expired",
        "",
        (Party.COORDINATION,),
        N_("Un convenio con la red terminó: la organización está otra vez en período de prueba."),
        fact="organization.agreement_expired",
    ),
    Notice(
        "suspension_proposed",
        "",
        (Party.COORDINATION_EACH,),
        N_(
            "Proponen suspender a una organización: hace falta otra persona de la coordinación, de"
            " otra organización."
        ),
        fact="organization.suspension_proposed",
    ),
    Notice(
        "hold_begun",
        "",
        (Party.COORDINATION_EACH,),
        N_(
            "Una persona de la coordinación detuvo a una organización por un día:"
            " si otra no lo confirma, vuelve a entrar."
        ),
        fact="organization.held",
    ),
    Notice(
        "hold_ended",
        "",
        (Party.COORDINATION_EACH,),
        N_("Nadie más confirmó en un día: la organización que se detuvo entra otra vez."),
        fact="organization.hold_ended",
    ),
    Notice(
        "reinstatement_proposed",
        "",
        (Party.COORDINATION_EACH,),
        N_(
            "Proponen levantar una suspensión: hace falta otra persona de la coordinación, de otra"
            " organización."
        ),
        fact="organization.reinstatement_proposed",
    ),
    Notice(
        "leaving_proposed",
        "",
        (Party.COORDINATION_EACH,),
        N_(
            "Proponen anotar que una organización se retira para siempre:"
            " hace falta otra persona de la coordinación, de otra organización."
        ),
        fact="organization.leaving_proposed",
    ),
    Notice(
        "manager_invited",
        "",
        (),
        N_(
            "La coordinación invitó a quien dirigirá su organización en Enlace."
            " Si no lo esperaban, llamen a la coordinación."
        ),
    ),
    Notice(
        "worker_invited",
        "",
        (),
        N_("Alguien de su organización invitó a una persona a abrir una cuenta."),
    ),
    Notice(
        "account_opened",
        "",
        (),
        N_("Una persona invitada abrió su cuenta en su organización."),
    ),
    Notice(
        "password_reset_asked",
        "",
        (),
        N_(
            "Alguien pidió cambiar la contraseña de su cuenta; el enlace se envió a su correo."
            " Si no fue usted, no haga nada."
        ),
    ),
    Notice(
        "password_changed",
        "",
        (),
        N_(
            "Cambió la contraseña de su cuenta. Si no fue usted, avise ya a quien dirige su"
            " organización."
        ),
    ),
    Notice(
        "second_factor_removed",
        "",
        (),
        N_(
            "Quien dirige su organización quitó su código y sus llaves de acceso."
            " Si no lo pidió, cambie ya su contraseña y avise a la coordinación."
        ),
    ),
    Notice(
        "second_factor_removed_by_coordination",
        "",
        (),
        N_(
            "La coordinación quitó su código y sus llaves de acceso."
            " Si no lo pidió, cambie ya su contraseña y llámela."
        ),
    ),
    Notice(
        "provider_proposed",
        "",
        (),
        N_(
            "La coordinación propone que su gente entre por otra dirección."
            " Si su organización no lo pidió, objételo en los tres días que siguen."
        ),
    ),
    Notice(
        "entry_proposed",
        "",
        (),
        N_(
            "La coordinación propone cambiar el tipo, el país o el número público de su"
            " organización. Si no es correcto, llámela antes de que lo confirmen."
        ),
    ),
    Notice(
        "key_made",
        "",
        (),
        N_(
            "Una cuenta de su organización hizo, confirmó o tomó una clave de sistema."
            " Si nadie de ustedes quiso eso, revóquela ya."
        ),
    ),
    Notice(
        "person_invited",
        "",
        (),
        N_(
            "Una cuenta de su organización invitó a alguien a abrir una cuenta."
            " Si nadie de ustedes quiso eso, retire la invitación ya."
        ),
    ),
    Notice(
        "role_given",
        "",
        (),
        N_(
            "Se invitó a alguien a una tarea de la red, o se confirmó."
            " Si la coordinación no quiso eso, retírelo ya."
        ),
    ),
    Notice(
        "provider_changed",
        "",
        (),
        N_(
            "Se propuso, se confirmó o se quitó la dirección por la que una organización entra a"
            " Enlace. Si nadie quiso eso, avise a la coordinación por teléfono."
        ),
    ),
    Notice(
        "sign_in_changed",
        "",
        (),
        N_(
            "En una cuenta de su organización se puso o se quitó un código o una llave de acceso."
            " Si no fue quien la usa, suspéndala y avise a esa persona."
        ),
    ),
    Notice(
        "sending_changed",
        "",
        (),
        N_(
            "Cambió adónde van los avisos de su organización: el correo o un sistema."
            " Si nadie de ustedes quiso eso, mírelo ya."
        ),
    ),
    Notice(
        "member_held",
        "",
        (),
        N_("La coordinación detuvo el acceso de su organización por un día. Llámela."),
    ),
    Notice(
        "member_suspended",
        "",
        (),
        N_("La coordinación suspendió a su organización: así lo decidieron dos personas. Llámela."),
    ),
    Notice(
        "member_reinstated",
        "",
        (),
        N_("Su organización entra otra vez: mire lo que quedó esperando."),
    ),
)
SILENT = frozenset({"drafted", "started", "appointment_attended", "entered_in_error"})
"""Known verbs without a notice: steps that concern only the sender, steps that go as planned, and
corrections of the record.
"""
BY_KIND = {notice.kind: notice for notice in NOTICES}
BY_VERB = {notice.verb: notice for notice in NOTICES if notice.verb}
BY_FACT = {notice.fact: notice for notice in NOTICES if notice.fact}
