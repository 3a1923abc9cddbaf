"""A member's own sign-in provider, set up by two coordinators."""

from flask import abort, render_template

from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients, send
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("sign_in_provider")
STEPS = {
    "propose": m.ProposeSignInProviderRequest,
    "confirm": m.ConfirmSignInProviderRequest,
    "end": m.EndSignInProviderRequest,
}


@pages.get("/directory/organizations/<identifier>/sign-in", access.NETWORK)
def show(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the current provider and the proposed provider."""
    organization = clients().directory.GetOrganization(d.GetOrganizationRequest(id=identifier))
    provider = clients().members.GetSignInProvider(
        m.GetSignInProviderRequest(organization_id=identifier)
    )
    return render_template(
        "sign_in_provider.html", organization=organization, provider=provider, errors=errors
    )


@pages.post(
    "/directory/organizations/<identifier>/sign-in",
    access.NETWORK,
    again=show,
    then="sign_in_provider.show",
)
def step(identifier: str) -> None:
    """Proposes a provider, confirms the proposal, or ends the provider."""
    kind = STEPS.get(forms.text("step"))
    if kind is None:
        abort(404)
    send(forms.filled(kind(organization_id=identifier)))
