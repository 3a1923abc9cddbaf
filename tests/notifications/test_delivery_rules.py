"""The rules for retries, for desks, and for forbidden addresses, without a database or network."""

from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as some

from chassis.addresses import may_call
from services.notifications.domain.delivery import (
    BACK_OFFS,
    EMAIL_BACK_OFF,
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
from services.notifications.domain.desk import Desk, check_desk
from tests.builders import NOON, violations_of

FAILED = Outcome("http", 500)


def verdict(
    channel: Channel,
    outcome: Outcome = FAILED,
    *,
    tries: int = 1,
    first_try_time: datetime = NOON,
    now: datetime = NOON,
    jitter: float = 0,
) -> Verdict:
    return judge(
        channel, outcome, tries=tries, first_try_time=first_try_time, now=now, jitter=jitter
    )


def ends_after(channel: Channel, jitter: float) -> tuple[int, timedelta]:
    """Returns the number of attempts, and the time, after which a failing delivery is given up."""
    next_time, tries = NOON, 0
    while True:
        tries += 1
        result = verdict(channel, tries=tries, now=next_time, jitter=jitter)
        if result.next_attempt_time is None:
            assert result.status is Status.DEAD
            return tries, next_time - NOON
        assert result.status is Status.RETRYING
        next_time = result.next_attempt_time


@pytest.mark.parametrize(
    ("channel", "first_wait", "fewest_attempts", "most_attempts", "shortest", "longest"),
    [
        (Channel.WEBHOOK, timedelta(seconds=5), 10, 20, timedelta(days=2), timedelta(days=3)),
        (Channel.EMAIL, timedelta(minutes=1), 8, 15, timedelta(hours=18), timedelta(hours=24)),
    ],
    ids=["a webhook from five seconds to three days", "an e-mail from one minute to a day"],
)
def test_a_failed_delivery_is_retried(
    channel: Channel,
    first_wait: timedelta,
    fewest_attempts: int,
    most_attempts: int,
    shortest: timedelta,
    longest: timedelta,
) -> None:
    assert wait(BACK_OFFS[channel], 1, 0.5) == first_wait
    for jitter in (0.0, 0.5, 1.0):
        attempts, time = ends_after(channel, jitter)
        assert fewest_attempts <= attempts <= most_attempts
        assert shortest < time <= longest


@given(some.sampled_from(sorted(BACK_OFFS, key=str)), some.integers(1, 10_000), some.floats(0, 1))
def test_waiting_times_grow_up_to_a_limit_and_vary_by_a_fifth(
    channel: Channel, tries: int, jitter: float
) -> None:
    back_off: BackOff = BACK_OFFS[channel]
    assert back_off.first * 0.8 <= wait(back_off, tries, jitter) <= back_off.longest * 1.2
    assert wait(back_off, tries, jitter) <= wait(back_off, tries + 1, jitter)
    assert wait(back_off, tries, 0.0) <= wait(back_off, tries, jitter) <= wait(back_off, tries, 1.0)


def test_a_delivered_attempt_is_done_and_a_hopeless_one_is_given_up_at_once() -> None:
    assert verdict(Channel.EMAIL, Outcome(code=250)).status is Status.DELIVERED
    assert verdict(Channel.EMAIL, Outcome("smtp", 550, is_permanent=True)).status is Status.DEAD


@pytest.mark.parametrize(
    ("excess", "status"),
    [(timedelta(0), Status.RETRYING), (timedelta(microseconds=1), Status.DEAD)],
)
def test_the_last_attempt_is_made_when_the_patience_ends_and_none_after_that(
    excess: timedelta, status: Status
) -> None:
    last_time = NOON + wait(EMAIL_BACK_OFF, 11, 0.5)
    first_time = last_time - EMAIL_BACK_OFF.patience - excess
    assert verdict(Channel.EMAIL, tries=11, first_try_time=first_time, jitter=0.5) == Verdict(
        status, last_time if status is Status.RETRYING else None
    )


def test_time_without_attempts_does_not_count_towards_giving_up() -> None:
    late = NOON + timedelta(days=30)  # the sender did not run for a month
    assert verdict(Channel.WEBHOOK, first_try_time=late, now=late).status is Status.RETRYING


@pytest.mark.parametrize("channel", BACK_OFFS)
@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_a_pause_between_two_attempts_does_not_count_towards_giving_up(
    channel: Channel, jitter: float
) -> None:
    later = NOON + timedelta(days=4)  # no sender ran since the second attempt
    for tries in (3, 4):
        result = verdict(channel, tries=tries, now=later, jitter=jitter)
        assert result.status is Status.RETRYING


def test_the_headers_of_a_webhook_are_those_that_its_owner_is_shown() -> None:
    signed_time = SignedTime(NOON + timedelta(seconds=0.9), "v1,a=")
    assert headers("7" * 32, signed_time) == {
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "connection": "keep-alive",
        "content-type": "application/json",
        "user-agent": "Enlace/1",
        "webhook-id": "7" * 32,
        "webhook-timestamp": str(int(NOON.timestamp())),
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
    "email",
    [
        "mesa", "mesa@", "@ong.example", "mesa@ong", "a@b.example\n", (
            "a@b.example\r\nBcc: c@d.example"
        ), "a@b.example, c@d.example",
        "Mesa <a@b.example>", "a b@c.example", "a@-b.example",
    ],
)  # fmt: skip
def test_an_email_of_a_desk_has_to_be_a_single_address(email: str) -> None:
    assert violations_of(lambda: check_desk(Desk("1" * 32, "es", email))) == [
        ("desk.email", "malformed")
    ]


def test_a_desk_needs_a_known_language_but_no_email() -> None:
    check_desk(Desk("1" * 32, "fr", ""))
    check_desk(Desk("1" * 32, "es", "mesa.turno+noche@ong.example"))
    assert violations_of(
        lambda: check_desk(Desk("1" * 32, "miq", "a@" + "b" * 250 + ".example"))
    ) == [
        ("desk.language", "unknown_code"),
        ("desk.email", "malformed"),
    ]
