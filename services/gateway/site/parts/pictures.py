"""Pictures that the gateway draws without a script: maps, charts, tables of shades, strips.

Each picture has its figures in words next to it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from chassis.wire import timestamp
from protos.notifications.v1.notifications_pb2 import DeliveryHour
from protos.referrals.v1.referrals_pb2 import Referral, UnansweredNeed
from services.gateway.site.language import i18n, vocabulary, words

FEW = "<10"
"""Stands for a figure that is too small to be shown, because it could reveal a person."""
SHADES = 5
COLUMNS = 5  # columns (departments) for which a phone has room beside the names of the needs
MAX_STACKED = 6  # dots that may be stacked; further dots are shown as a number
SLOTS = 48  # slots on a strip


def count_text(count: int) -> str:
    """Returns the text for a count. The services send a negative count for FEW."""
    return FEW if count < 0 else str(count)


def shade(count: int, most: int) -> int:
    """Returns the shade of a count, from 0 (no cases, or FEW) to 5 (the count `most`).

    If all counts are small, no count gets the darkest shade.
    """
    return min(SHADES, max(1, round(SHADES * count / max(most, SHADES)))) if count > 0 else 0


@cache
def _outlines(country: str) -> dict[str, Any] | None:
    """Returns the outlines of a country's departments from their file; None if there is no file."""
    file = Path(__file__).parent / "maps" / f"{country.lower()}.json"
    return dict(json.loads(file.read_text())) if country.isalpha() and file.exists() else None


def map_of(country: str, counts: Mapping[str, int]) -> dict[str, Any] | None:
    """Returns a country's outlines, with a count and a shade for each department.

    Returns None for a country without outlines.
    """
    if (outlines := _outlines(country)) is None:
        return None
    most = max(counts.values(), default=0)
    counts_by_area = [(area, counts.get(area["code"], 0)) for area in outlines["subdivisions"]]
    return outlines | {
        "subdivisions": [
            area | {"count": count, "shade": shade(count, most)} for area, count in counts_by_area
        ]
    }


def heat(needs: Iterable[UnansweredNeed]) -> dict[str, Any]:
    """Returns needs by department as a table of shades, with the largest numbers first.

    The table has a row for each group of needs, and a column for each of the departments with the
    most needs. `others`: a last column has the sums of all other departments.
    """
    cells, departments, groups = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
    for need in needs:
        cells[need.need_group_code, need.department] += need.count
        departments[need.department] += need.count
        groups[need.need_group_code] += need.count
    ranked_codes = sorted(departments, key=lambda code: (-departments[code], code))
    shown_codes = ranked_codes if len(ranked_codes) <= COLUMNS + 1 else ranked_codes[:COLUMNS]
    numbers = {
        group: [cells[group, code] for code in shown_codes]
        + [sum(cells[group, code] for code in ranked_codes[len(shown_codes) :])]
        * (shown_codes != ranked_codes)
        for group in sorted(groups, key=lambda group: (-groups[group], group))
    }
    most = max((count for row in numbers.values() for count in row), default=0)
    return {
        "departments": shown_codes,
        "others": shown_codes != ranked_codes,
        "rows": [
            (group, [(count, shade(count, most)) for count in row])
            for group, row in numbers.items()
        ],
        "by_department": [(code, departments[code]) for code in ranked_codes],
        "total": sum(departments.values()),
    }


