"""The frame of every page: navigation by role, words for codes, form tokens, the unread count."""

from collections.abc import Sequence
from typing import Any

from flask import Flask, g, request, url_for

from chassis.errors import Refusal
from chassis.ids import new_id, short_code
from chassis.languages import LANGUAGES, N_
from protos.notifications.v1.notifications_pb2 import CountUnreadRequest
from protos.partners.v1.directory_pb2 import Service
from services.gateway.edge.clients import ServiceFault, clients
from services.gateway.site.backend import names
from services.gateway.site.language import _, i18n, vocabulary, words
from services.gateway.site.parts import advice, due, steps
from services.gateway.site.shell import access, errors, lines, session

# The languages and countries that forms offer: those of the campaign and those of the places to
# which people were taken.
LANGUAGE_TAGS = ("es", "en", "fr", "ht", "miq", "qu", "pt", "zh")
COUNTRIES = ("NI", "CR", "SV", "GT", "HN", "MX", "US", "PA", "DO", "EC", "PE", "CO", "ES")
NAVIGATION = {
    "work": {
        "today.today": N_("Hoy"),
        "line.queue": N_("Línea"),
        "enquiries.listing": N_("Consultas"),
        "referral.listing": N_("Remisiones"),
        "people.listing": N_("Personas"),
    },
    "network": {
        "directory.search": N_("Directorio"),
        "board.board": N_("Tablero"),
        "audit.show": N_("Auditoría"),
        "pathways.listing": N_("Rutas"),
        "figures.figures": N_("Cifras"),
        "network_roles.listing": N_("Coordinación"),
    },
    "organization": {
        "entry.show": N_("Ficha"),
        "members.listing": N_("Equipo"),
        "webhooks.listing": N_("Sistemas"),
        "inbox.inbox": N_("Avisos"),
    },
}
"""The entries of the navigation in their order, by section: endpoints, each with its label."""
# modules whose pages belong to another module's entry in the navigation
PARTS = {"referral": ("referral_new",), "people": ("plans",)}


def install(app: Flask) -> None:
    app.context_processor(context)
    app.jinja_env.globals.update(
        word=words.word,
        options=words.options,
        call_days=words.call_days,
        code_of=words.code,
        codes_of=words.codes,
        area_name=words.area,
        country=words.country,
        department=words.department,
        place=words.place,
        department_abroad=words.department_abroad,
        genders_text=words.genders_text,
        department_short=words.department_short,
        language_name=words.language,
        end_of_consent=words.end_of_consent,
        spelled=words.spelled,
        qr=words.qr,
        demo_statement=words.demo_statement,
        hotlines=lines.hotlines,
        answers_to=words.answers_to,
        time_after=i18n.time_after,
        time_of_day=i18n.time_of_day,
        when=i18n.when,
        dated=i18n.full_date_and_time,
        ago=i18n.ago,
        day=i18n.day,
        full_date=i18n.full_date,
        today_text=i18n.today_text,
        moment=i18n.moment,
        is_past=i18n.is_past,
        for_field=i18n.for_field,
        stamp_for_field=i18n.stamp_for_field,
        advice_text=advice.text,
        called=names.name_in_language,
        need=names.need,
        need_group=names.need_group,
        needs=names.needs,
        due=due.due,
        is_overridden=due.is_overridden,
        due_of_clock=due.of_clock,
        due_of_enquiry=due.of_enquiry,
        planned_events=due.planned_events,
        proposed_time=due.proposed_time,
        next_step=steps.next_step,
        who_acts=steps.who_acts,
        reason_text=steps.reason_text,
        state_icon=steps.state_icon,
        progress=steps.progress,
        form_token=session.form_token,
        new_request_id=new_id,
        short_code=short_code,
        LANGUAGES=LANGUAGES,
        DONE=vocabulary.TABLES["done"],
        address_in_language=address_in_language,
        REASONS=vocabulary.TABLES,
        departments_of=departments_of,
        language_choices=language_choices,
        country_choices=country_choices,
        department_groups=department_groups,
        is_old=is_old,
    )


def context() -> dict[str, object]:
    """Returns the templates' values that depend on the request."""
    me = g.get("me")
    return {
        "me": me,
        "lang": i18n.language(),
        "navigation": (entries := navigation() if me else []),
        "tabs": tabs(entries) if me else [],
        "live": live_page() if me else None,
        "done": request.args.get("done", ""),
        "endpoint": request.endpoint or "",
    }


