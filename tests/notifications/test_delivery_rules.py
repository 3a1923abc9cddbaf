"""The rules of waiting, giving up and forbidden addresses, without database and network."""

from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as some

from chassis.addresses import may_call
from chassis.errors import Conflict, Stale
from services.notifications.domain.delivery import (
    BACK_OFFS,
    EMAIL_BACK_OFF,
    WEBHOOK_BACK_OFF,
    BackOff,
    Channel,
    Outcome,
    SignedTime,
    Status,
    Verdict,
    headers,
    judge,
    wait,
)
from services.notifications.domain.desk import Desk, check
from services.notifications.domain.webhook import (
    LIMIT,
    Reach,
    Webhook,
    change,
    check_kinds,
    check_url,
    new_webhook,
)
from tests.builders import violations_of

NOW = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
FAILED = Outcome("http", 500)
OUTSIDE = Reach(False, partial(may_call, development=False))


def ends_after(channel: Channel, chance: float) -> tuple[int, timedelta]:
    """Returns after how many attempts, and how much time, a failing delivery is given up."""
    now, tries = NOW, 0
    while True:
        tries += 1
        verdict = judge(channel, FAILED, tries=tries, first_try_time=NOW, now=now, chance=chance)
        if verdict.next_attempt_time is None:
            assert verdict.status is Status.DEAD
            return tries, now - NOW
        assert verdict.status is Status.RETRYING
        now = verdict.next_attempt_time


def test_a_webhook_is_retried_from_five_seconds_to_three_days() -> None:
    assert wait(WEBHOOK_BACK_OFF, 1, 0.5) == timedelta(seconds=5)
    for chance in (0.0, 0.5, 1.0):
        attempts, time = ends_after(Channel.WEBHOOK, chance)
        assert 10 <= attempts <= 20
        assert timedelta(days=2) < time <= timedelta(days=3)


def test_an_email_is_retried_from_one_minute_to_a_day() -> None:
    assert wait(EMAIL_BACK_OFF, 1, 0.5) == timedelta(minutes=1)
    for chance in (0.0, 0.5, 1.0):
        attempts, time = ends_after(Channel.EMAIL, chance)
        assert 8 <= attempts <= 15
        assert timedelta(hours=18) < time <= timedelta(hours=24)


@given(some.sampled_from(sorted(BACK_OFFS, key=str)), some.integers(1, 10_000), some.floats(0, 1))
def test_waiting_times_grow_up_to_a_limit_and_vary_by_a_fifth(
    channel: Channel, tries: int, chance: float
) -> None:
    back_off: BackOff = BACK_OFFS[channel]
    assert back_off.first * 0.8 <= wait(back_off, tries, chance) <= back_off.longest * 1.2
    assert wait(back_off, tries, chance) <= wait(back_off, tries + 1, chance)
    assert wait(back_off, tries, 0.0) <= wait(back_off, tries, chance) <= wait(back_off, tries, 1.0)


def test_a_delivered_attempt_is_done_and_a_hopeless_one_is_given_up_at_once() -> None:
    assert (
        judge(
            Channel.EMAIL, Outcome(code=250), tries=1, first_try_time=NOW, now=NOW, chance=0
        ).status
        is Status.DELIVERED
    )
    assert (
        judge(
            Channel.EMAIL,
            Outcome("smtp", 550, hopeless=True),
            tries=1,
            first_try_time=NOW,
            now=NOW,
            chance=0,
        ).status
        is Status.DEAD
    )


@pytest.mark.parametrize(
    ("less", "status"),
    [(timedelta(0), Status.RETRYING), (timedelta(microseconds=1), Status.DEAD)],
)
def test_the_last_attempt_is_made_when_the_patience_ends_and_none_after_that(
    less: timedelta, status: Status
) -> None:
    last = NOW + wait(EMAIL_BACK_OFF, 11, 0.5)
    first = last - EMAIL_BACK_OFF.patience - less
    verdict = judge(Channel.EMAIL, FAILED, tries=11, first_try_time=first, now=NOW, chance=0.5)
    assert verdict == Verdict(status, last if status is Status.RETRYING else None)


def test_time_without_attempts_does_not_count_towards_giving_up() -> None:
    late = NOW + timedelta(days=30)  # the sender did not run for a month
    assert (
        judge(Channel.WEBHOOK, FAILED, tries=1, first_try_time=late, now=late, chance=0).status
        is Status.RETRYING
    )


@pytest.mark.parametrize("channel", BACK_OFFS)
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_pause_between_two_attempts_does_not_count_towards_giving_up(
    channel: Channel, chance: float
) -> None:
    later = NOW + timedelta(days=4)  # no sender ran since the second attempt
    for tries in (3, 4):
        verdict = judge(channel, FAILED, tries=tries, first_try_time=NOW, now=later, chance=chance)
        assert verdict.status is Status.RETRYING


