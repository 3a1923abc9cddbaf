"""The reference and the guide, served by the gateway itself: plain and without script.

Both show files of the repository. The reference is rendered from the OpenAPI document
(docs/openapi.json), which a test compares with the routes.
"""

from functools import cache
from typing import Any

from flask import Blueprint, Flask, Response, json, render_template, request

from services.gateway.api import guide
from services.gateway.api.answers import PREFIX
from services.gateway.api.reference import operations
from services.gateway.edge.problems import REASONS

CSP = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
STYLE = """\
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem;
  color: #1b2b34; background: #fff }
a { color: #0b5394 } nav ul { padding: 0; list-style: none } nav.pages li { display: inline-block;
  margin-inline-end: 1rem }
nav [aria-current] { font-weight: 700; color: inherit; text-decoration: none }
h1, h2, h3 { line-height: 1.25 } h2 { margin-top: 2.5rem } h3 { margin: 2rem 0 0; font-size: 1rem }
p { margin: .4rem 0; max-width: 50rem }
main ul, main ol { padding-inline-start: 1.5rem } nav.nouns ul { padding: 0 }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
th, td { text-align: start; vertical-align: top; padding: .3rem .6rem;
  border-bottom: 1px solid #d5dde0 }
.wide, pre { overflow-x: auto }
.wide:focus-visible, pre:focus-visible { outline: 2px solid #0b5394 }
.wide td { min-width: 6rem } .fields td.about { width: 50% }
@media (max-width: 40rem) {
  .fields thead { display: none } .fields tr { display: block; border-bottom: 1px solid #d5dde0;
    padding: .4rem 0 }
  .fields td, .fields td.about { display: block; width: auto; border: 0; padding: 0 }
  .fields td.location, .fields td.kind { display: inline }
  .fields td.location::after { content: ", " }
}
code { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere }
pre { background: #f3f6f7; padding: .6rem; white-space: pre }
.wide code { overflow-wrap: normal } h1, h2, h3 { overflow-wrap: anywhere }
.method, .needed { font-weight: 700 } :target { background: #fff3cd }
article:target { background: none } article:target h3 { background: #fff3cd }
"""


@cache
def openapi() -> dict[str, Any]:
    """Returns the OpenAPI document that is served."""
    document: dict[str, Any] = json.loads((guide.ROOT / "docs/openapi.json").read_bytes())
    return document


def install(app: Flask) -> None:
    """Adds /api/v1/openapi.json, /api/v1/docs, the guide's pages and their style."""
    pages = Blueprint("api_docs", __name__, url_prefix=PREFIX, template_folder="templates")
    text = cache(lambda: json.dumps(openapi()))
    names = ", ".join(f"'{name}'" for name in guide.PAGES if name)

    @pages.get("/openapi.json")
    def openapi_json() -> Response:
        return conditional(Response(text(), content_type="application/json"))

    @pages.get("/docs")
    def page() -> Response:
        document = openapi()
        return page_response(
            "api_docs.html",
            document=document,
            about=guide.render_markdown(document["info"]["description"]),
            groups=operations(document),
            reasons=REASONS,
            here="docs",
        )

    @pages.get("/guide")
    @pages.get(f"/guide/<any({names}):name>")
    def guide_page(name: str = "") -> Response:
        return page_response(
            "api_guide.html", title=guide.PAGES[name].title, body=guide.html(name), here=name
        )

    @pages.get("/docs.css")
    def style() -> Response:
        return conditional(Response(STYLE, content_type="text/css; charset=utf-8"))

    app.register_blueprint(pages)


def page_response(template: str, **values: Any) -> Response:
    """Returns a page that runs no script and loads nothing but its style."""
    response = Response(render_template(template, pages=guide.PAGES, **values))
    response.headers["Content-Security-Policy"] = CSP
    return conditional(response)


def conditional(response: Response) -> Response:
    """Adds an ETag, and makes the response a 304 if the reader already has this version."""
    response.add_etag()
    response.make_conditional(request)
    return response
