"""The rules of an endpoint, without a database.

The tests cover a new endpoint, the values that a change keeps, and the time in which two secrets
sign.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from chassis.addresses import may_call
from chassis.errors import Conflict, Stale
from services.notifications.domain.webhook import (
    LIMIT,
    Reach,
    Webhook,
    change,
    check_url,
    new_webhook,
    rotate,
)
from tests.builders import NOON, violations_of

DAY = timedelta(days=1)
LATER = NOON + timedelta(hours=1)
IN_PRODUCTION = Reach(False, partial(may_call, development=False))
IN_DEVELOPMENT = Reach(True, partial(may_call, development=True))
URL = "https://partner.example/"
KINDS = ("clock_breached", "referral_sent")
ENABLED = Webhook("webhook", "ngo", URL, KINDS, True, "", 1, NOON, NOON)


def open_webhook(existing_count: int = 0, **more: Any) -> Webhook:
    fields: dict[str, Any] = {"url": URL, "kinds": [*reversed(KINDS), *KINDS], **more}
    return new_webhook(
        "webhook",
        "ngo",
        fields["url"],
        fields["kinds"],
        NOON,
        existing_count=existing_count,
        reach=IN_PRODUCTION,
    )


def changed(webhook: Webhook, **more: Any) -> Webhook:
    no_change: dict[str, Any] = {"url": None, "kinds": None, "enabled": None}
    return change(webhook, webhook.version, LATER, **(no_change | more), reach=IN_PRODUCTION)


def test_a_new_endpoint_within_the_limit_is_enabled_and_has_each_kind_once() -> None:
    assert open_webhook() == ENABLED
    assert open_webhook(LIMIT - 1) == ENABLED
    with pytest.raises(Conflict, match=r"^too_many_webhooks$"):
        open_webhook(LIMIT)


@pytest.mark.parametrize(
    ("values", "path", "reason"),
    [
        ({"url": "http://partner.example/"}, "url", "out_of_range"),
        ({"kinds": ["referral_sent", "weather"]}, "kinds.1", "unknown_code"),
        ({"kinds": ["key_made"]}, "kinds.0", "unknown_code"),  # for the managers' inboxes alone
    ],
)
def test_a_value_refused_in_a_new_endpoint_is_refused_in_a_change(
    values: dict[str, Any], path: str, reason: str
) -> None:
    assert violations_of(lambda: open_webhook(**values)) == [(f"webhook.{path}", reason)]
    assert violations_of(lambda: changed(ENABLED, **values)) == [(f"webhook.{path}", reason)]


DISABLED = replace(ENABLED, enabled=False, disabled_reason="by_owner")
FAILED = replace(ENABLED, enabled=False, disabled_reason="failing")


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        (ENABLED, {}, ENABLED),
        (
            ENABLED,
            {"url": "https://other.example/"},
            replace(ENABLED, url="https://other.example/"),
        ),
        (ENABLED, {"kinds": ["referral_sent"] * 2}, replace(ENABLED, kinds=("referral_sent",))),
        (ENABLED, {"kinds": []}, replace(ENABLED, kinds=())),
        (ENABLED, {"enabled": False}, DISABLED),
        (ENABLED, {"enabled": True}, ENABLED),
        (DISABLED, {"enabled": True}, ENABLED),
        (FAILED, {"enabled": True}, ENABLED),
        (FAILED, {"enabled": False}, FAILED),
        (FAILED, {"url": URL}, FAILED),
    ],
)
def test_a_change_makes_a_version_and_keeps_all_other_values(
    before: Webhook, changes: dict[str, Any], after: Webhook
) -> None:
    assert changed(before, **changes) == replace(after, version=2, update_time=LATER)


def test_a_change_of_another_version_is_stale() -> None:
    for version in (0, 2):
        with pytest.raises(Stale):
            change(ENABLED, version, LATER, url=None, kinds=None, enabled=None, reach=IN_PRODUCTION)


@pytest.mark.parametrize(
    ("former_end", "at_once", "new_end"),
    [
        (None, False, LATER + DAY),
        (None, True, None),
        (LATER + DAY, True, None),
        (LATER, False, LATER + DAY),
        # a fast clock wrote this time, so it is ignored
        (LATER + DAY + timedelta(seconds=1), False, LATER + DAY),
    ],
)
def test_after_a_rotation_both_secrets_sign_for_a_day_unless_the_former_one_leaked(
    former_end: datetime | None, at_once: bool, new_end: datetime | None
) -> None:
    rotated = rotate(replace(ENABLED, former_secret_expire_time=former_end), LATER, at_once=at_once)
    assert rotated == replace(
        ENABLED, version=2, update_time=LATER, former_secret_expire_time=new_end
    )


@pytest.mark.parametrize("remaining", [timedelta(seconds=1), DAY])
def test_while_two_secrets_sign_no_third_can_be_made(remaining: timedelta) -> None:
    with pytest.raises(Conflict, match=r"^secret_rotating$"):
        rotate(replace(ENABLED, former_secret_expire_time=LATER + remaining), LATER, at_once=False)


@pytest.mark.parametrize(
    ("url", "reach", "reason"),
    [
        ("http://127.0.0.1:8000/hook", IN_PRODUCTION, "out_of_range"),
        ("http://127.0.0.1:8000/hook", IN_DEVELOPMENT, ""),
        ("http://localhost:8000/hook", IN_DEVELOPMENT, ""),
        ("ftp://127.0.0.1/hook", IN_DEVELOPMENT, "out_of_range"),
        ("https://10.0.0.1/hook", IN_DEVELOPMENT, "out_of_range"),
        ("https://partner.example:8443/hooks/enlace?tenant=7", IN_PRODUCTION, ""),
        ("http://partner.example/hook", IN_PRODUCTION, "out_of_range"),
        ("ftp://partner.example/hook", IN_PRODUCTION, "out_of_range"),
        ("https://10.0.0.1/hook", IN_PRODUCTION, "out_of_range"),
        ("https://[::1]/hook", IN_PRODUCTION, "out_of_range"),
        ("https://localhost/hook", IN_PRODUCTION, "out_of_range"),
        ("https://referrals.enlace.svc.cluster.local/hook", IN_PRODUCTION, "out_of_range"),
        ("https://partner.example/ñ", IN_PRODUCTION, "malformed"),
        ("https://:secret@partner.example/", IN_PRODUCTION, "malformed"),
        ("https://user:secret@partner.example/hook", IN_PRODUCTION, "malformed"),
        ("https://user@partner.example/hook", IN_PRODUCTION, "malformed"),
        ("https:///hook", IN_PRODUCTION, "malformed"),
        ("https://partner.example:99999/hook", IN_PRODUCTION, "malformed"),
        ("https://partner.example:0/hook", IN_PRODUCTION, "malformed"),
        ("https://partner.example/a b", IN_PRODUCTION, "malformed"),
        ("https://partner.example/\r\nx: y", IN_PRODUCTION, "malformed"),
        ("https://partner.example\\@10.0.0.1/", IN_PRODUCTION, "malformed"),
        ("https://partner.example/#here", IN_PRODUCTION, "malformed"),
        ("https://[::1", IN_PRODUCTION, "malformed"),
        ("partner.example", IN_PRODUCTION, "malformed"),
    ],
)
def test_an_address_is_accepted_or_refused_with_its_reason(
    url: str, reach: Reach, reason: str
) -> None:
    if reason:
        assert violations_of(lambda: check_url(url, reach)) == [("webhook.url", reason)]
    else:
        check_url(url, reach)
