"""What is said: one constant text per kind and language, reviewed like code. Nothing in it depends on a person, a place or a need.

In the inbox, behind a sign-in, a text says what happened. An e-mail says only that there is a task: whoever looks over a shoulder or reads the mailbox
learns that an account exists, no more. All e-mails of a language are equal but for one id of fixed length.
"""

from dataclasses import dataclass

from services.notifications.domain.rules import KINDS

LANGUAGES = ("es", "en", "fr")
DEFAULT = "es"
ID_LENGTH = 32

TEXTS: dict[str, dict[str, str]] = {
    "referral_sent": {
        "es": "Llegó una remisión para su organización.",
        "en": "A referral has arrived for your organisation.",
        "fr": "Une orientation est arrivée pour votre organisation.",
    },
    "referral_amended": {
        "es": "Se corrigió una remisión que su organización recibió.",
        "en": "A referral that your organisation received has been corrected.",
        "fr": "Une orientation reçue par votre organisation a été corrigée.",
    },
    "referral_answered": {
        "es": "Respondieron a su pregunta sobre una remisión.",
        "en": "Your question about a referral has been answered.",
        "fr": "Votre question sur une orientation a reçu une réponse.",
    },
    "referral_withdrawn": {
        "es": "Se retiró una remisión.",
        "en": "A referral has been withdrawn.",
        "fr": "Une orientation a été retirée.",
    },
    "referral_consent_withdrawn": {
        "es": "Se retiró el consentimiento de una remisión: borre lo que haya guardado.",
        "en": "The consent of a referral has been withdrawn: delete what you have kept.",
        "fr": "Le consentement d'une orientation a été retiré : effacez ce que vous avez gardé.",
    },
    "referral_closed": {
        "es": "Se cerró una remisión.",
        "en": "A referral has been closed.",
        "fr": "Une orientation a été close.",
    },
    "referral_reopened": {
        "es": "Se reabrió una remisión: la ayuda todavía no llegó.",
        "en": "A referral has been reopened: help has not come yet.",
        "fr": "Une orientation a été rouverte : l'aide n'est pas encore arrivée.",
    },
    "referral_acknowledged": {
        "es": "Recibieron su remisión.",
        "en": "Your referral has been received.",
        "fr": "Votre orientation a été reçue.",
    },
    "referral_info_requested": {
        "es": "Piden un dato sobre su remisión.",
        "en": "A question was asked about your referral.",
        "fr": "Une question est posée sur votre orientation.",
    },
    "referral_accepted": {
        "es": "Aceptaron su remisión.",
        "en": "Your referral has been accepted.",
        "fr": "Votre orientation a été acceptée.",
    },
    "referral_waitlisted": {
        "es": "Su remisión está en lista de espera.",
        "en": "Your referral is on a waiting list.",
        "fr": "Votre orientation est sur liste d'attente.",
    },
    "referral_declined": {
        "es": "No pueden tomar su remisión: busque otro servicio.",
        "en": "Your referral was declined: find another service.",
        "fr": "Votre orientation a été refusée : cherchez un autre service.",
    },
    "referral_not_delivered": {
        "es": "La ayuda de su remisión no se dio: vea el motivo.",
        "en": "The help of your referral was not given: see the reason.",
        "fr": "L'aide de votre orientation n'a pas été donnée : voyez le motif.",
    },
    "referral_completed": {
        "es": "La ayuda de su remisión se dio: confirme que llegó.",
        "en": "The help of your referral was given: confirm that it came.",
        "fr": "L'aide de votre orientation a été donnée : confirmez qu'elle est arrivée.",
    },
    "referral_expired": {
        "es": "Su remisión venció sin respuesta: busque otro servicio.",
        "en": "Your referral has expired without an answer: find another service.",
        "fr": "Votre orientation a expiré sans réponse : cherchez un autre service.",
    },
    "referral_override_confirmed": {
        "es": "Otra persona confirmó su envío de emergencia.",
        "en": "Another person has confirmed your emergency referral.",
        "fr": "Une autre personne a confirmé votre orientation d'urgence.",
    },
    "referral_consent_attached": {
        "es": "Una remisión de emergencia ya tiene consentimiento: vea qué autoriza.",
        "en": "An emergency referral now has a consent: see what it allows.",
        "fr": "Une orientation d'urgence a maintenant un consentement : voyez ce qu'il permet.",
    },
    "clock_reminded": {
        "es": "Un plazo está por cumplirse.",
        "en": "A deadline is near.",
        "fr": "Un délai approche.",
    },
    "clock_breached": {
        "es": "Se pasó un plazo.",
        "en": "A deadline has passed.",
        "fr": "Un délai est dépassé.",
    },
    "clock_escalated": {
        "es": "Un plazo se pasó hace rato: hay que buscar otra salida.",
        "en": "A deadline passed long ago: another way must be found.",
        "fr": "Un délai est dépassé depuis longtemps : il faut trouver une autre voie.",
    },
    "override_used": {
        "es": "Se envió una remisión de emergencia sin consentimiento: revísela.",
        "en": "A referral was sent as an emergency without consent: review it.",
        "fr": "Une orientation a été envoyée en urgence sans consentement : examinez-la.",
    },
    "message_undeliverable": {
        "es": "Un aviso no llegó por ningún medio: llame por teléfono.",
        "en": "A message reached nobody on any channel: call by telephone.",
        "fr": "Un message n'est arrivé par aucun moyen : téléphonez.",
    },
    "webhook_disabled": {
        "es": "Su sistema no respondió en tres días; ya no le enviamos avisos.",
        "en": "Your system has not answered for three days; it is no longer notified.",
        "fr": "Votre système n'a pas répondu pendant trois jours ; il n'est plus averti.",
    },
    "manager_invited": {
        "es": "La coordinación invitó a quien dirigirá su organización en Enlace. Si no lo esperaban, llamen a la coordinación.",
        "en": "The coordination has invited whoever will manage your organisation in Enlace. If you did not expect this, call the coordination.",
        "fr": "La coordination a invité la personne qui dirigera votre organisation dans Enlace. Si c'est inattendu, appelez la coordination.",
    },
    "worker_invited": {
        "es": "Alguien de su organización invitó a una persona a abrir una cuenta.",
        "en": "Somebody in your organisation has invited a person to open an account.",
        "fr": "Quelqu'un de votre organisation a invité une personne à ouvrir un compte.",
    },
    "account_opened": {
        "es": "Una persona invitada abrió su cuenta en su organización.",
        "en": "An invited person has opened an account in your organisation.",
        "fr": "Une personne invitée a ouvert son compte dans votre organisation.",
    },
}

