"""Public pages: the home page, and the page that shows what is working."""

from flask import Response, current_app, render_template

from chassis.languages import N_
from services.gateway.edge.clients import Standing, clients
from services.gateway.site.shell import access

pages = access.Pages("home")
PARTS = {
    "partners": N_("Directorio, equipos y sesiones"),
    "referrals": N_("Línea, personas y remisiones"),
    "notifications": N_("Buzón, correos y avisos"),
}


@pages.get("/", access.ANYBODY)
def home() -> str:
    """Shows the home page, even to readers who are signed in."""
    return render_template("home.html")


@pages.get("/favicon.ico", access.ANYBODY)
def icon() -> Response:
    """Returns a neutral icon: a plain square, so that a tab gives nothing away."""
    return current_app.send_static_file("icon.svg")


@pages.get("/robots.txt", access.ANYBODY)
def robots() -> Response:
    """Allows search engines only the home page."""
    return Response("User-agent: *\nAllow: /$\nDisallow: /\n", mimetype="text/plain")


@pages.get("/status", access.ANYBODY)
def status() -> str:
    """Shows the state of each service.

    The HTTP status is always 200, because the page itself is available.
    """
    standings = clients().standing()
    service_standings = [standings[name] for name in PARTS]
    parts = [(name, label, *words_of(standings[name])) for name, label in PARTS.items()]
    return render_template(
        "status.html",
        parts=parts,
        well=all(tone == "done" for *_, tone in parts),
        held=any(standing.holds for standing in service_standings),
        failed=any(standing.failed_recently and standing.ready for standing in service_standings),
    )


def words_of(standing: Standing) -> tuple[str, str]:
    """Returns the words for a service's state, and the tone: "done", "soon" or "late"."""
    table = (
        (not standing.answers, N_("No responde"), "late"),
        (not standing.ready, N_("No llega a sus datos"), "late"),
        (standing.failed_recently, N_("Algo falló hace poco"), "late"),
        (standing.holds, N_("Responde; algo quedó en espera"), "soon"),
        (not standing.publishes, N_("Responde; lo nuevo se avisará más tarde"), "soon"),
        (True, N_("Responde"), "done"),
    )
    return next((words, tone) for applies, words, tone in table if applies)
