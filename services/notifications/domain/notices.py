"""What somebody is told: one row a notice, with the fact that it follows, who is told, and its text
in each language.

The texts are constant, reviewed like code; nothing in them depends on a person, a place or a need.
In the inbox, behind a sign-in, they say what happened.
"""

from dataclasses import dataclass
from enum import Enum


class Party(Enum):
    """A part that somebody has in a referral."""

    RECEIVER = "receiver"
    # the receiver, unless it was the receiver who did it
    RECEIVER_OF_OTHERS_DEED = "receiver_of_others_deed"
    SENDER = "sender"  # the desk, and the worker who sent it
    # the sender, unless it was the sender who did it
    SENDER_OF_OTHERS_DEED = "sender_of_others_deed"
    COORDINATION = "coordination"
    # And no desk: whom it is about has none yet, or has no part in it. Once a day, however many
    # there are.
    COORDINATION_ALONE = "coordination_alone"
    COORDINATION_EACH = "coordination_each"  # and no desk, each time
    REMINDED = "reminded"  # whose turn it is, as the fact says
    AUDITORS = "auditors"  # each of them; where there is none, the coordination
    MANAGERS = "managers"  # each manager of the organisation, and whoever did it
    # the worker of the receiver who answers for it, unless she did it herself; its desk, when
    # nobody is named
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
    """`verb` is that of the referral's fact it follows, or `fact` one of a contact, receipt or
    enquiry (`receipt.given`); both are empty for what has a rule of its own.
    """

    kind: str
    verb: str
    parties: tuple[Party, ...]
    es: str
    en: str
    fr: str
    fact: str = ""


