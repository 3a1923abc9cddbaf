"""Webhooks to a partner's system.

Webhooks are signed, and sent again after a failure with the same id. They never reach our own
network by a detour, and a slow endpoint never delays others.
"""

import hashlib
import json
import socket
import threading
import time
from datetime import UTC, timedelta
from typing import Any

import pytest

from chassis.tokens import SYSTEM
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications import subscriptions
from services.notifications.channels.webhooks import EndpointClient
from services.notifications.store.mail_folder import MailFolder
from services.notifications.usecases.sending import WEBHOOK_LEASE
from tests.builders import NOT_FOUND, refusal
from tests.notifications.conftest import (
    COALITION,
    OTHER,
    PUBLIC_URL,
    RECEIVER,
    SENDER,
    Service,
)

WAITING, DELIVERED, RETRYING, DEAD, DISCARDED = (
    pb.DeliveryStatus.Value(f"DELIVERY_STATUS_{name}")
    for name in ("WAITING", "DELIVERED", "RETRYING", "DEAD", "DISCARDED")
)


def outcome(delivery: pb.Delivery) -> tuple[int, int, int]:
    """Returns status, error code and HTTP status of the latest attempt."""
    return delivery.status, delivery.last_error_code, delivery.last_http_status


def test_a_fact_arrives_signed_with_ids_and_codes_only(service: Service) -> None:
    system = service.receiver()
    secret = service.webhook(RECEIVER, system.url).secret
    fact = service.hear("sent", sender_worker_id="f" * 32)
    assert service.send_webhooks() == 1
    body = system.requests[0].verify_signature(secret)
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


def test_the_body_names_the_kind_because_two_kinds_may_have_one_type(service: Service) -> None:
    system = service.receiver()
    for member in (SENDER, RECEIVER):
        service.webhook(member, system.url)
    service.hear("sent", override_used=True)
    service.send_webhooks()
    bodies = [json.loads(request.body) for request in system.requests]
    assert {(body["kind"], body["type"]) for body in bodies} == {
        ("override_used", "enlace.referral.sent.v1"),
        ("referral_sent", "enlace.referral.sent.v1"),
    }


def test_a_delivery_shows_its_outcome(service: Service) -> None:
    system = service.receiver()
    webhook = service.webhook(RECEIVER, system.url).webhook
    service.hear("sent")
    [waiting] = service.deliveries(webhook.id)
    assert (waiting.status, waiting.attempts, waiting.kind) == (WAITING, 0, "referral_sent")
    service.send_webhooks()
    [delivery] = service.deliveries(webhook.id)
    assert (delivery.id, delivery.attempts) == (system.requests[0].id, 1)
    assert outcome(delivery) == (DELIVERED, 0, 204)
    assert delivery.body_sha256 == hashlib.sha256(system.requests[0].body.encode()).hexdigest()
    assert delivery.HasField("delivery_time")
    assert not delivery.HasField("next_attempt_time")


def test_only_the_selected_kinds_are_sent(service: Service) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url, "referral_withdrawn", "clock_breached")
    for verb in ("sent", "withdrawn", "clock_breached", "clock_reminded"):
        service.hear(verb)
    service.send_webhooks()
    assert {request.type_() for request in system.requests} == {
        "enlace.referral.withdrawn.v1",
        "enlace.referral.clock_breached.v1",
    }


def test_only_the_two_sides_receive_webhooks_and_each_its_own(service: Service) -> None:
    systems = {organization: service.receiver() for organization in (SENDER, RECEIVER, OTHER)}
    for organization, system in systems.items():
        service.webhook(organization, system.url)
    for verb in ("sent", "accepted", "clock_breached"):
        service.hear(verb)
    service.send_webhooks()
    assert [len(system.requests) for system in systems.values()] == [2, 2, 0]


