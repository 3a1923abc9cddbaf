"""The end of every way of signing in: where it leads, the session's cookie, and the form that was
written before.
"""

import re
from datetime import timedelta

from flask import make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos.partners.v1.members_pb2 import SignInResponse
from services.gateway.edge import origin
from services.gateway.site.language import i18n
from services.gateway.site.shell import kept, session

PROVIDER_COOKIE = "p"
"""Holds a secret on the way to an organisation's own provider and back."""
PROOF = "proof."
"""Before the secret in the cookie, where it is not to sign in but to prove a session."""
PROVIDER_KEPT = timedelta(minutes=10)  # as long as the question is good
_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


def safe_target(target: str) -> str:
    """A path of this site, or Today: a sign-in page must not send anybody elsewhere.

    Visible ASCII only, without a backslash: browsers drop tabs and line ends and read a backslash
    as a slash, and then `/\t/host` is another site.
    """
    return target if _PATH.fullmatch(target) else url_for("today.today")


def entered(answer: SignInResponse, device: str = "") -> Response:
    """Where she wanted to go, or the form that she had written when her session ended; with the
    cookies of both. `device`: where a password was right.
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
    session.set_cookie(
        response, answer.session_secret, language if language in i18n.LANGUAGES else ""
    )
    if device:
        origin.remember(response, device)
    return response
