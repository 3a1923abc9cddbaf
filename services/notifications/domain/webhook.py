"""A partner system's endpoint: its address, the kinds of notices it wants, and when it is off.

The address is checked here and again at each connection, since a name may point elsewhere later.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from chassis.errors import Conflict, Invalid, Stale
from services.notifications.domain.notices import BY_KIND
from services.notifications.domain.notices.notice import Party
from services.notifications.domain.texts import ACCOUNT

TEST = "enlace.webhook.test.v1"
LIMIT = 20  # maximum number of endpoints per organisation; each endpoint multiplies deliveries
# How long both secrets sign after a rotation: long enough to enter the new secret by hand.
ROTATION = timedelta(hours=24)
PATIENCE = timedelta(days=3)  # time of uninterrupted failure before an endpoint is switched off
# After this long without an attempt (nothing was due, or this service did not run), a failure
# starts a new series. It is longer than any wait between two attempts of one delivery.
SERIES_GAP = timedelta(days=1)
SLOW_MS = 2000  # an endpoint that takes longer moves to the slow lane
_PEOPLE = {
    Party.COORDINATION_ALONE,
    Party.COORDINATION_PER_FACT,
    Party.COORDINATION_FOR_LONE_MANAGER,
    Party.MANAGERS,
    Party.AUDITORS,
}
FOR_PEOPLE_ALONE = {kind for kind, notice in BY_KIND.items() if _PEOPLE & {*notice.parties}} | {
    "message_undeliverable",
    "sending_changed",
    *ACCOUNT,
}
"""The kinds of messages that are for people's inboxes alone: no endpoint receives them."""
DISABLED_BY_OWNER, DISABLED_FOR_FAILING = "by_owner", "failing"
"""The values of `Webhook.disabled_reason`; "" while the endpoint is enabled."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Reach:
    """The addresses that an endpoint may have.

    `may_call` returns whether an address may be called; `development` is set on a developer's
    machine, where more is allowed.
    """

    development: bool
    may_call: Callable[[Address], bool]


@dataclass(frozen=True)
class Webhook:
    """An endpoint of a partner system. `version` is its etag; empty `kinds` stand for all kinds."""

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


def new_webhook(
    id: str,
    organization_id: str,
    url: str,
    kinds: Collection[str],
    now: datetime,
    *,
    existing_count: int,
    reach: Reach,
) -> Webhook:
    """Returns a new endpoint, enabled.

    Raises Conflict if the organisation has LIMIT endpoints already, and Invalid for a URL or a kind
    that is not allowed.
    """
    if existing_count >= LIMIT:
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
    """Returns the endpoint with the given values; None leaves a value as it is.

    Switching the endpoint on again removes the reason why it was off. Raises Stale if `version` is
    not the endpoint's version, and Invalid for a URL or a kind that is not allowed.
    """
    if version != webhook.version:
        raise Stale
    if url is not None:
        check_url(url, reach)
        webhook = replace(webhook, url=url)
    if kinds is not None:
        check_kinds(kinds)
        webhook = replace(webhook, kinds=tuple(sorted(set(kinds))))
    if enabled is not None and enabled != webhook.enabled:
        webhook = replace(
            webhook, enabled=enabled, disabled_reason="" if enabled else DISABLED_BY_OWNER
        )
    return replace(webhook, version=webhook.version + 1, update_time=now)


def rotate(webhook: Webhook, now: datetime, *, at_once: bool) -> Webhook:
    """Returns the endpoint with a new version, for which the caller creates a new secret.

    At most two secrets sign at a time. While a receiver may still know only the former secret, a
    further rotation raises Conflict, because it would cut the receiver off without a warning.
    `at_once` is for a secret that has leaked: that secret is then invalid at once.
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
    """Raises Invalid for kinds that no endpoint receives."""
    unknown = [
        (f"webhook.kinds.{number}", "unknown_code")
        for number, kind in enumerate(kinds)
        if kind not in BY_KIND or kind in FOR_PEOPLE_ALONE
    ]
    if unknown:
        raise Invalid(*unknown)


def check_url(url: str, reach: Reach) -> None:
    """Raises Invalid for a URL that this service would not call.

    Such a URL is malformed, contains user info or a fragment, is not https (in development, http is
    allowed), or points into the network of this service.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Invalid(("webhook.url", "malformed")) from error
    has_odd_character = (
        any(character <= " " or character == "\\" for character in url) or not url.isascii()
    )
    if (
        has_odd_character
        or not host
        or port == 0  # the client would call the default port instead
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
