"""The pages speak three languages completely, every code has a word, and time is said as people say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from google.protobuf.timestamp_pb2 import Timestamp

from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import due, i18n, steps, verbs, vocabulary, words
from services.gateway.names import Names
from services.notifications.domain import rules
from services.partners.domain import matching
from services.referrals.domain import codes, lifecycle
from tests.gateway.pages_gateway import PlayedServices, enter, pages

GATEWAY = Path(i18n.__file__).parent
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


def spoken() -> Iterator[str]:
    """Every text of the source: templates, pages, tables."""
    methods = [("pages/**.py", "python"), ("templates/**.html", "jinja2"), ("*.py", "python"), ("vocabulary/*.py", "python")]
    keywords = {"_": None, "gettext": None, "N_": None, "ngettext": (1, 2)}
    for _file, _line, message, _comments, _context in extract_from_dir(GATEWAY, methods, keywords=keywords):
        yield message[0] if isinstance(message, tuple) else message


def catalogue(language: str) -> Catalog:
    with (GATEWAY / "translations" / language / "LC_MESSAGES" / "messages.po").open("rb") as po:
        return read_po(po, locale=language)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_no_text_is_missing_in_a_catalogue_and_none_is_left_over(language: str) -> None:
    source = {text for text in spoken() if text}
    known = {message.id[0] if isinstance(message.id, tuple) else message.id for message in catalogue(language) if message.id}
    assert source - known == set()
    assert known - source == set()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_translation_is_there_and_keeps_its_placeholders(language: str) -> None:
    for message in catalogue(language):
        if not message.id:
            continue
        source = message.id if isinstance(message.id, tuple) else (message.id,)
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(said), message.id
        assert not message.fuzzy, message.id
        for text in said:
            assert set(PLACEHOLDER.findall(str(text))) == set(PLACEHOLDER.findall(str(source[0]))), message.id


@pytest.mark.parametrize(("language", "word"), [("es", "Cerrar la sesión"), ("en", "Sign out"), ("fr", "Se déconnecter")])
def test_a_page_speaks_the_language_that_is_asked_for(language: str, word: str) -> None:
    client = enter(pages(PlayedServices()).test_client())
    page = client.get(f"/today?lang={language}").text
    assert f'<html lang="{language}"' in page
    assert word in page
    assert f'<html lang="{language}"' in client.get("/people").text, "and the session remembers it"


def test_a_public_page_keeps_the_language_in_its_addresses() -> None:
    client = pages(PlayedServices()).test_client()
    page = client.get("/?lang=fr").text
    assert "/my-referral?lang=fr" in page
    assert "/sign-in?lang=fr" in page
    assert '<html lang="en"' in client.get("/", headers={"Accept-Language": "en-GB,en;q=0.8"}).text
    assert '<html lang="es"' in client.get("/", headers={"Accept-Language": "de"}).text


@pytest.mark.parametrize("kind", sorted(words.ENUMS))
def test_every_enum_value_has_a_word(kind: str) -> None:
    enum, prefix = words.ENUMS[kind]
    table = vocabulary.TABLES[kind]
    for name in enum.keys():  # noqa: SIM118 - an enum wrapper is no dict
        code = name.removeprefix(prefix).lower()
        assert code == "unspecified" or code in table, name


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("decline_reason", codes.DECLINE),
        ("withdraw_reason", codes.WITHDRAW),
        ("not_deliver_reason", codes.NOT_DELIVERED),
        ("outcome", codes.OUTCOME),
        ("override_reason", codes.OVERRIDE),
        ("question", codes.QUESTION),
        ("help_came", codes.HELP_CAME),
        ("age_band", frozenset(codes.AGE_BANDS)),
        ("person_gender", codes.GENDERS - {"NonSpecifiedUnknown"}),
        ("trafficking_status", codes.TRAFFICKING_STATUS),
        ("safe_channel", codes.CHANNELS),
        ("giver", codes.GIVERS),
        ("manner", codes.MANNERS),
        ("assent", codes.ASSENT),
        ("explained", codes.EXPLAINED),
        ("campaign", codes.CAMPAIGN),
        ("contact_kind", codes.CONTACT_KIND),
        ("speaker", codes.SPEAKER),
        ("contact_outcome", codes.OUTCOME_OF_CONTACT),
        ("notice", rules.KINDS),
        ("verb", frozenset(t.verb for t in lifecycle.TRANSITIONS if t.offered)),
        ("event", frozenset(t.fact for t in lifecycle.TRANSITIONS)),
    ],
)
def test_forms_offer_exactly_the_codes_that_the_services_know(kind: str, known: frozenset[str]) -> None:
    assert known - vocabulary.TABLES[kind].keys() == set()
    if kind != "event":
        assert vocabulary.TABLES[kind].keys() - known == set()


def test_every_reason_of_a_match_has_a_word() -> None:
    source = Path(matching.__file__).read_text()
    said = set(re.findall(r'Reason\("\w+", Verdict\.\w+, "(\w+)"', source))
    assert len(said) > 25
    assert said == vocabulary.TABLES["match_reason"].keys()


def test_every_verb_that_may_be_asked_has_its_form() -> None:
    assert verbs.VERBS.keys() | {"send", "attach_consent"} == {t.verb for t in lifecycle.TRANSITIONS if t.offered}


def test_every_conflict_of_the_services_says_what_to_do() -> None:
    root = GATEWAY.parent
    said = {
        reason
        for service in ("partners", "referrals", "notifications")
        for file in (root / service).rglob("*.py")
        for reason in re.findall(r'Conflict\("(\w+)"', file.read_text())
    }
    assert said - vocabulary.TABLES["conflict"].keys() == set()


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(seconds=20), "0 min"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(hours=2, minutes=10), "2 h 10 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
        (timedelta(days=5), "5 d"),
    ],
)
def test_a_length_of_time_is_said_in_two_units(length: timedelta, said: str) -> None:
    assert i18n.span(length) == said


def stamp(offset: timedelta) -> Timestamp:
    made = Timestamp()
    made.FromDatetime((i18n.now() + offset).replace(tzinfo=None))
    return made


def clock(start: timedelta, end: timedelta, kind: r.ClockKind.ValueType = r.CLOCK_KIND_DECIDE, stopped: bool = False) -> r.Clock:
    return r.Clock(kind=kind, start_time=stamp(start), due_time=stamp(end), stop_time=stamp(timedelta()) if stopped else None)


def test_a_clock_empties_and_says_how_long() -> None:
    with pages(PlayedServices()).test_request_context("/"):
        calm = due.of(clock(timedelta(hours=-5), timedelta(hours=5, seconds=30)))
        soon = due.of(clock(timedelta(hours=-22), timedelta(hours=2, minutes=10, seconds=30)))
        late = due.of(clock(timedelta(hours=-2), timedelta(minutes=-40)))
    assert (calm.level, calm.left, calm.text) == ("calm", 50, "vence en 5 h")
    assert (soon.level, soon.left, soon.text) == ("soon", 9, "vence en 2 h 10 min")
    assert (late.level, late.left, late.text) == ("late", 0, "tarde por 40 min")


def test_the_clock_that_is_shown_is_the_earliest_that_runs() -> None:
    referral = r.Referral(
        clocks=[
            clock(timedelta(hours=-1), timedelta(hours=9)),
            clock(timedelta(hours=-1), timedelta(hours=1), r.CLOCK_KIND_ACKNOWLEDGE, stopped=True),
            clock(timedelta(hours=-1), timedelta(hours=2), r.CLOCK_KIND_FIRST_CONTACT),
        ]
    )
    with pages(PlayedServices()).test_request_context("/"):
        shown = due.due(referral)
        assert shown is not None
        assert shown.what == "primer contacto"
        assert due.due(r.Referral()) is None


@pytest.mark.parametrize(
    ("state", "side", "allowed", "label", "post"),
    [
        (r.STATE_DRAFT, r.SIDE_SENDER, ["send", "withdraw"], "Seguir y enviar", False),
        (r.STATE_SENT, r.SIDE_RECEIVER, ["accept", "acknowledge", "decline"], "Confirmar que llegó", True),
        (r.STATE_ACKNOWLEDGED, r.SIDE_RECEIVER, ["decline", "accept"], "Aceptar", False),
        (r.STATE_INFO_REQUESTED, r.SIDE_SENDER, ["withdraw", "answer"], "Responder la pregunta", False),
        (r.STATE_ACCEPTED, r.SIDE_RECEIVER, ["not_deliver", "start"], "Empezó la atención", False),
        (r.STATE_IN_PROGRESS, r.SIDE_RECEIVER, ["complete"], "Terminar la atención", False),
        (r.STATE_COMPLETED, r.SIDE_SENDER, ["close"], "Confirmar y cerrar", False),
        (r.STATE_DECLINED, r.SIDE_SENDER, [], "Buscar otro servicio", False),
    ],
)
def test_the_primary_button_is_the_step_that_moves_things_on(
    state: r.State.ValueType, side: r.Side.ValueType, allowed: list[str], label: str, post: bool
) -> None:
    with pages(PlayedServices()).test_request_context("/"):
        step = steps.next_step(r.Referral(id="x", state=state, side=side, allowed_verbs=allowed))
        assert step is not None
        assert (step.label, step.post) == (label, post)
        assert steps.who_acts(r.Referral(state=state, side=side), Names()) == "Le toca a su organización"


def test_what_is_another_s_turn_has_no_button() -> None:
    with pages(PlayedServices()).test_request_context("/"):
        waiting = r.Referral(id="x", state=r.STATE_SENT, side=r.SIDE_SENDER, allowed_verbs=["withdraw", "enter_in_error"])
        assert steps.next_step(waiting) is None
        assert steps.who_acts(waiting, Names()) == "Se espera a –"


def test_the_style_sheet_and_the_script_stay_small() -> None:
    assert (GATEWAY / "static" / "enlace.css").stat().st_size < 20_000
    assert (GATEWAY / "static" / "exit.js").stat().st_size < 2_000
