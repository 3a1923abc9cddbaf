"""Notices and e-mails in the reader's language.

The texts of the domain are translated with the catalogues next to this file.
"""

from pathlib import Path

from chassis.languages import language_of
from chassis.words import Catalogues
from services.notifications.domain.notices import BY_KIND
from services.notifications.domain.texts import (
    ACCOUNT,
    APPLICATION,
    INVITATION,
    PAGES,
    TASK,
    Mail,
    MailText,
)

FOLDER = Path(__file__).parent
WORDS = Catalogues(FOLDER)


def text(kind: str, language: str) -> str:
    """Returns the text of a notice, as the inbox shows it.

    A kind that only a later version knows is shown as its code. Messages of such a kind exist after
    the service was rolled back to this version.
    """
    notice = BY_KIND.get(kind)
    return WORDS.text(language_of(language), notice.text) if notice else kind


def mail(
    delivery_id: str, recipient: str, referral_id: str, language: str, public_url: str
) -> Mail:
    """Returns the e-mail to a desk for a message.

    It does not show the kind of the message; in one language, these e-mails differ only in the
    link.
    """
    link = f"{public_url}/referrals/{referral_id}" if referral_id else f"{public_url}/inbox"
    return _mail(delivery_id, recipient, TASK, language_of(language), link)


def invitation_mail(
    delivery_id: str, recipient: str, token: str, language: str, public_url: str
) -> Mail:
    """Returns the e-mail for an invitation.

    The token stands after the # of the link, so that no browser sends it and no server logs it.
    """
    mail_language = language_of(language)
    link = f"{public_url}/invitation?lang={mail_language}#{token}"
    return _mail(delivery_id, recipient, INVITATION, mail_language, link, token)


def application_mail(
    delivery_id: str, recipient: str, token: str, language: str, public_url: str
) -> Mail:
    """Returns the e-mail to an applicant.

    It contains nothing that was entered into the form, since the mailbox may be a stranger's.
    """
    mail_language = language_of(language)
    link = f"{public_url}/join/confirm?lang={mail_language}#{token}"
    return _mail(delivery_id, recipient, APPLICATION, mail_language, link, token)


def account_mail(
    delivery_id: str, kind: str, recipient: str, token: str, language: str, public_url: str
) -> Mail | None:
    """Returns the e-mail to a worker about her own account or organisation.

    A token stands after the # of the link, as in an invitation. Returns None for a kind that only a
    later version knows.
    """
    if kind not in ACCOUNT:
        return None
    mail_language = language_of(language)
    page = (
        f"reset?lang={mail_language}#{token}"
        if token
        else PAGES.get(kind, "forgot") + f"?lang={mail_language}"
    )
    return _mail(
        delivery_id, recipient, ACCOUNT[kind], mail_language, f"{public_url}/{page}", token
    )


def _mail(
    delivery_id: str, recipient: str, text: MailText, language: str, link: str, code: str = ""
) -> Mail:
    body = WORDS.text(language, text.body).format(link=link, code=code)
    return Mail(delivery_id, recipient, WORDS.text(language, text.subject), body, language)
