"""Local days and hours of places in the region, by ISO 3166 codes.

Limitations: in the United States, Mexico, Ecuador and Spain, which have several zones, only the
subdivision decides the zone of a place, and a subdivision with two zones gets the zone of most of
its people.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

_ZONES = {
    "NI": "America/Managua",
    "CR": "America/Costa_Rica",
    "SV": "America/El_Salvador",
    "GT": "America/Guatemala",
    "HN": "America/Tegucigalpa",
    "MX": "America/Mexico_City",
    "PA": "America/Panama",
    "BZ": "America/Belize",
    "DO": "America/Santo_Domingo",
    "HT": "America/Port-au-Prince",
    "EC": "America/Guayaquil",
    "PE": "America/Lima",
    "CO": "America/Bogota",
    "US": "America/New_York",
    "ES": "Europe/Madrid",
    "EC-W": "Pacific/Galapagos",
    "ES-CN": "Atlantic/Canary",
}
_SUBDIVISIONS_BY_ZONE = {
    "America/Tijuana": ("MX-BCN",),
    "America/Matamoros": ("MX-TAM",),
    "America/Hermosillo": ("MX-SON",),
    "America/Mazatlan": ("MX-BCS", "MX-SIN", "MX-NAY"),
    "America/Cancun": ("MX-ROO",),
    "America/Chicago": tuple(
        f"US-{state}" for state in "AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI".split()
    ),
    "America/Denver": tuple(f"US-{state}" for state in "CO ID MT NM UT WY".split()),
    "America/Phoenix": ("US-AZ",),
    "America/Los_Angeles": tuple(f"US-{state}" for state in "CA NV OR WA".split()),
    "America/Anchorage": ("US-AK",),
    "Pacific/Honolulu": ("US-HI",),
    "America/Puerto_Rico": ("US-PR", "US-VI"),
    "Pacific/Guam": ("US-GU", "US-MP"),
    "Pacific/Pago_Pago": ("US-AS",),
}
_ZONES |= {code: zone for zone, codes in _SUBDIVISIONS_BY_ZONE.items() for code in codes}


def zone_of(country: str, subdivision: str = "") -> ZoneInfo:
    """Returns the zone of a subdivision, or else of its country, or else of `country`; Managua's
    zone if none is known.
    """
    codes = (subdivision, subdivision[:2], country, "NI")
    return ZoneInfo(next(_ZONES[code] for code in codes if code in _ZONES))


def day_at(moment: datetime, country: str, subdivision: str = "") -> date:
    """Returns the local date of a place at this moment."""
    return moment.astimezone(zone_of(country, subdivision)).date()


def latest_day(moment: datetime) -> date:
    """Returns the latest local date anywhere in the region."""
    return max(moment.astimezone(ZoneInfo(zone)).date() for zone in set(_ZONES.values()))
