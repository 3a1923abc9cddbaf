"""The first page, for everybody: what Enlace is, the number to call, and where to go next."""

from flask import Response, current_app, render_template

from services.gateway.site.shell import access

pages = access.Pages("home")


@pages.get("/", access.ANYBODY)
def home() -> str:
    """Shows the first page, even to readers who are signed in."""
    return render_template("home.html")


@pages.get("/favicon.ico", access.ANYBODY)
def icon() -> Response:
    """Returns a neutral icon: a plain square, so that a tab gives nothing away."""
    return current_app.send_static_file("icon.svg")


@pages.get("/robots.txt", access.ANYBODY)
def robots() -> Response:
    """Allows search engines only the first page."""
    return Response("User-agent: *\nAllow: /$\nDisallow: /\n", mimetype="text/plain")
