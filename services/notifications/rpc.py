"""The gRPC servicers: between messages and use cases. The contract, and who may call what, is in protos/notifications/v1."""

from functools import partial

from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, WatchTokens, masked, moment, page_size, version
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications import wire
from services.notifications.domain.desk import Desk
from services.notifications.domain.texts import DEFAULT
from services.notifications.usecases import desks, inbox, webhooks

_CHANGEABLE = ("url", "kinds", "enabled")


class NotificationsServicer:
    """enlace.notifications.v1.Notifications."""

    def __init__(self, desks: desks.Desks, pages: PageTokens, watch: WatchTokens) -> None:
        self._desks = desks
        self._pages = pages
        self._watch = watch

    def ListMessages(self, request: pb.ListMessagesRequest, call: Call) -> pb.ListMessagesResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        messages, more = inbox.list_messages(call.tx, call.caller, size, after, unread_only=request.unread_only)
        return pb.ListMessagesResponse(
            messages=[wire.message_answer(message, call.caller.language) for message in messages],
            next_page_token=self._pages.token(request, more),
        )

    def CountUnread(self, request: pb.CountUnreadRequest, call: Call) -> pb.CountUnreadResponse:
        scope, unread = inbox.scope(call.caller), inbox.count_unread(call.tx, call.caller)
        token = self._watch.token(scope, call.clock.now())
        return pb.CountUnreadResponse(unread=unread, version=inbox.unread_versions(call.tx, [scope])[scope], watch_token=token)

    def BatchGetUnreadVersions(self, request: pb.BatchGetUnreadVersionsRequest, call: Call) -> pb.BatchGetUnreadVersionsResponse:
        ask = partial(inbox.unread_versions, call.tx)
        return pb.BatchGetUnreadVersionsResponse(versions=self._watch.versions(request.watch_tokens, call.clock.now(), ask))

    def MarkMessageRead(self, request: pb.MarkMessageReadRequest, call: Call) -> pb.Message:
        message = inbox.mark_read(call.tx, call.caller, call.clock.now(), object_id(request.id))
        return wire.message_answer(message, call.caller.language)

    def MarkAllMessagesRead(self, request: pb.MarkAllMessagesReadRequest, call: Call) -> pb.CountUnreadResponse:
        until = moment(request, "until_time")
        assert until  # it is required
        inbox.mark_all_read(call.tx, call.caller, call.clock.now(), until)
        return self.CountUnread(pb.CountUnreadRequest(), call)

    def GetDesk(self, request: pb.GetDeskRequest, call: Call) -> pb.Desk:
        return wire.desk_answer(self._desks.get(call.tx, call.caller, _organization(request.organization_id)))

    def SetDesk(self, request: pb.SetDeskRequest, call: Call) -> pb.Desk:
        asked = request.desk
        base = version(asked.etag, "desk.etag")
        desk = Desk(_organization(asked.organization_id), asked.language or DEFAULT, asked.email)
        return wire.desk_answer(self._desks.set(call.tx, call.caller, call.clock.now(), desk, base))

    def ListNotices(self, request: pb.ListNoticesRequest, call: Call) -> pb.ListNoticesResponse:
        notices = inbox.list_notices(call.tx, call.caller, object_id(request.referral_id))
        return pb.ListNoticesResponse(notices=[wire.notice_answer(notice) for notice in notices])

    def ListDevelopmentMails(self, request: pb.ListDevelopmentMailsRequest, call: Call) -> pb.ListDevelopmentMailsResponse:
        mails = self._desks.development_mails(call.tx)
        return pb.ListDevelopmentMailsResponse(mails=[wire.mail_answer(mail, time) for mail, time in mails])


def _organization(text: str) -> str:
    """Whose: empty for one's own."""
    return object_id(text) if text else ""


