"""The end of every way of signing in: its target, the session's cookie, the earlier form.

A form that was written before the session ended is offered again.
"""

import re
from datetime import timedelta

from flask import make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chassis.languages import LANGUAGES
from protos.partners.v1.members_pb2 import SignInResponse
from services.gateway.site.parts import devices
from services.gateway.site.shell import kept, session

PROVIDER_COOKIE = "p"
"""Holds a secret on the way to an organisation's own provider and back."""
PROOF = "proof."
"""Prefix of the secret in the cookie if the provider proves an open session, not a new one."""
PROVIDER_KEPT = timedelta(minutes=10)  # as long as the service accepts an answer
_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


def safe_target(target: str) -> str:
    r"""Returns a path of this site, or that of Today: sign-in must not lead to another site.

    Allows visible ASCII only, without a backslash: browsers drop tabs and line ends and read a
    backslash as a slash, so that `/\t/host` would be another site.
    """
    return target if _PATH.fullmatch(target) else url_for("today.today")


def entered(answer: SignInResponse, device: str = "") -> Response:
    """Redirects to the page that was asked for, or shows the form from before the session ended.

    Sets the session's cookie and, with `device` after a right password, the device's.
    """
    written = request.form.get("kept", "")
    token = session.form_token_of(answer.session_secret, answer.worker.id)
    form, target = (
        kept.opened(written, answer.worker.id, token) if written else None,
        safe_target(request.form.get("to", "")),
    )
    response: Response = redirect(target, 303)
    if answer.recovery_codes:  # shown once, so before anything else
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
