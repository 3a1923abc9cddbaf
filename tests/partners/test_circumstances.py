"""The circumstances of a person that decide which services accept her.

The statements of a service decide, a missing statement has to be asked for, and a circumstance that
is not given changes nothing.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as pb
from services.partners.directory.domain.location import Accessibility
from services.partners.directory.domain.matching import Candidate, Question, Verdict, match
from services.partners.directory.domain.service import Capacity, Eligibility, Intake
from services.partners.members.domain.organization import Organization
from tests.partners.scene import Scene, Stubs

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
FITS, ASK, NO = Verdict.FITS, Verdict.ASK, Verdict.DOES_NOT_FIT
STEP_FREE = (Accessibility.STEP_FREE,)


def candidate(id: str = "s", **fields: Any) -> Candidate:
    takes = Eligibility(0, 99, (), True, 5, **fields.pop("takes", {}))
    room = Capacity(Intake.OPEN, 3, 9, "beds", NOW)
    return Candidate(
        id,
        fields.pop("name", "a"),
        ("HOU.EMG",),
        fields.pop("department", ""),
        (),
        takes,
        room,
        NOW,
        **fields,
    )


def verdicts(question: dict[str, Any], **fields: Any) -> dict[str, tuple[Verdict, str]]:
    (matched,) = match(Question("HOU.EMG", **question), [candidate(**fields)], NOW)
    return {reason.criterion: (reason.verdict, reason.code) for reason in matched.reasons}


@pytest.mark.parametrize(
    ("question", "statements", "criterion", "verdict", "code"),
    [
        (
            {"pregnant": True},
            {"takes": {"takes_pregnant": True}},
            "pregnancy",
            FITS,
            "pregnancy_taken",
        ),
        (
            {"pregnant": True},
            {"takes": {"takes_pregnant": False}},
            "pregnancy",
            NO,
            "pregnancy_not_taken",
        ),
        ({"pregnant": True}, {}, "pregnancy", ASK, "pregnancy_not_stated"),
        (
            {"with_addiction": True},
            {"takes": {"takes_with_addiction": False}},
            "addiction",
            NO,
            "addiction_not_taken",
        ),
        (
            {"without_papers": True},
            {"takes": {"takes_without_papers": True}},
            "papers",
            FITS,
            "papers_taken",
        ),
        (
            {"oldest_boy_age": 14},
            {"takes": {"maximum_age_of_boys": 12}},
            "boys",
            NO,
            "boys_too_old",
        ),
        (
            {"oldest_boy_age": 12},
            {"takes": {"maximum_age_of_boys": 12}},
            "boys",
            FITS,
            "boys_taken",
        ),
        (
            {"oldest_boy_age": 0},
            {"takes": {"maximum_age_of_boys": 0}},
            "boys",
            NO,
            "boys_not_taken",
        ),
        ({"oldest_boy_age": 3}, {}, "boys", ASK, "boys_not_stated"),
        (
            {"accessibility": STEP_FREE},
            {"accessibility": STEP_FREE},
            "accessibility",
            FITS,
            "accessibility_there",
        ),
        ({"accessibility": STEP_FREE}, {}, "accessibility", ASK, "accessibility_not_stated"),
        (
            {"department": "NI-LE"},
            {"department": "NI-CI", "area_codes": ("NI-LE.nagarote",)},
            "area",
            FITS,
            "area_covered",
        ),
        (
            {"department": "NI-LE"},
            {"department": "NI-CI", "area_codes": ("NI",)},
            "area",
            FITS,
            "area_covered",
        ),
        (
            {"department": "NI-LE"},
            {"department": "NI-CI", "area_codes": ("NI-MN",)},
            "area",
            ASK,
            "department_other",
        ),
    ],
)
def test_the_statements_of_a_service_decide_and_a_missing_statement_has_to_be_asked_for(
    question: dict[str, Any],
    statements: dict[str, Any],
    criterion: str,
    verdict: Verdict,
    code: str,
) -> None:
    assert verdicts(question, **statements)[criterion] == (verdict, code)


def test_circumstances_that_are_not_given_are_not_judged_and_kept_promises_add_no_reason() -> None:
    assert set(verdicts({})) == {"need", "age", "gender", "dependants", "area", "room", "freshness"}


def test_a_service_that_keeps_its_promises_comes_before_others_that_state_the_same() -> None:
    directory = [
        candidate("a", promises_broken=9),
        candidate("b", name="z", promises_kept=9),
        candidate("c", name="m", promises_kept=1, promises_broken=2),
    ]
    assert [
        matched.candidate.service_id for matched in match(Question("HOU.EMG"), directory, NOW)
    ] == ["b", "c", "a"]


def test_the_rpc_judges_circumstances_by_what_a_service_states(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    takes = pb.Eligibility(takes_pregnant=True, takes_without_papers=False, maximum_age_of_boys=12)
    service = pb.Service(
        name="Consulta",
        need_codes=["PSS.CNS"],
        eligibility=takes,
        accessibility=[pb.ACCESSIBILITY_SIGN_LANGUAGE],
    )
    manager.CreateService(service=service, request_id=new_id())
    question = pb.MatchServicesRequest(
        need_code="PSS.CNS",
        pregnant=True,
        without_papers=True,
        oldest_boy_age=9,
        accessibility=[pb.ACCESSIBILITY_SIGN_LANGUAGE],
    )
    (matched,) = scene.coordinator.MatchServices(question).matches
    codes = {reason.reason_code for reason in matched.reasons}
    assert {"pregnancy_taken", "papers_not_taken", "boys_taken", "accessibility_there"} <= codes
    assert matched.verdict == pb.VERDICT_DOES_NOT_FIT
