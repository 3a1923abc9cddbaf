"""Sign-in by password, by a passkey alone or by a provider; sign-out; and quick exit.

static/passkey.js asks the browser for a passkey. Without the script, a worker can use codes
instead.

An organisation that has its own provider gives its people a link that leads to the provider. The
browser keeps a secret in a cookie until it returns from the provider. A browser that returns
without this secret did not start the sign-in itself, and is refused. No page shows which
organisations have a provider.

Quick exit waits for nothing, because leaving the page comes first.
"""

from flask import current_app, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.errors import Conflict, Exhausted, Invalid, NotFound, Unauthenticated, Unavailable
from protos.partners.v1 import accounts_pb2 as a
from protos.partners.v1.members_pb2 import (
    BeginPasskeySignInRequest,
    BeginPasskeySignInResponse,
    BeginProviderSignInRequest,
    FinishProviderSignInRequest,
    FinishSignInRequest,
    SignInRequest,
    SignInResponse,
)
from services.gateway.edge.clients import clients
from services.gateway.site.backend import devices
from services.gateway.site.language import _, words
from services.gateway.site.parts import cookies, forms
from services.gateway.site.shell import access, errors, session, signing_in

pages = access.Pages("signin")


@pages.get("/sign-in", access.ANYBODY)
def form() -> access.Answer:
    """Shows the form; redirects a worker who is already signed in."""
    if g.me:
        return redirect(signing_in.safe_target(request.args.get("to", "")))
    problem_texts = {
        "unknown": _("Por este enlace no se entra. Pida el enlace a quien dirige su organización."),
        "away": _(
            "Su organización no responde ahora. Espere unos minutos, o entre con su correo y su"
            " contraseña."
        ),
        "refused": _(
            "Su organización no reconoció su cuenta, o pasaron diez minutos. Empiece otra vez por"
            " el enlace de su organización."
        ),
    }
    return render_template(
        "signin.html",
        to=request.args.get("to", ""),
        ended=request.args.get("ended"),
        problem=problem_texts.get(request.args.get("by", ""), ""),
    )


@pages.post("/sign-in", access.ANYBODY)
def enter() -> access.Answer:
    """Opens a session.

    The answer is the same for an unknown e-mail address, a wrong password or a suspended member.
    """
    device = devices.attach()
    try:
        answer = clients().tokens.SignIn(
            SignInRequest(email=forms.text("email"), password=request.form.get("password", ""))
        )
    except (Unauthenticated, Invalid):
        problem = _(
            "El correo o la contraseña no son correctos. Escríbalos otra vez;"
            " fíjese en las mayúsculas."
        )
        return form_again(problem), 401
    except Exhausted as refusal:
        return form_again(words.wait(refusal.retry_after)), 429
    return code_page(answer) if answer.challenge else signing_in.finish(answer, device)


def form_again(problem: str) -> str:
    """Renders the sign-in form again, with the e-mail address and what the form carried."""
    return render_template(
        "signin.html",
        to=request.form.get("to", ""),
        ended=None,
        problem=problem,
        email=forms.text("email"),
        kept=request.form.get("kept", ""),
    )


def code_page(
    pending_sign_in: SignInResponse | BeginPasskeySignInResponse, problem: str = ""
) -> str:
    """Renders the page that asks for a code or a passkey, with what the sign-in form carried."""
    return render_template(
        "signin_code.html",
        to=request.form.get("to", ""),
        kept=request.form.get("kept", ""),
        asked=pending_sign_in,
        problem=problem,
    )


@pages.post("/sign-in/passkey", access.ANYBODY)
def begin_with_passkey() -> access.Answer:
    """Starts a sign-in and shows the page that asks the browser for a passkey of any account.

    If the partners service refuses, shows the sign-in page with the reason (422).
    """
    try:
        return code_page(clients().tokens.BeginPasskeySignIn(BeginPasskeySignInRequest()))
    except Conflict as refusal:
        return form_again(forms.problems(refusal)["_form"]), 422


