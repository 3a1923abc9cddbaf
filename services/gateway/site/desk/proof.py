"""The redirects of a step-up: to the organisation's own provider, and to the page afterwards.

The step-up itself is in services/gateway/site/shell/proof.py.
"""

from flask import redirect, request
from werkzeug.wrappers import Response

from chassis.errors import NotFound
from protos.partners.v1 import accounts_pb2 as pb
from services.gateway.edge.clients import clients
from services.gateway.site.parts import cookies
from services.gateway.site.shell import access
from services.gateway.site.shell.signing_in import (
    PROOF,
    PROVIDER_COOKIE,
    PROVIDER_KEPT,
    safe_target,
)

pages = access.Pages("proof")


@pages.post("/account/proof", access.EVERYONE)
def go_on() -> Response:
    """Redirects to the page that required the step-up. The guard has already checked the proof."""
    return redirect(safe_target(request.form.get("to", "")), 303)


@pages.get("/account/proof/provider", access.EVERYONE)
def leave_for_provider() -> Response:
    """Redirects to the provider, which asks the worker to sign in again."""
    begun = clients().accounts.BeginProof(pb.BeginProofRequest())
    if not begun.authorization_url:
        raise NotFound
    response = redirect(begun.authorization_url, 303)
    cookies.write(response, PROVIDER_COOKIE, PROOF + begun.challenge, PROVIDER_KEPT)
    return response
