"""A partner system that wants to be told: where it listens, for which kinds, and when it is no longer called.

What is refused here is refused again, by address, at each connection: a name may point elsewhere tomorrow.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from chassis.errors import Conflict, Invalid, Stale
from services.notifications.domain.notices import BY_KIND

TEST = "enlace.webhook.test.v1"
LIMIT = 20  # endpoints of one organisation: each multiplies what is sent
ROTATION = timedelta(hours=24)  # both secrets sign: long enough for whoever enters the new one by hand
PATIENCE = timedelta(days=3)  # of failing without one success, then it is switched off
SLOW_MS = 2000  # whoever takes longer is served in the slow lane
BY_OWNER, FAILING = "by_owner", "failing"
_NAT64 = IPv6Network("64:ff9b::/96")  # IPv4 behind IPv6: what counts is the address inside

Address = IPv4Address | IPv6Address


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
    id: str, organization_id: str, url: str, kinds: Collection[str], now: datetime, *, there_are: int, development: bool
) -> Webhook:
    """A new endpoint, enabled."""
    if there_are >= LIMIT:
        raise Conflict("too_many_webhooks")
    check_url(url, development=development)
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
    development: bool,
) -> Webhook:
    """The endpoint with what is not None changed; switching it on again forgets why it was off."""
    if version != webhook.version:
        raise Stale
    if url is not None:
        check_url(url, development=development)
        webhook = replace(webhook, url=url)
    if kinds is not None:
        check_kinds(kinds)
        webhook = replace(webhook, kinds=tuple(sorted(set(kinds))))
    if enabled is not None and enabled != webhook.enabled:
        webhook = replace(webhook, enabled=enabled, disabled_reason="" if enabled else BY_OWNER)
    return replace(webhook, version=webhook.version + 1, update_time=now)


def rotate(webhook: Webhook, now: datetime, *, at_once: bool) -> Webhook:
    """The endpoint with another secret. Two at most sign: while a receiver may still know only the one before the last, there is no third, or it would be
    cut off without a word; but what leaked ends at once."""
    until = webhook.former_secret_expire_time
    if not at_once and until is not None and until > now:
        raise Conflict("secret_rotating")
    return replace(webhook, version=webhook.version + 1, update_time=now, former_secret_expire_time=None if at_once else now + ROTATION)


def check_kinds(kinds: Collection[str]) -> None:
    """Refuses kinds that are never told."""
    unknown = [(f"webhook.kinds.{number}", "unknown_code") for number, kind in enumerate(kinds) if kind not in BY_KIND]
    if unknown:
        raise Invalid(*unknown)


def check_url(url: str, *, development: bool) -> None:
    """Refuses what we would not call: not https (but in development), with user info, or an address inside our own network."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Invalid(("webhook.url", "malformed")) from error
    odd = any(character <= " " or character == "\\" for character in url) or not url.isascii()
    if odd or not host or parts.username is not None or parts.password is not None or parts.fragment:
        raise Invalid(("webhook.url", "malformed"))
    if parts.scheme != "https" and not (development and parts.scheme == "http"):
        raise Invalid(("webhook.url", "out_of_range"))
    literal = _literal(host)
    if (literal is not None and not may_call(literal, development=development)) or (
        host.endswith(("localhost", ".internal", ".local")) and not development
    ):
        raise Invalid(("webhook.url", "out_of_range"))


# Nobody's addresses that `ipaddress` takes for the world's: site-local (RFC 3879), documentation (RFC 3849, 9637, 5737), discard (RFC 6666) and the
# translation prefix of a network's own (RFC 8215).
_NOWHERE = tuple(
    ip_network(net)
    for net in "fec0::/10 2001:db8::/32 3fff::/20 100::/64 64:ff9b:1::/48 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24".split()
)


def may_call(address: Address, *, development: bool) -> bool:
    """Whether an address is out in the world; in development, the machine itself too. The one rule against being used to look into our own network."""
    address = _inner(address)
    if development and address.is_loopback:
        return True
    return address.is_global and not address.is_multicast and not address.is_reserved and not any(address in net for net in _NOWHERE)


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that is only another way of writing it."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
