"""The triage of a caller's answers, and the characters of her reference."""

import itertools
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Unauthenticated
from services.referrals.line.domain import triage as rules
from services.referrals.line.domain.contact import new_reference, read_reference
from services.referrals.line.domain.triage import (
    DECIDING,
    DID_NOT_SAY,
    NO,
    NOT_ASKED,
    RULES,
    YES,
    Rule,
    Triage,
)
from services.referrals.network.domain.codes import ALPHABET, check_character
from services.referrals.network.domain.deadline import Urgency

QUESTIONS = [field.name for field in fields(Triage)]
CALM_ANSWERS = dict.fromkeys(DECIDING, NO) | {"safe_place_tonight": YES}
TRIAGES = st.builds(
    Triage, **{name: st.sampled_from([YES, NO, DID_NOT_SAY, NOT_ASKED]) for name in QUESTIONS}
)


# Triage.


@pytest.mark.parametrize(
    ("answers", "urgency", "pathway"),
    [
        ({}, None, ""),
        (CALM_ANSWERS, Urgency.NORMAL, "return_and_reintegration"),
        (
            CALM_ANSWERS | {"wants_protection": DID_NOT_SAY},
            Urgency.NORMAL,
            "return_and_reintegration",
        ),
        (CALM_ANSWERS | {"wants_protection": NOT_ASKED}, None, ""),
        ({"danger_now": NO}, None, ""),
        ({"safe_place_tonight": YES}, None, ""),
        ({"danger_now": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"escape_under_way": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"medical_emergency": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"wants_protection": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"child_unsafe": YES}, Urgency.IMMEDIATE, "child"),
        ({"still_held": YES, "wants_out": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"still_held": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        (
            {"still_held": YES, "wants_out": DID_NOT_SAY},
            Urgency.IMMEDIATE,
            "protection_on_the_line",
        ),
        ({"still_held": YES, "wants_out": NO}, Urgency.URGENT, "return_and_reintegration"),
        ({"safe_place_tonight": NO}, Urgency.EMERGENCY, "return_and_reintegration"),
        ({"exploiters_looking": YES}, Urgency.EMERGENCY, "return_and_reintegration"),
        ({"sexual_violence_120h": YES}, Urgency.EMERGENCY, "sexual_violence_120h"),
        (
            {"sexual_violence_120h": YES, "danger_now": YES},
            Urgency.IMMEDIATE,
            "sexual_violence_120h",
        ),
        ({"sexual_violence_120h": YES, "child_unsafe": YES}, Urgency.IMMEDIATE, "child"),
        ({"need_within_days": YES}, Urgency.URGENT, "return_and_reintegration"),
        ({"safe_to_talk": NO}, None, ""),
        ({"wants_out": YES}, None, ""),
        (dict.fromkeys(QUESTIONS, DID_NOT_SAY), None, ""),
    ],
)
def test_the_answers_determine_urgency_and_pathway(
    answers: dict[str, str], urgency: Urgency | None, pathway: str
) -> None:
    triage = Triage(**answers)
    assert (triage.urgency(), triage.pathway()) == (urgency, pathway)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.question}-{rule.urgency.value}")
def test_no_triage_rule_is_redundant(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    exception = next(
        (
            other.unless
            for other in RULES
            if other is not rule and other.question == rule.question and other.unless[0]
        ),
        None,
    )
    answers = {rule.question: rule.answer} | ({exception[0]: exception[1]} if exception else {})
    triage = Triage(**answers)
    assert (triage.urgency(), triage.pathway(), triage.treatments()) == (
        rule.urgency,
        rule.pathway,
        list(rule.health),
    )
    monkeypatch.setattr(rules, "RULES", tuple(other for other in RULES if other is not rule))
    result_without_rule = (triage.urgency(), triage.pathway(), triage.treatments())
    assert result_without_rule != (rule.urgency, rule.pathway, list(rule.health))


@given(TRIAGES, st.sampled_from(QUESTIONS))
def test_a_missing_answer_never_lowers_the_urgency(triage: Triage, question: str) -> None:
    unanswered_urgency = replace(triage, **{question: DID_NOT_SAY}).urgency()
    urgencies = [replace(triage, **{question: answer}).urgency() for answer in (YES, NO)]
    ranks = [urgency.rank for urgency in urgencies if urgency]
    assert unanswered_urgency is None or unanswered_urgency.rank >= min(ranks)
    assert replace(triage, **{question: NOT_ASKED}).urgency() in (None, unanswered_urgency)


@given(TRIAGES)
def test_a_contact_is_rated_normal_only_once_every_deciding_question_is_answered_or_declined(
    triage: Triage,
) -> None:
    open_questions = [name for name in DECIDING if getattr(triage, name) == NOT_ASKED]
    has_answer = any(getattr(triage, name) in (YES, NO) for name in DECIDING)
    assert triage.urgency() is not Urgency.NORMAL or (has_answer and not open_questions)
    assert bool(triage.pathway()) == (triage.urgency() is not None)


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        ({}, 11),
        ({"danger_now": NO}, 10),
        ({"danger_now": NO, "still_held": NO}, 8),
        ({"danger_now": NO, "still_held": YES}, 9),
        ({"safe_to_talk": NO}, 11),
        (dict.fromkeys(QUESTIONS, DID_NOT_SAY), 0),
        (CALM_ANSWERS, 0),
    ],
)
def test_the_questions_that_can_still_change_the_urgency_are_counted(
    answers: dict[str, str], count: int
) -> None:
    assert len(Triage(**answers).unanswered()) == count


# The reference.


def test_the_check_character_detects_any_one_wrong_character() -> None:
    for _ in range(20):
        reference = new_reference()
        assert read_reference(reference) == reference
        for place, character in itertools.product(range(8), ALPHABET):
            if character != reference[place]:
                with pytest.raises(Unauthenticated):
                    read_reference(reference[:place] + character + reference[place + 1 :])


@pytest.mark.parametrize(
    ("body", "check"),
    # worked out by hand: from the right, every other value counts double, with its two digits added
    [("", "0"), ("0", "0"), ("1", "Y"), ("10", "Z"), ("G", "Z"), ("Z", "1"), ("Z1G", "Z")],
)
def test_the_check_character_of_a_code_never_changes(body: str, check: str) -> None:
    assert check_character(body) == check


def test_the_check_character_detects_every_swap_of_neighbours_except_that_of_0_and_z() -> None:
    for first, second in itertools.permutations(ALPHABET, 2):
        for rest in ("", "7"):
            detected = check_character(first + second + rest) != check_character(
                second + first + rest
            )
            assert detected == ({first, second} != {"0", "Z"})


def test_a_reference_is_recognised_despite_case_spaces_and_similar_letters() -> None:
    reference = next(
        candidate
        for candidate in iter(new_reference, None)
        if "1" in candidate and "0" in candidate
    )
    for spoken in (
        reference.lower(),
        f"{reference[:4]}-{reference[4:]}",
        f" {reference[:4]} {reference[4:]} ",
        reference.replace("1", "I").replace("0", "O"),
        reference.replace("1", "l").replace("0", "o"),
    ):
        assert read_reference(spoken) == reference
    for nonsense in ("", reference[:7], reference + "0", "UUUUUUUU", "ñ" * 8, "\x00" * 8, "٠" * 8):
        with pytest.raises(Unauthenticated):
            read_reference(nonsense)


def test_references_are_distinct_and_use_the_whole_alphabet() -> None:
    created = {new_reference() for _ in range(2_000)}
    assert len(created) == 2_000
    assert set("".join(reference[:7] for reference in created)) == set(ALPHABET)
