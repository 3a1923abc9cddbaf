"""Systems: the manager's webhooks, what was delivered to them by the hour, and each delivery as it
was sent.

A delivery's page shows the signature, too. It is made of what the page shows and of a secret that
this organisation has, so it tells its manager nothing new; to anybody else it would be good for
five minutes, at an endpoint that has had that delivery already.
"""

import shlex

from flask import render_template, request
from google.protobuf.field_mask_pb2 import FieldMask

from chassis import wire
from protos.notifications.v1 import notifications_pb2 as n
from protos.notifications.v1 import told_pb2
from services.gateway.edge.clients import clients
from services.gateway.site.language import i18n, words
from services.gateway.site.language.i18n import N_
from services.gateway.site.parts import forms, pictures
from services.gateway.site.shell import access

pages = access.Pages("webhooks")
# of the headers in a line for curl: it would print what is compressed as it comes
NOT_REPEATED = {"connection", "accept-encoding"}


@pages.get("/webhooks", access.MANAGERS, navigation=N_("Sistemas"), section="organization")
def listing() -> str:
    """All endpoints."""
    return render({})


def render(errors: dict[str, str], created: n.CreateWebhookResponse | None = None) -> str:
    """The list; right after one was added, with its secret."""
    webhooks = clients().webhooks.ListWebhooks(n.ListWebhooksRequest()).webhooks
    return render_template(
        "webhooks.html",
        webhooks=webhooks,
        days=days(),
        errors=errors,
        created=created,
        kinds=kinds(),
    )


def days(identifier: str = "") -> dict[str, pictures.Day]:
    """The last 24 hours of all endpoints that were sent something, or of one, in one question."""
    counted: dict[str, list[n.DeliveryHour]] = {identifier: []} if identifier else {}
    for hour in (
        clients()
        .webhooks.ListDeliveryHours(n.ListDeliveryHoursRequest(webhook_id=identifier))
        .hours
    ):
        counted.setdefault(hour.webhook_id, []).append(hour)
    return {webhook_id: pictures.day(hours, i18n.now()) for webhook_id, hours in counted.items()}


def kinds() -> list[tuple[str, str]]:
    """What an endpoint may be told of, with its words: the contract's list."""
    return [
        (kind, words.word("notice", kind))
        for kind in (name.lower() for name in wire.names(told_pb2.ToldKind).values())
        if kind != "webhook_test"
    ]


@pages.post("/webhooks", access.MANAGERS, again=render)
def create() -> str:
    """Adds an endpoint and shows its secret, once."""
    said = n.Webhook(url=forms.text("url"), kinds=forms.texts("kinds"), enabled=True)
    return render(
        {},
        clients().webhooks.CreateWebhook(
            n.CreateWebhookRequest(webhook=said, request_id=forms.request_id())
        ),
    )


@pages.get("/webhooks/<identifier>", access.MANAGERS)
def show(identifier: str) -> str:
    """One endpoint and its deliveries."""
    return render_one({}, identifier)


def render_one(errors: dict[str, str], identifier: str, secret: str = "") -> str:
    """Its page; right after the secret was exchanged, with the new one."""
    webhook = clients().webhooks.GetWebhook(n.GetWebhookRequest(id=identifier))
    answer = clients().webhooks.ListDeliveries(
        n.ListDeliveriesRequest(
            webhook_id=identifier, page_size=50, page_token=request.args.get("page", "")
        )
    )
    former = i18n.moment(webhook.former_secret_expire_time)
    return render_template(
        "webhook.html",
        webhook=webhook,
        day=days(identifier)[identifier],
        deliveries=answer.deliveries,
        next_page=answer.next_page_token,
        rotating=former is not None and former > i18n.now(),
        errors=errors,
        secret=secret,
    )


@pages.post("/webhooks/<identifier>/secret", access.MANAGERS, again=render_one)
def rotate(identifier: str) -> str:
    """Exchanges the secret and shows the new one, once."""
    question = n.RotateWebhookSecretRequest(
        id=identifier, at_once=forms.flag("at_once"), request_id=forms.request_id()
    )
    return render_one({}, identifier, clients().webhooks.RotateWebhookSecret(question).secret)


@pages.get("/webhooks/<identifier>/deliveries/<delivery>", access.MANAGERS)
def delivery(identifier: str, delivery: str) -> str:
    """One delivery: what was sent, when, and what came of it."""
    webhook = clients().webhooks.GetWebhook(n.GetWebhookRequest(id=identifier))
    shown = clients().webhooks.GetDelivery(n.GetDeliveryRequest(id=delivery, webhook_id=identifier))
    return render_template(
        "delivery.html", webhook=webhook, delivery=shown, curl=curl(webhook.url, shown.sent)
    )


def curl(url: str, sent: n.DeliveryContent) -> str:
    """The last attempt as a line for a shell; empty where none is known.

    Each part is quoted: the address is what somebody entered.
    """
    if not sent.attempts:
        return ""
    headers = [
        f"{name}: {value}"
        for name, value in sorted(sent.attempts[0].headers.items())
        if name not in NOT_REPEATED
    ]
    parts = [
        f"curl -i {shlex.quote(url)}",
        *(f"-H {shlex.quote(header)}" for header in headers),
        f"--data-raw {shlex.quote(sent.body)}",
    ]
    return " \\\n  ".join(parts)


@pages.post("/webhooks/<identifier>/test", access.MANAGERS, then="webhooks.show", done="tested")
def test(identifier: str) -> None:
    """Sends a signed sample."""
    clients().webhooks.TestWebhook(
        n.TestWebhookRequest(id=identifier, request_id=forms.request_id())
    )


@pages.post("/webhooks/<identifier>/switch", access.MANAGERS, then="webhooks.show")
def switch(identifier: str) -> None:
    """On or off."""
    changed = n.Webhook(id=identifier, etag=forms.etag(), enabled=forms.flag("enabled"))
    clients().webhooks.UpdateWebhook(
        n.UpdateWebhookRequest(
            webhook=changed, update_mask=FieldMask(paths=["enabled"]), request_id=forms.request_id()
        )
    )


@pages.post(
    "/webhooks/<identifier>/remove", access.MANAGERS, then="webhooks.listing", done="removed"
)
def remove(identifier: str) -> None:
    """Takes the endpoint away."""
    clients().webhooks.DeleteWebhook(
        n.DeleteWebhookRequest(id=identifier, request_id=forms.request_id())
    )


@pages.post(
    "/webhooks/<identifier>/deliveries/<delivery>/resend",
    access.MANAGERS,
    then="webhooks.delivery",
    done="resent",
)
def resend(identifier: str, delivery: str) -> None:
    """Sends one delivery again."""
    clients().webhooks.ResendDelivery(
        n.ResendDeliveryRequest(id=delivery, request_id=forms.request_id())
    )
