"""The public door: what this is, which number to call, and three ways on."""

from flask import Response, current_app, render_template, request

from chassis.errors import Refusal
from protos.partners.v1.directory_pb2 import Hotline, ListHotlinesRequest
from services.gateway import access
from services.gateway.clients import ServiceFault, clients

pages = access.Pages("home")


def hotlines() -> list[Hotline]:
    """The numbers: that of the country one is in first, as far as the browser says it, then Nicaragua's.

    The page must open even when the directory is away: then it says to try again.
    """
    try:
        lines = list(clients().directory.ListHotlines(ListHotlinesRequest()).hotlines)
    except (Refusal, ServiceFault):
        return []
    here = country_of_the_browser()
    return sorted(lines, key=lambda line: (line.country != here, line.country != "NI", line.country))


def country_of_the_browser() -> str:
    """Where its language says it is at home (es-CR: CR); empty where it says nothing. Nobody is looked up by address."""
    regions = (tag.replace("_", "-").rpartition("-")[2].upper() for tag in request.accept_languages.values() if "-" in tag or "_" in tag)
    return next((region for region in regions if len(region) == 2), "")


@pages.get("/", access.ANYBODY)
def home() -> str:
    """The first page; for those signed in too."""
    return render_template("home.html", hotlines=hotlines())


@pages.get("/favicon.ico", access.ANYBODY)
def icon() -> Response:
    """A neutral icon: a plain square, for a tab that gives nothing away."""
    return current_app.send_static_file("icon.svg")


@pages.get("/robots.txt", access.ANYBODY)
def robots() -> Response:
    """Nothing but the first page is for search engines."""
    return Response("User-agent: *\nAllow: /$\nDisallow: /\n", mimetype="text/plain")