def test_the_headers_of_a_webhook_are_those_that_its_owner_is_shown() -> None:
    sent = SignedTime(NOW + timedelta(seconds=0.9), "v1,a=")
    assert headers("7" * 32, sent) == {
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "connection": "keep-alive",
        "content-type": "application/json",
        "user-agent": "Enlace/1",
        "webhook-id": "7" * 32,
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": "v1,a=",
    }


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.3.4", "192.168.1.1", "127.0.0.1", "0.0.0.0", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1",
        "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1",
        "fec0::1", "feff::1", "3fff::1", "100::1", "64:ff9b:1::1", "192.0.2.1", "198.51.100.7",
        "203.0.113.9", "::ffff:203.0.113.9",
    ],
)  # fmt: skip
def test_internal_addresses_are_never_called(address: str) -> None:
    assert not may_call(ip_address(address), development=False)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"]
)
def test_public_addresses_are_called(address: str) -> None:
    assert may_call(ip_address(address), development=False)


def test_development_may_call_loopback_but_no_other_internal_address() -> None:
    assert all(
        may_call(ip_address(address), development=True)
        for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    )
    assert not any(
        may_call(ip_address(address), development=True)
        for address in ("10.0.0.1", "169.254.169.254", "fd00:ec2::254")
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://partner.example/hook", "out_of_range"),
        ("ftp://partner.example/hook", "out_of_range"),
        ("https://10.0.0.1/hook", "out_of_range"),
        ("https://[::1]/hook", "out_of_range"),
        ("https://localhost/hook", "out_of_range"),
        ("https://referrals.enlace.svc.cluster.local/hook", "out_of_range"),
        ("https://user:secret@partner.example/hook", "malformed"),
        ("https://user@partner.example/hook", "malformed"),
        ("https:///hook", "malformed"),
        ("https://partner.example:99999/hook", "malformed"),
        ("https://partner.example/a b", "malformed"),
        ("https://partner.example/\r\nx: y", "malformed"),
        ("https://partner.example\\@10.0.0.1/", "malformed"),
        ("https://partner.example/#here", "malformed"),
        ("https://[::1", "malformed"),
        ("partner.example", "malformed"),
    ],
)
def test_an_address_that_would_not_be_called_is_refused_on_entry(url: str, reason: str) -> None:
    assert violations_of(lambda: check_url(url, OUTSIDE)) == [("webhook.url", reason)]


def test_an_ordinary_address_is_accepted() -> None:
    check_url("https://partner.example:8443/hooks/enlace?tenant=7", OUTSIDE)
    check_url("http://127.0.0.1:8000/hook", Reach(True, partial(may_call, development=True)))


def test_an_unknown_kind_is_refused_with_its_index() -> None:
    assert violations_of(lambda: check_kinds(["referral_sent", "weather"])) == [
        ("webhook.kinds.1", "unknown_code")
    ]


def webhook() -> Webhook:
    return new_webhook(
        "1" * 32,
        "2" * 32,
        "https://partner.example/",
        ["referral_sent"],
        NOW,
        existing_count=0,
        reach=OUTSIDE,
    )


def test_a_change_based_on_an_older_version_is_refused() -> None:
    once = change(
        webhook(),
        1,
        NOW,
        url=None,
        kinds=["clock_breached", "clock_breached"],
        enabled=None,
        reach=OUTSIDE,
    )
    assert (once.version, once.kinds) == (2, ("clock_breached",))
    with pytest.raises(Stale):
        change(once, 1, NOW, url=None, kinds=None, enabled=False, reach=OUTSIDE)


def test_a_disabled_endpoint_records_the_reason_and_an_enabled_one_clears_it() -> None:
    disabled = change(webhook(), 1, NOW, url=None, kinds=None, enabled=False, reach=OUTSIDE)
    assert (disabled.enabled, disabled.disabled_reason) == (False, "by_owner")
    on = change(disabled, 2, NOW, url=None, kinds=None, enabled=True, reach=OUTSIDE)
    assert (on.enabled, on.disabled_reason) == (True, "")


def test_an_organisation_can_have_a_limited_number_of_endpoints() -> None:
    with pytest.raises(Conflict, match=r"^too_many_webhooks$"):
        new_webhook(
            "1" * 32,
            "2" * 32,
            "https://partner.example/",
            [],
            NOW,
            existing_count=LIMIT,
            reach=OUTSIDE,
        )


@pytest.mark.parametrize(
    "email",
    [
        "mesa", "mesa@", "@ong.example", "mesa@ong", "a@b.example\n", (
            "a@b.example\r\nBcc: c@d.example"
        ), "a@b.example, c@d.example",
        "Mesa <a@b.example>", "a b@c.example", "a@-b.example",
    ],
)  # fmt: skip
def test_an_email_of_a_desk_has_to_be_a_single_address(email: str) -> None:
    assert violations_of(lambda: check(Desk("1" * 32, "es", email))) == [
        ("desk.email", "malformed")
    ]


def test_a_desk_needs_a_known_language_but_no_email() -> None:
    check(Desk("1" * 32, "fr", ""))
    check(Desk("1" * 32, "es", "mesa.turno+noche@ong.example"))
    assert violations_of(lambda: check(Desk("1" * 32, "miq", "a@" + "b" * 250 + ".example"))) == [
        ("desk.language", "unknown_code"),
        ("desk.email", "malformed"),
    ]