def test_a_failure_is_retried_later_with_the_same_id_and_body(service: Service) -> None:
    system, created = service.send_to_new_webhook(answers=[500, 503])
    [failed] = service.deliveries(created.webhook.id)
    assert outcome(failed) == (RETRYING, pb.DELIVERY_ERROR_HTTP, 500)
    assert 3 <= failed.next_attempt_time.seconds - service.clock.now().timestamp() <= 7
    assert service.send_webhooks() == 0
    service.advance(seconds=7)
    service.send_webhooks()
    service.advance(minutes=1)
    service.send_webhooks()
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 3)
    assert {(request.id, request.body) for request in system.requests} == {
        (delivery.id, system.requests[0].body)
    }
    assert len({request.headers["webhook-timestamp"] for request in system.requests}) == 3
    for request in system.requests:
        request.verify_signature(created.secret)


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
    _, created = service.send_to_new_webhook(answers=[code], retry_after=retry_after)
    [waiting] = service.deliveries(created.webhook.id)
    wait = waiting.next_attempt_time.ToDatetime(UTC) - service.clock.now()
    assert timedelta(seconds=seconds) * 0.8 <= wait <= timedelta(seconds=seconds) * 1.2
    first_step = min(wait - timedelta(milliseconds=1), timedelta(seconds=61))
    service.clock.advance(first_step)
    assert service.send_webhooks() == 0, "the limit for wrong clocks does not shorten the wait"
    service.clock.advance(wait - first_step)
    assert service.send_webhooks() == 1


def test_a_receiver_that_is_gone_is_not_sent_the_same_delivery_again(service: Service) -> None:
    _, created = service.send_to_new_webhook(answers=[410])
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.last_http_status) == (DEAD, 410)
    service.advance(days=1)
    assert service.send_webhooks() == 0


def test_a_delivery_of_a_sender_that_died_is_sent_again_with_the_same_id(service: Service) -> None:
    system = service.receiver()
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    claim = service.claim_webhook()
    # the sender sends, and then dies
    EndpointClient(development=True).post(claim.url, {"webhook-id": claim.id}, claim.body.encode())
    assert service.send_webhooks() == 0  # its lease still runs
    service.clock.advance(WEBHOOK_LEASE)
    assert service.send_webhooks() == 1
    assert [request.id for request in system.requests] == [claim.id] * 2
    service.web_sender().send(claim)  # the sender only slept: its late result changes nothing
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 1)


def test_a_redirect_is_a_failure_and_is_not_followed(service: Service) -> None:
    other_system = service.receiver()
    _, created = service.send_to_new_webhook(answers=[307], location=other_system.url)
    [failed] = service.deliveries(created.webhook.id)
    assert outcome(failed) == (RETRYING, pb.DELIVERY_ERROR_HTTP, 307)
    assert other_system.requests == []


def test_a_connection_is_reused_and_a_closed_one_is_no_failure(service: Service) -> None:
    system = service.receiver(answers=[200] * 3, body=b"thank you")
    client = EndpointClient(development=True)
    for _ in range(3):
        assert client.post(system.url, {}, b"{}").arrived
    assert len({request.connection for request in system.requests}) == 1
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
    client = EndpointClient(development=True)
    assert client.post(system.url, {}, b"{}").arrived
    assert client.post(system.url, {}, b"{}").arrived
    assert len({request.connection for request in system.requests}) == 2


def test_a_receiver_that_answers_byte_by_byte_is_cut_off_at_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        started = time.monotonic()
        attempt = EndpointClient(development=True, timeout=0.5).post(
            f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}"
        )
    assert (attempt.error, attempt.code) == ("timeout", 0)
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


@pytest.mark.parametrize(
    "addresses",
    [("127.0.0.1",), ("10.1.2.3",), ("169.254.169.254",), ("93.184.215.14", "10.1.2.3")],
)
def test_a_name_that_now_resolves_to_an_internal_address_is_not_called(
    service: Service, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    resolved_names: list[str] = []

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        resolved_names.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    url = service.receiver().url.replace("127.0.0.1", "partner.example")
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        attempt = EndpointClient(development=False, timeout=1).post(url, {}, b"{}")
    assert (resolved_names, attempt.error) == (["partner.example"], "refused_address")


def test_a_proxy_in_the_environment_is_ignored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, system = service.receiver(), service.receiver()
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    assert EndpointClient(development=True).post(system.url, {}, b"{}").arrived
    assert (len(proxy.requests), len(system.requests)) == (0, 1)


def test_an_endpoint_failing_for_three_days_is_disabled_and_its_desk_notified(
    service: Service,
) -> None:
    other = service.receiver()
    broken, created = service.send_to_new_webhook(answers=[500] * 50)
    manager = service.as_(RECEIVER, "MANAGER")
    for _ in range(7):
        service.advance(hours=10)
        service.hear("sent")
        service.send_webhooks()
    service.webhook(RECEIVER, other.url)
    assert manager.GetWebhook(id=created.webhook.id).enabled
    service.advance(hours=2)
    service.hear("sent")
    service.send_webhooks()
    stored = manager.GetWebhook(id=created.webhook.id)
    assert (stored.enabled, stored.disabled_reason_code) == (False, pb.DISABLED_REASON_FAILING)
    statuses = {delivery.status for delivery in service.deliveries(created.webhook.id)}
    assert not statuses & {WAITING, RETRYING}
    assert "webhook_disabled" in manager.kinds()
    assert [request.type_() for request in other.requests] == [
        "enlace.referral.sent.v1",
        "enlace.webhook.disabled.v1",
    ]
    request_count = len(broken.requests)
    service.hear("sent")
    service.send_webhooks()
    assert len(broken.requests) == request_count


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
    system, created = service.send_to_new_webhook(answers=[500] * 4)
    service.advance(seconds=10)
    service.send_webhooks()
    for _ in range(2):
        service.advance(days=4)  # the machine of this service is off over a weekend
        service.send_webhooks()
        assert service.as_(RECEIVER, "MANAGER").GetWebhook(id=created.webhook.id).enabled
    service.advance(hours=1)
    service.send_webhooks()
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, len(system.requests)) == (DELIVERED, 5)


