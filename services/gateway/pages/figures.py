"""Figures that are safe to publish: the 2006 pilot, as bars with the table under them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flask import Blueprint, render_template

from protos.referrals.v1.referrals_pb2 import Figure, GetPilotFiguresRequest
from services.gateway import access, i18n, names, words
from services.gateway.clients import clients
from services.gateway.i18n import N_
from services.gateway.i18n import gettext as _

blueprint = Blueprint("figures", __name__)


@dataclass(frozen=True)
class Bar:
    """One row of a chart: what, how many in words, and the share of the longest bar, 0 to 100."""

    label: str
    text: str
    share: int
    hidden: bool


@blueprint.get("/figures")
@access.open_to(access.EVERYONE, navigation=N_("Cifras"), section="network")
def figures() -> str:
    """The page."""
    pilot = clients().statistics.GetPilotFigures(GetPilotFiguresRequest())
    charts = [
        (_("De dónde son"), bars(pilot.by_department, words.department)),
        (_("A dónde las habían llevado"), bars(pilot.by_country, words.country)),
        (_("Qué ayuda recibieron"), bars(pilot.by_need_group, names.need)),
        (_("Cuándo"), bars(pilot.by_month, month, in_order=True)),
    ]
    return render_template("figures.html", pilot=pilot, charts=charts, start=month(pilot.period_start), end=month(pilot.period_end))


def bars(figures: Iterable[Figure], label: Callable[[str], str], in_order: bool = False) -> list[Bar]:
    """Rows of a chart. A count under ten is not shown as a number: it could point at somebody."""
    rows = list(figures) if in_order else sorted(figures, key=lambda row: -row.count)
    most = max([row.count for row in rows] + [10])
    return [
        Bar(
            label=label(row.code),
            text=_("menos de diez") if row.count < 0 else str(row.count),
            share=round((5 if row.count < 0 else row.count) / most * 100),
            hidden=row.count < 0,
        )
        for row in rows
    ]


def month(code: str) -> str:
    """2006-01 in words."""
    year, _dash, number = code.partition("-")
    named = i18n.locale().months["stand-alone"]["wide"].get(int(number or 0), "") if number.isdecimal() else ""
    return f"{named} {year}".strip()
