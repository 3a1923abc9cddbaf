"""A partner system that wants to be told: where it listens, for which kinds, and when it is no
longer called.

What is refused here is refused again, by address, at each connection: a name may point elsewhere
tomorrow.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from chassis.errors import Conflict, Invalid, Stale
from services.notifications.domain.notices import BY_KIND

TEST = "enlace.webhook.test.v1"
LIMIT = 20  # endpoints of one organisation: each multiplies what is sent
# both secrets sign: long enough for whoever enters the new one by hand
ROTATION = timedelta(hours=24)
PATIENCE = timedelta(days=3)  # of failing without one success, then it is switched off
SLOW_MS = 2000  # whoever takes longer is served in the slow lane
BY_OWNER, FAILING = "by_owner", "failing"

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Reach:
    """How far out an endpoint may be, and how far in: whether an address may be called, and whether
    this is a machine of somebody who develops.
    """

    development: bool
    may_call: Callable[[Address], bool]


@dataclass(frozen=True)
class Webhook:
    """One endpoint. `version` is its etag."""

    id: str
    organization_id: str
    url: str
    kinds: tuple[str, ...]
    enabled: bool
    disabled_reason: str
    version: int
    create_time: datetime
    update_time: datetime
    former_secret_expire_time: datetime | None = None


def open_webhook(
    id: str,
    organization_id: str,
    url: str,
    kinds: Collection[str],
    now: datetime,
    *,
    there_are: int,
    reach: Reach,
) -> Webhook:
    """A new endpoint, enabled."""
    if there_are >= LIMIT:
        raise Conflict("too_many_webhooks")
    check_url(url, reach)
    check_kinds(kinds)
    return Webhook(id, organization_id, url, tuple(sorted(set(kinds))), True, "", 1, now, now)


def change(
    webhook: Webhook,
    version: int,
    now: datetime,
    *,
    url: str | None,
    kinds: Collection[str] | None,
    enabled: bool | None,
    reach: Reach,
) -> Webhook:
    """The endpoint with what is not None changed; switching it on again forgets why it was off."""
    if version != webhook.version:
        raise Stale
    if url is not None:
        check_url(url, reach)
        webhook = replace(webhook, url=url)
    if kinds is not None:
        check_kinds(kinds)
        webhook = replace(webhook, kinds=tuple(sorted(set(kinds))))
    if enabled is not None and enabled != webhook.enabled:
        webhook = replace(webhook, enabled=enabled, disabled_reason="" if enabled else BY_OWNER)
    return replace(webhook, version=webhook.version + 1, update_time=now)


def rotate(webhook: Webhook, now: datetime, *, at_once: bool) -> Webhook:
    """The endpoint with another secret.

    Two at most sign: while a receiver may still know only the one before the last, there is no
    third, or it would be cut off without a word; but what leaked ends at once.
    """
    until = webhook.former_secret_expire_time
    if not at_once and until is not None and now < until <= now + ROTATION:
        raise Conflict("secret_rotating")
    return replace(
        webhook,
        version=webhook.version + 1,
        update_time=now,
        former_secret_expire_time=None if at_once else now + ROTATION,
    )


def check_kinds(kinds: Collection[str]) -> None:
    """Refuses kinds that are never told."""
    unknown = [
        (f"webhook.kinds.{number}", "unknown_code")
        for number, kind in enumerate(kinds)
        if kind not in BY_KIND
    ]
    if unknown:
        raise Invalid(*unknown)


def check_url(url: str, reach: Reach) -> None:
    """Refuses what we would not call: not https (but in development), with user info, or an address
    inside our own network.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Invalid(("webhook.url", "malformed")) from error
    odd = any(character <= " " or character == "\\" for character in url) or not url.isascii()
    if (
        odd
        or not host
        or parts.username is not None
        or parts.password is not None
        or parts.fragment
    ):
        raise Invalid(("webhook.url", "malformed"))
    if parts.scheme != "https" and not (reach.development and parts.scheme == "http"):
        raise Invalid(("webhook.url", "out_of_range"))
    literal = _literal(host)
    if (literal is not None and not reach.may_call(literal)) or (
        host.endswith(("localhost", ".internal", ".local")) and not reach.development
    ):
        raise Invalid(("webhook.url", "out_of_range"))


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
