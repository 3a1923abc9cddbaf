"""A manager's objection to a provider of sign-ins that is proposed for her organisation."""

from flask import render_template

from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("sign_in_objection")


@pages.get("/sign-in-provider", access.MANAGERS)
def show() -> str:
    """Where a letter leads that says that a provider is proposed for one's own organisation."""
    return render({})


def render(errors: dict[str, str]) -> str:
    """The page, with what was wrong."""
    return render_template("sign_in_provider_objection.html", errors=errors)


@pages.post(
    "/sign-in-provider",
    access.MANAGERS,
    again=render,
    then="sign_in_objection.show",
    done="objected",
)
def object_to_it() -> None:
    """Drops what is proposed."""
    clients().members.ObjectToSignInProvider(
        m.ObjectToSignInProviderRequest(request_id=forms.request_id())
    )
