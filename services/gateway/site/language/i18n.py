"""Languages and time as the reader has them: Spanish is the source, all other languages come from
the catalogues beside this file.

A public page remembers the language in its address, a session in its cookie; nobody else is
remembered.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path

import flask_babel
from babel import Locale
from babel.dates import format_date, format_datetime
from flask import Flask, g, request
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.clock import SystemClock
from chassis.languages import LANGUAGES, SOURCE, known
from chassis.local_time import zone_of
from chassis.wire import MEANT_YEARS
from chassis.words import catalogue

CATALOGUES = Path(__file__).parent / "translations"


def install(app: Flask) -> None:
    """Gives the app its languages."""
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
    """The reader's language: asked for in the address, chosen in this session, the worker's own,
    the browser's, Spanish.
    """
    if "language" not in g:
        me = g.get("me")
        wishes = [
            request.args.get("lang", ""),
            g.get("language_choice", ""),
            known(me.language) if me else "",
        ]
        g.language = next(
            (wish for wish in wishes if wish in LANGUAGES),
            request.accept_languages.best_match(list(LANGUAGES), default=SOURCE),
        )
    return str(g.language)


def zone() -> tzinfo:
    """The time zone of the worker's country; Managua's for everybody else."""
    me = g.get("me")
    return zone_of(me.country, me.department) if me else zone_of("")


def _(text: str, **values: object) -> str:
    """A text in the reader's language; `%(name)s` in it takes a value."""
    return str(flask_babel.gettext(text, **values))


def ngettext(one: str, many: str, num: int, **values: object) -> str:
    """The same for a number of things; `%(num)d` is the number."""
    return str(flask_babel.ngettext(one, many, num, **values))


def keep_language(endpoint: str, values: dict[str, object]) -> None:
    """On public pages the language lives in the address, for there is no cookie to hold it."""
    if endpoint != "static" and g and not g.get("me") and request.args.get("lang") in LANGUAGES:
        values.setdefault("lang", request.args["lang"])


def locale() -> Locale:
    """The reader's locale."""
    return Locale.parse(language())


def now() -> datetime:
    """The time, for clocks on pages."""
    return SystemClock().now()


def today() -> date:
    """The day where the reader is."""
    return now().astimezone(zone()).date()


def moment(stamp: Timestamp | None) -> datetime | None:
    """A protobuf time as Python's, or None where it was never set."""
    if stamp is None or not (stamp.seconds or stamp.nanos):
        return None
    return stamp.ToDatetime(tzinfo=UTC)


def written(at: datetime, pattern: str) -> str:
    """A time in the reader's zone and language, by a pattern of CLDR."""
    return str(format_datetime(at.astimezone(zone()), pattern, locale=locale()))


def time_of_day(at: datetime) -> str:
    """The time of day."""
    return written(at, "HH:mm")


def when(stamp: Timestamp | None) -> str:
    """A time in the reader's form: today and yesterday by name, everything else with its date."""
    at = moment(stamp)
    if at is None:
        return "–"
    local, day = at.astimezone(zone()), today()
    clock = time_of_day(at)
    if local.date() == day:
        return _("hoy, %(clock)s", clock=clock)
    if local.date() == day - timedelta(days=1):
        return _("ayer, %(clock)s", clock=clock)
    if local.date() == day + timedelta(days=1):
        return _("mañana, %(clock)s", clock=clock)
    pattern = "d MMM, HH:mm" if local.year == day.year else "d MMM y, HH:mm"
    return written(at, pattern)


def later(stamp: Timestamp | None, hours: int) -> str:
    """The day and time so many hours after, for what medicine allows."""
    at = moment(stamp)
    return written(at + timedelta(hours=hours), "EEE d MMM, HH:mm") if at else "–"


def day(stamp: Timestamp | None) -> str:
    """A date in the reader's form."""
    at = moment(stamp)
    return written(at, "d MMM y") if at else "–"


def day_of(text: str) -> str:
    """A full-date of a contract, the same way: it is a day wherever it is read."""
    return str(format_date(date.fromisoformat(text), "d MMM y", locale=locale()))


def this_day() -> str:
    """Today's date, the same way."""
    return written(now(), "d MMM y")


def dated(stamp: Timestamp | None) -> str:
    """A time with its whole date, for paper: it is read on another day."""
    at = moment(stamp)
    return written(at, "d MMMM y, HH:mm") if at else "–"


def long_day(at: datetime) -> str:
    """A date with its weekday, without the year."""
    return written(at, _("EEEE d 'de' MMMM"))


def ago(stamp: Timestamp | None) -> str:
    """How long since, in words."""
    at = moment(stamp)
    return _("hace %(span)s", span=span(now() - at)) if at else "–"


def span(length: timedelta) -> str:
    """A length of time as it is said: 12 min, 2 h 10, 22 h, 3 days."""
    hours, minutes = divmod(max(0, int(length.total_seconds()) // 60), 60)
    if hours >= 48:
        return ngettext("%(num)d día", "%(num)d días", hours // 24)
    if hours >= 12 or (hours and not minutes):
        return f"{hours} h"
    return f"{hours} h {minutes:02d}" if hours else f"{minutes} min"


def local_to_stamp(text: str) -> Timestamp | None:
    """What a date or date-time field of a form holds, read in the reader's zone; None when it is
    empty or no time. OverflowError in a year that nobody means.
    """
    try:
        naive = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if naive.year not in MEANT_YEARS:
        raise OverflowError
    stamp = Timestamp()
    stamp.FromDatetime(
        (naive if naive.tzinfo else naive.replace(tzinfo=zone()))
        .astimezone(UTC)
        .replace(tzinfo=None)
    )
    return stamp


def is_past(stamp: Timestamp) -> bool:
    """Whether a time of a message is over; no time is not."""
    at = moment(stamp)
    return at is not None and at < now()


def field_of(stamp: Timestamp) -> str:
    """A time of a message as a form field wants it; empty for none."""
    at = moment(stamp)
    return for_field(at) if at else ""


def for_field(at: datetime, form: str = "%Y-%m-%dT%H:%M") -> str:
    """A time as a form field wants it, in the reader's zone."""
    return at.astimezone(zone()).strftime(form)
