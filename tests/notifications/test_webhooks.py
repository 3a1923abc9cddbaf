"""A partner's system is told: signed, again after a failure under the same id, never by a detour into our own network, and never at others' cost."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chassis import metrics
from chassis.ids import new_id
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications.channels import webhooks
from services.notifications.channels.door import Door
from services.notifications.channels.webhooks import WebhookSender
from services.notifications.usecases.sending import WEBHOOK_LEASE
from tests.builders import refusal
from tests.notifications.conftest import OTHER, PUBLIC_URL, RECEIVER, SENDER, House
from tests.notifications.receiver import Receiver

WAITING, DELIVERED, RETRYING, DEAD, DISCARDED = (
    pb.DeliveryStatus.Value(f"DELIVERY_STATUS_{name}") for name in ("WAITING", "DELIVERED", "RETRYING", "DEAD", "DISCARDED")
)


def test_a_fact_arrives_signed_with_ids_and_codes_only(house: House) -> None:
    system = house.receiver()
    secret = house.webhook(RECEIVER, system.url).secret
    fact = house.hear("sent", sender_worker_id="f" * 32)
    assert house.send_webhooks() == 1
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


def test_a_delivery_shows_what_became_of_it(house: House) -> None:
    system = house.receiver()
    webhook = house.webhook(RECEIVER, system.url).webhook
    house.hear("sent")
    [waiting] = house.deliveries(webhook.id)
    assert (waiting.status, waiting.attempts, waiting.kind) == (WAITING, 0, "referral_sent")
    house.send_webhooks()
    [done] = house.deliveries(webhook.id)
    assert (done.id, done.status, done.attempts, done.last_http_status, done.last_error_code) == (system.got[0].id, DELIVERED, 1, 204, "")
    assert done.body_sha256 == hashlib.sha256(system.got[0].body.encode()).hexdigest()
    assert done.HasField("delivery_time")
    assert not done.HasField("next_attempt_time")


def test_only_the_kinds_that_were_asked_for_are_sent(house: House) -> None:
    system = house.receiver()
    house.webhook(RECEIVER, system.url, "referral_withdrawn", "clock_breached")
    for verb in ("sent", "withdrawn", "clock_breached", "clock_reminded"):
        house.hear(verb)
    house.send_webhooks()
    assert {got.type_() for got in system.got} == {"enlace.referral.withdrawn.v1", "enlace.referral.clock_breached.v1"}


def test_both_sides_hear_what_is_theirs_and_nobody_else_does(house: House) -> None:
    systems = {organization: house.receiver() for organization in (SENDER, RECEIVER, OTHER)}
    for organization, system in systems.items():
        house.webhook(organization, system.url)
    house.hear("sent")
    house.hear("accepted")
    house.hear("clock_breached")
    house.send_webhooks()
    assert [len(systems[organization].got) for organization in (SENDER, RECEIVER, OTHER)] == [2, 2, 0]


def test_a_failure_is_tried_again_later_under_the_same_id_with_the_same_body(house: House) -> None:
    system = house.receiver(answers=[500, 503])
    made = house.webhook(RECEIVER, system.url)
    house.hear("sent")
    assert house.send_webhooks() == 1
    [failed] = house.deliveries(made.webhook.id)
    assert (failed.status, failed.last_error_code, failed.last_http_status) == (RETRYING, "http", 500)
    assert 3 <= failed.next_attempt_time.seconds - house.clock.now().timestamp() <= 7
    assert house.send_webhooks() == 0
    house.advance(seconds=7)
    house.send_webhooks()
    house.advance(minutes=1)
    house.send_webhooks()
    [done] = house.deliveries(made.webhook.id)
    assert (done.status, done.attempts) == (DELIVERED, 3)
    assert {(got.id, got.body) for got in system.got} == {(done.id, system.got[0].body)}
    assert len({got.headers["webhook-timestamp"] for got in system.got}) == 3
    for got in system.got:
        got.verified(made.secret)


def test_a_sender_that_dies_after_the_post_sends_again_under_the_same_id(house: House) -> None:
    system = house.receiver()
    made = house.webhook(RECEIVER, system.url)
    house.hear("sent")
    with house.database.dedicated() as connection:
        [claim] = house.sending.next_webhooks(connection, house.clock.now(), slow=False, limit=5)
    Door(development=True).post(claim.url, {"webhook-id": claim.id}, claim.body.encode())  # … and here it dies
    assert house.send_webhooks() == 0  # its lease still runs
    house.clock.advance(WEBHOOK_LEASE)
    assert house.send_webhooks() == 1
    assert [got.id for got in system.got] == [claim.id] * 2
    house.web_sender().send(claim)  # it only slept: what it notes now changes nothing
    [done] = house.deliveries(made.webhook.id)
    assert (done.status, done.attempts) == (DELIVERED, 1)


def test_a_redirect_is_a_failure_and_is_not_followed(house: House) -> None:
    elsewhere = house.receiver()
    system = house.receiver(answers=[307], location=elsewhere.url)
    made = house.webhook(RECEIVER, system.url)
    house.hear("sent")
    house.send_webhooks()
    [failed] = house.deliveries(made.webhook.id)
    assert (failed.status, failed.last_http_status, failed.last_error_code) == (RETRYING, 307, "http")
    assert elsewhere.got == []


def test_a_connection_is_used_again_and_a_closed_one_is_no_failure(house: House) -> None:
    system = house.receiver(answers=[200] * 3, body=b"thank you")
    door = Door(development=True)
    for _ in range(3):
        assert door.post(system.url, {}, b"{}").arrived
    assert len({got.connection for got in system.got}) == 1
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer_and_hang_up, args=(server, 2), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert door.post(url, {}, b"{}").arrived
        assert door.post(url, {}, b"{}").arrived
    door.close()


def answer_and_hang_up(server: socket.socket, times: int) -> None:
    """Promises to keep the connection, and closes it."""
    for _ in range(times):
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.close()


def test_who_answers_without_end_is_hung_up_on(house: House) -> None:
    system = house.receiver(answers=[200], body=b"x" * 1_000_000)
    door = Door(development=True)
    assert door.post(system.url, {}, b"{}").arrived
    assert door.post(system.url, {}, b"{}").arrived
    assert len({got.connection for got in system.got}) == 2


def test_who_drips_is_cut_off_when_the_time_is_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        started = time.monotonic()
        outcome = Door(development=True, timeout=0.5).post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}")
    assert (outcome.error, outcome.code) == ("timeout", 0)
    assert time.monotonic() - started < 3


def drip(server: socket.socket) -> None:
    """A header a byte at a time, for ever: no read ever waits long."""
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
def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> Iterator[list[str]]:
    """Every name means these addresses; yields which were looked up."""
    asked: list[str] = []

    def found(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", found)
        yield asked


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("10.1.2.3",), ("169.254.169.254",), ("93.184.215.14", "10.1.2.3")])
def test_a_name_that_has_come_to_mean_an_address_inside_is_not_connected_to(
    house: House, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    with names(monkeypatch, *addresses) as asked:
        outcome = Door(development=False, timeout=1).post(
            f"http://partner.example:{house.receiver().url.rsplit(':')[-1].split('/')[0]}/", {}, b"{}"
        )
    assert asked == ["partner.example"]
    assert outcome.error == "refused_address"


def test_a_name_in_the_environment_leads_nowhere(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, system = house.receiver(), house.receiver()
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    assert Door(development=True).post(system.url, {}, b"{}").arrived
    assert (len(proxy.got), len(system.got)) == (0, 1)


def test_nobody_listening_is_a_connection_error(house: House) -> None:
    system = house.receiver()
    system.close()
    house.receivers.clear()
    made = house.webhook(RECEIVER, system.url)
    house.hear("sent")
    house.send_webhooks()
    [failed] = house.deliveries(made.webhook.id)
    assert (failed.status, failed.last_error_code, failed.last_http_status) == (RETRYING, "connection", 0)


@contextmanager
def running(*senders: WebhookSender) -> Iterator[None]:
    """The senders' own threads, woken by the database."""
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