@pages.post("/sign-in/code", access.ANYBODY)
def enter_code() -> access.Answer:
    """Opens the session of an account that requires a code or a passkey.

    The passkey may come after the password or replace it.
    """
    device, options = devices.attach(), forms.text("passkey_options")
    pending_sign_in = SignInResponse(
        challenge=forms.text("challenge"),
        asks_code=bool(forms.text("asks_code") or not options),
        passkey_options=options,
    )
    rpc_request = forms.filled(FinishSignInRequest())
    try:
        return signing_in.finish(clients().tokens.FinishSignIn(rpc_request), device)
    except (Unauthenticated, Invalid):
        problem = (
            _("Esa llave no sirve para entrar aquí, o pasaron cinco minutos. Entre otra vez.")
            if rpc_request.passkey
            else _(
                "Ese código no sirve. Espere al siguiente y escríbalo;"
                " si pasaron cinco minutos, entre otra vez."
            )
        )
        return code_page(pending_sign_in, problem), 401
    except Exhausted as refusal:
        return code_page(pending_sign_in, words.wait(refusal.retry_after)), 429


@pages.get("/sign-in/with/<identifier>", access.ANYBODY)
def leave_for_provider(identifier: str) -> Response:
    try:
        sign_in = clients().tokens.BeginProviderSignIn(
            BeginProviderSignInRequest(provider_id=identifier)
        )
    except NotFound:
        return back_with_problem("unknown")
    except Unavailable:
        return back_with_problem("away")
    response = redirect(sign_in.authorization_url, 303)
    cookies.write(
        response, signing_in.PROVIDER_COOKIE, sign_in.challenge, signing_in.PROVIDER_COOKIE_AGE
    )
    return response


@pages.get("/sign-in/return", access.ANYBODY)
def come_back_from_provider() -> Response:
    """Opens the session of a worker who returns from the provider, or finishes her step-up."""
    parameters = {name: request.args.get(name, "") for name in ("state", "code")}
    if (secret := cookies.read(signing_in.PROVIDER_COOKIE)).startswith(signing_in.PROOF):
        return _prove_session(secret.removeprefix(signing_in.PROOF), parameters)
    device = devices.attach()
    try:
        answer = clients().tokens.FinishProviderSignIn(
            FinishProviderSignInRequest(
                challenge=secret, issuer=request.args.get("iss", ""), **parameters
            )
        )
    except (Unauthenticated, Invalid):
        response = back_with_problem("refused")
    except Unavailable:
        response = back_with_problem("away")
    else:
        # the account may require a further factor
        response = (
            make_response(code_page(answer))
            if answer.challenge
            else signing_in.finish(answer, device)
        )
    cookies.drop(response, signing_in.PROVIDER_COOKIE)
    return response


def _prove_session(challenge: str, parameters: dict[str, str]) -> Response:
    """Finishes the step-up of the session that is open in this browser.

    The form that waits for the step-up is in another window.
    """
    try:
        clients().accounts.ProveSession(
            a.ProveSessionRequest(
                session_secret=session.me().secret,
                challenge=challenge,
                provider=a.ProviderAnswer(issuer=request.args.get("iss", ""), **parameters),
            )
        )
    except Invalid:
        response: Response = errors.page("not_recognised", 422)
    else:
        response = redirect(url_for("account.show", done="proved"), 303)
    cookies.drop(response, signing_in.PROVIDER_COOKIE)
    return response


def back_with_problem(problem: str) -> Response:
    """Redirects to the sign-in page, which shows the problem.

    The new URL contains nothing that the provider sent.
    """
    return redirect(url_for("signin.form", by=problem), 303)


@pages.post("/sign-out", access.ANYBODY)
def leave() -> access.Answer:
    """Ends the session and redirects to the home page."""
    session.leave(wait=True)
    response = redirect(url_for("home.home"), 303)
    cookies.drop(response, session.COOKIE)
    return response


@pages.form("/quick-exit", access.ANYBODY)
def quick_exit() -> access.Answer:
    """Ends the session and redirects to an everyday page.

    A plain link is enough, so that quick exit works without a script, and even when everything else
    is broken. The answer has no Clear-Site-Data header, because clearing the cache can delay a
    browser for seconds, and pages are not cached anyway. Quick exit waits for nothing, not even for
    the partners service, because leaving comes first.
    """
    session.leave(wait=False)
    response = redirect(current_app.config["EXIT_URL"], 303)
    # The device's cookie stays, because it prevents strangers' wrong guesses from locking the
    # worker out.
    cookies.drop(response, session.COOKIE)
    return response
