"""API keys of systems: their rights in words, last use, and expiry."""

from flask import render_template

from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients
from services.gateway.site.language import i18n
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("keys")


@pages.get("/keys", access.MANAGERS)
def listing(errors: forms.Problems = forms.NO_PROBLEMS, secret: str = "") -> str:
    """Shows all keys of the organisation, including expired and revoked keys.

    `secret` is the secret of a key that was just made.
    """
    keys = clients().members.ListApiKeys(m.ListApiKeysRequest()).api_keys
    return render_template("keys.html", keys=keys, now=i18n.now(), errors=errors, secret=secret)


@pages.post("/keys", access.MANAGERS, again=listing)
def create_key() -> str:
    """Makes a key and shows its secret, once."""
    request = forms.filled(m.CreateApiKeyRequest(organization_id=session.me().organization_id))
    return listing(secret=clients().members.CreateApiKey(request).secret)


# Confirms a key as the second manager.
pages.sends(
    "confirm_key",
    "/keys/<identifier>/confirm",
    access.MANAGERS,
    m.ConfirmApiKeyRequest,
    then="keys.listing",
)
# Transfers a key to this manager, so that it does not end with another manager's account.
pages.sends(
    "transfer_key",
    "/keys/<identifier>/transfer",
    access.MANAGERS,
    m.TransferApiKeyRequest,
    then="keys.listing",
)
pages.sends(
    "revoke",
    "/keys/<identifier>/revoke",
    access.MANAGERS,
    m.RevokeApiKeyRequest,
    then="keys.listing",
)
