"""Sign-in through an organisation's own provider.

The organisation gives its people a link that leads to the provider. The browser keeps a secret in a
cookie until it returns from the provider. A browser that returns without this secret did not start
the sign-in itself, and is refused. No page shows which organisations have a provider.
"""

from flask import make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.errors import Invalid, NotFound, Unauthenticated, Unavailable
from protos.partners.v1 import accounts_pb2 as a
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients
from services.gateway.site.language import _
from services.gateway.site.parts import cookies
from services.gateway.site.shell import access, errors, session, signing_in
from services.gateway.site.shell.signing_in import PROOF, PROVIDER_COOKIE, PROVIDER_KEPT

pages = access.Pages("sign_in_providers")


@pages.get("/sign-in/with/<identifier>", access.ANYBODY)
def leave_for(identifier: str) -> Response:
    try:
        begun = clients().tokens.BeginProviderSignIn(
            m.BeginProviderSignInRequest(provider_id=identifier)
        )
    except NotFound:
        return back_to_the_form("unknown")
    except Unavailable:
        return back_to_the_form("away")
    response = redirect(begun.authorization_url, 303)
    cookies.write(response, PROVIDER_COOKIE, begun.challenge, PROVIDER_KEPT)
    return response


@pages.get("/sign-in/return", access.ANYBODY)
def come_back() -> Response:
    """Opens the session of a worker who returns from the provider, or finishes her step-up."""
    parameters = {name: request.args.get(name, "") for name in ("state", "code")}
    if (secret := cookies.read(PROVIDER_COOKIE)).startswith(PROOF):
        return _proved(secret.removeprefix(PROOF), parameters)
    rpc_request = m.FinishProviderSignInRequest(
        challenge=secret, issuer=request.args.get("iss", ""), **parameters
    )
    try:
        answer = clients().tokens.FinishProviderSignIn(rpc_request)
    except (Unauthenticated, Invalid):
        response = back_to_the_form("refused")
    except Unavailable:
        response = back_to_the_form("away")
    else:
        # the account may require a further factor
        response = (
            make_response(
                render_template("signin_code.html", to="", kept="", asked=answer, problem="")
            )
            if answer.challenge
            else signing_in.finish(answer)
        )
    cookies.drop(response, PROVIDER_COOKIE)
    return response


def _proved(challenge: str, parameters: dict[str, str]) -> Response:
    """Finishes the step-up of the session that is open in this browser.

    The form that waits for the step-up is in another window.
    """
    came = a.ProviderAnswer(issuer=request.args.get("iss", ""), **parameters)
    try:
        clients().accounts.ProveSession(
            a.ProveSessionRequest(
                session_secret=session.me().secret, challenge=challenge, provider=came
            )
        )
    except Invalid:
        response: Response = errors.page(
            422,
            _("Su organización no la reconoció"),
            _("Cierre esta ventana y empiece otra vez en la otra."),
        )
    else:
        response = redirect(url_for("account.show", done="proved"), 303)
    cookies.drop(response, PROVIDER_COOKIE)
    return response


def back_to_the_form(why: str) -> Response:
    """Redirects to the sign-in page, which shows the problem.

    The new address contains nothing that the provider sent.
    """
    return redirect(url_for("signin.form", by=why), 303)
