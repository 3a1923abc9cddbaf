"""Systems: the keys with which they ask; what each may do in words, when it was last used, and when it ends."""

from flask import Blueprint, redirect, render_template, url_for
from werkzeug.wrappers import Response

from protos.partners.v1 import members_pb2 as m
from services.gateway import access, forms, i18n, session
from services.gateway.clients import clients

blueprint = Blueprint("keys", __name__)


@blueprint.get("/keys")
@access.open_to(access.MANAGERS)
def listing() -> str:
    """All keys of the organisation, those that ended too."""
    return render({})


def render(errors: dict[str, str], secret: str = "") -> str:
    """The page; right after a key was made, with its secret."""
    keys = clients().members.ListApiKeys(m.ListApiKeysRequest()).api_keys
    return render_template("keys.html", keys=keys, now=i18n.now(), errors=errors, secret=secret)


@blueprint.post("/keys")
@access.open_to(access.MANAGERS)
def create_key() -> str | tuple[str, int]:
    """Makes a key and shows its secret, once."""
    question = forms.filled(m.CreateApiKeyRequest(organization_id=session.me().organization_id))
    try:
        return render({}, clients().members.CreateApiKey(question).secret)
    except forms.SHOWN_IN_PLACE as refusal:
        return render(forms.problems(refusal)), 422


@blueprint.post("/keys/<identifier>/confirm")
@access.open_to(access.MANAGERS)
def confirm_key(identifier: str) -> Response:
    """Agrees to a key as the second manager."""
    clients().members.ConfirmApiKey(m.ConfirmApiKeyRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("keys.listing", done="saved"), 303)


@blueprint.post("/keys/<identifier>/transfer")
@access.open_to(access.MANAGERS)
def transfer_key(identifier: str) -> Response:
    """Takes a key over, so that it does not fall with another manager."""
    clients().members.TransferApiKey(m.TransferApiKeyRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("keys.listing", done="saved"), 303)


@blueprint.post("/keys/<identifier>/revoke")
@access.open_to(access.MANAGERS)
def revoke(identifier: str) -> Response:
    """Revokes a key at once."""
    clients().members.RevokeApiKey(m.RevokeApiKeyRequest(id=identifier, request_id=forms.request_id()))
    return redirect(url_for("keys.listing", done="saved"), 303)