def strip(referrals: Iterable[Referral], now: datetime, span: timedelta) -> dict[str, Any]:
    """Returns the deadlines from `now` until `span` later; the most urgent are at the bottom.

    A dot has a place in per cent, a row (counted from below), an urgency, and the number of
    deadlines that have no dot of their own. `hours` are the times of day below the dots, each as
    its place in per cent and its text.
    """
    slots: dict[int, list[str]] = {}
    for referral in referrals:
        due = i18n.moment(referral.next_due_time)
        if due is not None and now <= due < now + span:
            slots.setdefault(int((due - now) / span * SLOTS), []).append(
                words.code("urgency", referral.urgency)
            )
    rank = {code: position for position, code in enumerate(vocabulary.TABLES["urgency"])}
    dots = []
    for slot, urgencies in slots.items():
        position = round((slot + 0.5) / SLOTS * 100, 2)
        urgencies.sort(key=lambda urgency: rank[urgency])
        dots += [(position, row, urgency, 0) for row, urgency in enumerate(urgencies[:MAX_STACKED])]
        if len(urgencies) > MAX_STACKED:
            dots.append((position, MAX_STACKED, "", len(urgencies) - MAX_STACKED))
    counts = Counter(urgency for urgencies in slots.values() for urgency in urgencies)
    return {
        "dots": dots,
        "hours": [(part * 25.0, i18n.time_of_day(now + span * part / 4)) for part in range(1, 5)],
        "rows": max((row + 1 for _position, row, *_ in dots), default=0),
        "by_urgency": sorted(counts.items(), key=lambda item: rank[item[0]]),
    }


@dataclass(frozen=True)
class Bar:
    """One row of a chart: label, figure as text, and share of the longest row, 0 to 100.

    `hidden`: the figure is too small to be shown, so the row has no length. `short` is the label
    for places with room for only a few letters.
    """

    label: str
    text: str
    share: float = 0
    hidden: bool = False
    code: str = ""
    short: str = ""


NORTH_TO_SOUTH = "US MX BZ GT HN SV NI CR PA CO EC PE".split()
ROW = 40  # distance from one country to the next
MIDDLE, HALF_WIDTH = 160, 58  # the centre of the names, and half their width


def arcs(routes: Iterable[tuple[str, str, int]]) -> dict[str, Any]:
    """Draws routes between countries, given as origin, destination and count.

    The countries stand below one another from north to south. A route is a line, an arrowhead, and
    a width. Lines to the south are on the right, lines to the north on the left.
    """
    all_routes = list(routes)
    countries = {code for origin, destination, _ in all_routes for code in (origin, destination)}
    ranked_codes = sorted(
        countries,
        key=lambda code: (
            NORTH_TO_SOUTH.index(code) if code in NORTH_TO_SOUTH else len(NORTH_TO_SOUTH),
            code,
        ),
    )
    heights = {code: ROW // 2 + ROW * index for index, code in enumerate(ranked_codes)}
    most = max((count for *_, count in all_routes), default=1)
    return {
        "width": MIDDLE * 2,
        "height": ROW * len(ranked_codes),
        "countries": list(heights.items()),
        "arcs": [
            _arc(heights[origin], heights[destination], 2 + 8 * count / most)
            for origin, destination, count in all_routes
        ],
    }


def _arc(start: int, end: int, width: float) -> tuple[str, str, float]:
    """Draws half an ellipse; draws a loop if the route stays in one country."""
    side = 1 if end >= start else -1  # right of the names, or left
    x, half = MIDDLE + side * HALF_WIDTH, round(3 + width / 2, 1)
    # A line leaves and arrives on the side of the other country, so that the lines of a country in
    # between do not meet.
    offset = 7 if end > start else -7 if end < start else -9
    begin, stop = start + offset, end - offset
    reach = min(MIDDLE - HALF_WIDTH - 18, 18 + abs(stop - begin) // 3)
    return (
        f"M{x} {begin}h{side * 9}A{reach} {abs(stop - begin) / 2:g} 0 0 1 {x + side * 9} {stop}",
        f"M{x} {stop}l{side * 11} {-half}v{2 * half}z",
        round(width, 1),
    )


HOURS = 24


def day(hours: Iterable[DeliveryHour], now: datetime) -> list[DeliveryHour]:
    """Returns the current hour of an endpoint and the 23 hours before it, the oldest first.

    An hour without attempts has no counts.
    """
    first_hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    starts = [first_hour + timedelta(hours=number) for number in range(HOURS)]
    by_start = {hour.start_time.seconds: hour for hour in hours}
    return [
        by_start.get(int(start.timestamp())) or DeliveryHour(start_time=timestamp(start))
        for start in starts
    ]
