"""The mail server through which e-mails are sent; the settings give it as one URL."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class MailServer:
    """The address of a mail server. `security` is plain, starttls or tls."""

    host: str
    port: int
    security: str = "plain"
    user: str = ""
    password: str = ""


_SCHEMES = {"smtp": ("plain", 25), "smtp+starttls": ("starttls", 587), "smtps": ("tls", 465)}


def server_of(url: str) -> MailServer:
    """Returns the mail server that the URL names; raises ValueError for anything else.

    The schemes are smtp, smtp+starttls and smtps, each followed by ://[user:password@]host[:port];
    their default ports are 25, 587 and 465.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.port == 0:
        raise ValueError("not a mail server")
    security, port = _SCHEMES[parts.scheme]
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user + password).isascii():
        raise ValueError("smtplib can sign in with ASCII characters only")
    return MailServer(parts.hostname, parts.port or port, security, user, password)
