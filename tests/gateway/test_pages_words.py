"""The pages are complete in three languages, every code has a word, and times read naturally."""

import gzip
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import contract, errors, wire
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import site
from services.gateway.site.backend.names import Names
from services.gateway.site.language import i18n, vocabulary, words
from services.gateway.site.parts import due, steps
from services.notifications.domain import notices
from services.partners.directory.domain import matching
from services.partners.directory.store.taxonomy import taxonomy
from services.referrals.referrals.domain import lifecycle
from tests.gateway.pages_gateway import ID, FakePageServices, enter, missing, pages, token_of
from tests.rights_table import services_of
from tests.words import SERVICES

SITE = Path(site.__file__).parent
# values that mean the same as no value: pages leave them out, and forms have an empty choice
CODES_WITHOUT_WORD = {"NonSpecifiedUnknown"}
OFFERED_KINDS = frozenset(
    "override_reason age_band person_gender trafficking_status safe_channel giver assent manner"
    " explained campaign contact_kind speaker contact_outcome "
    "adult_ground giver_ground urgency_reason acknowledgement unsafe_answer unit accessibility"
    " decline_reason skip_reason plan_close_reason".split()
)
"""Kinds of words.ENUMS whose values are all offered by a form, besides the forms of steps."""
QUESTIONS = [question for form in steps.STEPS.values() for question in form.questions]


@pytest.mark.parametrize(
    ("language", "word"), [("es", "Cerrar la sesión"), ("en", "Sign out"), ("fr", "Se déconnecter")]
)
def test_a_page_is_in_the_requested_language(language: str, word: str) -> None:
    client = enter(pages(FakePageServices()).test_client())
    page = client.get(f"/today?lang={language}").text
    assert missing(page, f'<html lang="{language}"', word) == []
    assert f'<html lang="{language}"' in client.get("/people").text, (
        "the session remembers the language"
    )


def test_a_public_page_is_in_the_browsers_language_and_its_links_keep_a_chosen_one() -> None:
    client = pages(FakePageServices()).test_client()
    page = client.get("/?lang=fr").text
    assert missing(page, "/my-referral?lang=fr", "/sign-in?lang=fr") == []
    for languages, expected in (("en-GB,en;q=0.8", "en"), ("fr-CA,en", "fr"), ("de", "es")):
        page = client.get("/", headers={"Accept-Language": languages}).text
        assert f'<html lang="{expected}"' in page, languages


@pytest.mark.parametrize(
    ("form", "page"),
    [
        ("/my-referral", "/my-referral"),
        ("/my-referral/call", "/my-referral"),
        ("/invitation", "/invitation"),
        ("/join", "/join"),
        ("/join/confirm", "/join/confirm"),
        ("/forgot", "/forgot"),
        ("/reset", "/reset"),
        ("/sign-in", "/sign-in"),
        ("/sign-in/code", "/sign-in"),
        ("/services", "/services"),
    ],
)
def test_the_languages_of_a_page_that_answers_a_form_lead_to_the_page_of_the_form(
    form: str, page: str
) -> None:
    fakes = FakePageServices()
    for rpc in ("AcceptInvitation", "ResetPassword", "SignIn"):
        fakes.answers[rpc] = errors.Unauthenticated("secret_wrong")
    client = pages(fakes).test_client()
    data = {"form_token": token_of(client.get(page).text)}
    assert f'href="{page}?lang=fr" hreflang="fr"' in client.post(form, data=data).text


@pytest.mark.parametrize("kind", sorted(words.ENUMS))
def test_every_enum_value_has_a_word(kind: str) -> None:
    codes, table = set(wire.numbers(words.ENUMS[kind].DESCRIPTOR)), vocabulary.TABLES[kind]
    assert codes - table.keys() <= CODES_WITHOUT_WORD
    # a form offers the table as it is
    if kind in OFFERED_KINDS | {question.table for question in QUESTIONS}:
        assert {code for code in table if code} <= codes


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("notice", frozenset(notices.BY_KIND)),
        ("verb", frozenset(t.verb for t in lifecycle.TRANSITIONS if t.offered)),
        ("event", frozenset(t.event_verb for t in lifecycle.TRANSITIONS)),
    ],
)
def test_the_vocabulary_has_the_codes_of_the_services_and_no_other_notice_or_verb(
    kind: str, codes: frozenset[str]
) -> None:
    assert codes - vocabulary.TABLES[kind].keys() == set()
    if kind != "event":
        assert vocabulary.TABLES[kind].keys() - codes == set()


