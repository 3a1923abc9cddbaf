"""The Flask application to which `api` and `site` add their routes.

It defines what happens before and after every request, the probes, and the problem+json for
failures that nothing else handles. It logs every request except the probes, but only the route's
pattern, the method, the status, the request's id and the duration: a URL may carry an id, and a
form may hold a person's story.
"""

import time

from flask import Flask, Response, current_app, g, jsonify, request
from prometheus_client import Histogram

from chassis import log, trace
from chassis.ids import new_id
from services.gateway.config import Settings
from services.gateway.edge import bodies
from services.gateway.edge.clients import Clients
from services.gateway.edge.credentials import Exchange
from services.gateway.edge.limits import Limits
from services.gateway.edge.problems import problem

PROBES = {"/healthz": "alive", "/readyz": "ready"}
HTTP_SECONDS = Histogram(
    "enlace_http_seconds",
    "Duration of a request.",
    ["route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)


def make(settings: Settings, clients: Clients | None = None) -> Flask:
    """Makes the app. Tests pass their own clients."""
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.request_class = bodies.InMemory
    app.config.update(
        DEVELOPMENT=settings.development,
        PUBLIC_URL=settings.public_url,
        MAX_CONTENT_LENGTH=bodies.DEFAULT_SIZE,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    equip(
        app,
        settings,
        clients
        or Clients(
            settings.partners,
            settings.referrals,
            settings.notifications,
            signer=settings.address_signer,
        ),
    )
    app.before_request(begin)
    app.after_request(finish)
    app.register_error_handler(Exception, problem)
    for path, status in PROBES.items():
        app.add_url_rule(path, status, probe, defaults={"status": status})
    return app


def equip(app: Flask, settings: Settings, clients: Clients) -> None:
    """Gives an app the state that it keeps between requests: connections, tokens, quotas."""
    app.extensions.update(clients=clients, exchange=Exchange(), limits=Limits(settings.caller_rate))


def probe(status: str) -> Response:
    """Answers for this process only.

    If the probes failed while one service was down, people would also lose quick exit and every
    page that does not need that service.
    """
    return jsonify(status=status)


def reserve_for_systems(app: Flask, *prefixes: str) -> None:
    """Declares the path prefixes that are for systems, not for people.

    For a request under one of these prefixes, no cookie is read, and a refusal is sent as
    problem+json.
    """
    app.extensions["systems"] = prefixes


def is_for_people() -> bool:
    """Returns whether this request is for the site: neither a probe nor reserved for systems."""
    return request.path not in PROBES and not request.path.startswith(
        current_app.extensions.get("systems", ())
    )


def begin() -> None:
    """Gives the request its id, and limits the size of its body."""
    g.request_id, g.start_time = new_id(), time.monotonic()
    trace.begin(g.request_id)
    request.max_content_length = bodies.maximum_size(request.path)


def finish(response: Response) -> Response:
    """Adds the headers that every response carries, and logs the request."""
    response.headers.update(
        {
            "X-Request-Id": g.request_id,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            # Open data and the site's files state how long they may be cached.
            "Cache-Control": g.get("cache_control", "no-store"),
        }
    )
    log_request(response.status_code, time.monotonic() - g.start_time)
    return response


def log_request(status: int, seconds: float) -> None:
    """Records the duration, and logs the request unless it is a probe.

    Probes come every few seconds and would drown the other log lines.
    """
    rule = request.url_rule.rule if request.url_rule else ""
    HTTP_SECONDS.labels(rule, str(status)).observe(seconds)
    if rule not in PROBES:
        log.get().info(
            "request",
            route=rule,
            method=request.method,
            status=status,
            request_id=g.request_id,
            duration_ms=round(seconds * 1000, 1),
        )
