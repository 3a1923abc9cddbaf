"""API keys of systems: rights in words, last use, and end."""

from flask import render_template

from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients
from services.gateway.site.language import i18n
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("keys")


@pages.get("/keys", access.MANAGERS)
def listing(errors: forms.Problems = forms.NO_PROBLEMS, secret: str = "") -> str:
    """Shows all keys of the organisation, including those that ended.

    `secret` is that of a key just made.
    """
    keys = clients().members.ListApiKeys(m.ListApiKeysRequest()).api_keys
    return render_template("keys.html", keys=keys, now=i18n.now(), errors=errors, secret=secret)


@pages.post("/keys", access.MANAGERS, again=listing)
def create_key() -> str:
    """Makes a key and shows its secret, once."""
    request = forms.filled(m.CreateApiKeyRequest(organization_id=session.me().organization_id))
    return listing(secret=clients().members.CreateApiKey(request).secret)


@pages.post("/keys/<identifier>/confirm", access.MANAGERS, then="keys.listing")
def confirm_key(identifier: str) -> None:
    """Confirms a key as the second manager."""
    clients().members.ConfirmApiKey(
        m.ConfirmApiKeyRequest(id=identifier, request_id=forms.request_id())
    )


@pages.post("/keys/<identifier>/transfer", access.MANAGERS, then="keys.listing")
def transfer_key(identifier: str) -> None:
    """Takes a key over, so that it does not end with another manager's account."""
    clients().members.TransferApiKey(
        m.TransferApiKeyRequest(id=identifier, request_id=forms.request_id())
    )


@pages.post("/keys/<identifier>/revoke", access.MANAGERS, then="keys.listing")
def revoke(identifier: str) -> None:
    """Revokes a key at once."""
    clients().members.RevokeApiKey(
        m.RevokeApiKeyRequest(id=identifier, request_id=forms.request_id())
    )
