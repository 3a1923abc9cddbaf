"""Where e-mails are handed in: a mail server, named by one URL as settings do."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class MailServer:
    """`security` is plain, starttls or tls."""

    host: str
    port: int
    security: str = "plain"
    user: str = ""
    password: str = ""


_SCHEMES = {"smtp": ("plain", 25), "smtp+starttls": ("starttls", 587), "smtps": ("tls", 465)}


def server_of(url: str) -> MailServer:
    """smtp://host:port, smtp+starttls://user:password@host:587, smtps://user:password@host:465;
    ValueError for anything else.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError("not a mail server")
    security, port = _SCHEMES[parts.scheme]
    return MailServer(
        parts.hostname,
        parts.port or port,
        security,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )
