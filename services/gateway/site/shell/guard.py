"""The guard before and after every page.

Before a page, the guard checks whether the reader may open it, and whether a form comes from one of
our own pages. After the page, the guard limits what a browser may do with the answer. Access is
denied by default: a page that does not declare its roles is answered with 404.
"""

import gzip
from functools import lru_cache

from flask import Flask, Response, abort, current_app, g, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from chassis.languages import LANGUAGES
from services.gateway.edge.app import is_for_people
from services.gateway.site.shell import access, live, proof, refill, session

HEADERS = {
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
"""The headers that are the same on every page."""


def install(app: Flask) -> None:
    app.before_request(begin)
    app.after_request(finish)


def begin() -> AnyResponse | None:
    """Identifies the reader, and admits her only if the page's declaration allows it.

    Checks the origin of a form, and the proof of a step-up. Returns the step-up page if the proof
    is wrong; otherwise None, so that the page is shown.
    """
    if not is_for_people():
        return None
    session.recognise(required=access.roles_of(current_app, request.endpoint) != access.ANYBODY)
    # The version is set before the page's data are read. If they change in between, live.js gets a
    # newer version and fetches the page again.
    g.live_version = live.live().last_version(g.me) if g.me else ""
    if request.endpoint is None:
        raise request.routing_exception or NotFound()
    if not access.may_open(request.endpoint):
        abort(404)
    if request.method == "POST" and request.endpoint != "signin.quick_exit":
        session.check_form()
        return proof.check()
    return None


def finish(response: Response) -> Response:
    """Puts the typed values back into a rejected form, and adds the headers of a page."""
    if not is_for_people():
        return response
    if request.endpoint == "static":
        g.cache_control = response.headers.get("Cache-Control", "no-store")
        if response.status_code == 200:
            compress(response)
    refill.fill(response)
    add_page_headers(response)
    return response


def compress(response: Response) -> None:
    """Compresses style, script and icons for browsers that accept compression.

    On 2G, each kilobyte costs time and money. Pages are not compressed, because the length of a
    compressed page would reveal whether it holds a text that an attacker makes the reader send
    (BREACH).
    """
    response.headers["Vary"] = "Accept-Encoding"
    if request.accept_encodings.quality("gzip") and "Content-Range" not in response.headers:
        response.direct_passthrough = False
        response.set_data(gzip_compress(response.get_data()))
        response.headers["Content-Encoding"] = "gzip"
        response.headers.pop("ETag", None)  # this is the ETag of the uncompressed file


@lru_cache(maxsize=32)
def gzip_compress(data: bytes) -> bytes:
    """Returns the compressed data. A process compresses each file only once."""
    return gzip.compress(data, mtime=0)


def add_page_headers(response: Response) -> None:
    """Adds the headers that limit a page to our own style, script and forms.

    If a signed-in reader has just chosen a language, stores it in her session's cookie.
    """
    exit_origin = "/".join(str(current_app.config["EXIT_URL"]).split("/")[:3])
    response.headers.update(HEADERS)
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action 'self' {exit_origin}"
    )
    if not current_app.config["DEVELOPMENT"]:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    chosen_language = request.args.get("lang", "")
    if (
        g.get("me")
        and chosen_language in LANGUAGES
        and chosen_language != g.language_choice
        # a sheet is printed in the language of the person, which may not be the reader's
        and request.endpoint not in ("signin.leave", "knowledge.printed")
    ):
        session.set_cookie(response, g.me.secret, chosen_language)
