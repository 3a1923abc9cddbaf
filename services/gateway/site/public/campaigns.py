"""The campaign material for a country's line: public page, poster and radio text."""

from flask import Response, abort, current_app, render_template, request, url_for

from chassis.errors import Invalid, NotFound, Unavailable
from protos.partners.v1.directory_pb2 import Hotline
from protos.referrals.v1 import campaigns_pb2 as pb
from services.gateway.edge.clients import ServiceFault
from services.gateway.site.backend import answer_or
from services.gateway.site.language import _, i18n, words
from services.gateway.site.parts import poster
from services.gateway.site.shell import access, lines

pages = access.Pages("campaigns")


@pages.get("/lines/<country>", access.ANYBODY)
def country(country: str) -> str:
    """Shows a country's number, what happens on a call, and texts to print or read out."""
    return public_page(country, placement_of(country))


def public_page(country: str, placement: pb.Placement | None) -> str:
    """Renders the page of a line, with the code of `placement`, which a caller can mention."""
    return render_template("campaign.html", line=line_of(country), placement=placement)


@pages.get("/l/<code>", access.ANYBODY)
def placed(code: str) -> str:
    """Shows the page of a country, for a reader who scanned the QR symbol of a poster.

    If the code is unknown or can't be looked up now, or if its country has no line any more, the
    page still shows a number: the first of `lines.hotlines()`.
    """
    placement, all_lines = known_placement(code), lines.hotlines()
    if placement and placement.country in [line.country for line in all_lines]:
        return public_page(placement.country, placement if placement.active else None)
    if not all_lines:
        raise Unavailable("service_unreachable")
    return public_page(all_lines[0].country, None)


@pages.get("/lines/<country>/poster-<paper>.<form>", access.ANYBODY)
def printed(country: str, paper: str, form: str) -> Response:
    """Returns the poster, for A4 or A3."""
    if paper not in poster.PAPER_SCALES or form not in ("svg", "pdf"):
        abort(404)
    texts = poster_texts(line_of(country), placement_of(country))
    if form == "svg":
        return Response(poster.svg(texts, paper), mimetype="image/svg+xml")
    return Response(
        poster.pdf(texts, paper),
        mimetype="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{country}-{paper}.pdf"'},
    )


@pages.get("/lines/<country>/radio", access.ANYBODY)
def radio(country: str) -> str:
    """Shows the radio text: half a minute to be read out."""
    return render_template("radio.html", line=line_of(country), placement=placement_of(country))


def line_of(country: str) -> Hotline:
    """Returns the line of a country.

    Answers 404 for a country without a line. Raises Unavailable if the lines of all countries are
    not known now.
    """
    for line in lines.hotlines():
        if line.country == country:
            return line
    if lines.lines().complete:
        abort(404)
    raise Unavailable("service_unreachable")


def known_placement(code: str) -> pb.Placement | None:
    """Returns the placement with this code; None if it is unknown or cannot be looked up now."""
    return answer_or(
        None, pb.GetPlacementRequest(code=code), NotFound, Invalid, Unavailable, ServiceFault
    )


def placement_of(country: str) -> pb.Placement | None:
    """Returns the placement with the code in the URL, if its campaign runs in this country.

    Otherwise returns None; the page is then shown without a code.
    """
    code = request.args.get("code", "")
    placement = known_placement(code) if code else None
    return placement if placement and placement.active and placement.country == country else None


def poster_texts(line: Hotline, placement: pb.Placement | None) -> poster.Words:
    """Returns the texts of the poster, in the reader's language."""
    root = (current_app.config["PUBLIC_URL"] or request.url_root).rstrip("/")
    path = (
        url_for("campaigns.placed", code=placement.code)
        if placement
        else url_for("campaigns.country", country=line.country)
    )
    return poster.Words(
        language=i18n.language(),
        title=poster.CAMPAIGN_NAME,
        question=_(
            "¿Le obligan a trabajar o a tener sexo? ¿No le dejan irse? ¿Le quitaron sus papeles?"
        ),
        call=_("Llame. Le escuchamos a cualquier hora."),
        number=line.number,
        promises=(_("Es gratis."), _("Es confidencial."), _("No tiene que decir su nombre.")),
        address=root + path,
        address_hint=_("Con el teléfono: qué pasa cuando llama."),
        code=_("Al llamar puede decir: %(code)s", code=placement.code) if placement else "",
        warning=_("Demostración: este número no contesta.")
        if words.demo_statement() or line.number.startswith("000-")
        else "",
    )
