"""Systems: the manager's webhooks with what was delivered, and nothing of what was said in them but a hash."""

from flask import Blueprint, redirect, render_template, request, url_for
from google.protobuf.field_mask_pb2 import FieldMask
from werkzeug.wrappers import Response

from chassis import wire
from protos.notifications.v1 import notifications_pb2 as n
from protos.notifications.v1 import told_pb2
from services.gateway import access, forms, words
from services.gateway.clients import clients
from services.gateway.i18n import N_

blueprint = Blueprint("webhooks", __name__)


@blueprint.get("/webhooks")
@access.open_to(access.MANAGERS, navigation=N_("Sistemas"), section="organization")
def listing() -> str:
    """All endpoints."""
    return render({})


def render(errors: dict[str, str], created: n.CreateWebhookResponse | None = None) -> str:
    """The list; right after one was added, with its secret."""
    webhooks = clients().webhooks.ListWebhooks(n.ListWebhooksRequest()).webhooks
    return render_template("webhooks.html", webhooks=webhooks, errors=errors, created=created, kinds=kinds())


def kinds() -> list[tuple[str, str]]:
    """What an endpoint may be told of, with its words: the contract's list."""
    return [
        (kind, words.word("notice", kind))
        for kind in (name.lower() for name in wire.names(told_pb2.ToldKind).values())
        if kind != "webhook_test"
    ]


@blueprint.post("/webhooks")
@access.open_to(access.MANAGERS)
def create() -> str | tuple[str, int]:
    """Adds an endpoint and shows its secret, once."""
    said = n.Webhook(url=forms.text("url"), kinds=forms.texts("kinds"), enabled=True)
    try:
        return render({}, clients().webhooks.CreateWebhook(n.CreateWebhookRequest(webhook=said, request_id=forms.request_id())))
    except forms.SHOWN_IN_PLACE as refusal:
        return render(forms.problems(refusal)), 422


@blueprint.get("/webhooks/<identifier>")
@access.open_to(access.MANAGERS)
def show(identifier: str) -> str:
    """One endpoint and its deliveries."""
    webhook = clients().webhooks.GetWebhook(n.GetWebhookRequest(id=identifier))
    answer = clients().webhooks.ListDeliveries(
        n.ListDeliveriesRequest(webhook_id=identifier, page_size=50, page_token=request.args.get("page", ""))
    )
    return render_template("webhook.html", webhook=webhook, deliveries=answer.deliveries, next_page=answer.next_page_token)


@blueprint.post("/webhooks/<identifier>/test")
@access.open_to(access.MANAGERS)
def test(identifier: str) -> Response:
    """Sends a signed sample."""
    clients().webhooks.TestWebhook(n.TestWebhookRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("webhooks.show", identifier=identifier, done="tested"), 303)


@blueprint.post("/webhooks/<identifier>/switch")
@access.open_to(access.MANAGERS)
def switch(identifier: str) -> Response:
    """On or off."""
    changed = n.Webhook(id=identifier, etag=forms.etag(), enabled=forms.flag("enabled"))
    clients().webhooks.UpdateWebhook(
        n.UpdateWebhookRequest(webhook=changed, update_mask=FieldMask(paths=["enabled"]), request_id=forms.request_id())
    )
    return redirect(url_for("webhooks.show", identifier=identifier, done="saved"), 303)


@blueprint.post("/webhooks/<identifier>/remove")
@access.open_to(access.MANAGERS)
def remove(identifier: str) -> Response:
    """Takes the endpoint away."""
    clients().webhooks.DeleteWebhook(n.DeleteWebhookRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("webhooks.listing", done="removed"), 303)


@blueprint.post("/webhooks/<identifier>/deliveries/<delivery>/resend")
@access.open_to(access.MANAGERS)
def resend(identifier: str, delivery: str) -> Response:
    """Sends one delivery again."""
    clients().webhooks.ResendDelivery(n.ResendDeliveryRequest(id=delivery, request_id=forms.request_id()))
    return redirect(url_for("webhooks.show", identifier=identifier, done="resent"), 303)