SUBJECTS = {"es": "Tiene una tarea en Enlace", "en": "You have a task in Enlace", "fr": "Vous avez une tâche dans Enlace"}
BODIES = {
    "es": "Tiene una tarea en Enlace.\n\n{link}\n\nEste mensaje se envía solo; no hace falta responder.\n",
    "en": "You have a task in Enlace.\n\n{link}\n\nThis message is sent automatically; there is no need to answer.\n",
    "fr": "Vous avez une tâche dans Enlace.\n\n{link}\n\nCe message est envoyé automatiquement ; il n'est pas nécessaire de répondre.\n",
}

INVITATION_SUBJECTS = {"es": "Invitación a Enlace", "en": "Invitation to Enlace", "fr": "Invitation à Enlace"}
INVITATION_BODIES = {
    "es": "Le invitaron a abrir una cuenta en Enlace.\n\n{link}\n\n"
    "El enlace sirve una sola vez y durante 72 horas. Es solo para usted: no lo reenvíe.\n"
    "Si la página le pide el código, es este:\n\n{code}\n\n"
    "Si ya tiene una cuenta con este correo, o si no esperaba este mensaje, no haga nada.\n",
    "en": "You have been invited to open an account in Enlace.\n\n{link}\n\n"
    "The link is good for once, and for 72 hours. It is for you alone: do not pass it on.\n"
    "If the page asks for the code, it is this:\n\n{code}\n\n"
    "If you already have an account with this address, or did not expect this message, do nothing.\n",
    "fr": "Vous êtes invité à ouvrir un compte dans Enlace.\n\n{link}\n\n"
    "Le lien ne sert qu'une fois et pendant 72 heures. Il n'est que pour vous : ne le transmettez pas.\n"
    "Si la page vous demande le code, le voici :\n\n{code}\n\n"
    "Si vous avez déjà un compte avec cette adresse, ou si vous n'attendiez pas ce message, ne faites rien.\n",
}


@dataclass(frozen=True)
class Mail:
    """An e-mail, complete: the id makes its Message-ID, so that a repeat is recognised by the mailbox."""

    id: str
    recipient: str
    subject: str
    body: str
    language: str


def language_for(tag: str) -> str:
    """One of our languages for a BCP 47 tag."""
    primary = tag.partition("-")[0].lower()
    return primary if primary in LANGUAGES else DEFAULT


def text(kind: str, language: str) -> str:
    """The inbox's text. A kind of a later version, already in the store when going back to this one, is shown by its code."""
    return TEXTS[kind][language_for(language)] if kind in KINDS else kind


def mail(delivery_id: str, recipient: str, referral_id: str, language: str, public_url: str) -> Mail:
    """The e-mail of a message: the kind is not in it, the link is the only thing that differs."""
    chosen = language_for(language)
    link = f"{public_url}/referrals/{referral_id}" if referral_id else f"{public_url}/inbox"
    return Mail(delivery_id, recipient, SUBJECTS[chosen], BODIES[chosen].format(link=link), chosen)


def invitation_mail(delivery_id: str, recipient: str, token: str, language: str, public_url: str) -> Mail:
    """The e-mail of an invitation. The token stands behind the # of the link: what is there a browser sends to nobody, and no server writes it down."""
    chosen = language_for(language)
    body = INVITATION_BODIES[chosen].format(link=f"{public_url}/invitation?lang={chosen}#{token}", code=token)
    return Mail(delivery_id, recipient, INVITATION_SUBJECTS[chosen], body, chosen)
