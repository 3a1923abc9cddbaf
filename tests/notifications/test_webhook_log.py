"""The log of an endpoint for its owner: each attempt as it was sent, and counts by the hour.

Nobody else sees it.
"""

import json
from datetime import timedelta

import pytest
from psycopg.errors import ForeignKeyViolation

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications.usecases.sending import ATTEMPT_LIFE
from services.notifications.usecases.webhooks import MAX_SHOWN_ATTEMPTS
from tests.builders import NOT_FOUND, refusal
from tests.notifications.conftest import OTHER, RECEIVER, Service

TRANSPORT_HEADERS = {
    "host",
    "content-length",
}  # these headers follow from the address and the length


def delivery_of(service: Service, webhook_id: str, organization: str = RECEIVER) -> pb.Delivery:
    """Returns the newest delivery to this endpoint, with its attempts."""
    [newest, *_] = service.deliveries(webhook_id, organization)
    assert not newest.HasField("sent")  # lists leave the attempts out
    delivery: pb.Delivery = service.as_(organization, "MANAGER").GetDelivery(
        id=newest.id, webhook_id=webhook_id
    )
    return delivery


def test_an_attempt_is_shown_exactly_as_the_receiver_received_it(service: Service) -> None:
    system, created = service.send_to_new_webhook()
    delivery = delivery_of(service, created.webhook.id)
    [request], [attempt] = system.requests, delivery.sent.attempts
    assert delivery.sent.body == request.body
    assert dict(attempt.headers) == {
        name: value for name, value in request.headers.items() if name not in TRANSPORT_HEADERS
    }
    assert (attempt.http_status, attempt.error_code) == (204, 0)
    assert attempt.duration_ms == delivery.last_duration_ms
    assert str(attempt.attempt_time.seconds) == request.headers["webhook-timestamp"]
    request.verify_signature(created.secret)


def test_each_attempt_shows_its_time_status_and_reason_of_failure(service: Service) -> None:
    system, created = service.send_to_new_webhook(
        answers=[503, 500], body=b"a trace with who knows what"
    )
    for step in (7, 60):
        service.advance(seconds=step)
        service.send_webhooks()
    delivery = delivery_of(service, created.webhook.id)
    assert [(attempt.http_status, attempt.error_code) for attempt in delivery.sent.attempts] == [
        (204, 0), (500, pb.DELIVERY_ERROR_HTTP), (503, pb.DELIVERY_ERROR_HTTP),
    ]  # fmt: skip
    assert delivery.attempts == len(delivery.sent.attempts)
    for header in ("webhook-timestamp", "webhook-signature"):
        assert [attempt.headers[header] for attempt in delivery.sent.attempts] == [
            request.headers[header] for request in system.requests[::-1]
        ]
    assert "who knows what" not in str(service.rows("SELECT * FROM attempts"))


def test_an_attempt_at_a_closed_port_is_recorded_as_a_connection_error(service: Service) -> None:
    webhook = service.webhook(RECEIVER, "http://127.0.0.1:9/").webhook
    service.hear("sent")
    service.send_webhooks()
    delivery = delivery_of(service, webhook.id)
    assert (delivery.status, delivery.last_error_code, delivery.last_http_status) == (
        pb.DELIVERY_STATUS_RETRYING,
        pb.DELIVERY_ERROR_CONNECTION,
        0,
    )
    [attempt] = delivery.sent.attempts
    assert (attempt.http_status, attempt.error_code) == (0, pb.DELIVERY_ERROR_CONNECTION)


def test_an_attempt_whose_lease_has_expired_is_neither_counted_nor_recorded(
    service: Service,
) -> None:
    webhook = service.webhook(RECEIVER, service.receiver().url).webhook
    service.hear("sent")
    claim = service.claim_webhook()
    service.advance(seconds=31)
    service.send_webhooks()
    service.web_sender().send(claim)
    delivery = delivery_of(service, webhook.id)
    assert delivery.attempts == len(delivery.sent.attempts) == 1


def test_a_delivery_with_many_attempts_shows_the_latest(service: Service) -> None:
    webhook = service.webhook(RECEIVER, service.receiver().url).webhook
    sample = service.as_(RECEIVER, "MANAGER").TestWebhook(id=webhook.id)
    service.rows(
        "INSERT INTO attempts SELECT %s, n, %s, now(), 's', n, '', 1"
        " FROM generate_series(1, %s) n RETURNING delivery_id",
        sample.id, webhook.id, MAX_SHOWN_ATTEMPTS + 20,
    )  # fmt: skip
    statuses = [attempt.http_status for attempt in delivery_of(service, webhook.id).sent.attempts]
    assert statuses == list(range(MAX_SHOWN_ATTEMPTS + 20, 20, -1))


