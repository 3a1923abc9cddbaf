"""The page that shows people which parts of the system answer."""

from flask import render_template

from chassis.languages import N_
from services.gateway.edge.clients import Standing, clients
from services.gateway.site.shell import access

pages = access.Pages("health")

PARTS = {
    "partners": N_("Directorio, equipos y sesiones"),
    "referrals": N_("Línea, personas y remisiones"),
    "notifications": N_("Buzón, correos y avisos"),
}


@pages.get("/status", access.ANYBODY)
def status() -> str:
    """Shows the state of each service.

    The status is always 200, because the page itself is available.
    """
    service_standings = standings()
    parts = [
        (name, label, *words_of(stands))
        for (name, label), stands in zip(PARTS.items(), service_standings, strict=True)
    ]
    return render_template(
        "status.html",
        parts=parts,
        well=all(tone == "done" for *_, tone in parts),
        held=any(stands.holds for stands in service_standings),
        failed=any(stands.fails and stands.ready for stands in service_standings),
    )


def standings() -> list[Standing]:
    """Returns the states of the services, in the order of the page."""
    by_name = clients().standing()
    return [by_name[name] for name in PARTS]


def words_of(stands: Standing) -> tuple[str, str]:
    """Returns the words for a state, and its colour."""
    if not stands.answers:
        return N_("No responde"), "late"
    if not stands.ready:
        return N_("No llega a sus datos"), "late"
    if stands.fails:
        return N_("Algo falló hace poco"), "late"
    if stands.holds:
        return N_("Responde; algo quedó en espera"), "soon"
    if not stands.tells:
        return N_("Responde; lo nuevo se avisará más tarde"), "soon"
    return N_("Responde"), "done"