@pytest.mark.parametrize("has_email", [False, True])
def test_the_coordinators_phone_a_desk_whose_only_channel_was_a_disabled_endpoint(
    service: Service, has_email: bool
) -> None:
    service.send_to_new_webhook(answers=[500] * 50)
    if has_email:
        service.desk(RECEIVER, "mesa@ong.example")
    for _ in range(8):
        service.advance(hours=10)
        service.hear("sent")
        service.send_webhooks()
    assert "webhook_disabled" in service.as_(RECEIVER, "MANAGER").kinds()
    reports = [
        message.organization_id
        for message in service.as_(COALITION, "COORDINATOR").ListMessages().messages
        if message.kind == "message_undeliverable" and not message.referral_id
    ]
    assert reports == ([] if has_email else [RECEIVER])


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
    system, created = service.send_to_new_webhook()
    resent = service.as_(RECEIVER, "MANAGER").ResendDelivery(id=system.requests[0].id)
    assert (resent.status, resent.attempts) == (WAITING, 1)
    service.send_webhooks()
    assert [request.id for request in system.requests] == [resent.id] * 2
    assert system.requests[0].body == system.requests[1].body
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 2)
    system.requests[1].verify_signature(created.secret)


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
    [request] = system.requests
    body = request.verify_signature(created.secret)
    assert (request.id, body["kind"], body["type"], body["data"]) == (
        sample.id,
        "webhook_test",
        "enlace.webhook.test.v1",
        {"webhook_id": created.webhook.id},
    )


def test_deliveries_waiting_for_a_disabled_or_deleted_endpoint_are_discarded(
    service: Service,
) -> None:
    manager = service.as_(RECEIVER, "MANAGER")
    disabled_webhook, deleted_webhook = (
        service.webhook(RECEIVER, service.receiver().url).webhook for _ in range(2)
    )
    service.hear("sent")
    manager.UpdateWebhook(
        webhook=pb.Webhook(id=disabled_webhook.id, etag="v1", enabled=False),
        update_mask={"paths": ["enabled"]},
    )
    manager.DeleteWebhook(id=deleted_webhook.id)
    assert service.send_webhooks() == 0
    assert [delivery.status for delivery in service.deliveries(disabled_webhook.id)] == [DISCARDED]
    assert refusal(lambda: manager.ListDeliveries(webhook_id=deleted_webhook.id)) == NOT_FOUND
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


def test_a_notice_that_is_stored_while_its_organisation_is_suspended_is_sent_nowhere(
    service: Service,
) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    service.desk(RECEIVER, "mesa@ong.example")
    with service.database.transaction(SYSTEM) as tx:
        subscriptions.referrals(service.clock, public_url=PUBLIC_URL, by_email=True)(
            tx, service.fact("sent")
        )
        tx.execute("SELECT").fetchone()  # the notice is stored, but not committed
        service.suspend(RECEIVER)
    service.send_webhooks()
    service.send_mails()
    assert (system.requests, list(MailFolder(service.mails, service.clock).mails())) == ([], [])
    assert [row["status"] for row in service.rows("SELECT status FROM deliveries")] == (
        ["DISCARDED"] * 2
    )


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
    _, created = service.send_to_new_webhook(answers=[500] * 4)
    for _ in range(3):
        service.advance(minutes=7)
        assert service.send_webhooks() == 1
    # the delivery waits about five minutes now
    assert service.send_webhooks() == 0
    [waiting] = service.deliveries(created.webhook.id)
    assert waiting.status == RETRYING
