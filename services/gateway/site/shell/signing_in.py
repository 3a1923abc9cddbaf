"""The last step of every way to sign in: the target page, the cookie, and the earlier form.

A form that was written before the earlier session ended is offered again.
"""

import re
from datetime import timedelta

from flask import make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.languages import LANGUAGES
from protos.partners.v1.members_pb2 import SignInResponse
from services.gateway.site.backend import devices
from services.gateway.site.shell import kept, session

PROVIDER_COOKIE = "p"
"""Name of the cookie that holds a secret until the browser returns from a provider."""
PROOF = "proof."
"""Prefix of the cookie's secret if the provider is asked for a step-up rather than a sign-in."""
PROVIDER_COOKIE_AGE = timedelta(minutes=10)  # how long the service accepts a provider's answer
_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


def safe_target(target: str) -> str:
    r"""Returns `target` if it is a path of this site, otherwise the path of the Today page.

    Sign-in must not lead to another site. Allows only visible ASCII without a backslash: browsers
    drop tabs and line ends, and read a backslash as a slash, so `/\t/host` would be another site.
    """
    return target if _PATH.fullmatch(target) else url_for("today.today")


def finish(answer: SignInResponse, device: str = "") -> Response:
    """Redirects to the requested page, or shows the form that the earlier session left unsent.

    New recovery codes are shown first. Sets the session's cookie and, with `device`, the device's
    cookie, too.
    """
    sealed_form = request.form.get("kept", "")
    token = session.form_token_of(answer.session_secret, answer.worker.id)
    form = kept.unseal(sealed_form, answer.worker.id, token) if sealed_form else None
    target = safe_target(request.form.get("to", ""))
    response: Response = redirect(target, 303)
    if answer.recovery_codes:  # the codes are shown only once, so they come before anything else
        response = make_response(
            render_template(
                "spare_codes.html", codes=answer.recovery_codes, form=form, target=target
            )
        )
    elif form is not None:
        response = make_response(render_template("kept.html", form=form))
    language = request.args.get("lang", "")
    session.set_cookie(response, answer.session_secret, language if language in LANGUAGES else "")
    if device:
        devices.remember(response, device)
    return response
