"""The reliability of the figure that a service states for its room.

It depends on the promises that were kept and on the age of the figure.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as d
from services.partners.directory.domain.service import Capacity, Intake
from services.partners.directory.domain.truth import ReliabilityScore, has_promised, rank
from services.partners.members.domain.worker import Role
from tests.partners.scene import NOON, Scene
from tests.partners.shelters import Shelter

BED = ("HOU.EMG",)
ROOM = Capacity(Intake.OPEN, 3, 9, "beds", NOON)
HOUR = timedelta(hours=1)
REFERRAL, ANOTHER = new_id(), new_id()


@pytest.fixture
def shelter(scene: Scene) -> Shelter:
    """A shelter that stated an hour ago that three beds are free."""
    shelter = Shelter(scene)
    scene.advance(hours=1)
    return shelter


def promises(shelter: Shelter) -> tuple[int, int]:
    """Returns how many promises the shelter has kept and broken."""
    (score,) = shelter.staff.ListTruthScores(organization_id=shelter.organization.id).scores
    return score.kept, score.broken


@pytest.mark.parametrize(
    ("verb", "reason_code", "referral_ids", "expected"),
    [
        ("accepted", "", [REFERRAL, REFERRAL], (1, 0)),
        # after the first decline the figure is in doubt, so it is no promise
        ("declined", "no_capacity", [REFERRAL, ANOTHER], (0, 1)),
        ("declined", "not_eligible", [REFERRAL], (0, 0)),
    ],
    ids=[
        "accepting after stating room keeps a promise once",
        "declining for lack of room breaks a promise once",
        "declining for another reason breaks no promise",
    ],
)
def test_an_answer_to_a_referral_keeps_or_breaks_at_most_one_promise(
    shelter: Shelter,
    verb: str,
    reason_code: str,
    referral_ids: list[str],
    expected: tuple[int, int],
) -> None:
    for referral_id in referral_ids:
        shelter.refer(verb, referral_id, reason_code=reason_code)
        assert promises(shelter) == expected


def test_no_shelter_improves_its_record_by_referring_to_itself(shelter: Shelter) -> None:
    for _ in range(5):
        shelter.refer("accepted", sender_organization_id=shelter.organization.id)
    assert promises(shelter) == (0, 0)


def test_a_refused_enquiry_breaks_a_promise_and_a_yes_makes_a_promise_for_a_day(
    shelter: Shelter,
) -> None:
    shelter.answer_enquiry("no_capacity")
    assert promises(shelter) == (0, 1)
    shelter.state_room(0, d.INTAKE_CLOSED)
    shelter.refer("declined")
    assert promises(shelter) == (0, 1), "the shelter had stated that it is closed"
    shelter.answer_enquiry()
    shelter.refer("accepted")
    assert promises(shelter) == (1, 1)
    shelter.scene.advance(hours=24)
    shelter.refer("declined")
    assert promises(shelter) == (1, 1)


def test_promises_are_forgotten_after_half_a_year(shelter: Shelter) -> None:
    shelter.refer("declined")
    shelter.scene.sweep(days=184)
    assert promises(shelter) == (0, 0)


def test_only_the_member_and_the_coordination_see_the_truth_score(shelter: Shelter) -> None:
    id, coordinator = shelter.organization.id, shelter.scene.coordinator
    members_answer = shelter.staff.ListTruthScores(organization_id=id)
    assert [score.service_id for score in members_answer.scores] == [shelter.service.id]
    assert coordinator.ListTruthScores(organization_id=id) == members_answer
    assert coordinator.ListTruthScores() == members_answer, "no other member has a service"
    stranger = shelter.scene.by(shelter.sender, Role.MANAGER)
    assert not stranger.ListTruthScores(organization_id=id).scores
    assert not stranger.ListTruthScores().scores, "the other member has no services of its own"


def test_the_coordination_lists_services_that_nobody_confirms_or_that_break_promises(
    shelter: Shelter,
) -> None:
    def doubtful() -> list[str]:
        answer = shelter.scene.coordinator.ListTruthScores(doubtful=True)
        return [score.service_id for score in answer.scores]

    assert doubtful() == []
    shelter.refer("declined")
    assert doubtful() == [shelter.service.id]
    shelter.state_room(3)
    shelter.refer("accepted")
    assert doubtful() == []
    shelter.scene.advance(days=184)
    assert doubtful() == [shelter.service.id]


def test_a_figure_of_beds_becomes_stale_after_a_day_and_a_figure_of_talks_after_a_week(
    shelter: Shelter,
) -> None:
    talk = shelter.scene.service(shelter.organization, "Escucha", "PSS")
    for id, stale_time in (
        (shelter.service.id, NOON + 24 * HOUR),
        (talk.id, NOON + HOUR + 168 * HOUR),
    ):
        figure = shelter.staff.GetService(id=id).capacity
        assert figure.stale_time.ToDatetime(tzinfo=NOON.tzinfo) == stale_time


def test_every_change_of_the_figure_is_in_the_history(shelter: Shelter) -> None:
    shelter.state_room(2)
    shelter.state_room(2)
    answer = shelter.staff.ListFieldChanges(subject_id=shelter.service.id)
    assert [
        (change.field, change.old_value, change.new_value)
        for change in answer.changes
        if change.field == "capacity.available"
    ] == [("capacity.available", "3", "2")]


@pytest.mark.parametrize(
    ("kept", "broken", "hours", "score"),
    [
        (0, 0, 1, 100),  # nobody was sent there yet: the figure is trusted
        (0, 0, 24, 100),
        (0, 0, 60, 75),  # half of it depends on a fresh figure
        (0, 0, 96, 50),
        (0, 0, 2000, 50),
        (8, 2, 1, 83),
        (0, 2, 1, 50),
        (0, 18, 1, 10),
        (0, 18, 96, 5),
    ],
)
def test_half_of_the_score_is_how_often_the_figure_was_true_and_half_depends_on_its_age(
    kept: int, broken: int, hours: int, score: int
) -> None:
    assert ReliabilityScore(kept, broken, ROOM, BED).score(NOON + hours * HOUR) == score


def test_neither_a_figure_in_doubt_nor_a_missing_one_is_fresh() -> None:
    for room in (replace(ROOM, declined_time=NOON + HOUR), Capacity()):
        assert ReliabilityScore(0, 0, room, BED).score(NOON + HOUR) == 50


@pytest.mark.parametrize(
    ("kept", "broken", "place"),
    [(0, 0, 0), (8, 2, 0), (0, 1, 1), (2, 2, 1), (0, 3, 2), (1, 9, 2)],
)
def test_services_that_often_break_promises_come_last_among_those_that_state_the_same(
    kept: int, broken: int, place: int
) -> None:
    assert rank(kept, broken) == place


@pytest.mark.parametrize(
    ("capacity", "time", "promised"),
    [
        (ROOM, NOON, True),
        (ROOM, NOON - timedelta(seconds=1), False),
        (ROOM, NOON + timedelta(hours=24), False),
        (Capacity(Intake.OPEN, 0, 9, "beds", NOON), NOON, False),
        (Capacity(Intake.OPEN, None, None, "beds", NOON), NOON, True),
        (Capacity(Intake.WAITLIST, 3, 9, "beds", NOON), NOON, False),
        (Capacity(), NOON, False),
    ],
)
def test_only_a_fresh_figure_that_states_room_is_a_promise(
    capacity: Capacity, time: datetime, *, promised: bool
) -> None:
    assert has_promised(capacity, BED, None, time) is promised
