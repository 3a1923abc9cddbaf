"""Matching: tables of cases for each rule, and services that are left out beforehand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protos.partners.v1 import directory_pb2 as pb
from services.partners.directory.domain.matching import Candidate, Question, Verdict, match
from services.partners.directory.domain.service import Capacity, Eligibility, Gender, Intake
from services.partners.directory.domain.taxonomy import Taxonomy, Term
from services.partners.members.domain.organization import OrganizationType
from tests.builders import violations_of, wrong_fields
from tests.partners.scene import Scene, Stubs

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
FITS, ASK, NO = Verdict.FITS, Verdict.ASK, Verdict.DOES_NOT_FIT
WOMAN = Question(
    "HOU.EMG", "NI", "NI-CI", age=24, gender=Gender.FEMININE, dependants=1, language="es"
)
SHELTER = Candidate(
    service_id="1",
    name_key="albergue",
    need_codes=("HOU.EMG",),
    department="NI-CI",
    languages=("es-NI",),
    eligibility=Eligibility(18, 60, (Gender.FEMININE, Gender.TRANSGENDER_FEMININE), True, 2),
    capacity=Capacity(Intake.OPEN, 3, 12, "beds", NOW - timedelta(hours=2)),
    assured_time=NOW - timedelta(days=30),
)


def reasons(question: Question = WOMAN, **changes: object) -> dict[str, tuple[Verdict, str]]:
    """Returns the verdict and the code of each reason, by criterion."""
    matched = match(question, [replace(SHELTER, **changes)], NOW)[0]  # type: ignore[arg-type]
    return {reason.criterion: (reason.verdict, reason.code) for reason in matched.reasons}


def test_a_service_that_states_everything_and_accepts_the_person_fits() -> None:
    matched = match(WOMAN, [SHELTER], NOW)[0]
    assert matched.verdict is FITS
    assert {reason.criterion: reason.code for reason in matched.reasons} == {
        "need": "need_offered",
        "age": "age_in_range",
        "gender": "gender_served",
        "dependants": "dependants_taken",
        "language": "language_spoken",
        "area": "department_same",
        "room": "room_free",
        "freshness": "figure_fresh",
    }


def figure(
    intake: Intake | None, available: int | None, hours: float = 1, unit: str = "beds"
) -> Capacity:
    return Capacity(intake, available, 12, unit, NOW - timedelta(hours=hours))


def ages(lowest: int | None, highest: int | None) -> dict[str, Any]:
    return {"eligibility": Eligibility(lowest, highest)}


def genders(*served: Gender) -> dict[str, Any]:
    return {"eligibility": Eligibility(genders=served)}


def dependants(taken: bool | None, most: int | None) -> dict[str, Any]:
    return {"eligibility": Eligibility(takes_dependants=taken, maximum_dependants=most)}


def room(*stated: Any, **more: Any) -> dict[str, Any]:
    return {"capacity": figure(*stated, **more)}


@pytest.mark.parametrize(
    ("criterion", "question", "service", "verdict", "code"),
    [
        ("age", {"age": 18}, ages(18, 60), FITS, "age_in_range"),
        ("age", {"age": 60}, ages(18, 60), FITS, "age_in_range"),
        ("age", {"age": 17}, ages(18, 60), NO, "age_too_low"),
        ("age", {"age": 61}, ages(18, 60), NO, "age_too_high"),
        ("age", {"age": 24}, ages(None, None), ASK, "age_not_stated"),
        ("age", {"age": 24}, ages(18, None), ASK, "age_not_stated"),
        ("age", {"age": 17}, ages(18, None), NO, "age_too_low"),
        ("age", {"age": 61}, ages(None, 60), NO, "age_too_high"),
        ("age", {"age": None}, ages(18, 60), ASK, "age_unknown"),
        ("age", {"age": None}, ages(0, 99), FITS, "age_in_range"),
        ("age", {"age": None}, ages(None, None), ASK, "age_not_stated"),
        ("gender", {"gender": Gender.FEMININE}, genders(Gender.FEMININE), FITS, "gender_served"),
        (
            "gender",
            {"gender": Gender.MASCULINE},
            genders(Gender.FEMININE),
            NO,
            "gender_not_served",
        ),
        (
            "gender",
            {"gender": Gender.TRANSGENDER_FEMININE},
            genders(Gender.FEMININE),
            NO,
            "gender_not_served",
        ),
        ("gender", {"gender": Gender.FEMININE}, genders(), ASK, "gender_not_stated"),
        ("gender", {"gender": None}, genders(Gender.FEMININE), ASK, "gender_unknown"),
        ("gender", {"gender": None}, genders(*Gender), FITS, "gender_served"),
        ("gender", {"gender": None}, genders(), ASK, "gender_not_stated"),
        ("dependants", {"dependants": 0}, dependants(None, None), FITS, "dependants_none"),
        ("dependants", {"dependants": 0}, dependants(False, None), FITS, "dependants_none"),
        ("dependants", {"dependants": 2}, dependants(True, 2), FITS, "dependants_taken"),
        ("dependants", {"dependants": 2}, dependants(None, 2), FITS, "dependants_taken"),
        ("dependants", {"dependants": 3}, dependants(True, 2), NO, "dependants_too_many"),
        ("dependants", {"dependants": 1}, dependants(False, None), NO, "dependants_not_taken"),
        ("dependants", {"dependants": 1}, dependants(None, 0), NO, "dependants_not_taken"),
        ("dependants", {"dependants": 1}, dependants(None, None), ASK, "dependants_not_stated"),
        ("dependants", {"dependants": 1}, dependants(True, None), ASK, "dependants_how_many"),
        ("dependants", {"dependants": None}, dependants(True, 9), ASK, "dependants_unknown"),
        ("dependants", {"dependants": None}, dependants(None, None), ASK, "dependants_unknown"),
        ("language", {"language": "es"}, {"languages": ("es-NI", "en")}, FITS, "language_spoken"),
        ("language", {"language": "en-US"}, {"languages": ("EN",)}, FITS, "language_spoken"),
        ("language", {"language": "x-lsn"}, {"languages": ("x-LSN",)}, FITS, "language_spoken"),
        ("language", {"language": "x-lsn"}, {"languages": ("x-lsm",)}, ASK, "language_other"),
        ("language", {"language": "miq"}, {"languages": ("es",)}, ASK, "language_other"),
        ("language", {"language": "es"}, {"languages": ()}, ASK, "language_not_stated"),
        ("area", {"department": "NI-CI"}, {"department": "NI-CI"}, FITS, "department_same"),
        ("area", {"department": "NI-CI"}, {"department": ""}, FITS, "whole_country"),
        ("area", {"department": "NI-CI"}, {"department": "NI-MN"}, ASK, "department_other"),
        ("area", {"department": ""}, {"department": "NI-MN"}, FITS, "country_same"),
        (
            "need",
            {"need_code": "HOU.EMG"},
            {"need_codes": ("HOU.EMG", "HOU.SAFE")},
            FITS,
            "need_offered",
        ),
        ("need", {"need_code": "HOU"}, {"need_codes": ("HOU.EMG",)}, FITS, "need_offered_in_part"),
        ("need", {"need_code": "HOU.EMG"}, {"need_codes": ("HOU",)}, ASK, "need_group_only"),
        ("room", {}, room(Intake.OPEN, 2), FITS, "room_free"),
        ("room", {}, room(Intake.OPEN, 1), ASK, "room_not_for_all"),  # she comes with a child
        ("room", {}, room(Intake.OPEN, 1, unit="places"), FITS, "room_free"),
        ("room", {}, room(Intake.OPEN, 0), NO, "room_none"),
        # an old zero rules nobody out
        ("room", {}, room(Intake.OPEN, 0, hours=25), ASK, "room_none"),
        ("room", {}, room(Intake.OPEN, None), ASK, "room_not_stated"),
        ("room", {}, room(Intake.WAITLIST, 3), ASK, "room_waitlist"),
        ("room", {}, room(Intake.CLOSED, 3), NO, "room_closed"),
        ("room", {}, {"capacity": Capacity()}, ASK, "room_not_stated"),
    ],
)
def test_the_verdict_compares_what_the_question_and_the_service_state(
    criterion: str, question: dict[str, Any], service: dict[str, Any], verdict: Verdict, code: str
) -> None:
    assert reasons(replace(WOMAN, **question), **service)[criterion] == (verdict, code)


@pytest.mark.parametrize(
    ("needs", "hours", "verdict", "code"),
    [
        (("HOU.EMG",), 24, FITS, "figure_fresh"),
        (("HOU.EMG",), 24.1, ASK, "figure_old"),
        (("HOU.TRANS", "HOU.SAFE"), 24.1, ASK, "figure_old"),
        (("MED.PRI",), 24 * 7, FITS, "figure_fresh"),
        (("MED.PRI",), 24 * 7.1, ASK, "figure_old"),
    ],
)
def test_the_figure_of_a_shelter_becomes_stale_in_a_day_and_other_figures_in_a_week(
    needs: tuple[str, ...], hours: float, verdict: Verdict, code: str
) -> None:
    reason = reasons(need_codes=needs, **room(Intake.OPEN, 3, hours))["freshness"]
    assert reason == (verdict, code)


def test_a_missing_figure_is_reported() -> None:
    _, code = reasons(capacity=Capacity())["freshness"]
    assert code == "figure_none"


def test_a_question_without_a_language_gets_no_reason_about_language() -> None:
    assert "language" not in reasons(replace(WOMAN, language=""))


def test_an_entry_that_nobody_confirmed_for_six_months_is_reported_as_unconfirmed() -> None:
    for assured_time in (NOW - timedelta(days=184), None):
        _, code = reasons(assured_time=assured_time)["freshness"]
        assert code == "entry_not_confirmed"


def test_services_are_ordered_by_verdict_room_freshness_area_language_and_name() -> None:
    beds = SHELTER.capacity
    candidates = [
        replace(SHELTER, service_id="closed", capacity=replace(beds, intake=Intake.CLOSED)),
        replace(SHELTER, service_id="full", capacity=replace(beds, available=0)),
        replace(SHELTER, service_id="declined", capacity=replace(beds, declined_time=NOW)),
        replace(SHELTER, service_id="waiting", capacity=replace(beds, intake=Intake.WAITLIST)),
        replace(SHELTER, service_id="without figure", capacity=replace(beds, available=None)),
        replace(SHELTER, service_id="too small", capacity=replace(beds, available=1)),
        replace(
            SHELTER, service_id="old", capacity=replace(beds, update_time=NOW - timedelta(days=2))
        ),
        replace(SHELTER, service_id="far", department="NI-MN"),
        replace(SHELTER, service_id="foreign", languages=("en",)),
        replace(SHELTER, service_id="mute", languages=()),
        replace(SHELTER, service_id="country", department=""),
        replace(SHELTER, service_id="b", name_key="b"),
        replace(SHELTER, service_id="a", name_key="a"),
    ]
    order = ["a", "b", "country", "mute", "foreign", "far", "old", "too small"]
    order += ["without figure", "waiting", "declined", "full", "closed"]
    assert [matched.candidate.service_id for matched in match(WOMAN, candidates, NOW)] == order
    assert [
        matched.candidate.service_id for matched in match(WOMAN, candidates[::-1], NOW)
    ] == order


@pytest.mark.parametrize(
    "changes",
    [
        {"eligibility": replace(SHELTER.eligibility, minimum_age=None)},
        {"eligibility": replace(SHELTER.eligibility, maximum_age=None)},
        {"eligibility": replace(SHELTER.eligibility, genders=())},
        {"capacity": replace(SHELTER.capacity, intake=None)},
        {"capacity": replace(SHELTER.capacity, available=None)},
        {"capacity": replace(SHELTER.capacity, update_time=None)},
    ],
    ids=["minimum age", "maximum age", "genders", "intake", "free beds", "time of the figure"],
)
def test_a_service_that_leaves_one_statement_out_does_not_fit_but_has_to_be_asked(
    changes: dict[str, Any],
) -> None:
    assert match(WOMAN, [replace(SHELTER, **changes)], NOW)[0].verdict is ASK


def test_no_service_fits_a_question_that_does_not_state_the_dependants() -> None:
    assert match(replace(WOMAN, dependants=None), [SHELTER], NOW)[0].verdict is ASK


def test_the_verdict_is_the_worst_verdict_of_its_reasons() -> None:
    full_shelter = replace(SHELTER, languages=(), capacity=figure(Intake.OPEN, 0))
    matched = match(WOMAN, [full_shelter], NOW)[0]
    assert {reason.verdict for reason in matched.reasons} == {FITS, ASK, NO}
    assert matched.verdict is NO


TAXONOMY = Taxonomy([Term("HOU", "", {}, (), ""), Term("HOU.EMG", "HOU", {}, (), "")])


@pytest.mark.parametrize(
    ("question", "violation"),
    [
        (Question("XXX"), ("need_code", "unknown_code")),
        (Question("HOU", "NI", "CR-G"), ("department", "unknown_code")),
    ],
)
def test_the_refusal_of_an_invalid_question_names_the_field(
    question: Question, violation: tuple[str, str]
) -> None:
    assert violations_of(lambda: question.check(TAXONOMY)) == [violation]


@pytest.mark.parametrize(
    ("question", "violation"),
    [
        ({"need_code": ""}, ("need_code", "required")),
        ({"country": "nic"}, ("country", "malformed")),
        ({"age": 121}, ("age", "out_of_range")),
        ({"dependants": 51}, ("dependants", "out_of_range")),
        ({"language": "no language"}, ("language", "malformed")),
        ({"excluded_organization_ids": ["x"] * 101}, ("excluded_organization_ids", "too_long")),
    ],
)
def test_the_refusal_of_a_malformed_question_names_the_field(
    scene: Scene, question: dict[str, Any], violation: tuple[str, str]
) -> None:
    assert wrong_fields(
        lambda: scene.coordinator.MatchServices(**{"need_code": "HOU", **question})
    ) == [violation]


def test_the_rpc_answers_with_services_verdicts_and_reasons(scene: Scene) -> None:
    shelter = scene.organization("Luna Nueva", type=OrganizationType.SHELTER)
    scene.service(
        shelter, "Albergue", confidential=True, languages=("es",), eligibility=SHELTER.eligibility
    )
    scene.service(shelter, "Para niños", eligibility=Eligibility(0, 11))
    scene.service(shelter, "Consulta", "MED.PRI")
    scene.service(shelter, "Vivienda", "HOU.TRANS")
    question = pb.MatchServicesRequest(
        need_code="HOU.EMG",
        country="NI",
        department="NI-CI",
        age=24,
        gender=pb.GENDER_FEMININE,
        dependants=0,
        language="es",
    )
    matches = scene.coordinator.MatchServices(question).matches
    assert [(m.service.name, m.verdict) for m in matches] == [
        ("Albergue", pb.VERDICT_FITS),
        ("Para niños", pb.VERDICT_DOES_NOT_FIT),
    ]
    assert (pb.CRITERION_AGE, pb.VERDICT_DOES_NOT_FIT, "age_too_high") in [
        (r.criterion, r.verdict, r.reason_code) for r in matches[1].reasons
    ]
    assert matches[0].service.phone == ""
    question.limit = 1
    assert len(scene.coordinator.MatchServices(question).matches) == 1


def test_a_group_of_needs_matches_every_need_in_it_and_a_need_matches_its_group(
    scene: Scene,
) -> None:
    for need in ("HOU", "HOU.EMG", "HOU.TRANS", "MED"):
        scene.service(scene.coalition, need, need)

    def names(need: str) -> set[str]:
        return {
            m.service.name
            for m in scene.coordinator.MatchServices(need_code=need, country="NI").matches
        }

    assert names("HOU") == {"HOU", "HOU.EMG", "HOU.TRANS"}
    assert names("HOU.EMG") == {"HOU", "HOU.EMG"}


def test_excluded_organisations_are_left_out_without_a_trace(scene: Scene) -> None:
    unsafe, safe = scene.organization("Insegura"), scene.organization("Segura")
    scene.service(unsafe, "Una")
    scene.service(safe, "Otra")
    question = pb.MatchServicesRequest(
        need_code="HOU.EMG", country="NI", excluded_organization_ids=[unsafe.id, "0" * 32]
    )
    assert [m.service.name for m in scene.coordinator.MatchServices(question).matches] == ["Otra"]


def test_only_services_of_the_country_that_are_offered_by_active_members_are_matched(
    scene: Scene,
) -> None:
    suspended, new_member = (
        scene.organization("Suspendida"),
        scene.organization("Nueva", approved=False),
    )
    scene.service(suspended, "De suspendida")
    scene.service(new_member, "Albergue a prueba")
    scene.service(scene.coalition, "Costa Rica", country="CR", department="")
    scene.service(scene.coalition, "Cerrado por obras", active=False)
    scene.suspend(suspended.id)
    assert not scene.coordinator.MatchServices(need_code="HOU.EMG", country="NI").matches
    scene.service(new_member, "Consulta a prueba", "MED.PRI")
    assert len(scene.coordinator.MatchServices(need_code="MED.PRI", country="NI").matches) == 1


def test_a_member_on_probation_is_offered_no_shelter(scene: Scene, newcomer: Stubs) -> None:
    scene.service(scene.coalition, "Albergue")
    assert not newcomer.MatchServices(need_code="HOU.EMG", country="NI").matches


def test_an_unknown_gender_from_a_newer_caller_is_refused_and_not_guessed(scene: Scene) -> None:
    assert wrong_fields(lambda: scene.coordinator.MatchServices(need_code="HOU", gender=42)) == [
        ("gender", "unknown_code")
    ]
