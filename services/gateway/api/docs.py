"""The docs page, served by the gateway itself: plain and without script, from the OpenAPI document that is served beside it."""

from typing import Any

from flask import Blueprint, Flask, Response, json, render_template, request

from services.gateway.api.answers import PREFIX
from services.gateway.problems import REASONS

CSP = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
STYLE = """\
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; color: #1b2b34; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: start; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #d5dde0 }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere } h2 { margin-top: 2.5rem } pre { white-space: pre-wrap }
.method { font-weight: 700 } :target { background: #fff3cd }
"""


def install(app: Flask, document: dict[str, Any]) -> None:
    """Adds /api/v1/openapi.json, /api/v1/docs and its style."""
    pages = Blueprint("api_docs", __name__, url_prefix=PREFIX, template_folder="templates")
    text = json.dumps(document)

    def openapi_json() -> Response:
        response = Response(text, content_type="application/json")
        response.add_etag()
        response.make_conditional(request)
        return response

    def page() -> Response:
        response = Response(render_template("api_docs.html", document=document, groups=grouped(document), reasons=REASONS))
        response.headers["Content-Security-Policy"] = CSP
        return response

    def style() -> Response:
        return Response(STYLE, content_type="text/css; charset=utf-8")

    pages.add_url_rule("/openapi.json", view_func=openapi_json)
    pages.add_url_rule("/docs", view_func=page)
    pages.add_url_rule("/docs.css", view_func=style)
    app.register_blueprint(pages)


def grouped(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations by tag: method, path and what is said of them."""
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method != "parameters":
                groups[operation["tags"][0]].append({"method": method.upper(), "path": path, **operation})
    return groups