def live_page() -> dict[str, object]:
    """Returns the data for live.js: the page to fetch again, its version, time and zone.

    A page that answered a form can't be fetched again; the script fetches the inbox instead,
    because the inbox has the same count of unread messages.
    """
    return {
        "page": "" if request.method == "GET" else url_for("inbox.inbox"),
        "version": g.get("live_version", ""),
        "now": int(i18n.now().timestamp()),
        "zone": str(i18n.zone()),
    }


def language_choices(*current: str) -> list[tuple[str, str]]:
    """Returns the languages for a form, and the current ones, which saving the form must keep."""
    return [(tag, words.language(tag)) for tag in dict.fromkeys((*LANGUAGE_TAGS, *current)) if tag]


def country_choices(current: str) -> list[tuple[str, str]]:
    """Returns the countries for a form, and the current one, which saving the form must keep."""
    return [(code, words.country(code)) for code in dict.fromkeys((*COUNTRIES, current)) if code]


def departments_of(country: str, current: str = "") -> list[tuple[str, str]]:
    """Returns a country's departments, and the current one, which saving a form must keep.

    Without a country, returns the departments of the campaign's countries.
    """
    choices = {
        code: name
        for code, name in vocabulary.DEPARTMENTS.items()
        if code[:2] in ((country,) if country else lines.CAMPAIGN_COUNTRIES)
    }
    if current:
        choices.setdefault(current, words.department_abroad(current))
    return [*choices.items()]


def department_groups(
    first_country: str, current: str | None = None
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns the departments of the campaign's countries, grouped under the country's name.

    The group of `first_country` comes first. With `current`, which may be "", returns those of all
    known countries, and the current one, which saving a form must keep.
    """
    kept = current or ""
    countries = (
        lines.CAMPAIGN_COUNTRIES
        if current is None
        else sorted({code[:2] for code in (*vocabulary.DEPARTMENTS, kept) if code})
    )
    return [
        (words.country(code), departments_of(code, kept if kept.startswith(code) else ""))
        for code in sorted(countries, key=lambda code: code != first_country)
    ]


def is_old(service: Service) -> bool:
    """Returns whether the number of free places of a service may be out of date.

    If so, a reader should call the service before she relies on the number.
    """
    stale_time = i18n.moment(service.capacity.stale_time)
    return stale_time is None or i18n.now() > stale_time


def address_in_language(language: str) -> str:
    """Returns the URL of this page in another language.

    A page that answered a form cannot be fetched again; in that case, returns the URL of the page
    of the form. Without a page, returns the URL of a start page.
    """
    rule = request.url_rule
    if rule is None:
        return url_for("today.today" if g.get("me") else "home.home", lang=language)
    if "GET" not in (rule.methods or ()):
        return errors.address_above(lang=language)
    parameters = {
        key: value for key, value in request.args.items() if key not in ("lang", "done", "auto")
    }
    return url_for(
        request.endpoint or "home.home",
        **{**(request.view_args or {}), **parameters, "lang": language},
    )


def navigation() -> list[dict[str, Any]]:
    """Returns the navigation, which has only pages that this reader may open.

    The `icon` of an entry names a symbol in the sprite; a symbol has the name of the page's module.
    """
    current_module = (request.endpoint or "").partition(".")[0]
    return [
        {
            "label": _(label),
            "href": url_for(endpoint),
            "here": current_module in (module, *PARTS.get(module, ())),
            "icon": module,
            "section": section,
            "count": count_unread() if module == "inbox" else 0,
        }
        for section, labels in NAVIGATION.items()
        for endpoint, label in labels.items()
        if access.may_open(endpoint) and (module := endpoint.partition(".")[0])
    ]


def tabs(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the tabs for a phone: the most used pages, and one tab that starts a task.

    The tab that starts a task is in the middle. The page adds a last tab, which opens all other
    entries.
    """
    by_module = {entry["icon"]: entry for entry in entries}
    tab_entries = [
        by_module[module]
        for module in ("today", "line" if "line" in by_module else "referral", "directory")
        if module in by_module
    ]
    tasks = (
        ("line.new", _("Nuevo contacto")),
        ("referral_new.person", _("Nueva remisión")),
    )
    own_tasks = [
        {"label": label, "href": url_for(endpoint), "icon": "plus"}
        for endpoint, label in tasks
        if access.may_open(endpoint)
    ]
    return [*tab_entries[:2], *own_tasks[:1], *tab_entries[2:]]


def count_unread() -> int:
    """Returns the number of unread messages.

    After a failure, returns 0, which is not shown, because a missing number must not break a page.
    """
    if "unread" not in g:
        try:
            g.unread = clients().notifications.CountUnread(CountUnreadRequest(), timeout=1.0).unread
        except (Refusal, ServiceFault):
            g.unread = 0
    return int(g.unread)
