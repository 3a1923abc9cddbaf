"""A member's own sign-in provider, set up by two coordinators."""

from flask import render_template, request

from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("sign_in_provider")


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
    members, request_id, etag = clients().members, forms.request_id(), forms.etag()
    if forms.text("step") == "confirm":
        members.ConfirmSignInProvider(
            m.ConfirmSignInProviderRequest(
                organization_id=identifier, etag=etag, request_id=request_id
            )
        )
    elif forms.text("step") == "end":
        members.EndSignInProvider(
            m.EndSignInProviderRequest(organization_id=identifier, etag=etag, request_id=request_id)
        )
    else:
        provider = m.SignInProvider(issuer=forms.text("issuer"), client_id=forms.text("client_id"))
        secret = request.form.get("client_secret", "")
        members.ProposeSignInProvider(
            m.ProposeSignInProviderRequest(
                organization_id=identifier,
                etag=etag,
                provider=provider,
                client_secret=secret,
                request_id=request_id,
            )
        )
