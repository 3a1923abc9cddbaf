"""Webhooks to a partner's system.

Webhooks are signed, and sent again after a failure with the same id. They never reach our own
network by a detour, and a slow endpoint never delays others.
"""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis import metrics
from chassis.db import Transaction
from chassis.ids import new_id
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications.channels import webhooks
from services.notifications.channels.webhooks import EgressClient, WebhookSender
from services.notifications.usecases.sending import WEBHOOK_LEASE
from tests.builders import refusal
from tests.notifications.conftest import OTHER, PUBLIC_URL, RECEIVER, SENDER, Service
from tests.parts.local_stack import until
from tests.parts.loops import NEVER, OFTEN, eventually

WAITING, DELIVERED, RETRYING, DEAD, DISCARDED = (
    pb.DeliveryStatus.Value(f"DELIVERY_STATUS_{name}")
    for name in ("WAITING", "DELIVERED", "RETRYING", "DEAD", "DISCARDED")
)


def test_a_fact_arrives_signed_with_ids_and_codes_only(service: Service) -> None:
    system = service.receiver()
    secret = service.webhook(RECEIVER, system.url).secret
    fact = service.hear("sent", sender_worker_id="f" * 32)
    assert service.send_webhooks() == 1
    body = system.got[0].verified(secret)
    assert body["type"] == "enlace.referral.sent.v1"
    assert body["data"] == {
        "referral_id": fact.subject,
        "version": 1,
        "state": "sent",
        "urgency": "normal",
        "need_code": "HOU.EMG",
        "sender_organization_id": SENDER,
        "receiver_organization_id": RECEIVER,
        "url": f"{PUBLIC_URL}/api/v1/referrals/{fact.subject}",
    }


def test_a_delivery_shows_its_outcome(service: Service) -> None:
    system = service.receiver()
    webhook = service.webhook(RECEIVER, system.url).webhook
    service.hear("sent")
    [waiting] = service.deliveries(webhook.id)
    assert (waiting.status, waiting.attempts, waiting.kind) == (WAITING, 0, "referral_sent")
    service.send_webhooks()
    [delivery] = service.deliveries(webhook.id)
    assert (
        delivery.id,
        delivery.status,
        delivery.attempts,
        delivery.last_http_status,
        delivery.last_error_code,
    ) == (
        system.got[0].id,
        DELIVERED,
        1,
        204,
        0,
    )
    assert delivery.body_sha256 == hashlib.sha256(system.got[0].body.encode()).hexdigest()
    assert delivery.HasField("delivery_time")
    assert not delivery.HasField("next_attempt_time")


def test_only_the_selected_kinds_are_sent(service: Service) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url, "referral_withdrawn", "clock_breached")
    for verb in ("sent", "withdrawn", "clock_breached", "clock_reminded"):
        service.hear(verb)
    service.send_webhooks()
    assert {request.type_() for request in system.got} == {
        "enlace.referral.withdrawn.v1",
        "enlace.referral.clock_breached.v1",
    }


def test_only_the_two_sides_receive_webhooks_and_each_its_own(service: Service) -> None:
    systems = {organization: service.receiver() for organization in (SENDER, RECEIVER, OTHER)}
    for organization, system in systems.items():
        service.webhook(organization, system.url)
    service.hear("sent")
    service.hear("accepted")
    service.hear("clock_breached")
    service.send_webhooks()
    assert [len(systems[organization].got) for organization in (SENDER, RECEIVER, OTHER)] == [
        2,
        2,
        0,
    ]


