"""What an e-mail says, and in which language somebody is told.

An e-mail says only that there is a task: whoever looks over a shoulder or reads the mailbox
learns that an account exists, no more. All e-mails of a language are equal but for one id of fixed length.
"""

from dataclasses import dataclass

from services.notifications.domain.notices import BY_KIND

LANGUAGES = ("es", "en", "fr")
DEFAULT = "es"
ID_LENGTH = 32

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
    notice = BY_KIND.get(kind)
    return str(getattr(notice, language_for(language))) if notice else kind


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
