"""Refusals as pages that say what to do. The page of a fault shows only its request id."""

from contextlib import suppress
from typing import Any

from flask import (
    Flask,
    Response,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from chassis import errors, log
from chassis.ids import is_id
from services.gateway.edge.problems import RETRY_SECONDS, status_of
from services.gateway.site.language import _, words
from services.gateway.site.parts import cookies
from services.gateway.site.shell import kept, proof, session

# conflicts that sending the form again cannot solve
FINAL = ("illegal_transition", "not_a_draft", "nothing_to_confirm", "person_erased")


def install(app: Flask) -> None:
    """Makes the app answer errors of pages, and requests without a route, with a page."""
    app.register_error_handler(errors.Refusal, answer_refusal)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, fault)


def page(
    kind: str, status: int, *, advice: str = "", retry: bool = False, again: bool = True
) -> Response:
    """Returns the page for a refusal.

    `kind` is the code of the page's title, and of its advice if `advice` is empty. If the reader
    wrote the form that was sent, the page contains the form, filled in. With `again`, the form can
    be sent again from this page.
    """
    form = kept.rejected_form() if request.method == "POST" else None
    return make_response(
        render_template(
            "error.html",
            title=words.word("error_title", kind),
            advice=advice or words.word("error_advice", kind),
            retry=retry and not form,
            status=status,
            form=form,
            again=again,
        ),
        status,
    )


def answer_refusal(refusal: errors.Refusal) -> AnyResponse:
    """Answers a refusal that no form showed in place."""
    if refusal.reason == proof.REASON and g.get("me"):
        try:
            return proof.ask()
        except errors.Refusal as other_refusal:
            refusal = other_refusal
    match refusal:
        case errors.Unauthenticated():
            return ask_to_sign_in()
        case errors.NotAllowed(reason="form_foreign" | "form_expired"):
            return not_of_this_page(refusal.reason)
        case errors.NotAllowed() | errors.NotFound():
            return page("not_found", 404)
        case errors.Invalid():
            problem_list = "; ".join(
                f"{words.field(field)}: {words.violation(reason)}"
                for field, reason in refusal.violations
            )
            return page("invalid", 422, advice=problem_list)
        case errors.Stale() | errors.Reused():
            return page(refusal.reason, 409, again=False)
        case errors.Exhausted():
            kind = "opening_quota" if refusal.reason == "opening_quota" else "too_many_attempts"
            response = page(kind, 429, advice=words.wait(refusal.retry_after))
            response.headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
            return response
        case errors.Unavailable():
            return away(refusal)
    return page(
        "conflict",
        409,
        advice=words.conflict(refusal.reason, getattr(refusal, "about", ())),
        again=refusal.reason not in FINAL,
    )


def not_of_this_page(reason: str) -> AnyResponse:
    """Answers a form that was made by another site, another session or another account.

    Only the worker who wrote the form gets it back.
    """
    if reason == "form_foreign":
        g.foreign_form = True
        return page("form_foreign", 403)
    if g.get("session_ended"):
        return ask_to_sign_in()
    if not kept.rejected_form() and (sealed_form := kept.seal()):
        return make_response(
            render_template(
                "signin.html",
                to="",
                problem=_(
                    "Este formulario lo escribió otra cuenta, y no se guardó nada."
                    " Para no perderlo, entre con la cuenta que lo escribió."
                ),
                kept=sealed_form,
            ),
            403,
        )
    return page("form_expired", 403)


def away(refusal: errors.Unavailable) -> Response:
    """Answers when a service is down or slow.

    If an answer was lost, or a later call failed, the form may have been saved, in whole or in
    part. The page must then not claim that nothing was saved.
    """
    may_be_saved = request.method == "POST" and (
        refusal.reason in ("service_unreachable", "deadline_exceeded") or g.get("written")
    )
    kind = "answer_lost" if may_be_saved else "service_away"
    response = page(kind, status_of(refusal), retry=not may_be_saved)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def ask_to_sign_in() -> AnyResponse:
    """Leads to the sign-in page, and from there to the page that the reader wanted.

    If the request sent a form, the answer is the sign-in page itself, which carries the form; the
    reader gets it back after the sign-in, and it is sent only if she sends it herself. A script
    gets an empty answer. Any other request is redirected.
    """
    if request.method == "POST" and (sealed_form := kept.seal()):
        # the session may have ended after this request began
        g.me, g.session_ended = None, True
        g.pop("form_token", None)
        # The cookie stays, because a page that saves by itself may send more than one request.
        return make_response(
            render_template("signin.html", to="", ended=1, problem="", kept=sealed_form), 401
        )
    if request.headers.get("Passive") or request.endpoint == "live.version":
        # The answer is for a script. The cookie stays, because the script sends more than one
        # request.
        return make_response("", 401)
    if g.get("me"):  # a cached session: the sign-in page would lead back to the page at once
        g.me, g.session_ended = None, True
    response = redirect(
        url_for(
            "signin.form",
            to=request.full_path.rstrip("?")
            if request.method == "GET" and request.endpoint not in ("signin.leave", "today.today")
            else None,
            ended=1 if g.get("session_ended") else None,
        )
    )
    if g.get("session_ended"):
        cookies.drop(response, session.COOKIE)
    return response


def http_error(error: HTTPException) -> AnyResponse:
    """Answers Flask's own errors: no such page, wrong method, form too large.

    A browser may open the address of a form as a page, for example after a sign-in; it is led to
    the page above.
    """
    if error.code is None or error.code < 400:
        return error.get_response()
    if error.code == 405 and request.method == "GET":
        return redirect(address_above(), 303)
    return page({404: "not_found", 413: "too_long"}.get(error.code, "unusable"), error.code)


def address_above(**parameters: Any) -> str:
    """Returns the address of the page at this path, or of the nearest page above it.

    Returns the address of the home page if there is none. The address has these parameters.
    """
    addresses, path = current_app.url_map.bind(""), request.path
    while path:
        with suppress(HTTPException):
            endpoint, values = addresses.match(path, method="GET")
            if all(map(is_id, values.values())):  # `/line/calls` is the address of no contact
                return url_for(endpoint, **values, **parameters)
        path = path.rpartition("/")[0]
    return url_for("home.home", **parameters)


def fault(error: Exception) -> Response:
    """Answers a fault.

    The log has the kind of error and the places in the code; the page shows a number that the
    reader can report.
    """
    log.get().error("fault", fault=log.fault(error), request_id=g.get("request_id", ""))
    return page(
        "fault",
        500,
        advice=_(
            "No es culpa suya. Pruebe otra vez; si se repite, avise y dé este número: %(number)s",
            number=g.request_id,
        ),
    )
