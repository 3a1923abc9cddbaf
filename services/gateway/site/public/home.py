"""The public door: what this is, which number to call, and three ways on."""

from flask import Response, current_app, render_template

from services.gateway.site.shell import access

pages = access.Pages("home")


@pages.get("/", access.ANYBODY)
def home() -> str:
    """The first page; for those signed in too."""
    return render_template("home.html")


@pages.get("/favicon.ico", access.ANYBODY)
def icon() -> Response:
    """A neutral icon: a plain square, for a tab that gives nothing away."""
    return current_app.send_static_file("icon.svg")


@pages.get("/robots.txt", access.ANYBODY)
def robots() -> Response:
    """Nothing but the first page is for search engines."""
    return Response("User-agent: *\nAllow: /$\nDisallow: /\n", mimetype="text/plain")