def test_every_reason_of_a_match_has_a_word() -> None:
    source = Path(matching.__file__).read_text()
    reasons = set(re.findall(r'Reason\("\w+", Verdict\.\w+, "(\w+)"', source))
    question, criteria = matching.Question("HOU"), matching.CRITERIA
    reasons |= {
        criteria[name].judge(question, takes).code
        for name in ("pregnancy", "addiction", "papers")
        for takes in (None, True, False)
    }
    assert len(reasons) > 25
    assert reasons == vocabulary.TABLES["match_reason"].keys()


def test_every_offered_verb_has_its_form() -> None:
    assert steps.STEPS.keys() | {"send", "attach_consent"} == {
        t.verb for t in lifecycle.TRANSITIONS if t.offered
    }


def test_every_question_of_a_step_has_its_words() -> None:
    choices = {question.table for question in QUESTIONS if question.kind == "choice"}
    assert choices - words.ENUMS.keys() == set()
    names = {question.name for question in QUESTIONS if question.kind not in ("note", "service")}
    assert names - vocabulary.TABLES["field"].keys() == set()


def test_every_action_on_the_trail_of_referrals_has_words_for_the_auditor() -> None:
    rpcs = {
        contract.words_of(rpc.name)
        for service in services_of("referrals")
        for rpc in service.methods
    }
    entries = {
        action
        for file in (SITE.parent.parent / "referrals").rglob("*.py")
        for action in re.findall(r'Entry\(\s*"(\w+)"', file.read_text())
    }
    described = vocabulary.TABLES["trail_action"].keys() | vocabulary.TABLES["trail_call"].keys()
    assert (rpcs | entries) - described == set()


def test_every_question_that_can_be_refused_has_its_words() -> None:
    question = re.compile(
        r'\{\{ ?(?:text|area|select|checks|radios|need_select)\("(\w+)",[^}]*errors='
    )
    unnamed = {
        f"{file.name}: {name}"
        for file in (SITE / "templates").rglob("*.html")
        if file.name != "components.html"  # examples
        for name in question.findall(file.read_text())
        if name not in vocabulary.TABLES["field"]
    }
    # both are lists of ticks that no refusal names
    assert unnamed == {"advice_publish.html: yes", "advice_publish.html: no"}


@pytest.mark.parametrize(
    ("reason", "field", "expected"),
    [
        ("malformed", "placement_code", "ese código no existe"),
        ("unknown_code", "placement_code", "ese código no existe"),
        ("out_of_range", "url", "tiene que empezar con https://"),
        ("out_of_range", "public", "un albergue no sale en el directorio público"),
        ("out_of_range", "age", "revise la cifra o la fecha"),
        ("member_only", "phone", "pídalo a quien la dirige"),
    ],
)
def test_a_refused_field_says_what_to_do_about_it(reason: str, field: str, expected: str) -> None:
    with pages(FakePageServices()).test_request_context("/"):
        assert expected in words.violation(reason, field)


def test_every_conflict_of_the_services_has_words_that_say_what_to_do() -> None:
    root = SITE.parent.parent
    reasons = {
        reason
        for service in ("partners", "referrals", "notifications")
        for file in (root / service).rglob("*.py")
        for reason in re.findall(r'Conflict\("(\w+)"', file.read_text())
    }
    assert reasons - vocabulary.TABLES["conflict"].keys() == set()


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (timedelta(seconds=20), "0 min"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(hours=2, minutes=10), "2 h 10"),
        (timedelta(hours=2, minutes=5), "2 h 05"),
        (timedelta(hours=3), "3 h"),
        (timedelta(hours=22, minutes=40), "22 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(days=2, hours=4), "2 días"),
        (timedelta(days=20), "20 días"),
    ],
)
def test_a_length_of_time_is_worded_as_people_say_it(length: timedelta, expected: str) -> None:
    with pages(FakePageServices()).test_request_context("/"):
        assert i18n.span(length) == expected


@pytest.mark.parametrize(
    ("language", "day", "expected"),
    [
        ("fr", "2026-12-01", "1er déc. 2026"),
        ("fr", "2026-12-21", "21 déc. 2026"),
        ("es", "2026-12-01", "1 dic 2026"),
        ("en", "2026-12-01", "1 Dec 2026"),
    ],
)
def test_the_first_day_of_a_month_is_written_as_the_language_writes_it(
    language: str, day: str, expected: str
) -> None:
    with pages(FakePageServices()).test_request_context(f"/?lang={language}"):
        assert i18n.full_date(day) == expected
        assert i18n.format_time(datetime.fromisoformat(f"{day}T12:00Z"), "d MMM y") == expected


# Words that no text contains, in each language. A withdrawal stops what was asked for, so no text
# says that help continues all the same.
FORBIDDEN = {
    "es": r"\bv[íi]ctimas?\b|\bcasos?\b|tarde por|Confirmar que llegó|nadie (lo )?sabrá"
    r"|ayuda no depende de|quita la ayuda",
    "en": r"\bvictims?\b|\bcases?\b|late by|nobody will know|help does not depend on"
    r"|takes help from",
    "fr": r"\bvictimes?\b|\b(son|votre|le|un|ce) cas\b|en retard de|personne ne (le )?saura"
    r"|aide n’en dépend pas|ne vous privera d’aide",
}


