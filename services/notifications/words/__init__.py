"""Notices and e-mails in the reader's language: the texts of the domain, by the catalogues beside
this file.
"""

from pathlib import Path

from chassis.languages import language_of
from chassis.words import Catalogues
from services.notifications.domain.notices import BY_KIND
from services.notifications.domain.texts import (
    ACCOUNT,
    APPLICATION,
    INVITATION,
    PLACES,
    TASK,
    Mail,
    MailText,
)

FOLDER = Path(__file__).parent
WORDS = Catalogues(FOLDER)


def text(kind: str, language: str) -> str:
    """The inbox's text.

    A kind of a later version, already in the store when going back to this one, is shown by its
    code.
    """
    notice = BY_KIND.get(kind)
    return WORDS.text(language_of(language), notice.text) if notice else kind


def mail(
    delivery_id: str, recipient: str, referral_id: str, language: str, public_url: str
) -> Mail:
    """The e-mail of a message: the kind is not in it, the link is the only thing that differs."""
    link = f"{public_url}/referrals/{referral_id}" if referral_id else f"{public_url}/inbox"
    return _mail(delivery_id, recipient, TASK, language_of(language), link)


def invitation_mail(
    delivery_id: str, recipient: str, token: str, language: str, public_url: str
) -> Mail:
    """The e-mail of an invitation.

    The token stands behind the # of the link: what is there a browser sends to nobody, and no
    server writes it down.
    """
    chosen = language_of(language)
    link = f"{public_url}/invitation?lang={chosen}#{token}"
    return _mail(delivery_id, recipient, INVITATION, chosen, link, token)


def application_mail(
    delivery_id: str, recipient: str, token: str, language: str, public_url: str
) -> Mail:
    """The e-mail to whoever applied: nothing that was written into the form is in it, for the
    mailbox may be a stranger's.
    """
    chosen = language_of(language)
    link = f"{public_url}/join/confirm?lang={chosen}#{token}"
    return _mail(delivery_id, recipient, APPLICATION, chosen, link, token)


def account_mail(
    delivery_id: str, kind: str, recipient: str, token: str, language: str, public_url: str
) -> Mail | None:
    """The e-mail of what somebody is told of her own account; None for a kind of a later version.

    Its token stands where that of an invitation does.
    """
    if kind not in ACCOUNT:
        return None
    chosen = language_of(language)
    place = (
        f"reset?lang={chosen}#{token}" if token else PLACES.get(kind, "forgot") + f"?lang={chosen}"
    )
    return _mail(delivery_id, recipient, ACCOUNT[kind], chosen, f"{public_url}/{place}", token)


def _mail(
    delivery_id: str, recipient: str, text: MailText, language: str, link: str, code: str = ""
) -> Mail:
    body = WORDS.text(language, text.body).format(link=link, code=code)
    return Mail(delivery_id, recipient, WORDS.text(language, text.subject), body, language)
