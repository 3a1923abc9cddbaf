"""The gateway's settings, such as its own address, the services' addresses and the public URL.

Each setting has a default that works on one machine.
"""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from chassis import config, log
from chassis.clock import SystemClock
from chassis.tokens import AddressSigner
from keys import key_folder

# Average number of requests per second that one caller may make. A request makes at least one call
# to the services, and a page makes up to ten; the services therefore allow a caller twice as many
# calls.
CALLER_RATE = config.CALLER_RATE // 2


@dataclass(frozen=True)
class SiteSettings:
    """Settings of the pages alone."""

    exit_url: str
    signing_key: bytes
    demo: bool = False
    lines: tuple[tuple[str, str], ...] = ()
    """Numbers of the helplines by country, shown until the directory has answered."""
    lines_file: Path | None = None


@dataclass(frozen=True)
class Settings:
    """Settings of a gateway process."""

    host: str
    port: int
    partners: str
    referrals: str
    notifications: str
    public_url: str
    development: bool
    metrics_listen: str
    proxy_count: int
    caller_rate: int = CALLER_RATE
    farewell_seconds: int = 0
    address_signer: AddressSigner | None = None
    """Signs the IP address of a caller without a token, for the services.

    Only development may do without a signer; the services then count all such callers under the
    gateway's own address.
    """
    site: SiteSettings | None = None
    """None in a process without pages."""


def from_environment(*, with_site: bool = True) -> Settings:
    """Returns the settings from the ENLACE_… variables.

    If any of them is wrong, raises WrongSettings, which names all errors.

    The variables of the pages are read only for a process that has pages.
    """
    settings = config.Settings()
    development = settings.flag("ENLACE_DEVELOPMENT")
    folder = settings.path("ENLACE_KEYS", "var/keys")
    address_signer = _address_signer(folder)
    if address_signer is None and not development:
        settings.refuse(
            "ENLACE_KEYS has no calls.gateway.jwk. Without it, all callers without a token count as"
            " one address. Create it with `python -m services.partners print-key calls.gateway`"
            " (docs/operations.md)"
        )
    host, _, port = settings.listen("ENLACE_HTTP_LISTEN", "127.0.0.1:8080").rpartition(":")
    gateway_settings = Settings(
        host=host,
        port=int(port) if port.isdecimal() else 0,
        partners=settings.text("ENLACE_PARTNERS_ADDRESS", "127.0.0.1:9091"),
        referrals=settings.text("ENLACE_REFERRALS_ADDRESS", "127.0.0.1:9092"),
        notifications=settings.text("ENLACE_NOTIFICATIONS_ADDRESS", "127.0.0.1:9093"),
        public_url=settings.url("ENLACE_PUBLIC_URL", ""),
        development=development,
        metrics_listen=settings.listen("ENLACE_METRICS_LISTEN", ""),
        # With too few proxies, everybody behind a proxy counts as one address; with too many, a
        # caller can invent an address.
        proxy_count=settings.number("ENLACE_PROXIES", 0),
        # To be set behind a proxy that keeps connections to several gateways.
        farewell_seconds=settings.number("ENLACE_FAREWELL_SECONDS", 0),
        caller_rate=settings.number("ENLACE_CALLER_RATE", CALLER_RATE, least=1),
        address_signer=address_signer,
        site=_site(settings, folder) if with_site else None,
    )
    settings.done()
    return gateway_settings


def _site(settings: config.Settings, folder: Path) -> SiteSettings:
    return SiteSettings(
        # The target of quick exit: an everyday page that raises no questions.
        exit_url=settings.url("ENLACE_EXIT_URL", "https://es.wikipedia.org/wiki/Clima"),
        signing_key=_signing_key(settings, folder),
        demo=settings.flag("ENLACE_DEMO"),
        lines=tuple(settings.pairs("ENLACE_LINES").items()),
        lines_file=settings.path("ENLACE_LINES_FILE", "")
        if settings.text("ENLACE_LINES_FILE", "")
        else None,
    )


def _signing_key(settings: config.Settings, keys: Path) -> bytes:
    """Returns the key that signs form tokens and the tickets of open pages.

    Without a key file, makes a key that lasts as long as the process; a form that was made before a
    restart is then rejected and shown again.
    """
    try:
        return key_folder.secret(keys, "gateway")
    except FileNotFoundError:
        pass
    except OSError as error:  # with an empty key, anybody could sign forms
        settings.refuse(f"{error.filename} holds no key")
    return secrets.token_bytes(32)


def _address_signer(folder: Path) -> AddressSigner | None:
    """Returns the signer for addresses, with the newest key that every service has seen.

    If there is no key, logs an error and returns None. All callers without a token then count as
    one address.
    """
    try:
        return AddressSigner(
            key_folder.signing_at(key_folder.all_signing(folder, "calls.gateway"), time.time()),
            SystemClock(),
        )
    except FileNotFoundError:
        log.get().error("no_key_for_addresses")
        return None