@pytest.mark.parametrize("language", FORBIDDEN)
def test_no_text_contains_a_forbidden_word_such_as_victim_case_or_late_by(language: str) -> None:
    texts = {text for service in SERVICES.values() for text in service.forms_in(language)}
    assert {text for text in texts if re.search(FORBIDDEN[language], text, re.IGNORECASE)} == set()


def test_french_texts_have_no_breaking_space_beside_a_mark_and_no_straight_apostrophe() -> None:
    texts = [text for words in SERVICES.values() for text in words.forms_in("fr")]
    texts += [term.names["fr"] for term in taxonomy().terms.values()]
    assert [text for text in texts if re.search(r" [?!:;»]|« |\w'\w", text)] == []


def test_no_text_asks_a_reader_to_notify_the_coordination_without_saying_how() -> None:
    texts = {text for service in SERVICES.values() for text in service.forms_in("es")}
    without_way = r"\b(avise|escriba|pida|pregunte)\b[^.;:]*\ba la coordinación(?! por teléfono)"
    assert {text for text in texts if re.search(without_way, text, re.IGNORECASE)} == set()


def test_an_empty_required_field_says_what_to_do() -> None:
    with pages(FakePageServices()).test_request_context("/"):
        assert words.violation("required", "channel_code") == "elija cómo se la puede contactar"
    required_names = {question.name for question in QUESTIONS if question.required}
    assert required_names - vocabulary.TABLES["missing"].keys() == set()


def stamp(offset: timedelta) -> Timestamp:
    """Returns the time that is `offset` from now."""
    time = Timestamp()
    time.FromDatetime(i18n.now() + offset)
    return time


def clock(
    start: timedelta,
    end: timedelta,
    kind: r.ClockKind.ValueType = r.CLOCK_KIND_DECIDE,
    stopped: bool = False,
) -> r.Clock:
    return r.Clock(
        kind=kind,
        start_time=stamp(start),
        due_time=stamp(end),
        stop_time=stamp(timedelta()) if stopped else None,
    )


def test_a_deadline_shows_the_time_left_as_a_percentage_and_in_words() -> None:
    with pages(FakePageServices()).test_request_context("/"):
        deadlines = [
            due.of_clock(clock(timedelta(hours=-hours), end))
            for hours, end in (
                (5, timedelta(hours=5, seconds=30)),
                (22, timedelta(hours=2, minutes=10, seconds=30)),
                (2, timedelta(minutes=-40)),
            )
        ]
    assert [(deadline.level, deadline.percent_left, deadline.text) for deadline in deadlines] == [
        ("calm", 50, "5 h"),
        ("soon", 9, "2 h 10"),
        ("late", 0, "40 min de atraso"),
    ]


@pytest.mark.parametrize(
    ("language", "policy", "expected"),
    [
        (
            "es",
            {"seconds": 15 * 60},
            "médica. En 15 min deben decir que vieron la remisión, y en 7 min responder.",
        ),
        (
            "es",
            {"seconds": 3600},
            "En 1 h deben decir que vieron la remisión, y en 7 min responder.",
        ),
        (
            "en",
            {"seconds": 90 * 60},
            "They must say within 1 h 30 that they have seen the referral, and",
        ),
        (
            "en",
            {"working_days": 1},
            "They must say within 1 working day that they have seen the referral",
        ),
        (
            "fr",
            {"working_days": 2},
            "Ils doivent dire en 2 jours ouvrés qu",
        ),
    ],
)
def test_the_page_states_both_deadlines_that_apply_to_the_answer_of_the_service(
    language: str, policy: dict[str, int], expected: str
) -> None:
    acknowledgement = r.PolicyDeadline(
        urgency=r.URGENCY_IMMEDIATE, clock=r.CLOCK_KIND_ACKNOWLEDGE, **policy
    )
    decision = r.PolicyDeadline(
        urgency=r.URGENCY_IMMEDIATE, clock=r.CLOCK_KIND_DECIDE, seconds=7 * 60
    )
    fakes = FakePageServices(
        {"GetDeadlinePolicy": r.DeadlinePolicy(deadlines=[decision, acknowledgement])}
    )
    page = enter(pages(fakes).test_client()).get(f"/referrals/{ID}/urgency?lang={language}").text
    assert expected in page


