"""The secret of a webhook is replaced, and its owner can verify every delivery.

Two secrets sign for a day, never three, and a leaked secret can be revoked at once.
"""

import base64
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications.domain.webhook import ROTATION
from services.notifications.store import webhooks
from tests.builders import NOT_FOUND, refusal
from tests.notifications.conftest import (
    LOCK_WAITS,
    OTHER,
    RECEIVER,
    Service,
)
from tests.notifications.receiver import ReceivedRequest
from tests.parts.local_stack import until

ROTATING = ("FAILED_PRECONDITION", "secret_rotating")


def signers(request: ReceivedRequest, **secrets: str) -> list[str]:
    """Returns the names of the secrets that signed the request, in the order of the header.

    Fails if any signature was made by another secret. The signatures are computed here,
    because the library would only confirm itself.
    """
    content = f"{request.id}.{request.headers['webhook-timestamp']}.{request.body}".encode()
    names = {}
    for name, secret in secrets.items():
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        names[f"v1,{signature}"] = name
    return [names[signature] for signature in request.headers["webhook-signature"].split(" ")]


def test_both_secrets_sign_for_a_day_and_then_only_the_new_one(service: Service) -> None:
    system = service.receiver()
    created = service.webhook(RECEIVER, system.url)
    manager = service.as_(RECEIVER, "MANAGER")
    rotated = manager.RotateWebhookSecret(id=created.webhook.id)
    assert rotated.secret.startswith("whsec_")
    assert rotated.secret != created.secret
    assert rotated.webhook == manager.GetWebhook(id=created.webhook.id)
    assert rotated.webhook.etag == "v2"
    expire_time = rotated.webhook.former_secret_expire_time.ToDatetime(UTC)
    assert expire_time == service.clock.now() + ROTATION
    for step in (timedelta(0), ROTATION - timedelta(seconds=1), timedelta(seconds=1)):
        service.clock.advance(step)
        service.hear("sent")
        service.send_webhooks()
    secrets = {"new": rotated.secret, "old": created.secret}
    assert [signers(request, **secrets) for request in system.requests] == [
        ["new", "old"],
        ["new", "old"],
        ["new"],
    ]
    system.requests[0].verify_signature(created.secret)  # a partner's library accepts either secret
    system.requests[0].verify_signature(rotated.secret)
    with pytest.raises(WebhookVerificationError):
        system.requests[0].verify_signature("whsec_" + base64.b64encode(b"x" * 32).decode())


def test_the_former_secret_is_stored_sealed_and_deleted_after_a_day(service: Service) -> None:
    created = service.webhook(RECEIVER, service.receiver().url)
    manager = service.as_(RECEIVER, "MANAGER")
    rotated = manager.RotateWebhookSecret(id=created.webhook.id)
    assert rotated.secret not in str(manager.ListWebhooks())
    for step, is_stored in ((ROTATION - timedelta(seconds=1), True), (timedelta(seconds=1), False)):
        service.clock.advance(step)
        service.sweep()
        [row] = service.rows("SELECT secret, former_secret FROM webhooks")
        assert (row["former_secret"] is not None) is is_stored
        assert rotated.secret.encode() not in bytes(row["secret"])
        assert not is_stored or created.secret.encode() not in bytes(row["former_secret"])
    # deleting the former secret changes neither the visible fields nor the etag
    assert manager.GetWebhook(id=created.webhook.id) == rotated.webhook


def test_no_third_secret_can_be_made_while_two_sign(service: Service) -> None:
    system = service.receiver()
    created = service.webhook(RECEIVER, system.url)
    manager = service.as_(RECEIVER, "MANAGER")
    second = manager.RotateWebhookSecret(id=created.webhook.id)
    service.clock.advance(ROTATION - timedelta(seconds=1))
    assert refusal(lambda: manager.RotateWebhookSecret(id=created.webhook.id)) == ROTATING
    service.advance(seconds=1)
    third = manager.RotateWebhookSecret(id=created.webhook.id)
    service.hear("sent")
    service.send_webhooks()
    assert signers(
        system.requests[0], first=created.secret, second=second.secret, third=third.secret
    ) == [
        "third",
        "second",
    ]