def test_another_organisations_delivery_and_an_unknown_one_look_the_same(service: Service) -> None:
    webhook, other_webhook = (
        service.webhook(RECEIVER, service.receiver().url).webhook for _ in range(2)
    )
    their_webhook = service.webhook(OTHER, service.receiver().url).webhook
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    service.hear("sent", receiver_organization_id=OTHER)
    service.send_webhooks()
    manager = service.as_(RECEIVER, "MANAGER")
    [their_delivery] = service.deliveries(their_webhook.id, OTHER)
    [my_delivery] = service.deliveries(webhook.id)
    [mail] = service.rows("SELECT id FROM deliveries WHERE channel = 'email'")
    for fields in (
        {"id": new_id()},
        {"id": "none"},
        {"id": their_delivery.id},
        {"id": their_delivery.id, "webhook_id": their_webhook.id},
        {"id": their_delivery.id, "webhook_id": webhook.id},
        {"id": my_delivery.id, "webhook_id": other_webhook.id},
        {"id": mail["id"]},
    ):
        assert refusal(lambda fields=fields: manager.GetDelivery(**fields)) == NOT_FOUND  # type: ignore[misc]
    assert manager.GetDelivery(id=my_delivery.id).id == my_delivery.id
    manager.DeleteWebhook(id=webhook.id)
    assert refusal(lambda: manager.GetDelivery(id=my_delivery.id)) == NOT_FOUND


def test_the_database_itself_hides_attempts_from_other_organisations(service: Service) -> None:
    service.send_to_new_webhook()
    for organization, count in ((RECEIVER, 1), (OTHER, 0)):
        with service.database.transaction(service.as_(organization, "MANAGER").caller) as tx:
            assert len(tx.execute("SELECT FROM attempts").fetchall()) == count


def test_attempts_are_counted_by_endpoint_and_hour(service: Service) -> None:
    service.clock.set(service.clock.now().replace(minute=20))
    failing = service.webhook(RECEIVER, service.receiver(answers=[500] * 9).url).webhook
    working = service.webhook(RECEIVER, service.receiver().url).webhook
    service.webhook(OTHER, service.receiver().url)
    manager = service.as_(RECEIVER, "MANAGER")
    assert list(manager.ListDeliveryHours().hours) == []
    for organization in (RECEIVER, RECEIVER, OTHER):
        service.hear("sent", receiver_organization_id=organization)
        service.send_webhooks()
    first = service.clock.now().replace(minute=0, second=0, microsecond=0)
    service.advance(hours=2)
    service.hear("sent")
    service.send_webhooks()

    def counted(**fields: str) -> list[tuple[str, int, int, int]]:
        hours = manager.ListDeliveryHours(**fields).hours
        return [
            (
                hour.webhook_id,
                (hour.start_time.seconds - int(first.timestamp())) // 3600,
                hour.delivered,
                hour.failed,
            )
            for hour in hours
        ]

    # Two hours later, two deliveries to the failing endpoint are retried, and a third is new.
    expected = [
        (failing.id, 0, 0, 2),
        (failing.id, 2, 0, 3),
        (working.id, 0, 2, 0),
        (working.id, 2, 1, 0),
    ]
    assert counted() == sorted(expected)
    assert counted(webhook_id=working.id) == expected[2:]
    service.clock.set(first + timedelta(hours=23, minutes=59))
    assert len(counted()) == 4
    service.advance(minutes=1)  # the first hour is now 24 hours old
    assert counted() == sorted([expected[1], expected[3]])


def test_the_hours_of_another_organisations_endpoint_are_not_found(service: Service) -> None:
    their_webhook = service.webhook(OTHER, service.receiver().url).webhook
    manager = service.as_(RECEIVER, "MANAGER")
    assert refusal(lambda: manager.ListDeliveryHours(webhook_id=their_webhook.id)) == NOT_FOUND
    assert refusal(lambda: manager.ListDeliveryHours(webhook_id=new_id())) == NOT_FOUND


def test_attempts_are_deleted_after_a_month_and_the_delivery_is_kept(service: Service) -> None:
    _, created = service.send_to_new_webhook()
    for step, count in ((ATTEMPT_LIFE - timedelta(hours=1), 1), (timedelta(hours=2), 0)):
        service.clock.advance(step)
        service.sweep()
        delivery = delivery_of(service, created.webhook.id)
        assert (delivery.attempts, len(delivery.sent.attempts)) == (1, count)
        assert json.loads(delivery.sent.body)["type"] == "enlace.referral.sent.v1"


def test_an_attempt_without_a_delivery_cannot_be_stored(service: Service) -> None:
    with pytest.raises(ForeignKeyViolation), service.database.transaction(SYSTEM) as tx:
        tx.execute("INSERT INTO attempts VALUES ('none', 1, 'none', now(), '', 0, '', 0)")