def test_a_failure_is_retried_later_with_the_same_id_and_body(
    service: Service,
) -> None:
    system = service.receiver(answers=[500, 503])
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    assert service.send_webhooks() == 1
    [failed] = service.deliveries(created.webhook.id)
    assert (failed.status, failed.last_error_code, failed.last_http_status) == (
        RETRYING,
        pb.DELIVERY_ERROR_HTTP,
        500,
    )
    assert 3 <= failed.next_attempt_time.seconds - service.clock.now().timestamp() <= 7
    assert service.send_webhooks() == 0
    service.advance(seconds=7)
    service.send_webhooks()
    service.advance(minutes=1)
    service.send_webhooks()
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 3)
    assert {(request.id, request.body) for request in system.got} == {
        (delivery.id, system.got[0].body)
    }
    assert len({request.headers["webhook-timestamp"] for request in system.got}) == 3
    for request in system.got:
        request.verified(created.secret)


@pytest.mark.parametrize(
    ("code", "retry_after", "seconds"),
    [
        (429, "120", 120),
        (503, "120", 120),
        (500, "120", 5),
        (429, "1", 5),
        (429, "86400", 3600),
        (503, "Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        (503, "Thu, 01 Jan 1970 00:00:00 GMT", 5),
        (429, "-60", 5),
        (429, "soon", 5),
        (429, "9" * 5000, 5),
    ],
)
def test_a_busy_receiver_is_tried_again_when_it_asks_but_within_an_hour(
    service: Service, code: int, retry_after: str, seconds: int
) -> None:
    system = service.receiver(answers=[code], retry_after=retry_after)
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    service.send_webhooks()
    [waiting] = service.deliveries(created.webhook.id)
    wait = waiting.next_attempt_time.ToDatetime(UTC) - service.clock.now()
    assert timedelta(seconds=seconds) * 0.8 <= wait <= timedelta(seconds=seconds) * 1.2
    soon = min(wait - timedelta(milliseconds=1), timedelta(seconds=61))
    service.clock.advance(soon)
    assert service.send_webhooks() == 0, "the limit for wrong clocks does not shorten the wait"
    service.clock.advance(wait - soon)
    assert service.send_webhooks() == 1


def test_a_receiver_that_is_gone_is_not_sent_the_same_delivery_again(service: Service) -> None:
    system = service.receiver(answers=[410])
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    service.send_webhooks()
    [given_up] = service.deliveries(created.webhook.id)
    assert (given_up.status, given_up.last_http_status) == (DEAD, 410)
    service.advance(days=1)
    assert service.send_webhooks() == 0


def test_a_delivery_of_a_sender_that_died_is_sent_again_with_the_same_id(service: Service) -> None:
    system = service.receiver()
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    with service.database.dedicated() as connection:
        [claim] = service.sending.next_webhooks(
            connection, service.clock.now(), slow=False, limit=5
        )
    # … and here the sender dies
    EgressClient(development=True).post(claim.url, {"webhook-id": claim.id}, claim.body.encode())
    assert service.send_webhooks() == 0  # its lease still runs
    service.clock.advance(WEBHOOK_LEASE)
    assert service.send_webhooks() == 1
    assert [request.id for request in system.got] == [claim.id] * 2
    service.web_sender().send(claim)  # the sender only slept: its late result changes nothing
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 1)


def test_a_redirect_is_a_failure_and_is_not_followed(service: Service) -> None:
    elsewhere = service.receiver()
    system = service.receiver(answers=[307], location=elsewhere.url)
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    service.send_webhooks()
    [failed] = service.deliveries(created.webhook.id)
    assert (failed.status, failed.last_http_status, failed.last_error_code) == (
        RETRYING,
        307,
        pb.DELIVERY_ERROR_HTTP,
    )
    assert elsewhere.got == []


def test_a_connection_is_reused_and_a_closed_one_is_no_failure(service: Service) -> None:
    system = service.receiver(answers=[200] * 3, body=b"thank you")
    client = EgressClient(development=True)
    for _ in range(3):
        assert client.post(system.url, {}, b"{}").arrived
    assert len({request.connection for request in system.got}) == 1
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer_and_hang_up, args=(server, 2), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert client.post(url, {}, b"{}").arrived
        assert client.post(url, {}, b"{}").arrived
    client.close()


