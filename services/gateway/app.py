"""The Flask application: what every request goes through before and after its page.

Deny by default: a route that does not say who may open it does not exist. Nothing is logged but the route's name, status and duration: an
address may carry an opaque id, a form may carry a life.
"""

import gzip
import importlib
import time
from functools import lru_cache
from pathlib import Path

from flask import Flask, Response, abort, current_app, g, request
from prometheus_client import Histogram
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as AnyResponse

from chassis import log, metrics, trace
from chassis.errors import Refusal
from chassis.ids import new_id
from services.gateway import access, bodies, errors, i18n, limits, pages, proof, refill, session
from services.gateway.clients import Clients
from services.gateway.config import Settings
from services.gateway.lines import Lines
from services.gateway.live import Live, live

GUARDED_BY_THE_API = ("/api/", "/hsds")
PROBES = ("/healthz", "/readyz")
HTTP_SECONDS = Histogram(
    "enlace_http_seconds", "Duration of a request.", ["route", "status"], buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
)


def make(settings: Settings) -> Flask:
    """The app as a process serves it, with logs and metrics."""
    log.setup("gateway")
    metrics.serve(settings.metrics_listen)
    return create_app(settings)


def create_app(settings: Settings, clients: Clients | None = None) -> Flask:
    """Builds the app; tests hand over their own clients."""
    app = Flask(__name__)
    app.request_class = bodies.InMemory
    app.config.update(
        DEVELOPMENT=settings.development,
        DEMO=settings.demo,
        SIGNING_KEY=settings.signing_key,
        EXIT_URL=settings.exit_url,
        PUBLIC_URL=settings.public_url,
        MAX_CONTENT_LENGTH=bodies.USUAL,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    equip(app, settings, clients or Clients(settings.partners, settings.referrals, settings.notifications, signer=settings.addresses))
    i18n.install(app)
    app.before_request(begin)
    app.after_request(finish)
    app.register_error_handler(Refusal, errors.refused)
    app.register_error_handler(HTTPException, errors.http_error)
    app.register_error_handler(Exception, errors.fault)
    pages.register(app)
    api = Path(__file__).parent / "api" / "__init__.py"
    if api.exists():
        importlib.import_module("services.gateway.api").register(app)
    return app


def equip(app: Flask, settings: Settings, clients: Clients) -> None:
    """Gives an app what it remembers from request to request: connections, tokens, versions of pages, counts of callers, numbers to call."""
    app.extensions.update(
        clients=clients,
        exchange=session.Exchange(),
        live=Live(settings.signing_key),
        limits=limits.Limits(settings.caller_rate),
        lines=Lines(dict(settings.lines), settings.lines_file),
    )


def guarded_by_the_api() -> bool:
    """Systems bring a key instead of a cookie; the API has the contract's rights."""
    return request.path.startswith(GUARDED_BY_THE_API)


def begin() -> AnyResponse | None:
    """Names the request, finds out who asks, and lets nobody in of whom the page does not say so."""
    g.request_id, g.started = new_id(), time.monotonic()
    trace.begin(g.request_id)
    request.max_content_length = bodies.most(request.path)
    if guarded_by_the_api():
        return None
    page = access.of(current_app, request.endpoint)
    session.recognise(needed=page is None or not page.is_public)
    g.live_version = live().last(g.me) if g.me else ""  # from before its data are read: what changes meanwhile is another one
    if request.endpoint is None:
        raise request.routing_exception or NotFound()
    if page is None or not (page.is_public or session.me().may(*page.roles)):
        abort(404)
    if request.method == "POST" and request.endpoint != "signin.quick_exit":
        session.check_form()
        return proof.check()
    return None


def finish(response: Response) -> Response:
    """Headers that every answer carries, and one line of log."""
    headers = response.headers
    headers["X-Request-Id"] = g.request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    if request.endpoint != "static":
        headers["Cache-Control"] = g.get("kept", "no-store")  # open data says for how long it is good
    elif response.status_code == 200:
        compress(response)
    if guarded_by_the_api():
        limits.tell(response)
    else:
        refill.fill(response)
        page_headers(response)
    tell(response.status_code, time.monotonic() - g.started)
    return response


def compress(response: Response) -> None:
    """Sends style, script and icons compressed to whoever takes it: a phone on 2G pays for each kilobyte.

    Pages are not: one that is compressed tells by its length whether what a reader is made to send stands in it (BREACH).
    """
    response.headers["Vary"] = "Accept-Encoding"
    if request.accept_encodings.quality("gzip") and "Content-Range" not in response.headers:
        response.direct_passthrough = False
        response.set_data(compressed(response.get_data()))
        response.headers["Content-Encoding"] = "gzip"
        response.headers.pop("ETag", None)  # it is that of the file as it lies there


@lru_cache(maxsize=32)
def compressed(data: bytes) -> bytes:
    """The bytes, compressed once in a process."""
    return gzip.compress(data, mtime=0)


def tell(status: int, seconds: float) -> None:
    """One line of log and one figure; probes ask every few seconds and would drown the rest."""
    rule = request.url_rule.rule if request.url_rule else ""
    HTTP_SECONDS.labels(rule, str(status)).observe(seconds)
    if not rule.startswith(PROBES):
        log.get().info(
            "request", route=rule, method=request.method, status=status, request_id=g.request_id, duration_ms=round(seconds * 1000, 1)
        )


def page_headers(response: Response) -> None:
    """What a browser may do with a page: our own style, script and forms, nothing else, nowhere else."""
    exit_origin = "/".join(str(current_app.config["EXIT_URL"]).split("/")[:3])
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action 'self' {exit_origin}"
    )
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=(), payment=(), usb=()"
    if not current_app.config["DEVELOPMENT"]:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    chosen = request.args.get("lang", "")
    if g.get("me") and chosen in i18n.LANGUAGES and chosen != g.language_choice and request.endpoint != "signin.leave":
        session.set_cookie(response, g.me.secret, chosen)
