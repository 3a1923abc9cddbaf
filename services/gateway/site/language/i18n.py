"""Formats texts and times for the reader, in the reader's language and time zone.

Spanish is the source language; the catalogues beside this file hold the other languages. Public
pages carry the chosen language in their URL; a session keeps it in its cookie. The choice is
stored nowhere else.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path

import flask_babel
from babel import Locale
from babel.dates import format_date, format_datetime
from flask import Flask, g, request
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.clock import SystemClock
from chassis.languages import LANGUAGES, SOURCE, known
from chassis.local_time import zone_of
from chassis.wire import PLAUSIBLE_YEARS, timestamp
from chassis.words import catalogue

CATALOGUES = Path(__file__).parent / "translations"


def install(app: Flask) -> None:
    """Sets up the languages of the app."""
    babel = flask_babel.Babel(
        app,
        default_locale=SOURCE,
        default_timezone="UTC",
        locale_selector=language,
        timezone_selector=zone,
    )
    with app.app_context():
        babel.domain_instance.cache.update(
            {(code, "messages"): catalogue(CATALOGUES, code) for code in LANGUAGES}
        )
    app.url_defaults(keep_language)


def language() -> str:
    """Returns the reader's language, from the first source that names a language of the site.

    The sources are, in this order, the URL, the choice in this session, the worker's own
    language, and the browser. If none of them names such a language, returns Spanish.
    """
    if "language" not in g:
        me = g.get("me")
        candidates = (
            request.args.get("lang", ""),
            g.get("language_choice", ""),
            known(me.language) if me else "",
            # werkzeug's best_match would skip fr-CA if en follows it
            *map(known, request.accept_languages.values()),
        )
        g.language = next((tag for tag in candidates if tag in LANGUAGES), SOURCE)
    return str(g.language)


def zone() -> tzinfo:
    """Returns the time zone of the worker's department and country.

    If nobody is signed in, returns the time zone of Nicaragua.
    """
    me = g.get("me")
    return zone_of(me.country, me.department) if me else zone_of("")


def _(text: str, **values: object) -> str:
    """Returns a text in the reader's language. `%(name)s` in the text stands for a value."""
    return str(flask_babel.gettext(text, **values))


def ngettext(one: str, many: str, num: int, **values: object) -> str:
    """Returns the text for `num` things, in the reader's language; `%(num)d` stands for `num`."""
    return str(flask_babel.ngettext(one, many, num, **values))


def keep_language(endpoint: str, values: dict[str, object]) -> None:
    """Keeps the language in the URLs of public pages, which have no cookie to hold it."""
    if endpoint != "static" and g and not g.get("me") and request.args.get("lang") in LANGUAGES:
        values.setdefault("lang", request.args["lang"])


def locale() -> Locale:
    return Locale.parse(language())


def now() -> datetime:
    return SystemClock().now()


def today() -> date:
    """Returns the current day in the reader's zone."""
    return now().astimezone(zone()).date()


def moment(stamp: Timestamp | None) -> datetime | None:
    """Converts a protobuf time to Python's; returns None for a time that was never set."""
    return stamp.ToDatetime(tzinfo=UTC) if stamp and (stamp.seconds or stamp.nanos) else None


def format_time(time: datetime, pattern: str, other_zone: tzinfo | None = None) -> str:
    """Formats a time with a CLDR pattern for the reader, in her zone or in `other_zone`."""
    local = time.astimezone(other_zone or zone())
    return _with_first_day(str(format_datetime(local, pattern, locale=locale())))


def _with_first_day(text: str) -> str:
    """Writes the first day of a month as French does, which CLDR's patterns do not: 1er déc."""
    return re.sub(r"\b1(?= \D)", "1er", text) if language() == "fr" else text


def time_of_day(time: datetime) -> str:
    """Formats the time of day in the reader's zone."""
    return format_time(time, "HH:mm")


def when(stamp: Timestamp | None, utc_offset_minutes: int | None = None) -> str:
    """Formats a time for the reader: yesterday, today and tomorrow by name, other days by date.

    The time is in the reader's zone, unless an offset from UTC is given.
    """
    time = moment(stamp)
    if time is None:
        return "–"
    local_zone = _zone_at(utc_offset_minutes)
    local, day = time.astimezone(local_zone), now().astimezone(local_zone).date()
    clock = format_time(time, "HH:mm", local_zone)
    near_days = {
        -1: _("ayer, %(clock)s", clock=clock),
        0: _("hoy, %(clock)s", clock=clock),
        1: _("mañana, %(clock)s", clock=clock),
    }
    pattern = "d MMM, HH:mm" if local.year == day.year else "d MMM y, HH:mm"
    return near_days.get((local.date() - day).days) or format_time(time, pattern, local_zone)