def test_the_clock_that_is_shown_is_the_earliest_running_one() -> None:
    referral = r.Referral(
        clocks=[
            clock(timedelta(hours=-1), timedelta(hours=9)),
            clock(timedelta(hours=-1), timedelta(hours=1), r.CLOCK_KIND_ACKNOWLEDGE, stopped=True),
            clock(timedelta(hours=-1), timedelta(hours=2), r.CLOCK_KIND_FIRST_CONTACT),
        ]
    )
    with pages(FakePageServices()).test_request_context("/"):
        deadline = due.due(referral)
        assert deadline is not None
        assert deadline.act == "primer contacto"
        assert due.due(r.Referral()) is None


def test_planned_events_are_shown_until_they_have_happened() -> None:
    future, past = stamp(timedelta(hours=2)), stamp(timedelta(hours=-2))
    contact = "planned_first_contact_time"
    cases: list[tuple[dict[str, Any], bool, list[tuple[str, bool]]]] = [
        ({contact: future}, True, [("Primer contacto previsto", False)]),
        ({contact: past}, True, [("Primer contacto previsto", True)]),
        (
            {contact: future, "first_contact_time": past, "appointment_time": future},
            True,
            [("Cita", False)],
        ),
        ({"appointment_time": past}, True, [("Cita", True)]),
        ({"appointment_time": past}, False, []),
    ]
    for times, live, expected in cases:
        with pages(FakePageServices()).test_request_context("/"):
            events = due.planned_events(r.Referral(live=live, **times))
        assert [(event, is_over) for event, _time, is_over in events] == expected


@pytest.mark.parametrize(
    ("verb", "reason", "expected"),
    [
        ("appointment_missed", "no_transport", "No tuvo cómo llegar"),
        ("declined", "no_capacity", "No hay lugar"),
        ("appointment_scheduled", "", ""),
        ("newer_than_this_gateway", "no_capacity", ""),
    ],
)
def test_the_history_states_a_reason_in_the_words_of_its_steps_form(
    verb: str, reason: str, expected: str
) -> None:
    with pages(FakePageServices()).test_request_context("/"):
        assert steps.reason_text(r.ReferralEvent(verb=verb, reason_code=reason)) == expected


@pytest.mark.parametrize(
    ("main_step", "label", "post"),
    [
        ("send", "Seguir y enviar", False),
        ("acknowledge", "Ya la vimos", True),
        ("accept", "Aceptar", False),
        ("answer", "Responder la pregunta", False),
        ("start", "Anotar el primer contacto", False),
        ("add_note", "Dar noticias", False),
        ("complete", "Terminar la atención", False),
        ("close", "Confirmar y cerrar", False),
        ("refer_again", "Buscar otro servicio", False),
    ],
)
def test_the_primary_button_is_the_main_step(main_step: str, label: str, post: bool) -> None:
    with pages(FakePageServices()).test_request_context("/"):
        step = steps.next_step(r.Referral(id="x", main_step=main_step))
        assert step is not None
        assert (step["label"], step.get("post", False)) == (label, post)


def test_every_main_step_of_the_service_has_a_button() -> None:
    main_verbs = {transition.verb for transition in lifecycle.TRANSITIONS if transition.main} | {
        lifecycle.REFER_AGAIN
    }
    with pages(FakePageServices()).test_request_context("/"):
        assert all(steps.next_step(r.Referral(id="x", main_step=step)) for step in main_verbs)
        assert steps.next_step(r.Referral(id="x", main_step="newer_than_this_gateway")) is None


def test_the_other_sides_turn_is_stated_and_has_no_button() -> None:
    names = Names({"a": d.Organization(name="Albergue"), "b": d.Organization(name="Clínica")})
    own_turn = "Le toca a su organización"
    sender = "Le toca a Albergue"
    receiver = "Esperamos respuesta de Clínica"
    for turn, expected in (
        (r.TURN_UNSPECIFIED, ("", "", "")),
        (r.TURN_SENDER, (own_turn, sender, sender)),
        (r.TURN_RECEIVER, (receiver, own_turn, receiver)),
    ):
        for side, sentence in zip(
            (r.SIDE_SENDER, r.SIDE_RECEIVER, r.SIDE_NETWORK), expected, strict=True
        ):
            referral = r.Referral(
                id="x",
                turn=turn,
                side=side,
                sender_organization_id="a",
                receiver_organization_id="b",
            )
            with pages(FakePageServices()).test_request_context("/"):
                assert steps.who_acts(referral, names) == sentence
                assert steps.next_step(referral) is None


def test_the_style_sheet_and_the_script_stay_small() -> None:
    # compressed, as the style sheet is sent
    assert len(gzip.compress((SITE / "static" / "enlace.css").read_bytes())) < 7_000
    assert (SITE / "static" / "exit.js").stat().st_size < 2_000


def test_the_hint_of_accept_does_not_say_that_accepting_opens_data() -> None:
    # the consent opened the data earlier
    assert "abrir" not in vocabulary.TABLES["verb_hint"]["accept"]