class WebhooksServicer:
    """enlace.notifications.v1.Webhooks."""

    def __init__(self, webhooks: webhooks.Webhooks, pages: PageTokens) -> None:
        self._webhooks = webhooks
        self._pages = pages

    def CreateWebhook(self, request: pb.CreateWebhookRequest, call: Call) -> pb.CreateWebhookResponse:
        webhook, secret = self._webhooks.create(call.tx, call.caller, call.clock.now(), request.webhook.url, request.webhook.kinds)
        return pb.CreateWebhookResponse(webhook=wire.webhook_answer(webhook), secret=secret)

    def CountMemberWebhooks(self, request: pb.CountMemberWebhooksRequest, call: Call) -> pb.MemberWebhooks:
        return pb.MemberWebhooks(webhook_count=self._webhooks.count_of_member(call.tx, object_id(request.organization_id)))

    def ListWebhooks(self, request: pb.ListWebhooksRequest, call: Call) -> pb.ListWebhooksResponse:
        return pb.ListWebhooksResponse(webhooks=[wire.webhook_answer(webhook) for webhook in self._webhooks.list_all(call.tx, call.caller)])

    def GetWebhook(self, request: pb.GetWebhookRequest, call: Call) -> pb.Webhook:
        return wire.webhook_answer(self._webhooks.get(call.tx, call.caller, object_id(request.id)))

    def UpdateWebhook(self, request: pb.UpdateWebhookRequest, call: Call) -> pb.Webhook:
        asked, paths = request.webhook, masked(request.update_mask, _CHANGEABLE)
        webhook = self._webhooks.update(
            call.tx,
            call.caller,
            call.clock.now(),
            object_id(asked.id),
            version(asked.etag, "webhook.etag"),
            url=asked.url if "url" in paths else None,
            kinds=list(asked.kinds) if "kinds" in paths else None,
            enabled=asked.enabled if "enabled" in paths else None,
        )
        return wire.webhook_answer(webhook)

    def RotateWebhookSecret(self, request: pb.RotateWebhookSecretRequest, call: Call) -> pb.RotateWebhookSecretResponse:
        webhook, secret = self._webhooks.rotate(call.tx, call.caller, call.clock.now(), object_id(request.id), at_once=request.at_once)
        return pb.RotateWebhookSecretResponse(webhook=wire.webhook_answer(webhook), secret=secret)

    def DeleteWebhook(self, request: pb.DeleteWebhookRequest, call: Call) -> pb.DeleteWebhookResponse:
        self._webhooks.delete(call.tx, call.caller, object_id(request.id))
        return pb.DeleteWebhookResponse()

    def TestWebhook(self, request: pb.TestWebhookRequest, call: Call) -> pb.Delivery:
        return wire.delivery_answer(self._webhooks.test(call.tx, call.caller, call.clock.now(), object_id(request.id)))

    def ListDeliveries(self, request: pb.ListDeliveriesRequest, call: Call) -> pb.ListDeliveriesResponse:
        webhook_id = object_id(request.webhook_id)
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        deliveries, more = self._webhooks.list_deliveries(call.tx, call.caller, webhook_id, size, after)
        return pb.ListDeliveriesResponse(
            deliveries=[wire.delivery_answer(delivery) for delivery in deliveries], next_page_token=self._pages.token(request, more)
        )

    def GetDelivery(self, request: pb.GetDeliveryRequest, call: Call) -> pb.Delivery:
        return wire.whole_delivery_answer(*self._webhooks.get_delivery(call.tx, call.caller, object_id(request.id), request.webhook_id))

    def ListDeliveryHours(self, request: pb.ListDeliveryHoursRequest, call: Call) -> pb.ListDeliveryHoursResponse:
        webhook_id = object_id(request.webhook_id) if request.webhook_id else ""
        hours = self._webhooks.list_hours(call.tx, call.caller, call.clock.now(), webhook_id)
        return pb.ListDeliveryHoursResponse(hours=[wire.hour_answer(hour) for hour in hours])

    def ResendDelivery(self, request: pb.ResendDeliveryRequest, call: Call) -> pb.Delivery:
        return wire.delivery_answer(
            self._webhooks.resend(call.tx, call.caller, call.clock.now(), object_id(request.id), request.webhook_id)
        )
