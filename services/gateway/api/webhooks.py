"""/webhooks: addresses of partner systems that are told by Standard Webhooks, and what became of each delivery."""

from typing import Any

from flask import Response
from marshmallow import Schema

from protos.notifications.v1 import notifications_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, items, list_of, nothing, one, page_fields, page_of
from services.gateway.api.convert import from_json
from services.gateway.api.patches import mask, patch_of
from services.gateway.api.reading import if_match, request_key
from services.gateway.api.routes import Routes
from services.gateway.clients import clients

webhooks = Routes("webhooks", "Addresses of your systems that are told what happens, signed by Standard Webhooks.")


class WebhookSchema(Schema):
    """An address that is told."""

    id = fields.ident("The webhook.", dump_only=True)
    etag = fields.etag()
    organization_id = fields.ident("Whose it is.", dump_only=True)
    url = fields.text("https; no private address, no user info.", 500, example="https://intake.example/enlace", required=True)
    kinds = fields.many(fields.code("A kind, as in /notifications.", example="referral_sent"), "What it is told; empty: all.")
    enabled = fields.flag("Whether it is told at all.")
    disabled_reason_code = fields.code("Why not.", among=("failing", "by_owner"), dump_only=True)
    create_time = fields.created()
    update_time = fields.updated()


class NewWebhookSchema(WebhookSchema):
    """A webhook to add, or just added: the one answer that holds its secret. It is told from now on."""

    enabled = fields.flag("Always true at first.", dump_only=True)
    secret = fields.text("Checks the signature; shown in this answer only.", example="whsec_…", dump_only=True)


class DeliverySchema(Schema):
    """One message to one webhook."""

    id = fields.ident("The delivery; sent as webhook-id.")
    webhook_id = fields.ident("The webhook.")
    kind = fields.text("What was told.", 80, example="referral_sent")
    status = fields.word(pb.DeliveryStatus.DESCRIPTOR, "Whether it arrived.", example="delivered")
    attempts = fields.number("How often it was tried.")
    last_http_status = fields.number("The last answer; 0: none.")
    last_error_code = fields.code("Why the last attempt failed.", among=("timeout", "connection", "http", "refused_address"))
    last_duration_ms = fields.number("How long the last attempt took.")
    body_sha256 = fields.text("Hash of the body.", 64)
    create_time = fields.created()
    next_attempt_time = fields.time("When it is tried again.")
    delivery_time = fields.time("When it arrived.")


WebhookPatch = patch_of(WebhookSchema, "WebhookPatch", only=("url", "kinds", "enabled"))


@webhooks.operation(
    "post", "/webhooks", right="notifications", answers=NewWebhookSchema, status=201, takes=NewWebhookSchema, once=True, wrapped="webhook"
)
def create_webhook(given: dict[str, Any]) -> Response:
    """Add a webhook

    The secret is in this answer only."""
    webhook = from_json(given, pb.Webhook())
    made = clients().webhooks.CreateWebhook(pb.CreateWebhookRequest(webhook=webhook, request_id=request_key()))
    return one(made.webhook, status=201, location=f"/webhooks/{made.webhook.id}", more={"secret": made.secret})


@webhooks.operation("get", "/webhooks", right="notifications", answers=list_of(WebhookSchema, "Webhooks"))
def list_webhooks() -> Response:
    """List your organisation's webhooks"""
    return items(clients().webhooks.ListWebhooks(pb.ListWebhooksRequest()).webhooks)


@webhooks.operation("get", "/webhooks/<opaque:webhook_id>", right="notifications", answers=WebhookSchema)
def get_webhook(webhook_id: str) -> Response:
    """Show a webhook"""
    return one(clients().webhooks.GetWebhook(pb.GetWebhookRequest(id=webhook_id)))


@webhooks.operation(
    "patch", "/webhooks/<opaque:webhook_id>", right="notifications", answers=WebhookSchema, takes=WebhookPatch, etag=True, wrapped="webhook"
)
def update_webhook(given: dict[str, Any], webhook_id: str) -> Response:
    """Change a webhook"""
    changed = from_json({**given, "id": webhook_id, "etag": if_match()}, pb.Webhook())
    request = pb.UpdateWebhookRequest(webhook=changed, update_mask=mask(given), request_id=request_key())
    return one(clients().webhooks.UpdateWebhook(request))


@webhooks.operation("delete", "/webhooks/<opaque:webhook_id>", right="notifications", answers=None, status=204)
def delete_webhook(webhook_id: str) -> Response:
    """Remove a webhook

    What is on its way to it is discarded."""
    clients().webhooks.DeleteWebhook(pb.DeleteWebhookRequest(id=webhook_id, request_id=request_key()))
    return nothing()


@webhooks.operation("post", "/webhooks/<opaque:webhook_id>/test", right="notifications", answers=DeliverySchema, once=True)
def test_webhook(webhook_id: str) -> Response:
    """Send a signed sample

    Of type enlace.webhook.test.v1, through the ordinary queue."""
    return one(clients().webhooks.TestWebhook(pb.TestWebhookRequest(id=webhook_id, request_id=request_key())))


@webhooks.operation(
    "get",
    "/webhooks/<opaque:webhook_id>/deliveries",
    right="notifications",
    answers=page_of(DeliverySchema, "DeliveryPage"),
    query=PageQuery,
)
def list_deliveries(given: dict[str, Any], webhook_id: str) -> Response:
    """List deliveries, newest first"""
    page = clients().webhooks.ListDeliveries(pb.ListDeliveriesRequest(webhook_id=webhook_id, **page_fields(given)))
    return items(page.deliveries, page.next_page_token)


@webhooks.operation(
    "post", "/webhooks/<opaque:webhook_id>/deliveries/<opaque:delivery_id>/resend", right="notifications", answers=DeliverySchema, once=True
)
def resend_delivery(webhook_id: str, delivery_id: str) -> Response:
    """Send a delivery again

    With the same webhook-id."""
    del webhook_id  # it only says where the delivery hangs; the service knows whose it is
    return one(clients().webhooks.ResendDelivery(pb.ResendDeliveryRequest(id=delivery_id, request_id=request_key())))