def time_after(stamp: Timestamp | None, hours: int) -> str:
    """Formats the time that is `hours` after `stamp`, for the time limits of medicines.

    Returns "" if `stamp` is not set, or once that time has passed.
    """
    time = (moment(stamp) or datetime.min.replace(tzinfo=UTC)) + timedelta(hours=hours)
    return format_time(time, "EEE d MMM, HH:mm") if time > now() else ""


def day(stamp: Timestamp | None, utc_offset_minutes: int | None = None) -> str:
    """Formats the date of a time, with the year.

    The date is that of the reader's zone, unless an offset from UTC is given.
    """
    time = moment(stamp)
    return format_time(time, "d MMM y", _zone_at(utc_offset_minutes)) if time else "–"


def _zone_at(utc_offset_minutes: int | None) -> tzinfo:
    if utc_offset_minutes is None:
        return zone()
    return timezone(timedelta(minutes=utc_offset_minutes))


def full_date(text: str) -> str:
    """Formats a full-date (RFC 3339) as `day` formats a time. A date is the same in every zone."""
    return _with_first_day(str(format_date(date.fromisoformat(text), "d MMM y", locale=locale())))


def weekday(text: str, days: int) -> str:
    """Returns the weekday of the day that is `days` days after a full-date (RFC 3339).

    If the text is empty, because a service of an older version sends no date, counts from the
    reader's current day.
    """
    start = date.fromisoformat(text) if text else today()
    return str(format_date(start + timedelta(days), "EEEE", locale=locale()))


def today_text() -> str:
    """Formats today's date as `day` formats the date of a time."""
    return format_time(now(), "d MMM y")


def full_date_and_time(stamp: Timestamp | None) -> str:
    """Formats a time with its full date, for paper, which may be read on another day."""
    time = moment(stamp)
    return format_time(time, _("d 'de' MMMM 'de' y, HH:mm")) if time else "–"


def weekday_and_day(time: datetime) -> str:
    """Formats the date of a time with the weekday and without the year."""
    return format_time(time, _("EEEE d 'de' MMMM"))


def ago(stamp: Timestamp | None) -> str:
    """Formats how long ago a time was, in words."""
    time = moment(stamp)
    return _("hace %(span)s", span=span(now() - time)) if time else "–"


def span(length: timedelta) -> str:
    """Formats a duration as people say it: 12 min, 2 h 10, 22 h, 3 days."""
    hours, minutes = divmod(max(0, int(length.total_seconds()) // 60), 60)
    if hours >= 48:
        return ngettext("%(num)d día", "%(num)d días", hours // 24)
    if hours >= 12 or (hours and not minutes):
        return f"{hours} h"
    return f"{hours} h {minutes:02d}" if hours else f"{minutes} min"


def local_to_stamp(text: str) -> Timestamp | None:
    """Returns the time in a date or date-time field of a form.

    A time without a zone is a time in the reader's zone. Returns None if the field is empty or
    holds no time. Raises OverflowError for a year outside of chassis.wire.PLAUSIBLE_YEARS.
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if time.year not in PLAUSIBLE_YEARS:
        raise OverflowError
    return timestamp(time if time.tzinfo else time.replace(tzinfo=zone()))


def start_of_day(text: str) -> Timestamp | None:
    """Returns the beginning of a day in the reader's zone; None for a text that is not a day."""
    try:
        return local_to_stamp(text[:10])
    except OverflowError:
        return None


def is_past(stamp: Timestamp) -> bool:
    """Returns whether a protobuf time is past; False if the time is not set."""
    time = moment(stamp)
    return time is not None and time < now()


def stamp_for_field(stamp: Timestamp | None) -> str:
    """Formats a protobuf time for a form field; "" if the time is not set."""
    time = moment(stamp)
    return for_field(time) if time else ""


def for_field(time: datetime, pattern: str = "%Y-%m-%dT%H:%M") -> str:
    """Formats a time for a form field, in the reader's zone."""
    return time.astimezone(zone()).strftime(pattern)
