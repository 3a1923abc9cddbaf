"""A manager's objection to a sign-in provider that was proposed for her organisation."""

from flask import render_template

from protos.partners.v1 import members_pb2 as m
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("sign_in_objection")


@pages.get("/sign-in-provider", access.MANAGERS)
def show(errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the page to which the notice about a proposed provider leads."""
    return render_template("sign_in_provider_objection.html", errors=errors)


# Drops the proposal.
pages.sends(
    "object_to_it",
    "/sign-in-provider",
    access.MANAGERS,
    m.ObjectToSignInProviderRequest,
    again=show,
    then="sign_in_objection.show",
    done="objected",
)
