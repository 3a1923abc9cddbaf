"""Figures that are safe to publish, as charts with their tables and as files.

Anybody can read the network's figures; only members can read the figures of the pilot of 2006. The
files are meant for a spreadsheet.
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from typing import Any

from babel.dates import format_skeleton
from flask import Response, render_template, request

from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import clients
from services.gateway.site.backend import names
from services.gateway.site.language import _, i18n, words
from services.gateway.site.parts import pictures
from services.gateway.site.shell import access

pages = access.Pages("figures")

COLUMNS = 8  # quarters for which a phone has room; the file has all of them


@dataclass(frozen=True)
class Chart:
    """One question and its answer: rows or, `in_columns`, columns in the order of time.

    `code` names the chart in the file.
    """

    code: str
    title: str
    bars: list[pictures.Bar]
    in_columns: bool = False
    arcs: Mapping[str, Any] | None = None


@pages.get("/figures", access.ANYBODY)
def figures() -> str:
    """Shows the network's figures, filtered by period, country and need.

    The figures are the same for every reader.
    """
    query, network_figures = network()
    return render_template(
        "figures.html",
        query=query,
        total=pictures.count_text(network_figures.total),
        until=quarter(network_figures.counted_until),
        charts=charts(query, network_figures),
        countries=[(code, words.country(code)) for code in network_figures.countries],
        periods=[(year, year) for year in reversed(network_figures.periods)],
        needs_=[(code, names.need(code)) for code in network_figures.need_group_codes],
        method=words.word("counting_method", "network"),
    )


@pages.get("/figures.csv", access.ANYBODY)
def table() -> Response:
    """Returns the network's figures as a file.

    The file also states the query, the method of counting, and the date of the file.
    """
    query, network_figures = network()
    return sheet(
        "enlace",
        [
            (
                "total",
                "all",
                _("ayudas recibidas, al menos"),
                pictures.count_text(network_figures.total),
            )
        ],
        charts(query, network_figures, all_quarters=True),
        {
            "period": query.period,
            "country": query.country,
            "need": query.need_group_code,
            "counted_until": network_figures.counted_until,
        },
        words.word("counting_method", "network"),
        unit="at_least",
    )


@pages.get("/figures/pilot", access.EVERYONE)
def pilot() -> str:
    pilot_figures = clients().statistics.GetPilotFigures(r.GetPilotFiguresRequest())
    return render_template(
        "pilot.html",
        pilot=pilot_figures,
        charts=pilot_charts(pilot_figures),
        start=month(pilot_figures.period_start),
        end=month(pilot_figures.period_end),
        method=words.word("counting_method", "pilot"),
    )


@pages.get("/figures/pilot.csv", access.EVERYONE)
def pilot_table() -> Response:
    pilot_figures = clients().statistics.GetPilotFigures(r.GetPilotFiguresRequest())
    return sheet(
        "enlace-2006",
        [
            ("total", "assisted", _("personas ayudadas"), str(pilot_figures.assisted)),
            ("total", "from_chinandega", _("de Chinandega"), str(pilot_figures.from_chinandega)),
        ],
        pilot_charts(pilot_figures),
        {"period": f"{pilot_figures.period_start}/{pilot_figures.period_end}"},
        words.word("counting_method", "pilot"),
    )


def network() -> tuple[r.GetFiguresRequest, r.Figures]:
    """Returns the query from the URL, and the figures for this query."""
    rpc_request = r.GetFiguresRequest(
        **{name: request.args.get(name, "") for name in ("period", "country", "need_group_code")}
    )
    return rpc_request, clients().statistics.GetFigures(rpc_request)


def sheet(
    name: str,
    totals: list[tuple[str, str, str, str]],
    charts: list[Chart],
    notes: dict[str, str],
    method: str,
    unit: str = "people",
) -> Response:
    """Returns a file with a row for each figure, and with notes on the figures."""
    demo = {"demo": words.demo_statement()} if words.demo_statement() else {}
    all_notes = {**notes, **demo, "method": method, "date": i18n.today().isoformat()}
    text = StringIO()
    csv.writer(text).writerows(
        [
            ("table", "code", "name", unit),
            *totals,
            *(
                (chart.code, bar.code, bar.label, bar.text)
                for chart in charts
                for bar in chart.bars
            ),
            *(("note", name, value, "") for name, value in all_notes.items()),
        ]
    )
    return Response(
        "\ufeff" + text.getvalue(),  # the byte order mark tells a spreadsheet how to read accents
        mimetype="text/csv",
        headers={"Content-Disposition": f"attachment; filename={name}.csv"},
    )


def charts(
    query: r.GetFiguresRequest, network_figures: r.Figures, all_quarters: bool = False
) -> list[Chart]:
    """Returns all charts of the network; none if the total is too small to be shown.

    `all_quarters` includes the quarters for which a page has no room.
    """
    if network_figures.total < 0:
        return []
    quarters = list(network_figures.by_quarter)[0 if all_quarters else -COLUMNS :]
    routes = [
        r.Figure(code=f"{route.exploitation_country}>{route.country}", count=route.count)
        for route in network_figures.routes
    ]
    charts = [
        Chart(
            "quarter",
            _("Por trimestre"),
            bars(quarters, quarter, in_order=True, short_label=partial(quarter, skeleton="yQQQ")),
            in_columns=True,
        ),
        Chart(
            "route",
            _("De dónde vienen y dónde están"),
            [*bars(routes, route), other_bar(_("Cualquier otro trayecto"))],
            arcs=pictures.arcs(
                (route.exploitation_country, route.country, route.count)
                for route in network_figures.routes
            ),
        ),
        Chart(
            "need",
            _("Qué ayuda recibieron"),
            [
                *bars(network_figures.by_need_group, names.need),
                other_bar(_("Cualquier otra ayuda")),
            ],
        ),
        Chart(
            "taken_to",
            _("A dónde las habían llevado"),
            [
                *bars(network_figures.by_exploitation_country, words.country),
                other_bar(_("Cualquier otro país")),
            ],
        ),
        Chart(
            "country",
            _("Dónde están"),
            [*bars(network_figures.by_country, words.country), other_bar(_("Cualquier otro país"))],
        ),
    ]
    return [chart for chart in charts if chart.code != "need" or not query.need_group_code]


def pilot_charts(pilot_figures: r.PilotFigures) -> list[Chart]:
    """Returns all charts of the pilot, except charts without counts."""
    charts = [
        Chart("department", _("De dónde son"), bars(pilot_figures.by_department, words.department)),
        Chart(
            "country",
            _("A dónde las habían llevado"),
            bars(pilot_figures.by_country, words.country),
        ),
        Chart("need", _("Qué ayuda recibieron"), bars(pilot_figures.by_need_group, names.need)),
        Chart(
            "month",
            _("Cuándo"),
            bars(
                months(pilot_figures),
                month,
                in_order=True,
                short_label=lambda code: month(code, "abbreviated").partition(" ")[0],
            ),
            in_columns=True,
        ),
    ]
    return [chart for chart in charts if chart.bars]


def bars(
    figures: Iterable[r.Figure],
    label: Callable[[str], str],
    in_order: bool = False,
    short_label: Callable[[str], str] = lambda code: "",
) -> list[pictures.Bar]:
    """Returns the rows of a chart, the longest first unless `in_order`.

    The row of a withheld count has no number and no length, because either could reveal a person.
    """
    rows = list(figures) if in_order else sorted(figures, key=lambda row: -row.count)
    most = max((row.count for row in rows), default=0) or 1
    return [
        pictures.Bar(
            label(row.code),
            pictures.count_text(row.count),
            share=0 if row.count < 0 else round(row.count / most * 100, 1),
            hidden=row.count < 0,
            code=row.code,
            short=short_label(row.code),
        )
        for row in rows
    ]


def other_bar(label: str) -> pictures.Bar:
    """Returns the row for everything that is not published.

    The row is always present, because readers must not even learn whether it counts anybody.
    """
    return pictures.Bar(label, pictures.FEW, hidden=True, code="other")


def route(code: str) -> str:
    """Returns a route such as SV>NI in words."""
    start, _arrow, end = code.partition(">")
    return f"{words.country(start)} → {words.country(end)}"


def quarter(code: str, skeleton: str = "yQQQQ") -> str:
    """Returns a quarter such as 2026-Q3 in words, in the style of the CLDR skeleton."""
    if not re.fullmatch(r"\d{4}-Q[1-4]", code):
        return code
    first_day = datetime(int(code[:4]), int(code[-1]) * 3 - 2, 1, tzinfo=UTC)
    return str(format_skeleton(skeleton, first_day, locale=i18n.locale()))


def months(pilot_figures: r.PilotFigures) -> list[r.Figure]:
    """Returns every month of the period, with or without a count; none if no month has a count."""
    counts_by_month = {row.code: row.count for row in pilot_figures.by_month}
    codes = [f"{year}-{number:02d}" for year in years(pilot_figures) for number in range(1, 13)]
    return [
        r.Figure(code=code, count=counts_by_month.get(code, 0))
        for code in codes
        if pilot_figures.period_start <= code <= pilot_figures.period_end and counts_by_month
    ]


def years(pilot_figures: r.PilotFigures) -> range:
    """Returns the calendar years of the period; none if the period is not set."""
    start, end = (
        code.partition("-")[0] for code in (pilot_figures.period_start, pilot_figures.period_end)
    )
    return range(int(start), int(end) + 1) if start.isdecimal() and end.isdecimal() else range(0)


def month(code: str, width: str = "wide") -> str:
    """Returns a month such as 2006-01 in words."""
    year, _dash, number = code.partition("-")
    month_name = (
        i18n.locale().months["stand-alone"][width].get(int(number or 0), "")
        if number.isdecimal()
        else ""
    )
    return f"{month_name} {year}".strip()
