"""The threads that send webhooks are woken in time, and no endpoint delays another."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from chassis import metrics
from chassis.db import Transaction
from chassis.tokens import SYSTEM
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications.channels import webhooks
from services.notifications.domain.delivery import Channel, Outcome, Status
from services.notifications.store import deliveries
from services.notifications.store import webhooks as webhook_store
from services.notifications.usecases.sending import WEBHOOK_LEASE
from tests.notifications.conftest import LOCK_WAITS, OTHER, RECEIVER, Service
from tests.parts.local_stack import until
from tests.parts.loops import NEVER, OFTEN, eventually, running


def test_the_commit_of_a_fact_wakes_the_sender(service: Service) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    with running(service.web_sender().loop()):
        for count in range(1, 6):
            service.hear("sent")
            system.wait_for(count)


@pytest.fixture
def rests(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[datetime | None]:
    """Returns the list of the times until which the lanes sleep; each sleep adds one."""
    rest_ends, next_webhook_time = list[datetime | None](), service.sending.next_webhook_time

    def next_time(connection: Transaction, *, slow: bool) -> datetime | None:
        rest_ends.append(next_webhook_time(connection, slow=slow))
        return rest_ends[-1]

    monkeypatch.setattr(service.sending, "next_webhook_time", next_time)
    return rest_ends


def test_a_retry_is_sent_when_it_is_due_although_nothing_is_announced(
    service: Service, rests: list[datetime | None]
) -> None:
    system = service.receiver(answers=[500, 204])
    service.webhook(RECEIVER, system.url)
    senders = [service.web_sender(slow=slow, read_again=NEVER) for slow in (False, True)]
    with running(*(sender.loop() for sender in senders)):
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
    with running(service.web_sender(slow=True, read_again=NEVER).loop()):
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
    with running(service.web_sender(read_again=OFTEN).loop()):
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
    with running(service.web_sender(read_again=NEVER).loop()):
        assert eventually(lambda: bool(rests))
        assert system.requests == []
        service.clock.advance(WEBHOOK_LEASE)
        system.wait_for(1)


@pytest.mark.parametrize("unreadable", [b"nonsense", hashlib.sha256(b"x").digest()])
def test_an_unreadable_secret_does_not_delay_others_and_is_retried_after_its_lease(
    service: Service, capsys: pytest.CaptureFixture[str], unreadable: bytes
) -> None:
    put_aside_count = metrics.ROWS_PUT_ASIDE.labels("webhooks")._value
    before = put_aside_count.get()
    other_system, system = service.receiver(), service.receiver()
    webhook = service.webhook(OTHER, other_system.url).webhook
    service.webhook(RECEIVER, system.url)
    [row] = service.rows("SELECT secret FROM webhooks WHERE id = %s", webhook.id)
    set_secret = "UPDATE webhooks SET secret = %s WHERE id = %s RETURNING id"
    service.rows(set_secret, unreadable, webhook.id)
    with running(service.web_sender(threads=1).loop()):
        service.hear("sent", receiver_organization_id=OTHER)
        for count in range(1, 4):
            service.hear("sent")
            system.wait_for(count)
        assert (other_system.requests, put_aside_count.get()) == ([], before + 1)
        [delivery] = service.deliveries(webhook.id, OTHER)
        assert delivery.id in capsys.readouterr().out
        service.rows(set_secret, row["secret"], webhook.id)  # repaired
        service.clock.advance(WEBHOOK_LEASE)
        other_system.wait_for(1)


def test_a_slow_endpoint_delays_no_other_and_gets_one_delivery_at_a_time(service: Service) -> None:
    slow, quick = service.receiver(hold=threading.Event()), service.receiver()
    service.webhook(RECEIVER, slow.url)
    service.webhook(OTHER, quick.url)
    with running(service.web_sender(timeout=30).loop()):
        for _ in range(10):
            service.hear("sent")
        slow.wait_for(1)
        for _ in range(10):
            service.hear("sent", receiver_organization_id=OTHER)
        quick.wait_for(10)
        assert len(slow.requests) == 1
        assert slow.hold is not None
        slow.hold.set()
        slow.wait_for(10)


def test_more_slow_endpoints_than_threads_delay_the_others_only_once(service: Service) -> None:
    hold = threading.Event()
    slow = [service.receiver(hold=hold) for _ in range(4)]
    quick = service.receiver()
    for system in slow:
        service.webhook(RECEIVER, system.url)
    service.webhook(OTHER, quick.url)
    with running(
        service.web_sender(threads=2, timeout=0.3).loop(),
        service.web_sender(slow=True, threads=2, timeout=20).loop(),
    ):
        service.hear("sent")
        for system in slow:
            system.wait_for(1)  # each timed out once, and is now in the slow lane
        until(lambda: len(service.rows("SELECT FROM webhooks WHERE slow")) >= 4, 10)
        service.advance(seconds=10)
        service.hear("sent")  # now the slow lane is full
        until(lambda: sum(len(system.requests) for system in slow) >= 6, 10)
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
    now = service.clock.now()
    with service.database.dedicated() as first, service.database.dedicated() as second:
        first_claims = service.sending.next_webhooks(first, now, slow=False, limit=2)
        second_claims = service.sending.next_webhooks(second, now, slow=False, limit=8)
        assert service.sending.next_webhooks(first, now, slow=False, limit=8) == []
    assert (len(first_claims), len(second_claims)) == (2, 1)
    assert len({claim.webhook_id for claim in [*first_claims, *second_claims]}) == 3


def test_a_stopped_sender_does_not_wait_for_a_receiver_that_hangs(service: Service) -> None:
    system = service.receiver(hold=threading.Event())
    created = service.webhook(RECEIVER, system.url)
    sender = service.web_sender(timeout=60).loop()
    sender.start()
    service.hear("sent")
    system.wait_for(1)
    sender.stop()
    assert sender.join(5)
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.last_error_code) == (
        pb.DELIVERY_STATUS_RETRYING,
        pb.DELIVERY_ERROR_TIMEOUT,
    )


def test_a_fact_that_arrives_while_a_delivery_is_being_recorded_is_sent_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_PAUSE", 60.0)
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    with running(service.web_sender().loop()):
        for count in range(1, 201):
            service.hear("sent")
            # the next fact commits while this delivery is still being recorded
            system.wait_for(count)


def test_a_manager_can_disable_an_endpoint_while_an_attempt_is_being_recorded(
    service: Service,
) -> None:
    webhook = service.webhook(RECEIVER, service.receiver().url).webhook
    service.hear("sent")
    claim = service.claim_webhook()
    with ThreadPoolExecutor() as sender:
        with service.database.transaction(SYSTEM) as tx:
            webhook_store.fetch(tx, RECEIVER, webhook.id, to_change=True)
            finished = sender.submit(
                service.sending.finish,
                Channel.WEBHOOK,
                claim,
                Outcome(code=204, duration_ms=3),
                service.clock.now(),
            )
            until(lambda: bool(service.rows(LOCK_WAITS)))
            deliveries.discard_of_webhook(tx, webhook.id)
        assert finished.result(10) is Status.DELIVERED
