"""/webhooks: addresses of partner systems that are told by Standard Webhooks, and what became of each delivery."""

from marshmallow import Schema

from protos.notifications.v1 import notifications_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, list_of, page_of
from services.gateway.api.patches import patch_of
from services.gateway.api.routes import Routes

webhooks = Routes(
    "webhooks",
    "Addresses of your systems that are told what happens, signed by Standard Webhooks.",
    pb.DESCRIPTOR.services_by_name["Webhooks"],
)


class WebhookSchema(Schema):
    """An address that is told."""

    id = fields.ident("The webhook.", dump_only=True)
    etag = fields.etag()
    organization_id = fields.ident("Whose it is.", dump_only=True)
    url = fields.text("https; no private address, no user info.", 500, example="https://intake.example/enlace", required=True)
    kinds = fields.many(fields.code("A kind, as in /notifications.", example="referral_sent"), "What it is told; empty: all.")
    enabled = fields.flag("Whether it is told at all.")
    disabled_reason_code = fields.word(pb.DisabledReason.DESCRIPTOR, "Why not.", dump_only=True)
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
    last_error_code = fields.word(pb.DeliveryError.DESCRIPTOR, "Why the last attempt failed.")
    last_duration_ms = fields.number("How long the last attempt took.")
    body_sha256 = fields.text("Hash of the body.", 64)
    create_time = fields.created()
    next_attempt_time = fields.time("When it is tried again.")
    delivery_time = fields.time("When it arrived.")


WebhookPatch = patch_of(WebhookSchema, "WebhookPatch", only=("url", "kinds", "enabled"))
webhooks.rpc("CreateWebhook", "Add a webhook", "The secret is in this answer only.", answers=NewWebhookSchema, takes=NewWebhookSchema)
webhooks.rpc("ListWebhooks", "List your organisation's webhooks", answers=list_of(WebhookSchema, "Webhooks"))
webhooks.rpc("GetWebhook", "Show a webhook", answers=WebhookSchema)
webhooks.rpc("UpdateWebhook", "Change a webhook", answers=WebhookSchema, takes=WebhookPatch)
webhooks.rpc("DeleteWebhook", "Remove a webhook", "What is on its way to it is discarded.", answers=None)
webhooks.rpc("TestWebhook", "Send a signed sample", "Of type enlace.webhook.test.v1, through the ordinary queue.", answers=DeliverySchema)
webhooks.rpc("ListDeliveries", "List deliveries, newest first", answers=page_of(DeliverySchema, "DeliveryPage"), query=PageQuery)
webhooks.rpc("ResendDelivery", "Send a delivery again", "With the same webhook-id.", answers=DeliverySchema)
