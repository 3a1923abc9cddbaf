"""Signing in by an organisation's own provider: its people have a link, which leads there and back; and where two coordinators set it up.

On the way the browser keeps a secret in a cookie: who comes back without it, by somebody else's address, is not let in. No page says which organisations
have one.
"""

from datetime import timedelta

from flask import make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.errors import Invalid, NotFound, Unauthenticated, Unavailable
from protos.partners.v1 import accounts_pb2 as a
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge import cookies
from services.gateway.edge.clients import clients
from services.gateway.site.language.i18n import gettext as _
from services.gateway.site.parts import forms
from services.gateway.site.public import signin
from services.gateway.site.shell import access, errors, session

pages = access.Pages("sign_in_providers")
COOKIE = "p"
PROOF = "proof."
"""Before the secret in the cookie, where it is not to sign in but to prove a session."""
KEPT = timedelta(minutes=10)  # as long as the question is good


@pages.get("/sign-in/with/<identifier>", access.ANYBODY)
def leave_for(identifier: str) -> Response:
    """Leads to the provider."""
    try:
        begun = clients().tokens.BeginProviderSignIn(m.BeginProviderSignInRequest(provider_id=identifier))
    except NotFound:
        return back_to_the_form("unknown")
    except Unavailable:
        return back_to_the_form("away")
    response: Response = redirect(begun.authorization_url, 303)
    cookies.keep(response, COOKIE, begun.challenge, KEPT)
    return response


@pages.get("/sign-in/return", access.ANYBODY)
def come_back() -> Response:
    """Opens the session of who comes back from there."""
    said = {name: request.args.get(name, "") for name in ("state", "code")}
    if (secret := cookies.read(COOKIE)).startswith(PROOF):
        return _proved(secret.removeprefix(PROOF), said)
    question = m.FinishProviderSignInRequest(challenge=secret, issuer=request.args.get("iss", ""), **said)
    try:
        answer = clients().tokens.FinishProviderSignIn(question)
    except (Unauthenticated, Invalid):
        response = back_to_the_form("refused")
    except Unavailable:
        response = back_to_the_form("away")
    else:
        response = asked(answer) if answer.challenge else signin.entered(answer)
    cookies.drop(response, COOKIE)
    return response


def _proved(challenge: str, said: dict[str, str]) -> Response:
    """Has the session proved that is open in this browser. The form that waits for it is in another window."""
    came = a.ProviderAnswer(issuer=request.args.get("iss", ""), **said)
    try:
        clients().accounts.ProveSession(a.ProveSessionRequest(session_secret=session.me().secret, challenge=challenge, provider=came))
    except Invalid:
        response: Response = errors.page(422, _("Su organización no la reconoció"), _("Cierre esta ventana y empiece otra vez en la otra."))
    else:
        response = redirect(url_for("account.show", done="proved"), 303)
    cookies.drop(response, COOKIE)
    return response


def asked(answer: m.SignInResponse) -> Response:
    """What her account asks for besides."""
    return make_response(render_template("signin_code.html", to="", kept="", asked=answer, problem=""))


def back_to_the_form(why: str) -> Response:
    """The sign-in says what went wrong: at an address that holds nothing of what came back."""
    response: Response = redirect(url_for("signin.form", by=why), 303)
    return response


@pages.get("/directory/organizations/<identifier>/sign-in", access.NETWORK)
def show(identifier: str) -> str:
    """What is in use and what is proposed."""
    return page({}, identifier)


def page(errors: dict[str, str], identifier: str) -> str:
    """The page, with what was wrong with a step."""
    organization = clients().directory.GetOrganization(d.GetOrganizationRequest(id=identifier))
    provider = clients().members.GetSignInProvider(m.GetSignInProviderRequest(organization_id=identifier))
    return render_template("sign_in_provider.html", organization=organization, provider=provider, errors=errors)


@pages.post("/directory/organizations/<identifier>/sign-in", access.NETWORK, again=page, then="sign_in_providers.show")
def step(identifier: str) -> None:
    """Proposes, confirms or ends."""
    members, once, etag = clients().members, forms.request_id(), forms.etag()
    if forms.text("step") == "confirm":
        members.ConfirmSignInProvider(m.ConfirmSignInProviderRequest(organization_id=identifier, etag=etag, request_id=once))
    elif forms.text("step") == "end":
        members.EndSignInProvider(m.EndSignInProviderRequest(organization_id=identifier, etag=etag, request_id=once))
    else:
        wanted = m.SignInProvider(issuer=forms.text("issuer"), client_id=forms.text("client_id"))
        secret = request.form.get("client_secret", "")
        members.ProposeSignInProvider(
            m.ProposeSignInProviderRequest(organization_id=identifier, etag=etag, provider=wanted, client_secret=secret, request_id=once)
        )


@pages.get("/sign-in-provider", access.MANAGERS)
def objection() -> str:
    """Where a letter leads that says that a provider is proposed for one's own organisation."""
    return objecting({})


def objecting(errors: dict[str, str]) -> str:
    """The page, with what was wrong."""
    return render_template("sign_in_provider_objection.html", errors=errors)


@pages.post("/sign-in-provider", access.MANAGERS, again=objecting, then="sign_in_providers.objection", done="objected")
def object_to_it() -> None:
    """Drops what is proposed."""
    clients().members.ObjectToSignInProvider(m.ObjectToSignInProviderRequest(request_id=forms.request_id()))
