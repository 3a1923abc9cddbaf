"""Refusals as pages that say what to do. The page of a fault shows only its request id."""

from flask import Flask, Response, g, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from chassis import errors, log
from services.gateway.edge.problems import RETRY_SECONDS, status_of
from services.gateway.site.language import _, words
from services.gateway.site.parts import cookies
from services.gateway.site.shell import kept, proof, session


def install(app: Flask) -> None:
    """Makes the app answer errors of pages, and requests without a route, with a page."""
    app.register_error_handler(errors.Refusal, answer_refusal)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, fault)


def page(status: int, title: str, advice: str, retry: bool = False, again: bool = True) -> Response:
    """Returns the page for a refusal.

    If the reader wrote the form that was sent, the page contains the form, filled in. With `again`,
    the form can be sent again from this page.
    """
    form = kept.rejected_form() if request.method == "POST" else None
    return make_response(
        render_template(
            "error.html",
            title=title,
            advice=advice,
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
            return not_found()
        case errors.Invalid():
            problem_list = "; ".join(
                f"{words.field(field)}: {words.violation(reason)}"
                for field, reason in refusal.violations
            )
            return page(
                422,
                _("Hay un problema"),
                problem_list or _("Revise lo que escribió y envíelo otra vez."),
            )
        case errors.Stale():
            return page(
                409,
                _("Alguien lo cambió mientras tanto"),
                _(
                    "Vuelva a abrir la página: verá cómo está ahora y podrá decidir de nuevo."
                    " Su cambio no se guardó."
                ),
                again=False,
            )
        case errors.Reused():
            return page(
                409,
                _("Esto ya se había enviado"),
                _(
                    "Se guardó la primera vez, con otros datos. Vuelva a abrir la página para ver"
                    " cómo quedó."
                ),
                again=False,
            )
        case errors.Exhausted():
            wait_text = (
                _("Demasiados expedientes en una hora")
                if refusal.reason == "opening_quota"
                else _("Demasiados intentos")
            )
            response = page(429, wait_text, words.wait(refusal.retry_after))
            response.headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
            return response
        case errors.Unavailable():
            return away(refusal)
    return page(
        409,
        _("Ahora no se puede"),
        words.conflict(refusal.reason, getattr(refusal, "about", ())),
    )


def not_of_this_page(reason: str) -> AnyResponse:
    """Answers a form that was made by another site, another session or another account.

    Only the worker who wrote the form gets it back.
    """
    if reason == "form_foreign":
        g.foreign_form = True
        return make_response(
            render_template(
                "error.html",
                title=_("Este formulario ya no sirve"),
                advice=_(
                    "Vuelva a la página anterior, cárguela de nuevo y envíela otra vez."
                    " No se cambió nada."
                ),
                status=403,
            ),
            403,
        )
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
    return page(
        403,
        _("Este formulario ya no sirve"),
        _(
            "Pasó mucho tiempo, o usted entró otra vez mientras tanto. No se cambió nada:"
            " revíselo y envíelo otra vez."
        ),
    )


def away(refusal: errors.Unavailable) -> Response:
    """Answers when a service is down or slow.

    If an answer was lost, or a later call failed, the form may have been saved, in whole or in
    part. The page must then not claim that nothing was saved.
    """
    if request.method == "POST" and (
        refusal.reason in ("service_unreachable", "deadline_exceeded") or g.get("written")
    ):
        response = page(
            status_of(refusal),
            _("La respuesta no llegó"),
            _(
                "Puede que se haya guardado. Vuelva a la página anterior y mire cómo está antes de"
                " enviarlo otra vez. Si es urgente, llame."
            ),
        )
    else:
        response = page(
            status_of(refusal),
            _("Una parte del sistema no responde"),
            _("No se guardó nada. Pruebe en un minuto. Si es urgente, llame por teléfono."),
            retry=True,
        )
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
            to=request.path
            if request.method == "GET" and request.endpoint not in ("signin.leave", "today.today")
            else None,
            ended=1 if g.get("session_ended") else None,
        )
    )
    if g.get("session_ended"):
        cookies.drop(response, session.COOKIE)
    return response


def not_found() -> Response:
    """Answers that nothing was found.

    The words are the same whether the object does not exist or belongs to another organisation.
    """
    return page(
        404,
        _("Aquí no hay nada"),
        _("La dirección no existe, o lo que busca no es de su organización. Vuelva al inicio."),
    )


def http_error(error: HTTPException) -> AnyResponse:
    """Answers Flask's own errors: no such page, wrong method, form too large."""
    if error.code == 404:
        return not_found()
    if error.code is None or error.code < 400:
        return error.get_response()
    if error.code == 413:
        return page(
            413,
            _("El texto es demasiado largo"),
            _("Acórtelo y envíelo otra vez. No se guardó nada."),
        )
    return page(
        error.code,
        _("Así no se puede abrir"),
        _("Vuelva a la página anterior y pruebe con los botones de la página."),
    )


def fault(error: Exception) -> Response:
    """Answers a fault.

    The log has the kind of error and the places in the code; the page shows a number that the
    reader can report.
    """
    log.get().error("fault", fault=log.fault(error), request_id=g.get("request_id", ""))
    return page(
        500,
        _("Algo falló de nuestro lado"),
        _(
            "No es culpa suya. Pruebe otra vez; si se repite, avise y dé este número: %(number)s",
            number=g.request_id,
        ),
    )
