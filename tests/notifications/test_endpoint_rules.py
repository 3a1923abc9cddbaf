"""The rules of an endpoint, without a database.

The tests cover a new endpoint, the values that a change keeps, and how long two secrets sign.
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
OUTSIDE = Reach(False, partial(may_call, development=False))
AT_HOME = Reach(True, partial(may_call, development=True))
URL = "https://partner.example/"
KINDS = ("clock_breached", "referral_sent")
OPEN = Webhook("webhook", "ngo", URL, KINDS, True, "", 1, NOON, NOON)


def open_webhook(existing_count: int = 0, **more: Any) -> Webhook:
    fields: dict[str, Any] = {"url": URL, "kinds": [*reversed(KINDS), *KINDS], **more}
    return new_webhook(
        "webhook",
        "ngo",
        fields["url"],
        fields["kinds"],
        NOON,
        existing_count=existing_count,
        reach=OUTSIDE,
    )


def changed(webhook: Webhook, **more: Any) -> Webhook:
    no_change: dict[str, Any] = {"url": None, "kinds": None, "enabled": None}
    return change(webhook, webhook.version, LATER, **(no_change | more), reach=OUTSIDE)


def test_a_new_endpoint_within_the_limit_is_enabled_and_has_each_kind_once() -> None:
    assert open_webhook() == OPEN
    assert open_webhook(LIMIT - 1) == OPEN
    with pytest.raises(Conflict, match=r"^too_many_webhooks$"):
        open_webhook(LIMIT)


@pytest.mark.parametrize(
    ("wrong", "path", "reason"),
    [
        ({"url": "http://partner.example/"}, "url", "out_of_range"),
        ({"kinds": ["referral_sent", "weather"]}, "kinds.1", "unknown_code"),
    ],
)
def test_a_value_refused_in_a_new_endpoint_is_refused_in_a_change(
    wrong: dict[str, Any], path: str, reason: str
) -> None:
    assert violations_of(lambda: open_webhook(**wrong)) == [(f"webhook.{path}", reason)]
    assert violations_of(lambda: changed(OPEN, **wrong)) == [(f"webhook.{path}", reason)]


OFF = replace(OPEN, enabled=False, disabled_reason="by_owner")
FAILED = replace(OPEN, enabled=False, disabled_reason="failing")


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        (OPEN, {}, OPEN),
        (OPEN, {"url": "https://other.example/"}, replace(OPEN, url="https://other.example/")),
        (OPEN, {"kinds": ["referral_sent"] * 2}, replace(OPEN, kinds=("referral_sent",))),
        (OPEN, {"kinds": []}, replace(OPEN, kinds=())),
        (OPEN, {"enabled": False}, OFF),
        (OPEN, {"enabled": True}, OPEN),
        (OFF, {"enabled": True}, OPEN),
        (FAILED, {"enabled": True}, OPEN),
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
            change(OPEN, version, LATER, url=None, kinds=None, enabled=None, reach=OUTSIDE)


@pytest.mark.parametrize(
    ("until", "at_once", "then"),
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
    until: datetime | None, at_once: bool, then: datetime | None
) -> None:
    rotated = rotate(replace(OPEN, former_secret_expire_time=until), LATER, at_once=at_once)
    assert rotated == replace(OPEN, version=2, update_time=LATER, former_secret_expire_time=then)


@pytest.mark.parametrize("left", [timedelta(seconds=1), DAY])
def test_while_two_secrets_sign_no_third_can_be_made(left: timedelta) -> None:
    with pytest.raises(Conflict, match=r"^secret_rotating$"):
        rotate(replace(OPEN, former_secret_expire_time=LATER + left), LATER, at_once=False)


@pytest.mark.parametrize(
    ("url", "reach", "reason"),
    [
        ("http://127.0.0.1:8000/hook", OUTSIDE, "out_of_range"),
        ("http://127.0.0.1:8000/hook", AT_HOME, ""),
        ("http://localhost:8000/hook", AT_HOME, ""),
        ("ftp://127.0.0.1/hook", AT_HOME, "out_of_range"),
        ("https://10.0.0.1/hook", AT_HOME, "out_of_range"),
        ("https://partner.example:8443/hooks/enlace?tenant=7", OUTSIDE, ""),
        ("http://partner.example/hook", OUTSIDE, "out_of_range"),
        ("ftp://partner.example/hook", OUTSIDE, "out_of_range"),
        ("https://10.0.0.1/hook", OUTSIDE, "out_of_range"),
        ("https://[::1]/hook", OUTSIDE, "out_of_range"),
        ("https://localhost/hook", OUTSIDE, "out_of_range"),
        ("https://referrals.enlace.svc.cluster.local/hook", OUTSIDE, "out_of_range"),
        ("https://partner.example/ñ", OUTSIDE, "malformed"),
        ("https://:secret@partner.example/", OUTSIDE, "malformed"),
        ("https://user:secret@partner.example/hook", OUTSIDE, "malformed"),
        ("https://user@partner.example/hook", OUTSIDE, "malformed"),
        ("https:///hook", OUTSIDE, "malformed"),
        ("https://partner.example:99999/hook", OUTSIDE, "malformed"),
        ("https://partner.example/a b", OUTSIDE, "malformed"),
        ("https://partner.example/\r\nx: y", OUTSIDE, "malformed"),
        ("https://partner.example\\@10.0.0.1/", OUTSIDE, "malformed"),
        ("https://partner.example/#here", OUTSIDE, "malformed"),
        ("https://[::1", OUTSIDE, "malformed"),
        ("partner.example", OUTSIDE, "malformed"),
    ],
)
def test_an_address_is_accepted_or_refused_with_its_reason(
    url: str, reach: Reach, reason: str
) -> None:
    if reason:
        assert violations_of(lambda: check_url(url, reach)) == [("webhook.url", reason)]
    else:
        check_url(url, reach)
