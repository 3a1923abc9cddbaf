"""Systems: the organisation's webhooks with their deliveries, and the API keys.

The page of a delivery also shows its signature. The signature is made from content that the page
shows and a secret of this organisation, so the manager learns nothing new. If anybody else got the
signature, it would be valid for only five minutes, and only at an endpoint that already has this
delivery.
"""

import shlex

from flask import render_template, request
from google.protobuf.field_mask_pb2 import FieldMask

from chassis import wire
from protos.notifications.v1 import notifications_pb2 as n
from protos.notifications.v1 import told_pb2
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients, send
from services.gateway.site.language import i18n, words
from services.gateway.site.parts import forms, pictures
from services.gateway.site.shell import access, session

pages = access.Pages("webhooks")
# headers that the curl line leaves out; with accept-encoding, curl would print compressed bytes
NOT_REPEATED = {"connection", "accept-encoding"}


@pages.get("/webhooks", access.MANAGERS)
def listing(
    errors: forms.Problems = forms.NO_PROBLEMS, created: n.CreateWebhookResponse | None = None
) -> str:
    """Shows all endpoints. `created` is an endpoint that was just added, with its secret."""
    return render_template(
        "webhooks.html",
        webhooks=clients().webhooks.ListWebhooks(n.ListWebhooksRequest()).webhooks,
        days=days(),
        errors=errors,
        created=created,
        kinds=kinds(),
    )


def days(identifier: str = "") -> dict[str, list[n.DeliveryHour]]:
    """Returns the last 24 hours of one endpoint, or of every endpoint with attempts, by id."""
    hours_by_webhook: dict[str, list[n.DeliveryHour]] = {identifier: []} if identifier else {}
    for hour in (
        clients()
        .webhooks.ListDeliveryHours(n.ListDeliveryHoursRequest(webhook_id=identifier))
        .hours
    ):
        hours_by_webhook.setdefault(hour.webhook_id, []).append(hour)
    return {
        webhook_id: pictures.day(hours, i18n.now())
        for webhook_id, hours in hours_by_webhook.items()
    }


def kinds() -> list[tuple[str, str]]:
    """Returns the kinds of events that endpoints can receive, each with its display text."""
    return [
        (kind, words.word("notice", kind))
        for kind in (name.lower() for name in wire.names(told_pb2.ToldKind).values())
        if kind != "webhook_test"
    ]


@pages.post("/webhooks", access.MANAGERS, again=listing)
def create() -> str:
    """Adds an endpoint and shows its secret, once."""
    return listing(
        created=send(forms.filled(n.CreateWebhookRequest(webhook=n.Webhook(enabled=True))))
    )


@pages.get("/webhooks/<identifier>", access.MANAGERS)
def show(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS, secret: str = "") -> str:
    """Shows one endpoint and its deliveries.

    `secret` is the new secret, right after the old one was replaced.
    """
    webhook = clients().webhooks.GetWebhook(n.GetWebhookRequest(id=identifier))
    answer = clients().webhooks.ListDeliveries(
        n.ListDeliveriesRequest(
            webhook_id=identifier, page_size=50, page_token=request.args.get("page", "")
        )
    )
    former_secret_end = i18n.moment(webhook.former_secret_expire_time)
    return render_template(
        "webhook.html",
        webhook=webhook,
        day=days(identifier)[identifier],
        deliveries=answer.deliveries,
        next_page=answer.next_page_token,
        rotating=former_secret_end is not None and former_secret_end > i18n.now(),
        errors=errors,
        secret=secret,
    )


@pages.post("/webhooks/<identifier>/secret", access.MANAGERS, again=show)
def rotate(identifier: str) -> str:
    """Replaces the secret, and shows the new secret once."""
    return show(
        identifier, secret=send(forms.filled(n.RotateWebhookSecretRequest(id=identifier))).secret
    )


@pages.get("/webhooks/<webhook_id>/deliveries/<identifier>", access.MANAGERS)
def delivery(webhook_id: str, identifier: str) -> str:
    """Shows one delivery: its content, its time and its result."""
    webhook = clients().webhooks.GetWebhook(n.GetWebhookRequest(id=webhook_id))
    shown = clients().webhooks.GetDelivery(
        n.GetDeliveryRequest(id=identifier, webhook_id=webhook_id)
    )
    return render_template(
        "delivery.html", webhook=webhook, delivery=shown, curl=curl(webhook.url, shown.sent)
    )


def curl(url: str, content: n.DeliveryContent) -> str:
    """Returns the last attempt as a shell command; "" if there was no attempt.

    Each part is quoted, because a worker typed the URL.
    """
    if not content.attempts:
        return ""
    parts = [
        f"curl -i {shlex.quote(url)}",
        *(
            f"-H {shlex.quote(f'{name}: {value}')}"
            for name, value in sorted(content.attempts[0].headers.items())
            if name not in NOT_REPEATED
        ),
        f"--data-raw {shlex.quote(content.body)}",
    ]
    return " \\\n  ".join(parts)


# Sends a signed sample.
pages.sends(
    "test",
    "/webhooks/<identifier>/test",
    access.MANAGERS,
    n.TestWebhookRequest,
    then="webhooks.show",
    done="tested",
)
pages.sends(
    "remove",
    "/webhooks/<identifier>/remove",
    access.MANAGERS,
    n.DeleteWebhookRequest,
    then="webhooks.listing",
    done="removed",
)


# Switches an endpoint on or off.
pages.sends(
    "switch",
    "/webhooks/<identifier>/switch",
    access.MANAGERS,
    lambda id: n.UpdateWebhookRequest(
        webhook=n.Webhook(id=id), update_mask=FieldMask(paths=["enabled"])
    ),
    then="webhooks.show",
)
# Sends one delivery again.
pages.sends(
    "resend",
    "/webhooks/<webhook_id>/deliveries/<identifier>/resend",
    access.MANAGERS,
    n.ResendDeliveryRequest,
    then="webhooks.delivery",
    done="resent",
)


@pages.get("/keys", access.MANAGERS)
def keys(errors: forms.Problems = forms.NO_PROBLEMS, secret: str = "") -> str:
    """Shows all keys of the organisation, including expired and revoked keys.

    `secret` is the secret of a key that was just made.
    """
    return render_template(
        "keys.html",
        keys=clients().members.ListApiKeys(m.ListApiKeysRequest()).api_keys,
        now=i18n.now(),
        errors=errors,
        secret=secret,
    )


@pages.post("/keys", access.MANAGERS, again=keys)
def create_key() -> str:
    """Makes a key and shows its secret, once."""
    rpc_request = m.CreateApiKeyRequest(organization_id=session.me().organization_id)
    return keys(secret=send(forms.filled(rpc_request)).secret)


# Confirms a key as the second manager.
pages.sends(
    "confirm_key",
    "/keys/<identifier>/confirm",
    access.MANAGERS,
    m.ConfirmApiKeyRequest,
    then="webhooks.keys",
)
# Transfers a key to this manager, so that it does not end with another manager's account.
pages.sends(
    "transfer_key",
    "/keys/<identifier>/transfer",
    access.MANAGERS,
    m.TransferApiKeyRequest,
    then="webhooks.keys",
)
pages.sends(
    "revoke_key",
    "/keys/<identifier>/revoke",
    access.MANAGERS,
    m.RevokeApiKeyRequest,
    then="webhooks.keys",
)
