"""The public door: what this is, which number to call, and three ways on."""

from flask import Blueprint, Response, current_app, render_template

from chassis.errors import Refusal
from protos.partners.v1.directory_pb2 import Hotline, ListHotlinesRequest
from services.gateway import access
from services.gateway.clients import ServiceFault, clients

blueprint = Blueprint("home", __name__)


def hotlines() -> list[Hotline]:
    """The numbers, Nicaragua's first. The page must open even when the directory is away: then it says to try again."""
    try:
        lines = list(clients().directory.ListHotlines(ListHotlinesRequest()).hotlines)
    except (Refusal, ServiceFault):
        return []
    return sorted(lines, key=lambda line: (line.country != "NI", line.country))


@blueprint.get("/")
@access.public
def home() -> str:
    """The first page; for those signed in too."""
    return render_template("home.html", hotlines=hotlines())


@blueprint.get("/favicon.ico")
@access.public
def icon() -> Response:
    """A neutral icon: a plain square, for a tab that gives nothing away."""
    return current_app.send_static_file("icon.svg")


@blueprint.get("/robots.txt")
@access.public
def robots() -> Response:
    """Nothing but the first page is for search engines."""
    return Response("User-agent: *\nAllow: /$\nDisallow: /\n", mimetype="text/plain")