def test_the_commit_of_a_fact_wakes_the_sender(house: House) -> None:
    system = house.receiver()
    house.webhook(RECEIVER, system.url)
    with running(house.web_sender()):
        for count in range(1, 6):
            house.hear("sent")
            system.wait_for(count)


def test_a_secret_that_cannot_be_opened_holds_up_no_other_and_is_tried_again_after_its_lease(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    put_aside = metrics.ROWS_PUT_ASIDE.labels("webhooks")._value
    before = put_aside.get()
    other, system = house.receiver(), house.receiver()
    bad = house.webhook(OTHER, other.url).webhook
    house.webhook(RECEIVER, system.url)
    [kept] = house.rows("SELECT secret FROM webhooks WHERE id = %s", bad.id)
    spoil = "WITH moved AS (UPDATE webhooks SET secret = %s WHERE id = %s RETURNING 1) SELECT FROM moved"
    house.rows(spoil, b"nonsense", bad.id)
    with running(house.web_sender(threads=1)):
        house.hear("sent", receiver_organization_id=OTHER)
        for count in range(1, 4):
            house.hear("sent")
            system.wait_for(count)
        assert (other.got, put_aside.get()) == ([], before + 1)
        [delivery] = house.deliveries(bad.id, OTHER)
        assert delivery.id in capsys.readouterr().out
        house.rows(spoil, kept["secret"], bad.id)  # mended
        house.clock.advance(WEBHOOK_LEASE)
        other.wait_for(1)


def test_a_slow_endpoint_delays_no_other_and_gets_one_delivery_at_a_time(house: House) -> None:
    slow, quick = house.receiver(hold=threading.Event()), house.receiver()
    house.webhook(RECEIVER, slow.url)
    house.webhook(OTHER, quick.url)
    with running(house.web_sender(timeout=30)):
        for _ in range(10):
            house.hear("sent")
        slow.wait_for(1)
        for _ in range(10):
            house.hear("sent", receiver_organization_id=OTHER)
        quick.wait_for(10)
        assert len(slow.got) == 1
        assert slow.hold is not None
        slow.hold.set()
        slow.wait_for(10)


def test_more_slow_endpoints_than_threads_keep_the_others_waiting_only_once(house: House) -> None:
    hold = threading.Event()
    slow = [house.receiver(hold=hold) for _ in range(4)]
    quick = house.receiver()
    for system in slow:
        house.webhook(RECEIVER, system.url)
    house.webhook(OTHER, quick.url)
    with running(house.web_sender(threads=2, timeout=0.3), house.web_sender(slow=True, threads=2, timeout=20)):
        house.hear("sent")
        for system in slow:
            system.wait_for(1)  # each ran into the timeout once, and is in the slow lane since
        until_slow(house, 4)
        house.advance(seconds=10)
        house.hear("sent")  # now the slow lane is full
        wait_for_total(slow, 6)
        for count in range(1, 6):
            house.hear("sent", receiver_organization_id=OTHER)
            quick.wait_for(count, seconds=3)


def until_slow(house: House, count: int) -> None:
    end = time.monotonic() + 10
    while len(house.rows("SELECT FROM webhooks WHERE slow")) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for_total(systems: list[Receiver], count: int) -> None:
    end = time.monotonic() + 10
    while sum(len(system.got) for system in systems) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_who_was_served_longest_ago_is_served_first(house: House) -> None:
    made = [house.webhook(RECEIVER, house.receiver().url).webhook.id for _ in range(3)]
    for _ in range(2):
        house.hear("sent")
    order = []
    sender = house.web_sender()
    with house.database.dedicated() as connection:
        for _ in range(6):
            house.advance(seconds=1)
            [claim] = house.sending.next_webhooks(connection, house.clock.now(), slow=False, limit=1)
            order.append(claim.webhook_id)
            sender.send(claim)
    assert sorted(order[:3]) == sorted(made)
    assert order[3:] == order[:3]


def test_two_senders_never_hold_the_same_endpoint(house: House) -> None:
    for _ in range(3):
        house.webhook(RECEIVER, house.receiver().url)
    for _ in range(5):
        house.hear("sent")
    with house.database.dedicated() as one, house.database.dedicated() as other:
        first = house.sending.next_webhooks(one, house.clock.now(), slow=False, limit=2)
        second = house.sending.next_webhooks(other, house.clock.now(), slow=False, limit=8)
        assert house.sending.next_webhooks(one, house.clock.now(), slow=False, limit=8) == []
    assert (len(first), len(second)) == (2, 1)
    assert len({claim.webhook_id for claim in [*first, *second]}) == 3


def test_after_three_days_of_failing_an_endpoint_is_switched_off_and_its_desk_told(house: House) -> None:
    broken, other = house.receiver(answers=[500] * 50), house.receiver()
    webhook = house.webhook(RECEIVER, broken.url).webhook
    manager = house.as_(RECEIVER, "MANAGER")
    house.hear("sent")
    house.send_webhooks()
    for _ in range(7):
        house.advance(hours=10)
        house.hear("sent")
        house.send_webhooks()
    house.webhook(RECEIVER, other.url)
    assert manager.GetWebhook(id=webhook.id).enabled
    house.advance(hours=2)
    house.hear("sent")
    house.send_webhooks()
    seen = manager.GetWebhook(id=webhook.id)
    assert (seen.enabled, seen.disabled_reason_code) == (False, "failing")
    assert not {delivery.status for delivery in house.deliveries(webhook.id)} & {WAITING, RETRYING}
    assert "webhook_disabled" in {message.kind for message in manager.ListMessages().messages}
    assert [got.type_() for got in other.got] == ["enlace.referral.sent.v1", "enlace.webhook.disabled.v1"]
    sent = len(broken.got)
    house.hear("sent")
    house.send_webhooks()
    assert len(broken.got) == sent


def test_one_success_among_failures_keeps_an_endpoint_on(house: House) -> None:
    system = house.receiver(answers=[500, 500, 204, 500, 500])
    webhook = house.webhook(RECEIVER, system.url).webhook
    for _ in range(5):
        house.hear("sent")
        house.send_webhooks(1)
        house.advance(days=2)
    assert house.as_(RECEIVER, "MANAGER").GetWebhook(id=webhook.id).enabled


def test_a_delivery_is_given_up_after_three_days(house: House) -> None:
    system = house.receiver(answers=[500] * 100)
    webhook = house.webhook(RECEIVER, system.url).webhook
    house.hear("sent")
    for _ in range(40):
        house.send_webhooks()
        house.advance(hours=2)
    [dead] = house.deliveries(webhook.id)
    assert dead.status in (DEAD, DISCARDED)
    assert not dead.HasField("next_attempt_time")
    assert 5 < dead.attempts < 40


def test_a_delivery_can_be_sent_again_under_its_id_whatever_became_of_it(house: House) -> None:
    system = house.receiver()
    made = house.webhook(RECEIVER, system.url)
    house.hear("sent")
    house.send_webhooks()
    manager = house.as_(RECEIVER, "MANAGER")
    again = manager.ResendDelivery(id=system.got[0].id)
    assert (again.status, again.attempts) == (WAITING, 1)
    house.send_webhooks()
    assert [got.id for got in system.got] == [again.id] * 2
    assert system.got[0].body == system.got[1].body
    [done] = house.deliveries(made.webhook.id)
    assert (done.status, done.attempts) == (DELIVERED, 2)
    system.got[1].verified(made.secret)


def test_a_test_goes_through_the_ordinary_queue_also_to_an_endpoint_that_is_off(house: House) -> None:
    system = house.receiver()
    made = house.webhook(RECEIVER, system.url)
    manager = house.as_(RECEIVER, "MANAGER")
    off = manager.UpdateWebhook(webhook=pb.Webhook(id=made.webhook.id, etag="1", enabled=False), update_mask={"paths": ["enabled"]})
    assert (off.enabled, off.disabled_reason_code, off.etag) == (False, "by_owner", "2")
    sample = manager.TestWebhook(id=made.webhook.id)
    house.hear("sent")
    house.send_webhooks()
    assert [got.id for got in system.got] == [sample.id]
    assert system.got[0].verified(made.secret)["type"] == "enlace.webhook.test.v1"
    assert system.got[0].verified(made.secret)["data"] == {"webhook_id": made.webhook.id}


def test_what_waits_for_an_endpoint_that_is_switched_off_or_removed_is_discarded(house: House) -> None:
    system = house.receiver()
    manager = house.as_(RECEIVER, "MANAGER")
    off, gone = house.webhook(RECEIVER, system.url).webhook, house.webhook(RECEIVER, system.url).webhook
    house.hear("sent")
    manager.UpdateWebhook(webhook=pb.Webhook(id=off.id, etag="1", enabled=False), update_mask={"paths": ["enabled"]})
    manager.DeleteWebhook(id=gone.id)
    assert house.send_webhooks() == 0
    assert [delivery.status for delivery in house.deliveries(off.id)] == [DISCARDED]
    assert refusal(lambda: manager.ListDeliveries(webhook_id=gone.id)) == ("NOT_FOUND", "not_found")
    assert {row["status"] for row in house.rows("SELECT status FROM deliveries")} == {"DISCARDED"}


def test_a_suspended_organisation_is_sent_nothing(house: House) -> None:
    system = house.receiver()
    house.webhook(RECEIVER, system.url)
    house.desk(RECEIVER, "mesa@ong.example")
    house.hear("sent")
    house.suspend(RECEIVER)
    house.hear("sent")
    assert house.send_webhooks() == house.send_mails() == 0
    house.suspend(RECEIVER, "APPROVED")
    house.hear("sent")
    assert house.send_webhooks() == house.send_mails() == 1


def test_the_secret_is_kept_sealed_and_shown_once(house: House) -> None:
    request = new_id()
    manager = house.as_(RECEIVER, "MANAGER")
    values: dict[str, Any] = {"webhook": pb.Webhook(url="http://127.0.0.1:9/"), "request_id": request}
    made = manager.CreateWebhook(**values)
    assert made.secret.startswith("whsec_")
    assert manager.CreateWebhook(**values) == made  # a lost answer is not a lost secret
    assert len(manager.ListWebhooks().webhooks) == 1
    assert made.secret not in str(manager.ListWebhooks()) + str(manager.GetWebhook(id=made.webhook.id))
    [row] = house.rows("SELECT secret FROM webhooks")
    assert made.secret.encode() not in bytes(row["secret"])


def test_a_sender_that_is_stopped_does_not_wait_for_who_hangs(house: House) -> None:
    system = house.receiver(hold=threading.Event())
    made = house.webhook(RECEIVER, system.url)
    sender = house.web_sender(timeout=60).loop()
    sender.start()
    house.hear("sent")
    system.wait_for(1)
    sender.stop()
    assert sender.join(5)
    [cut] = house.deliveries(made.webhook.id)
    assert (cut.status, cut.last_error_code) == (RETRYING, "timeout")


def test_a_secret_that_can_not_be_opened_stops_nobody_elses_deliveries(house: House) -> None:
    broken, whole = house.receiver(), house.receiver()
    webhook = house.webhook(RECEIVER, broken.url).webhook
    house.webhook(OTHER, whole.url)
    house.rows("WITH moved AS (UPDATE webhooks SET secret = sha256('x') WHERE id = %s RETURNING id) SELECT id FROM moved", webhook.id)
    with running(house.web_sender()):
        house.hear("sent")
        for count in range(1, 4):
            house.hear("sent", receiver_organization_id=OTHER)
            whole.wait_for(count)
    assert broken.got == []


def test_what_comes_while_the_one_before_is_being_noted_is_sent_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_SLOW_POLL", 60.0)
    system = house.receiver()
    house.webhook(RECEIVER, system.url)
    with running(house.web_sender()):
        for count in range(1, 201):
            house.hear("sent")
            system.wait_for(count)  # … and the next fact commits while this delivery is still being noted
