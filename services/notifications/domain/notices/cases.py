"""Notices about the line, people, enquiries, overrides and access anomalies.

Together with referrals.py, this module has every notice about a fact of the referrals service.
"""

from chassis.languages import N_
from services.notifications.domain.notices.notice import Notice, Party

NOTICES: tuple[Notice, ...] = (
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
        N_(
            "La línea no hizo una llamada que debía: la línea la hace ya, y la coordinación llama a"
            " la línea."
        ),
        fact="callback.escalated",
    ),
    Notice(
        "contact_escalated",
        "",
        (Party.COORDINATION,),
        N_(
            "Un contacto de la línea espera desde hace demasiado: la línea lo atiende ya, y la"
            " coordinación llama a la línea."
        ),
        fact="contact.escalated",
    ),
    Notice(
        "override_used",
        "",
        (),
        N_(
            "Se envió una remisión de emergencia sin consentimiento: otra persona la confirma, o"
            " los datos se cierran."
        ),
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
        "erasure_lapsed",
        "",
        (Party.COORDINATION,),
        N_(
            "Nadie confirmó en siete días que se borre un expediente: sigue ahí. Si todavía hay que"
            " borrarlo, su organización lo propone otra vez."
        ),
        fact="erasure.lapsed",
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
        N_("Un servicio puede ayudar: mire qué contestó a su consulta."),
        fact="enquiry.answered",
    ),
    Notice(
        "enquiry_offers_waiting",
        "",
        (),
        N_("Su consulta espera: tome un ofrecimiento o siga con la remisión, o se cierra."),
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
        "enquiry_released",
        "",
        (),
        N_("Ya no llegará la remisión de un ofrecimiento que tomaron: no guarde el lugar."),
    ),
    Notice(
        "enquiry_not_taken",
        "",
        (),
        N_("Se cerró una consulta a la que ofrecieron ayuda: no guarden el lugar."),
        fact="enquiry.not_taken",
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
        N_("Se cerró una consulta sin remisión: la persona puede seguir sin servicio."),
        fact="enquiry.cancelled",
    ),
    Notice(
        "emergency_opened",
        "",
        (Party.COORDINATION,),
        N_(
            "Alguien abrió datos de una persona sin consentimiento, por emergencia:"
            " la organización que tiene su expediente lo revisa ahí."
        ),
        fact="emergency.opened",
    ),
    Notice(
        "emergency_review_overdue",
        "",
        (Party.COORDINATION,),
        N_(
            "Nadie revisó a tiempo un acceso de emergencia: la organización del expediente, o"
            " Auditoría, tiene que revisarlo ya."
        ),
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
        N_(
            "Algo fuera de lo común en quién abrió expedientes: lo revisa otra persona, en"
            " Auditoría. Si allí no hay nadie más, la coordinación le da ese papel a alguien."
        ),
        fact="anomaly.noted",
    ),
)