NOTICES: tuple[Notice, ...] = (
    Notice(
        "referral_sent",
        "sent",
        RECEIVER,
        es="Llegó una remisión para su organización.",
        en="A referral has arrived for your organisation.",
        fr="Une orientation est arrivée pour votre organisation.",
    ),
    Notice(
        "referral_amended",
        "amended",
        RECEIVER,
        es="Se corrigió una remisión que su organización recibió.",
        en="A referral that your organisation received has been corrected.",
        fr="Une orientation reçue par votre organisation a été corrigée.",
    ),
    Notice(
        "referral_answered",
        "answered",
        RECEIVER,
        es="Respondieron a su pregunta sobre una remisión.",
        en="Your question about a referral has been answered.",
        fr="Votre question sur une orientation a reçu une réponse.",
    ),
    Notice(
        "referral_withdrawn",
        "withdrawn",
        RECEIVER_AND_SENDER_OF_OTHERS_DEED,
        es="Se retiró una remisión.",
        en="A referral has been withdrawn.",
        fr="Une orientation a été retirée.",
    ),
    Notice(
        "referral_consent_withdrawn",
        "consent_withdrawn",
        RECEIVER_AND_SENDER_OF_OTHERS_DEED,
        es="Se retiró el consentimiento de una remisión: borre lo que haya guardado.",
        en="The consent of a referral has been withdrawn: delete what you have kept.",
        fr="Le consentement d'une orientation a été retiré : effacez ce que vous avez gardé.",
    ),
    Notice(
        "referral_closed",
        "closed",
        RECEIVER_AND_SENDER_OF_OTHERS_DEED,
        es="Se cerró una remisión.",
        en="A referral has been closed.",
        fr="Une orientation a été close.",
    ),
    Notice(
        "referral_reopened",
        "reopened",
        RECEIVER_AND_SENDER_OF_OTHERS_DEED,
        es="Se reabrió una remisión: la ayuda todavía no llegó.",
        en="A referral has been reopened: help has not come yet.",
        fr="Une orientation a été rouverte : l'aide n'est pas encore arrivée.",
    ),
    Notice(
        "referral_acknowledged",
        "acknowledged",
        SENDER,
        es="Recibieron su remisión.",
        en="Your referral has been received.",
        fr="Votre orientation a été reçue.",
    ),
    Notice(
        "referral_info_requested",
        "info_requested",
        SENDER,
        es="Piden un dato sobre su remisión.",
        en="A question was asked about your referral.",
        fr="Une question est posée sur votre orientation.",
    ),
    Notice(
        "referral_accepted",
        "accepted",
        SENDER,
        es="Aceptaron su remisión.",
        en="Your referral has been accepted.",
        fr="Votre orientation a été acceptée.",
    ),
    Notice(
        "referral_waitlisted",
        "waitlisted",
        SENDER,
        es="Su remisión está en lista de espera.",
        en="Your referral is on a waiting list.",
        fr="Votre orientation est sur liste d'attente.",
    ),
    Notice(
        "referral_declined",
        "declined",
        SENDER,
        es="No pueden tomar su remisión: busque otro servicio.",
        en="Your referral was declined: find another service.",
        fr="Votre orientation a été refusée : cherchez un autre service.",
    ),
    Notice(
        "referral_not_delivered",
        "not_delivered",
        SENDER,
        es="La ayuda de su remisión no se dio: vea el motivo.",
        en="The help of your referral was not given: see the reason.",
        fr="L'aide de votre orientation n'a pas été donnée : voyez le motif.",
    ),
    Notice(
        "referral_need_closed",
        "need_closed",
        (Party.SENDER_OF_OTHERS_DEED,),
        es="La coordinación cerró la búsqueda de otro servicio para una remisión: vea el motivo.",
        en="The coordination closed the search for another service for a referral: see the reason.",
        fr=(
            "La coordination a clos la recherche d'un autre service pour une orientation :"
            " voyez le motif."
        ),
    ),
    Notice(
        "referral_appointment_scheduled",
        "appointment_scheduled",
        SENDER,
        es="Se fijó una cita para su remisión.",
        en="An appointment was made for your referral.",
        fr="Un rendez-vous a été fixé pour votre orientation.",
    ),
    Notice(
        "referral_appointment_missed",
        "appointment_missed",
        SENDER,
        es="No se dio una cita de su remisión: vea el motivo.",
        en="An appointment of your referral was missed: see the reason.",
        fr="Un rendez-vous de votre orientation a été manqué : voyez le motif.",
    ),
    Notice(
        "referral_appointment_cancelled",
        "appointment_cancelled",
        SENDER,
        es="Se canceló una cita de su remisión: vea el motivo.",
        en="An appointment of your referral was cancelled: see the reason.",
        fr="Un rendez-vous de votre orientation a été annulé : voyez le motif.",
    ),
    Notice(
        "referral_note_added",
        "note_added",
        OTHER_SIDE,
        es="Hay una nota nueva en una remisión.",
        en="There is a new note on a referral.",
        fr="Il y a une nouvelle note sur une orientation.",
    ),
    Notice(
        "referral_completed",
        "completed",
        SENDER,
        es="La ayuda de su remisión se dio: confirme que llegó.",
        en="The help of your referral was given: confirm that it came.",
        fr="L'aide de votre orientation a été donnée : confirmez qu'elle est arrivée.",
    ),
    Notice(
        "referral_expired",
        "expired",
        BOTH,
        es="Una remisión venció sin respuesta: quien la envió debe buscar otro servicio.",
        en="A referral has expired without an answer: its sender must find another service.",
        fr=(
            "Une orientation a expiré sans réponse : qui l'a envoyée doit chercher un autre"
            " service."
        ),
    ),
    Notice(
        "referral_rerouted",
        "rerouted",
        OTHER_SIDE,
        es="Una remisión pasó a otro servicio.",
        en="A referral was moved to another service.",
        fr="Une orientation est passée à un autre service.",
    ),
    Notice(
        "referral_assigned",
        "assigned",
        (Party.RESPONSIBLE,),
        es="Cambió quién se encarga de una remisión: véala.",
        en="Somebody else now answers for a referral: see it.",
        fr="Une autre personne répond d'une orientation : voyez-la.",
    ),
    Notice(
        "referral_reminded",
        "reminded",
        (Party.REMINDED,),
        es="La coordinación le recuerda una remisión: se espera lo que le toca a su organización.",
        en="The coordination reminds you of a referral: it is your organisation's turn.",
        fr="La coordination vous rappelle une orientation : c'est au tour de votre organisation.",
    ),
    Notice(
        "referral_deletion_confirmed",
        "deletion_confirmed",
        SENDER,
        es="Confirmaron que ya no guardan nada de una persona que retiró su consentimiento.",
        en="It was confirmed that nothing is held any more of a person who took her consent back.",
        fr=(
            "Il est confirmé que plus rien n'est gardé d'une personne qui a retiré son"
            " consentement."
        ),
    ),
    Notice(
        "referral_override_confirmed",
        "override_confirmed",
        SENDER,
        es="Otra persona confirmó su envío de emergencia.",
        en="Another person has confirmed your emergency referral.",
        fr="Une autre personne a confirmé votre orientation d'urgence.",
    ),
    Notice(
        "referral_consent_attached",
        "consent_attached",
        RECEIVER,
        es="Una remisión tiene un consentimiento nuevo: vea qué autoriza.",
        en="A referral has a new consent: see what it allows.",
        fr="Une orientation a un nouveau consentement : voyez ce qu'il permet.",
    ),
    Notice(
        "referral_side_out",
        "side_out",
        OTHER_SIDE,
        es=(
            "La otra organización de una remisión está suspendida o se retiró: no contesta."
            " Busque otro servicio, o llame a la coordinación."
        ),
        en=(
            "The other organisation of a referral is suspended or has left: it does not answer."
            " Find another service, or call the coordination."
        ),
        fr=(
            "L'autre organisation d'une orientation est suspendue ou s'est retirée :"
            " elle ne répond pas. Cherchez un autre service, ou appelez la coordination."
        ),
    ),
    Notice(
        "referral_side_back",
        "side_back",
        OTHER_SIDE,
        es="La otra organización de una remisión está otra vez en la red y puede contestar.",
        en="The other organisation of a referral is back in the network and can answer.",
        fr="L'autre organisation d'une orientation est de retour dans le réseau et peut répondre.",
    ),
    Notice(
        "referral_consent_ending",
        "consent_ending",
        SENDER,
        es=(
            "Un consentimiento termina pronto: si ella quiere que la ayuda siga, pregúntele otra"
            " vez antes."
        ),
        en="A consent ends soon: if the person wants help to go on, ask again before it does.",
        fr=(
            "Un consentement prend bientôt fin : si la personne veut que l'aide continue,"
            " redemandez-lui avant."
        ),
    ),
    Notice(
        "referral_leg_lost",
        "leg_lost",
        OVERSEEING,
        es="Una persona va en camino y una etapa de su viaje se cayó: busque ya quién la reciba.",
        en=(
            "A person is on her way, and a leg of the journey has fallen away:"
            " find at once who receives her."
        ),
        fr=(
            "Une personne est en route et une étape de son voyage est tombée :"
            " trouvez tout de suite qui l'accueille."
        ),
    ),
    Notice(
        "clock_reminded",
        "clock_reminded",
        RECEIVER,
        es="Un plazo está por cumplirse.",
        en="A deadline is near.",
        fr="Un délai approche.",
    ),
    Notice(
        "clock_breached",
        "clock_breached",
        BOTH,
        es="Se pasó un plazo.",
        en="A deadline has passed.",
        fr="Un délai est dépassé.",
    ),
    Notice(
        "clock_escalated",
        "clock_escalated",
        ALL,
        es="Un plazo se pasó hace rato: hay que buscar otra salida.",
        en="A deadline passed long ago: another way must be found.",
        fr="Un délai est dépassé depuis longtemps : il faut trouver une autre voie.",
    ),
    Notice(
        "contact_waiting",
        "",
        (),
        es="Un contacto de la línea espera: véalo.",
        en="A contact of the line is waiting: see it.",
        fr="Un contact de la ligne attend : voyez-le.",
        fact="contact.waiting",
    ),
    Notice(
        "contact_told",
        "",
        (),
        es="Quien llamó a la línea dijo algo más: véalo.",
        en="Somebody who called the line has said more: see it.",
        fr="Une personne qui a appelé la ligne a ajouté quelque chose : voyez-le.",
        fact="contact.told",
    ),
    Notice(
        "callback_asked",
        "",
        (),
        es="Alguien pidió que la línea le llame: vea cuándo.",
        en="Somebody asked the line to call back: see when.",
        fr="Une personne a demandé que la ligne la rappelle : voyez quand.",
        fact="callback.asked",
    ),
    Notice(
        "callback_waiting",
        "",
        (),
        es="La línea debe una llamada y la hora se acaba: véala.",
        en="The line owes a call, and its hours are running out: see it.",
        fr="La ligne doit un appel et l'heure passe : voyez-le.",
        fact="callback.waiting",
    ),
    Notice(
        "callback_escalated",
        "",
        (Party.COORDINATION,),
        es="La línea no hizo una llamada que debía: hay que llamar a la línea.",
        en="The line did not make a call that it owed: the line must be called.",
        fr="La ligne n'a pas fait un appel qu'elle devait : il faut appeler la ligne.",
        fact="callback.escalated",
    ),
    Notice(
        "contact_escalated",
        "",
        (Party.COORDINATION,),
        es="Un contacto de la línea espera desde hace demasiado: hay que llamar a la línea.",
        en="A contact of the line has waited too long: the line must be called.",
        fr="Un contact de la ligne attend depuis trop longtemps : il faut appeler la ligne.",
        fact="contact.escalated",
    ),
    Notice(
        "override_used",
        "",
        (),
        es="Se envió una remisión de emergencia sin consentimiento: revísela.",
        en="A referral was sent as an emergency without consent: review it.",
        fr="Une orientation a été envoyée en urgence sans consentement : examinez-la.",
    ),
    Notice(
        "receipt_proposed",
        "",
        (),
        es=(
            "Lo que otros decidieron por una persona, por su interés superior o en su lugar, espera"
            " a alguien más: sin confirmación no abre nada. Está en su expediente."
        ),
        en=(
            "A decision that others took for a person, in a child's interest or in an adult's"
            " place, waits for somebody else: unconfirmed it opens nothing."
        ),
        fr=(
            "Une décision prise pour une personne, dans l'intérêt d'un enfant ou à la place d'un"
            " adulte, attend quelqu'un d'autre : sans confirmation elle n'ouvre rien."
        ),
        fact="receipt.proposed",
    ),
    Notice(
        "erasure_proposed",
        "",
        (),
        es=(
            "Alguien propone borrar un expediente: otra persona de su organización debe confirmarlo"
            " en siete días."
        ),
        en=(
            "Somebody proposes to erase a file: another person of your organisation has seven days"
            " to confirm it."
        ),
        fr=(
            "Quelqu'un propose d'effacer un dossier : une autre personne de votre organisation a"
            " sept jours pour le confirmer."
        ),
        fact="erasure.proposed",
    ),
    Notice(
        "erasure_done",
        "",
        (),
        es="Se borró un expediente: dos personas lo decidieron. La constancia está en él.",
        en="A file has been erased: two people decided it. The proof is in it.",
        fr="Un dossier a été effacé : deux personnes l'ont décidé. La preuve s'y trouve.",
        fact="erasure.done",
    ),
    Notice(
        "enquiry_opened",
        "",
        (),
        es="Preguntan si uno de sus servicios puede recibir a alguien.",
        en="Somebody asks whether one of your services can take a person in.",
        fr="On demande si l'un de vos services peut accueillir quelqu'un.",
        fact="enquiry.opened",
    ),
    Notice(
        "enquiry_offered",
        "",
        (),
        es="Un servicio ofrece ayuda para su consulta.",
        en="A service offers help for your enquiry.",
        fr="Un service propose son aide pour votre demande.",
        fact="enquiry.answered",
    ),
    Notice(
        "enquiry_offers_waiting",
        "",
        (),
        es="Su consulta espera: tome un ofrecimiento o siga con la remisión.",
        en="Your enquiry waits: take an offer, or go on with the referral.",
        fr="Votre demande attend : acceptez une proposition ou continuez l'orientation.",
        fact="enquiry.offers_waiting",
    ),
    Notice(
        "enquiry_matched",
        "",
        (),
        es="Tomaron su ofrecimiento: llegará una remisión.",
        en="Your offer was taken: a referral will follow.",
        fr="Votre proposition a été acceptée : une orientation suivra.",
        fact="enquiry.matched",
    ),
    Notice(
        "enquiry_exhausted",
        "",
        (),
        es="Nadie pudo responder a una consulta: la persona sigue sin servicio.",
        en="Nobody could help with an enquiry: the person still has no service.",
        fr="Personne n'a pu répondre à une demande : la personne reste sans service.",
        fact="enquiry.exhausted",
    ),
    Notice(
        "enquiry_cancelled",
        "",
        (),
        es="Su consulta se cerró: nadie tomó los ofrecimientos a tiempo.",
        en="Your enquiry was closed: nobody took the offers in time.",
        fr="Votre demande a été close : personne n'a accepté les propositions à temps.",
        fact="enquiry.cancelled",
    ),
    Notice(
        "emergency_opened",
        "",
        (Party.COORDINATION,),
        es=(
            "Alguien abrió datos de una persona sin consentimiento, por emergencia:"
            " revíselo en su expediente."
        ),
        en=(
            "Somebody opened a person's data without consent, in an emergency:"
            " review it in the file."
        ),
        fr=(
            "Quelqu'un a ouvert les données d'une personne sans consentement, en urgence :"
            " examinez-le dans son dossier."
        ),
        fact="emergency.opened",
    ),
    Notice(
        "emergency_review_overdue",
        "",
        (Party.COORDINATION,),
        es="Nadie revisó a tiempo un acceso de emergencia: revíselo ya.",
        en="Nobody reviewed an emergency access in time: review it now.",
        fr="Personne n'a examiné à temps un accès d'urgence : examinez-le maintenant.",
        fact="emergency.review_overdue",
    ),
    Notice(
        "export_made",
        "",
        (Party.MANAGERS,),
        es=(
            "Alguien de su organización sacó de la red la hoja de quién sabe qué de una persona."
            " Si nadie de ustedes quiso eso, hable con quien la sacó."
        ),
        en=(
            "Somebody of your organisation took the sheet of who knows what of a person out of the"
            " network. If none of you wanted that, talk to who did."
        ),
        fr=(
            "Quelqu'un de votre organisation a sorti du réseau la feuille de qui sait quoi d'une"
            " personne. Si personne chez vous ne l'a voulu, parlez-lui."
        ),
        fact="export.made",
    ),
    Notice(
        "anomaly_noted",
        "",
        (Party.AUDITORS,),
        es="Algo fuera de lo común en quién abrió expedientes: revíselo en Auditoría.",
        en="Something unusual in who opened files: review it under Audit.",
        fr="Quelque chose d'inhabituel dans l'ouverture des dossiers : examinez-le dans Audit.",
        fact="anomaly.noted",
    ),
    Notice(
        "message_undeliverable",
        "",
        (),
        es="Un aviso no llegó por ningún medio: llame por teléfono.",
        en="A message reached nobody on any channel: call by telephone.",
        fr="Un message n'est arrivé par aucun moyen : téléphonez.",
    ),
    Notice(
        "webhook_disabled",
        "",
        (),
        es="Su sistema no respondió en tres días; ya no le enviamos avisos.",
        en="Your system has not answered for three days; it is no longer notified.",
        fr="Votre système n'a pas répondu pendant trois jours ; il n'est plus averti.",
    ),
    Notice(
        "organization_applied",
        "",
        (Party.COORDINATION_ALONE,),
        es="Hay organizaciones que piden entrar a la red: mire sus solicitudes.",
        en="Organisations ask to join the network: look at their applications.",
        fr="Des organisations demandent à entrer dans le réseau : regardez leurs demandes.",
        fact="organization.applied",
    ),
    Notice(
        "approval_proposed",
        "",
        (Party.COORDINATION_ALONE,),
        es="Proponen aprobar a una organización: hace falta otra persona de la coordinación.",
        en=(
            "Somebody proposes to approve an organisation: another person of the coordination is"
            " needed."
        ),
        fr=(
            "On propose d'approuver une organisation : il faut une autre personne de la"
            " coordination."
        ),
        fact="organization.approval_proposed",
    ),
    Notice(
        "agreement_ending",
        "",
        (Party.COORDINATION,),
        es="Un convenio con la red termina pronto: hay que firmar otro y anotarlo antes.",
        en="An agreement with the network ends soon: another has to be signed and recorded before.",
        fr=(
            "Une convention avec le réseau se termine bientôt : il faut en signer une autre et la"
            " noter avant."
        ),
        fact="organization.agreement_ending",
    ),
    Notice(
        "agreement_expired",
        "",
        (Party.COORDINATION,),
        es="Un convenio con la red terminó: la organización está otra vez en período de prueba.",
        en="An agreement with the network has ended: the organisation is on probation again.",
        fr="Une convention avec le réseau est terminée : l'organisation est de nouveau à l'essai.",
        fact="organization.agreement_expired",
    ),
    Notice(
        "suspension_proposed",
        "",
        (Party.COORDINATION_EACH,),
        es=(
            "Proponen suspender a una organización: hace falta otra persona de la coordinación, de"
            " otra organización."
        ),
        en=(
            "Somebody proposes to suspend an organisation: another person of the coordination is"
            " needed, of another organisation."
        ),
        fr=(
            "On propose de suspendre une organisation : il faut une autre personne de la"
            " coordination, d'une autre organisation."
        ),
        fact="organization.suspension_proposed",
    ),
    Notice(
        "hold_begun",
        "",
        (Party.COORDINATION_EACH,),
        es=(
            "Una persona de la coordinación detuvo a una organización por un día:"
            " si otra no lo confirma, vuelve a entrar."
        ),
        en=(
            "One person of the coordination stopped an organisation for a day:"
            " unless another one agrees, it comes back."
        ),
        fr=(
            "Une personne de la coordination a arrêté une organisation pour un jour :"
            " sans une autre, elle revient."
        ),
        fact="organization.held",
    ),
    Notice(
        "hold_ended",
        "",
        (Party.COORDINATION_EACH,),
        es="Nadie más confirmó en un día: la organización que se detuvo entra otra vez.",
        en="Nobody else agreed within a day: the organisation that was stopped is back.",
        fr="Personne d'autre n'a confirmé en un jour : l'organisation arrêtée est de retour.",
        fact="organization.hold_ended",
    ),
    Notice(
        "reinstatement_proposed",
        "",
        (Party.COORDINATION_EACH,),
        es=(
            "Proponen levantar una suspensión: hace falta otra persona de la coordinación, de otra"
            " organización."
        ),
        en=(
            "Somebody proposes to end a suspension: another person of the coordination is needed,"
            " of another organisation."
        ),
        fr=(
            "On propose de lever une suspension : il faut une autre personne de la coordination,"
            " d'une autre organisation."
        ),
        fact="organization.reinstatement_proposed",
    ),
    Notice(
        "leaving_proposed",
        "",
        (Party.COORDINATION_EACH,),
        es=(
            "Proponen anotar que una organización se retira para siempre:"
            " hace falta otra persona de la coordinación, de otra organización."
        ),
        en=(
            "Somebody proposes to record that an organisation leaves for good:"
            " another person of the coordination is needed, of another organisation."
        ),
        fr=(
            "On propose de noter qu'une organisation se retire pour toujours :"
            " il faut une autre personne de la coordination, d'une autre organisation."
        ),
        fact="organization.leaving_proposed",
    ),
    Notice(
        "manager_invited",
        "",
        (),
        es=(
            "La coordinación invitó a quien dirigirá su organización en Enlace."
            " Si no lo esperaban, llamen a la coordinación."
        ),
        en=(
            "The coordination has invited whoever will manage your organisation in Enlace."
            " If you did not expect this, call the coordination."
        ),
        fr=(
            "La coordination a invité la personne qui dirigera votre organisation dans Enlace."
            " Si c'est inattendu, appelez la coordination."
        ),
    ),
    Notice(
        "worker_invited",
        "",
        (),
        es="Alguien de su organización invitó a una persona a abrir una cuenta.",
        en="Somebody in your organisation has invited a person to open an account.",
        fr="Quelqu'un de votre organisation a invité une personne à ouvrir un compte.",
    ),
    Notice(
        "account_opened",
        "",
        (),
        es="Una persona invitada abrió su cuenta en su organización.",
        en="An invited person has opened an account in your organisation.",
        fr="Une personne invitée a ouvert son compte dans votre organisation.",
    ),
    Notice(
        "password_reset_asked",
        "",
        (),
        es=(
            "Alguien pidió cambiar la contraseña de su cuenta; el enlace se envió a su correo."
            " Si no fue usted, no haga nada."
        ),
        en=(
            "Somebody asked to change the password of your account; the link went to your e-mail."
            " If it was not you, do nothing."
        ),
        fr=(
            "Quelqu'un a demandé à changer le mot de passe de votre compte ;"
            " le lien est parti à votre adresse. Si ce n'est pas vous, ne faites rien."
        ),
    ),
    Notice(
        "password_changed",
        "",
        (),
        es=(
            "Cambió la contraseña de su cuenta. Si no fue usted, avise ya a quien dirige su"
            " organización."
        ),
        en=(
            "The password of your account has changed. If it was not you, tell whoever manages your"
            " organisation now."
        ),
        fr=(
            "Le mot de passe de votre compte a changé. Si ce n'est pas vous, prévenez tout de suite"
            " qui dirige votre organisation."
        ),
    ),
    Notice(
        "second_factor_removed",
        "",
        (),
        es=(
            "Quien dirige su organización quitó su código y sus llaves de acceso."
            " Si no lo pidió, cambie ya su contraseña y avise a la coordinación."
        ),
        en=(
            "Whoever manages your organisation took off your code and passkeys."
            " If you did not ask, change your password now and tell the coordination."
        ),
        fr=(
            "Qui dirige votre organisation a retiré votre code et vos clés."
            " Sans demande de votre part, changez votre mot de passe et prévenez la coordination."
        ),
    ),
    Notice(
        "second_factor_removed_by_coordination",
        "",
        (),
        es=(
            "La coordinación quitó su código y sus llaves de acceso."
            " Si no lo pidió, cambie ya su contraseña y llámela."
        ),
        en=(
            "The coordination took off your code and passkeys. If you did not ask, change your"
            " password now and call them."
        ),
        fr=(
            "La coordination a retiré votre code et vos clés. Sans demande de votre part, changez"
            " votre mot de passe et appelez-la."
        ),
    ),
    Notice(
        "provider_proposed",
        "",
        (),
        es=(
            "La coordinación propone que su gente entre por otra dirección."
            " Si su organización no lo pidió, objételo en los tres días que siguen."
        ),
        en=(
            "The coordination proposes that your people sign in by another address."
            " If your organisation did not ask for it, object within three days."
        ),
        fr=(
            "La coordination propose que vos gens entrent par une autre adresse."
            " Si votre organisation ne l'a pas demandé, opposez-vous sous trois jours."
        ),
    ),
    Notice(
        "entry_proposed",
        "",
        (),
        es=(
            "La coordinación propone cambiar el tipo, el país o el número público de su"
            " organización. Si no es correcto, llámela antes de que lo confirmen."
        ),
        en=(
            "The coordination proposes to change the kind, the country or the public number of your"
            " organisation. If that is wrong, call them before it is confirmed."
        ),
        fr=(
            "La coordination propose de changer le type, le pays ou le numéro public de votre"
            " organisation. Si c'est inexact, appelez-la avant que ce soit confirmé."
        ),
    ),
    Notice(
        "key_made",
        "",
        (),
        es=(
            "Una cuenta de su organización hizo, confirmó o tomó una clave de sistema."
            " Si nadie de ustedes quiso eso, revóquela ya."
        ),
        en=(
            "An account of your organisation made, confirmed or took over a key of a system."
            " If none of you wanted that, revoke it now."
        ),
        fr=(
            "Un compte de votre organisation a créé, confirmé ou repris une clé de système."
            " Si personne chez vous ne l'a voulu, révoquez-la tout de suite."
        ),
    ),
    Notice(
        "person_invited",
        "",
        (),
        es=(
            "Una cuenta de su organización invitó a alguien a abrir una cuenta."
            " Si nadie de ustedes quiso eso, retire la invitación ya."
        ),
        en=(
            "An account of your organisation invited somebody to open an account."
            " If none of you wanted that, withdraw the invitation now."
        ),
        fr=(
            "Un compte de votre organisation a invité quelqu'un à ouvrir un compte."
            " Si personne chez vous ne l'a voulu, retirez l'invitation tout de suite."
        ),
    ),
    Notice(
        "role_given",
        "",
        (),
        es=(
            "Se invitó a alguien a una tarea de la red, o se confirmó."
            " Si la coordinación no quiso eso, retírelo ya."
        ),
        en=(
            "Somebody was invited to a role of the network, or it was confirmed."
            " If the coordination did not want that, withdraw it now."
        ),
        fr=(
            "Quelqu'un a été invité à un rôle du réseau, ou cela a été confirmé."
            " Si la coordination ne l'a pas voulu, retirez-le tout de suite."
        ),
    ),
    Notice(
        "provider_changed",
        "",
        (),
        es=(
            "Se propuso, se confirmó o se quitó la dirección por la que una organización entra a"
            " Enlace. Si nadie quiso eso, avise a la coordinación por teléfono."
        ),
        en=(
            "The address by which an organisation signs in to Enlace was proposed, confirmed or"
            " ended. If nobody wanted that, tell the coordination by phone."
        ),
        fr=(
            "L'adresse par laquelle une organisation entre dans Enlace a été proposée, confirmée ou"
            " retirée. Si personne ne l'a voulu, appelez la coordination."
        ),
    ),
    Notice(
        "sign_in_changed",
        "",
        (),
        es=(
            "En una cuenta de su organización se puso o se quitó un código o una llave de acceso."
            " Si no fue quien la usa, suspéndala y avise a esa persona."
        ),
        en=(
            "A code or a passkey was set up or taken off at an account of your organisation."
            " If it was not its holder, suspend it and tell that person."
        ),
        fr=(
            "Un code ou une clé d'accès a été mis ou retiré sur un compte de votre organisation."
            " Si ce n'est pas la personne qui l'utilise, suspendez-le et prévenez-la."
        ),
    ),
    Notice(
        "sending_changed",
        "",
        (),
        es=(
            "Cambió adónde van los avisos de su organización: el correo o un sistema."
            " Si nadie de ustedes quiso eso, mírelo ya."
        ),
        en=(
            "Where your organisation's notices go has changed: the e-mail or a system."
            " If none of you wanted that, look at it now."
        ),
        fr=(
            "L'endroit où vont les avis de votre organisation a changé : le courriel ou un système."
            " Si personne chez vous ne l'a voulu, regardez tout de suite."
        ),
    ),
    Notice(
        "member_held",
        "",
        (),
        es="La coordinación detuvo el acceso de su organización por un día. Llámela.",
        en="The coordination stopped your organisation's access for a day. Call them.",
        fr="La coordination a arrêté l'accès de votre organisation pour un jour. Appelez-la.",
    ),
    Notice(
        "member_suspended",
        "",
        (),
        es="La coordinación suspendió a su organización: así lo decidieron dos personas. Llámela.",
        en="The coordination suspended your organisation: two people decided it. Call them.",
        fr=(
            "La coordination a suspendu votre organisation : deux personnes l'ont décidé."
            " Appelez-la."
        ),
    ),
    Notice(
        "member_reinstated",
        "",
        (),
        es="Su organización entra otra vez: mire lo que quedó esperando.",
        en="Your organisation is back: look at what has been waiting.",
        fr="Votre organisation est de retour : regardez ce qui attend.",
    ),
)
SILENT = frozenset({"drafted", "started", "appointment_attended", "entered_in_error"})
"""Verbs that are known, and nobody's message: what the sender does alone, what goes as it should,
and corrections of the record.
"""
BY_KIND = {notice.kind: notice for notice in NOTICES}
BY_VERB = {notice.verb: notice for notice in NOTICES if notice.verb}
BY_FACT = {notice.fact: notice for notice in NOTICES if notice.fact}
