"""Figures that are safe to publish: the 2006 pilot, as pictures that are tables, and as a file for a spreadsheet."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import StringIO

from flask import Blueprint, Response, render_template

from protos.referrals.v1.referrals_pb2 import Figure, GetPilotFiguresRequest, PilotFigures
from services.gateway import access, i18n, names, words
from services.gateway.clients import clients
from services.gateway.i18n import N_
from services.gateway.i18n import gettext as _
from services.gateway.pictures import Bar

blueprint = Blueprint("figures", __name__)

FEW = "<10"


@dataclass(frozen=True)
class Chart:
    """One question and its answer: rows, or columns in the order of time. `code` names it in the file."""

    code: str
    title: str
    bars: list[Bar]
    columns: bool = False


@blueprint.get("/figures")
@access.open_to(access.EVERYONE, navigation=N_("Cifras"), section="network")
def figures() -> str:
    """The page."""
    pilot = clients().statistics.GetPilotFigures(GetPilotFiguresRequest())
    start, end = month(pilot.period_start), month(pilot.period_end)
    return render_template("figures.html", pilot=pilot, charts=charts(pilot), start=start, end=end, method=method(), date=today())


@blueprint.get("/figures.csv")
@access.open_to(access.EVERYONE)
def table() -> Response:
    """The same for a spreadsheet: a row for each figure, and how they were counted and when they were asked for."""
    pilot = clients().statistics.GetPilotFigures(GetPilotFiguresRequest())
    text = StringIO()
    rows = csv.writer(text)
    rows.writerow(["table", "code", "name", "people"])
    rows.writerow(["total", "assisted", _("personas ayudadas"), pilot.assisted])
    rows.writerow(["total", "from_chinandega", _("de Chinandega"), pilot.from_chinandega])
    for chart in charts(pilot):
        rows.writerows([chart.code, bar.code, bar.label, bar.text] for bar in chart.bars)
    rows.writerow(["note", "period", f"{pilot.period_start}/{pilot.period_end}", ""])
    rows.writerow(["note", "method", method(), ""])
    rows.writerow(["note", "date", today(), ""])
    # With the mark by which a spreadsheet knows the accents.
    return Response(
        "\ufeff" + text.getvalue(), mimetype="text/csv", headers={"Content-Disposition": "attachment; filename=enlace-2006.csv"}
    )


def today() -> str:
    """The date of the figures, in the reader's zone, as it is written everywhere."""
    return i18n.now().astimezone(i18n.zone()).date().isoformat()


def method() -> str:
    """How it was counted, in a sentence or two."""
    return _(
        "Cuenta a cada persona una vez: las que tienen expediente abierto en el período y recibieron al menos una ayuda; en «Qué ayuda recibieron», "
        "una vez por ayuda. Lo menor de diez se escribe «<10», sin largo, porque podría señalar a alguien."
    )


def charts(pilot: PilotFigures) -> list[Chart]:
    """All that is told of the pilot; what nobody counted is left out."""
    told = [
        Chart("department", _("De dónde son"), bars(pilot.by_department, words.department)),
        Chart("country", _("A dónde las habían llevado"), bars(pilot.by_country, words.country)),
        Chart("need", _("Qué ayuda recibieron"), bars(pilot.by_need_group, names.need)),
        Chart("month", _("Cuándo"), bars(months(pilot), month, in_order=True), columns=True),
    ]
    return [chart for chart in told if chart.bars]


def bars(figures: Iterable[Figure], label: Callable[[str], str], in_order: bool = False) -> list[Bar]:
    """Rows of a chart, the longest first. A count under ten has no number and no length: either could point at somebody."""
    rows = list(figures) if in_order else sorted(figures, key=lambda row: -row.count)
    most = max((row.count for row in rows), default=0) or 1
    return [
        Bar(
            label(row.code),
            FEW if row.count < 0 else str(row.count),
            share=0 if row.count < 0 else round(row.count / most * 100, 1),
            hidden=row.count < 0,
            code=row.code,
            short=month(row.code, "abbreviated").partition(" ")[0],
        )
        for row in rows
    ]


def months(pilot: PilotFigures) -> list[Figure]:
    """Each month of the period, also those in which nobody was counted."""
    counted = {row.code: row.count for row in pilot.by_month}
    every = [f"{year}-{number:02d}" for year in years(pilot) for number in range(1, 13)]
    return [Figure(code=code, count=counted.get(code, 0)) for code in every if pilot.period_start <= code <= pilot.period_end and counted]


def years(pilot: PilotFigures) -> range:
    """The calendar years of the period; none where it is not said."""
    start, end = (code.partition("-")[0] for code in (pilot.period_start, pilot.period_end))
    return range(int(start), int(end) + 1) if start.isdecimal() and end.isdecimal() else range(0)


def month(code: str, width: str = "wide") -> str:
    """2006-01 in words."""
    year, _dash, number = code.partition("-")
    named = i18n.locale().months["stand-alone"][width].get(int(number or 0), "") if number.isdecimal() else ""
    return f"{named} {year}".strip()
