"""Webhooks: an organisation's endpoints, and the deliveries to them."""

import base64
import secrets
from datetime import timedelta
from functools import partial

from chassis.addresses import may_call
from chassis.db import elevate_to_system_scope
from chassis.errors import NotFound
from chassis.ids import new_id, object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, mask_names, page_size, version
from keys.sealing import Keyring
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications import wire
from services.notifications.domain import webhook as webhook_rules
from services.notifications.domain.webhook import Reach, Webhook
from services.notifications.store import attempts, deliveries, webhooks
from services.notifications.usecases.lasting import notify_managers

MAX_SHOWN_ATTEMPTS = 100  # maximum number of attempts shown with a delivery, newest first
HOURS = 24  # hours for which attempts are counted
_CHANGEABLE_FIELDS = ("url", "kinds", "enabled")


class Webhooks:
    """The endpoints of all organisations.

    A call sees only the endpoints of its caller's organisation, except for CountMemberWebhooks.
    """

    def __init__(self, keyring: Keyring, pages: PageTokens, *, development: bool) -> None:
        self._keyring = keyring
        self._pages = pages
        self._reach = Reach(development, partial(may_call, development=development))

    def CreateWebhook(
        self, request: pb.CreateWebhookRequest, call: Call
    ) -> pb.CreateWebhookResponse:
        """Creates an endpoint; returns it with its secret, which can't be read again."""
        requested, organization_id = request.webhook, call.caller.organization_id
        existing_count = webhooks.lock_and_count(call.tx, organization_id)
        now, reach = call.clock.now(), self._reach
        webhook = webhook_rules.new_webhook(
            new_id(),
            organization_id,
            requested.url,
            requested.kinds,
            now,
            existing_count=existing_count,
            reach=reach,
        )
        secret = _new_secret()
        webhooks.add(call.tx, self._keyring, webhook, secret)
        return pb.CreateWebhookResponse(webhook=wire.webhook_answer(webhook), secret=secret)

    def CountMemberWebhooks(
        self, request: pb.CountMemberWebhooksRequest, call: Call
    ) -> pb.MemberWebhooks:
        """Counts the enabled endpoints of a member, for the coordinators."""
        organization_id = object_id(request.organization_id)
        elevate_to_system_scope(call.tx)
        return pb.MemberWebhooks(webhook_count=webhooks.count_enabled(call.tx, organization_id))

    def ListWebhooks(self, request: pb.ListWebhooksRequest, call: Call) -> pb.ListWebhooksResponse:
        """Lists the endpoints of the caller's organisation."""
        endpoints = webhooks.of_organization(call.tx, call.caller.organization_id)
        return pb.ListWebhooksResponse(
            webhooks=[wire.webhook_answer(webhook) for webhook in endpoints]
        )

    def GetWebhook(self, request: pb.GetWebhookRequest, call: Call) -> pb.Webhook:
        """Returns an endpoint."""
        return wire.webhook_answer(_fetch(call, request.id))

    def UpdateWebhook(self, request: pb.UpdateWebhookRequest, call: Call) -> pb.Webhook:
        """Changes the fields that the mask names.

        An endpoint that is switched off loses its waiting deliveries. A test, or a delivery that is
        sent again by hand, is sent even while the endpoint is off.
        """
        requested, paths = request.webhook, mask_names(request.update_mask, _CHANGEABLE_FIELDS)
        webhook_id = object_id(requested.id)
        expected_version = version(requested.etag, "webhook.etag")
        stored_webhook = _fetch(call, webhook_id, to_change=True)
        webhook = webhook_rules.change(
            stored_webhook,
            expected_version,
            call.clock.now(),
            url=requested.url if "url" in paths else None,
            kinds=list(requested.kinds) if "kinds" in paths else None,
            enabled=requested.enabled if "enabled" in paths else None,
            reach=self._reach,
        )
        webhooks.save(call.tx, webhook)
        if stored_webhook.enabled and not webhook.enabled:
            deliveries.discard_of_webhook(call.tx, webhook.id)
        return wire.webhook_answer(webhook)

    def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, call: Call
    ) -> pb.RotateWebhookSecretResponse:
        """Gives an endpoint a new secret, and returns the endpoint and the secret.

        Of two concurrent calls, the second waits for the first, and is refused unless one of them
        sets `at_once`.
        """
        webhook = webhook_rules.rotate(
            _fetch(call, request.id, to_change=True), call.clock.now(), at_once=request.at_once
        )
        secret = _new_secret()
        webhooks.rotate(call.tx, self._keyring, webhook, secret)
        return pb.RotateWebhookSecretResponse(webhook=wire.webhook_answer(webhook), secret=secret)

    def DeleteWebhook(
        self, request: pb.DeleteWebhookRequest, call: Call
    ) -> pb.DeleteWebhookResponse:
        """Removes an endpoint, discards its waiting deliveries, and notifies the managers."""
        webhook = _fetch(call, request.id, to_change=True)
        webhooks.remove(call.tx, webhook.id)
        deliveries.discard_of_webhook(call.tx, webhook.id)
        notify_managers(call.tx, call.caller, call.clock.now(), webhook.organization_id)
        return pb.DeleteWebhookResponse()

    def TestWebhook(self, request: pb.TestWebhookRequest, call: Call) -> pb.Delivery:
        """Queues a signed test delivery."""
        webhook, now = _fetch(call, request.id), call.clock.now()
        return wire.delivery_answer(
            deliveries.add_test(call.tx, new_id(), webhook, wire.test_body(webhook, now), now)
        )

    def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, call: Call
    ) -> pb.ListDeliveriesResponse:
        """Returns a page of the deliveries to an endpoint, newest first."""
        webhook_id = object_id(request.webhook_id)
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        _fetch(call, webhook_id)
        rows = deliveries.of_webhook(call.tx, webhook_id, after=after, limit=size + 1)
        last_delivery = rows[size - 1] if len(rows) > size else None
        return pb.ListDeliveriesResponse(
            deliveries=[wire.delivery_answer(delivery) for delivery in rows[:size]],
            next_page_token=self._pages.token(
                request,
                [last_delivery.create_time.isoformat(), last_delivery.id]
                if last_delivery
                else None,
            ),
        )

    def GetDelivery(self, request: pb.GetDeliveryRequest, call: Call) -> pb.Delivery:
        """Returns a delivery with its body and its latest attempts.

        Raises NotFound if there is no such delivery, or if the request names another endpoint.
        """
        delivery_and_body = deliveries.fetch(
            call.tx, call.caller.organization_id, object_id(request.id)
        )
        if delivery_and_body is None or request.webhook_id not in (
            "",
            delivery_and_body[0].webhook_id,
        ):
            raise NotFound
        return wire.whole_delivery_answer(
            *delivery_and_body, attempts.of_delivery(call.tx, request.id, MAX_SHOWN_ATTEMPTS)
        )

    def ListDeliveryHours(
        self, request: pb.ListDeliveryHoursRequest, call: Call
    ) -> pb.ListDeliveryHoursResponse:
        """Counts the results of the attempts by endpoint and hour.

        The current hour and the 23 hours before it are counted.
        """
        organization_id = call.caller.organization_id
        endpoints = (
            [_fetch(call, request.webhook_id)]
            if request.webhook_id
            else webhooks.of_organization(call.tx, organization_id)
        )
        since = call.clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(
            hours=HOURS - 1
        )
        hours = attempts.by_hour(call.tx, [webhook.id for webhook in endpoints], since)
        return pb.ListDeliveryHoursResponse(hours=[wire.hour_answer(hour) for hour in hours])

    def ResendDelivery(self, request: pb.ResendDeliveryRequest, call: Call) -> pb.Delivery:
        """Queues a delivery again under its id, whatever its result was.

        Raises NotFound if there is no such delivery, or if the request names another endpoint.
        """
        delivery = deliveries.resend(
            call.tx, call.caller.organization_id, object_id(request.id), call.clock.now()
        )
        if delivery is None or request.webhook_id not in ("", delivery.webhook_id):
            raise NotFound
        return wire.delivery_answer(delivery)


def _fetch(call: Call, webhook_id: str, *, to_change: bool = False) -> Webhook:
    """Returns an endpoint of the caller's organisation, locked if `to_change` is set.

    Raises NotFound if there is no such endpoint.
    """
    webhook = webhooks.fetch(
        call.tx, call.caller.organization_id, object_id(webhook_id), to_change=to_change
    )
    if webhook is None:
        raise NotFound
    return webhook


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