def test_a_leaked_secret_can_be_revoked_at_once_even_during_a_rotation(service: Service) -> None:
    system = service.receiver()
    created = service.webhook(RECEIVER, system.url)
    manager = service.as_(RECEIVER, "MANAGER")
    secrets = {"first": created.secret}
    for name, at_once in (("second", True), ("third", False), ("fourth", True)):
        rotated = manager.RotateWebhookSecret(id=created.webhook.id, at_once=at_once)
        assert rotated.webhook.HasField("former_secret_expire_time") is not at_once
        secrets[name] = rotated.secret
        service.hear("sent")
        service.send_webhooks()
    assert [signers(request, **secrets) for request in system.requests] == [
        ["second"],
        ["third", "second"],
        ["fourth"],
    ]
    [row] = service.rows("SELECT former_secret FROM webhooks")
    assert row["former_secret"] is None


def test_one_of_two_concurrent_rotations_succeeds_and_the_other_is_refused(
    service: Service,
) -> None:
    system = service.receiver()
    created = service.webhook(RECEIVER, system.url)
    # both rotations have started before the first one continues
    with ThreadPoolExecutor() as pool, service.database.transaction(SYSTEM) as tx:
        webhooks.fetch(tx, RECEIVER, created.webhook.id, to_change=True)
        rotations = [
            pool.submit(
                service.as_(RECEIVER, "MANAGER").RotateWebhookSecret,
                id=created.webhook.id,
                request_id=new_id(),
            )
            for _ in range(2)
        ]
        until(lambda: len(service.rows(LOCK_WAITS)) == 2)
    [rotated] = [rotation.result() for rotation in rotations if not rotation.exception()]
    [refused_rotation] = [rotation for rotation in rotations if rotation.exception()]
    assert refusal(refused_rotation.result) == ROTATING
    service.hear("sent")
    service.send_webhooks()
    assert signers(system.requests[0], old=created.secret, new=rotated.secret) == ["new", "old"]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_rotation_during_a_delivery_loses_nothing(service: Service, at_once: bool) -> None:
    system = service.receiver(answers=[500])
    created = service.webhook(RECEIVER, system.url)
    service.hear("sent")
    claim = service.claim_webhook()
    rotated = service.as_(RECEIVER, "MANAGER").RotateWebhookSecret(
        id=created.webhook.id, at_once=at_once
    )
    service.web_sender().send(claim)  # a delivery that was claimed before is sent unchanged
    service.advance(seconds=7)
    assert service.send_webhooks() == 1
    secrets = {"old": created.secret, "new": rotated.secret}
    assert [signers(request, **secrets) for request in system.requests] == [
        ["old"],
        ["new"] if at_once else ["new", "old"],
    ]
    [delivery] = service.deliveries(created.webhook.id)
    assert (delivery.status, delivery.attempts) == (pb.DELIVERY_STATUS_DELIVERED, 2)


def test_a_rotation_changes_neither_the_state_of_the_endpoint_nor_its_failures(
    service: Service,
) -> None:
    _, created = service.send_to_new_webhook(answers=[500])
    state = "SELECT url, kinds, enabled, failing_since, slow, busy_until FROM webhooks"
    before = service.rows(state)
    service.as_(RECEIVER, "MANAGER").RotateWebhookSecret(id=created.webhook.id)
    assert service.rows(state) == before


def test_a_repeated_rotation_request_returns_the_same_secret(service: Service) -> None:
    created = service.webhook(RECEIVER, service.receiver().url)
    manager, request = service.as_(RECEIVER, "MANAGER"), new_id()
    rotated = manager.RotateWebhookSecret(id=created.webhook.id, request_id=request)
    assert manager.RotateWebhookSecret(id=created.webhook.id, request_id=request) == rotated


def test_nobody_can_rotate_the_secret_of_another_organisation(service: Service) -> None:
    their_webhook = service.webhook(OTHER, service.receiver().url).webhook
    manager = service.as_(RECEIVER, "MANAGER")
    for id in (their_webhook.id, new_id()):
        rotate = partial(manager.RotateWebhookSecret, id=id, at_once=True)
        assert refusal(rotate) == NOT_FOUND
    assert service.as_(OTHER, "MANAGER").GetWebhook(id=their_webhook.id).etag == "v1"


def test_the_secret_is_stored_sealed_and_shown_once(service: Service) -> None:
    manager = service.as_(RECEIVER, "MANAGER")
    values: dict[str, Any] = {
        "webhook": pb.Webhook(url="http://127.0.0.1:9/"),
        "request_id": new_id(),
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


def test_a_secret_changed_under_a_fast_clock_can_be_changed_again(service: Service) -> None:
    created = service.webhook(RECEIVER, service.receiver().url)
    manager = service.as_(RECEIVER, "MANAGER")
    service.advance(days=3)
    manager.RotateWebhookSecret(id=created.webhook.id)
    service.advance(days=-3)
    assert manager.RotateWebhookSecret(id=created.webhook.id).secret