def answer_and_hang_up(server: socket.socket, times: int) -> None:
    """Answers with a promise to keep the connection open, and then closes it."""
    for _ in range(times):
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.close()


def test_the_connection_to_a_receiver_with_an_endless_answer_is_closed(service: Service) -> None:
    system = service.receiver(answers=[200], body=b"x" * 1_000_000)
    client = EgressClient(development=True)
    assert client.post(system.url, {}, b"{}").arrived
    assert client.post(system.url, {}, b"{}").arrived
    assert len({request.connection for request in system.got}) == 2


def test_a_receiver_that_answers_byte_by_byte_is_cut_off_at_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        started = time.monotonic()
        outcome = EgressClient(development=True, timeout=0.5).post(
            f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}"
        )
    assert (outcome.error, outcome.code) == ("timeout", 0)
    assert time.monotonic() - started < 3


def drip(server: socket.socket) -> None:
    """Sends a header byte by byte without an end, so that no single read waits long."""
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(200):
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.05)


@contextmanager
def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> Iterator[list[str]]:
    """Makes every name resolve to these addresses; yields the names that were looked up."""
    results: list[str] = []

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        results.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield results


@pytest.mark.parametrize(
    "addresses",
    [("127.0.0.1",), ("10.1.2.3",), ("169.254.169.254",), ("93.184.215.14", "10.1.2.3")],
)
def test_a_name_that_now_resolves_to_an_internal_address_is_not_called(
    service: Service, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    with resolving_to(monkeypatch, *addresses) as resolved_names:
        outcome = EgressClient(development=False, timeout=1).post(
            f"http://partner.example:{service.receiver().url.rsplit(':')[-1].split('/')[0]}/",
            {},
            b"{}",
        )
    assert resolved_names == ["partner.example"]
    assert outcome.error == "refused_address"


def test_a_proxy_in_the_environment_is_ignored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, system = service.receiver(), service.receiver()
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    assert EgressClient(development=True).post(system.url, {}, b"{}").arrived
    assert (len(proxy.got), len(system.got)) == (0, 1)


def test_a_closed_port_is_recorded_as_a_connection_error(service: Service) -> None:
    system = service.receiver()
    system.close()
    service.receivers.clear()
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    service.send_webhooks()
    [failed] = service.deliveries(created.webhook.id)
    assert (failed.status, failed.last_error_code, failed.last_http_status) == (
        RETRYING,
        pb.DELIVERY_ERROR_CONNECTION,
        0,
    )


@contextmanager
def running(*senders: WebhookSender) -> Iterator[None]:
    """Runs the senders' own threads, woken by the database."""
    loops = [sender.loop() for sender in senders]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        for loop in loops:
            loop.join(5)


def test_the_commit_of_a_fact_wakes_the_sender(service: Service) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    with running(service.web_sender()):
        for count in range(1, 6):
            service.hear("sent")
            system.wait_for(count)


@pytest.fixture
def rests(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[datetime | None]:
    """Returns the list of times until which the lanes sleep; grows with each sleep."""
    starts, next_webhook_time = list[datetime | None](), service.sending.next_webhook_time

    def next_time(connection: Transaction, *, slow: bool) -> datetime | None:
        starts.append(next_webhook_time(connection, slow=slow))
        return starts[-1]

    monkeypatch.setattr(service.sending, "next_webhook_time", next_time)
    return starts


def test_a_retry_is_sent_when_it_is_due_although_nothing_is_announced(
    service: Service, rests: list[datetime | None]
) -> None:
    system = service.receiver(answers=[500, 204])
    service.webhook(RECEIVER, system.url)
    with running(*(service.web_sender(slow=slow, read_again=NEVER) for slow in (False, True))):
        service.hear("sent")
        system.wait_for(1)
        assert eventually(lambda: any(rests))
        service.advance(seconds=10)
        system.wait_for(2)


def test_a_delivery_of_a_slow_endpoint_is_announced_to_its_lane(
    service: Service, rests: list[datetime | None]
) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    service.rows("UPDATE webhooks SET slow = true RETURNING id")
    with running(service.web_sender(slow=True, read_again=NEVER)):
        assert eventually(lambda: bool(rests))
        service.hear("sent")
        system.wait_for(1)


def test_deliveries_whose_announcement_was_lost_are_found(
    service: Service, rests: list[datetime | None]
) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    service.hear("sent")
    service.rows("UPDATE deliveries SET next_attempt_time = NULL RETURNING id")
    with running(service.web_sender(read_again=OFTEN)):
        assert eventually(lambda: bool(rests))
        service.rows("UPDATE deliveries SET next_attempt_time = create_time RETURNING id")
        system.wait_for(1)


def test_the_delivery_claimed_by_a_dead_sender_is_sent_at_the_end_of_its_lease(
    service: Service, rests: list[datetime | None]
) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    service.hear("sent")
    with service.database.dedicated() as connection:
        assert service.sending.next_webhooks(connection, service.clock.now(), slow=False, limit=5)
    with running(service.web_sender(read_again=NEVER)):
        assert eventually(lambda: bool(rests))
        assert system.got == []
        service.clock.advance(WEBHOOK_LEASE)
        system.wait_for(1)


def test_an_unreadable_secret_does_not_delay_others_and_is_retried_after_its_lease(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    put_aside = metrics.ROWS_PUT_ASIDE.labels("webhooks")._value
    before = put_aside.get()
    other, system = service.receiver(), service.receiver()
    bad = service.webhook(OTHER, other.url).webhook
    service.webhook(RECEIVER, system.url)
    [kept] = service.rows("SELECT secret FROM webhooks WHERE id = %s", bad.id)
    damage = (
        "WITH moved AS (UPDATE webhooks SET secret = %s WHERE id = %s RETURNING 1) SELECT"
        " FROM moved"
    )
    service.rows(damage, b"nonsense", bad.id)
    with running(service.web_sender(threads=1)):
        service.hear("sent", receiver_organization_id=OTHER)
        for count in range(1, 4):
            service.hear("sent")
            system.wait_for(count)
        assert (other.got, put_aside.get()) == ([], before + 1)
        [delivery] = service.deliveries(bad.id, OTHER)
        assert delivery.id in capsys.readouterr().out
        service.rows(damage, kept["secret"], bad.id)  # repaired
        service.clock.advance(WEBHOOK_LEASE)
        other.wait_for(1)


def test_a_slow_endpoint_delays_no_other_and_gets_one_delivery_at_a_time(service: Service) -> None:
    slow, quick = service.receiver(hold=threading.Event()), service.receiver()
    service.webhook(RECEIVER, slow.url)
    service.webhook(OTHER, quick.url)
    with running(service.web_sender(timeout=30)):
        for _ in range(10):
            service.hear("sent")
        slow.wait_for(1)
        for _ in range(10):
            service.hear("sent", receiver_organization_id=OTHER)
        quick.wait_for(10)
        assert len(slow.got) == 1
        assert slow.hold is not None
        slow.hold.set()
        slow.wait_for(10)


def test_more_slow_endpoints_than_threads_delay_the_others_only_once(
    service: Service,
) -> None:
    hold = threading.Event()
    slow = [service.receiver(hold=hold) for _ in range(4)]
    quick = service.receiver()
    for system in slow:
        service.webhook(RECEIVER, system.url)
    service.webhook(OTHER, quick.url)
    with running(
        service.web_sender(threads=2, timeout=0.3),
        service.web_sender(slow=True, threads=2, timeout=20),
    ):
        service.hear("sent")
        for system in slow:
            system.wait_for(1)  # each timed out once, and is now in the slow lane
        until(lambda: len(service.rows("SELECT FROM webhooks WHERE slow")) >= 4, 10)
        service.advance(seconds=10)
        service.hear("sent")  # now the slow lane is full
        until(lambda: sum(len(system.got) for system in slow) >= 6, 10)
        for count in range(1, 6):
            service.hear("sent", receiver_organization_id=OTHER)
            quick.wait_for(count, seconds=3)


def test_the_endpoint_served_longest_ago_is_served_first(service: Service) -> None:
    created = [service.webhook(RECEIVER, service.receiver().url).webhook.id for _ in range(3)]
    for _ in range(2):
        service.hear("sent")
    order = []
    sender = service.web_sender()
    with service.database.dedicated() as connection:
        for _ in range(6):
            service.advance(seconds=1)
            [claim] = service.sending.next_webhooks(
                connection, service.clock.now(), slow=False, limit=1
            )
            order.append(claim.webhook_id)
            sender.send(claim)
    assert sorted(order[:3]) == sorted(created)
    assert order[3:] == order[:3]


def test_two_senders_never_hold_the_same_endpoint(service: Service) -> None:
    for _ in range(3):
        service.webhook(RECEIVER, service.receiver().url)
    for _ in range(5):
        service.hear("sent")
    with service.database.dedicated() as one, service.database.dedicated() as other:
        first = service.sending.next_webhooks(one, service.clock.now(), slow=False, limit=2)
        second = service.sending.next_webhooks(other, service.clock.now(), slow=False, limit=8)
        assert service.sending.next_webhooks(one, service.clock.now(), slow=False, limit=8) == []
    assert (len(first), len(second)) == (2, 1)
    assert len({claim.webhook_id for claim in [*first, *second]}) == 3


def test_an_endpoint_failing_for_three_days_is_disabled_and_its_desk_notified(
    service: Service,
) -> None:
    broken, other = service.receiver(answers=[500] * 50), service.receiver()
    webhook = service.webhook(RECEIVER, broken.url).webhook
    manager = service.as_(RECEIVER, "MANAGER")
    service.hear("sent")
    service.send_webhooks()
    for _ in range(7):
        service.advance(hours=10)
        service.hear("sent")
        service.send_webhooks()
    service.webhook(RECEIVER, other.url)
    assert manager.GetWebhook(id=webhook.id).enabled
    service.advance(hours=2)
    service.hear("sent")
    service.send_webhooks()
    stored = manager.GetWebhook(id=webhook.id)
    assert (stored.enabled, stored.disabled_reason_code) == (False, pb.DISABLED_REASON_FAILING)
    assert not {delivery.status for delivery in service.deliveries(webhook.id)} & {
        WAITING,
        RETRYING,
    }
    assert "webhook_disabled" in {message.kind for message in manager.ListMessages().messages}
    assert [request.type_() for request in other.got] == [
        "enlace.referral.sent.v1",
        "enlace.webhook.disabled.v1",
    ]
    sent = len(broken.got)
    service.hear("sent")
    service.send_webhooks()
    assert len(broken.got) == sent


def test_one_success_among_failures_keeps_an_endpoint_enabled(service: Service) -> None:
    system = service.receiver(answers=[500, 500, 204, 500, 500])
    webhook = service.webhook(RECEIVER, system.url).webhook
    for _ in range(5):
        service.hear("sent")
        service.send_webhooks(1)
        service.advance(days=2)
    assert service.as_(RECEIVER, "MANAGER").GetWebhook(id=webhook.id).enabled


def test_time_without_attempts_does_not_count_towards_disabling_an_endpoint(
    service: Service,
) -> None:
    system = service.receiver(answers=[500] * 4)
    webhook = service.webhook(RECEIVER, system.url).webhook
    service.hear("sent")
    service.send_webhooks()
    service.advance(seconds=10)
    service.send_webhooks()
    service.advance(days=4)  # the machine of this service is off over a weekend
    service.send_webhooks()
    assert service.as_(RECEIVER, "MANAGER").GetWebhook(id=webhook.id).enabled
    service.advance(days=4)
    service.send_webhooks()
    assert service.as_(RECEIVER, "MANAGER").GetWebhook(id=webhook.id).enabled
    service.advance(hours=1)
    service.send_webhooks()
    [delivery] = service.deliveries(webhook.id)
    assert (delivery.status, len(system.got)) == (pb.DELIVERY_STATUS_DELIVERED, 5)


def test_a_delivery_is_given_up_after_three_days(service: Service) -> None:
    system = service.receiver(answers=[500] * 100)
    webhook = service.webhook(RECEIVER, system.url).webhook
    service.hear("sent")
    for _ in range(40):
        service.send_webhooks()
        service.advance(hours=2)
    [undeliverable] = service.deliveries(webhook.id)
    assert undeliverable.status in (DEAD, DISCARDED)
    assert not undeliverable.HasField("next_attempt_time")
    assert 5 < undeliverable.attempts < 40


def test_a_delivery_can_be_sent_again_with_its_id_whatever_its_outcome(service: Service) -> None:
    system = service.receiver()
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    service.send_webhooks()
    manager = service.as_(RECEIVER, "MANAGER")
    resent = manager.ResendDelivery(id=system.got[0].id)
    assert (resent.status, resent.attempts) == (WAITING, 1)
    service.send_webhooks()
    assert [request.id for request in system.got] == [resent.id] * 2
    assert system.got[0].body == system.got[1].body
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 2)
    system.got[1].verified(created.secret)


def test_a_test_delivery_uses_the_ordinary_queue_even_for_a_disabled_endpoint(
    service: Service,
) -> None:
    system = service.receiver()
    created = service.webhook(RECEIVER, system.url)
    manager = service.as_(RECEIVER, "MANAGER")
    disabled = manager.UpdateWebhook(
        webhook=pb.Webhook(id=created.webhook.id, etag="v1", enabled=False),
        update_mask={"paths": ["enabled"]},
    )
    assert (disabled.enabled, disabled.disabled_reason_code, disabled.etag) == (
        False,
        pb.DISABLED_REASON_BY_OWNER,
        "v2",
    )
    sample = manager.TestWebhook(id=created.webhook.id)
    service.hear("sent")
    service.send_webhooks()
    assert [request.id for request in system.got] == [sample.id]
    assert system.got[0].verified(created.secret)["type"] == "enlace.webhook.test.v1"
    assert system.got[0].verified(created.secret)["data"] == {"webhook_id": created.webhook.id}


def test_deliveries_waiting_for_a_disabled_or_deleted_endpoint_are_discarded(
    service: Service,
) -> None:
    system = service.receiver()
    manager = service.as_(RECEIVER, "MANAGER")
    disabled_webhook, deleted_webhook = (
        service.webhook(RECEIVER, system.url).webhook,
        service.webhook(RECEIVER, system.url).webhook,
    )
    service.hear("sent")
    manager.UpdateWebhook(
        webhook=pb.Webhook(id=disabled_webhook.id, etag="v1", enabled=False),
        update_mask={"paths": ["enabled"]},
    )
    manager.DeleteWebhook(id=deleted_webhook.id)
    assert service.send_webhooks() == 0
    assert [delivery.status for delivery in service.deliveries(disabled_webhook.id)] == [DISCARDED]
    assert refusal(lambda: manager.ListDeliveries(webhook_id=deleted_webhook.id)) == (
        "NOT_FOUND",
        "not_found",
    )
    assert {row["status"] for row in service.rows("SELECT status FROM deliveries")} == {"DISCARDED"}


def test_a_suspended_organisation_is_sent_nothing(service: Service) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    service.suspend(RECEIVER)
    service.hear("sent")
    assert service.send_webhooks() == service.send_mails() == 0
    service.suspend(RECEIVER, "APPROVED")
    service.hear("sent")
    assert service.send_webhooks() == service.send_mails() == 1


def test_the_secret_is_stored_sealed_and_shown_once(service: Service) -> None:
    request = new_id()
    manager = service.as_(RECEIVER, "MANAGER")
    values: dict[str, Any] = {
        "webhook": pb.Webhook(url="http://127.0.0.1:9/"),
        "request_id": request,
    }
    created = manager.CreateWebhook(**values)
    assert created.secret.startswith("whsec_")
    assert manager.CreateWebhook(**values) == created  # a lost answer is not a lost secret
    assert len(manager.ListWebhooks().webhooks) == 1
    assert created.secret not in str(manager.ListWebhooks()) + str(
        manager.GetWebhook(id=created.webhook.id)
    )
    [row] = service.rows("SELECT secret FROM webhooks")
    assert created.secret.encode() not in bytes(row["secret"])


def test_a_stopped_sender_does_not_wait_for_a_receiver_that_hangs(service: Service) -> None:
    system = service.receiver(hold=threading.Event())
    created = service.webhook(RECEIVER, system.url)
    sender = service.web_sender(timeout=60).loop()
    sender.start()
    service.hear("sent")
    system.wait_for(1)
    sender.stop()
    assert sender.join(5)
    [cut] = service.deliveries(created.webhook.id)
    assert (cut.status, cut.last_error_code) == (RETRYING, pb.DELIVERY_ERROR_TIMEOUT)


def test_an_unreadable_secret_does_not_stop_the_deliveries_of_others(service: Service) -> None:
    broken, intact = service.receiver(), service.receiver()
    webhook = service.webhook(RECEIVER, broken.url).webhook
    service.webhook(OTHER, intact.url)
    service.rows(
        "WITH moved AS (UPDATE webhooks SET secret = sha256('x') WHERE id = %s RETURNING id)"
        " SELECT id FROM moved",
        webhook.id,
    )
    with running(service.web_sender()):
        service.hear("sent")
        for count in range(1, 4):
            service.hear("sent", receiver_organization_id=OTHER)
            intact.wait_for(count)
    assert broken.got == []


def test_a_fact_that_arrives_while_a_delivery_is_being_recorded_is_sent_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_PAUSE", 60.0)
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    with running(service.web_sender()):
        for count in range(1, 201):
            service.hear("sent")
            # … and the next fact commits while this delivery is still being recorded
            system.wait_for(count)


def test_an_attempt_dated_by_a_fast_clock_blocks_no_endpoint_once_the_clock_is_right(
    service: Service,
) -> None:
    system = service.receiver(answers=[500])
    created = service.webhook(RECEIVER, system.url)
    service.advance(days=1)
    service.hear("sent")
    assert service.send_webhooks() == 1  # it fails, and the next attempt is seconds away
    service.hear("accepted")
    service.advance(days=-1)
    service.send_webhooks()
    assert {delivery.status for delivery in service.deliveries(created.webhook.id)} == {DELIVERED}


def test_a_wait_of_allowed_length_is_not_shortened(service: Service) -> None:
    system = service.receiver(answers=[500] * 4)
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    for _ in range(4):
        assert service.send_webhooks() == 1
        service.advance(minutes=7)
    service.advance(minutes=-7)  # now it waits about five minutes
    assert service.send_webhooks() == 0
    [waiting] = service.deliveries(created.webhook.id)
    assert waiting.status == RETRYING


def test_a_secret_changed_under_a_fast_clock_can_be_changed_again(service: Service) -> None:
    created = service.webhook(RECEIVER, service.receiver().url)
    manager = service.as_(RECEIVER, "MANAGER")
    service.advance(days=3)
    manager.RotateWebhookSecret(id=created.webhook.id)
    service.advance(days=-3)
    assert manager.RotateWebhookSecret(id=created.webhook.id).secret
