"""How far a service's figure of its room can be relied on.

That depends on the promises that were kept, and on the age of the figure.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as pb
from protos.referrals.v1 import enquiries_pb2, facts_pb2
from services.partners import subscriptions
from services.partners.directory.domain.service import Capacity, Intake
from services.partners.directory.domain.truth import ReliabilityScore, has_promised, rank
from services.partners.directory.usecases.housekeeping import sweep
from services.partners.members.domain.worker import Role
from tests.partners.scene import NOON, Scene, Stubs

BED = ("HOU.EMG",)
ROOM = Capacity(Intake.OPEN, 3, 9, "beds", NOON)


class Shelter:
    """A shelter that stated at noon that three beds are free, and to which others refer people."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.organization, self.sender = (
            scene.organization("Casa Puentes"),
            scene.organization("Manda"),
        )
        self.service = scene.service(self.organization)
        self.staff = scene.by(self.organization, Role.WORKER)
        scene.advance(hours=1)

    def apply_fact(
        self, verb: str, referral_id: str = "", *, sender: str = "", reason: str = ""
    ) -> None:
        referral_id = referral_id or new_id()
        body = facts_pb2.ReferralFact(
            referral_id=referral_id,
            service_id=self.service.id,
            receiver_organization_id=self.organization.id,
            actor_organization_id=self.organization.id,
            sender_organization_id=sender or self.sender.id,
            reason_code=reason,
            people=1,
        )
        self._tell(referral_id, f"enlace.referral.{verb}.v1", body.SerializeToString())

    def decline(self, **fields: str) -> None:
        self.apply_fact("declined", reason="no_capacity", **fields)

    def answer(self, *, yes: bool) -> None:
        body = facts_pb2.EnquiryFact(
            enquiry_id=new_id(),
            service_id=self.service.id,
            actor_organization_id=self.organization.id,
            organization_id=self.sender.id,
            answer=enquiries_pb2.OFFER_ANSWER_YES if yes else enquiries_pb2.OFFER_ANSWER_NO,
            reason_code="" if yes else "no_capacity",
        )
        self._tell(body.enquiry_id, "enlace.enquiry.answered.v1", body.SerializeToString())

    def say(self, available: int, intake: d.Intake.ValueType = d.INTAKE_OPEN) -> None:
        room = d.Capacity(intake=intake, available=available, unit=d.CAPACITY_UNIT_BEDS)
        self.staff.SetCapacity(id=self.service.id, capacity=room)

    def truth(self, by: Stubs | None = None) -> pb.TruthScore:
        (listed,) = (by or self.staff).ListTruthScores(organization_id=self.organization.id).scores
        score: pb.TruthScore = listed
        return score

    @property
    def promises(self) -> tuple[int, int]:
        return self.truth().kept, self.truth().broken

    def _tell(self, subject: str, kind: str, body: bytes) -> None:
        with self.scene.database.transaction(SYSTEM) as tx:
            subscriptions.consume(
                self.scene.clock, tx, Fact(subject, 1, kind, body, self.scene.clock.now())
            )


@pytest.fixture
def shelter(scene: Scene) -> Shelter:
    return Shelter(scene)


def test_a_shelter_that_stated_room_and_accepts_has_kept_a_promise(shelter: Shelter) -> None:
    shelter.apply_fact("accepted")
    assert shelter.promises == (1, 0)


def test_a_shelter_that_stated_room_and_declines_for_lack_of_room_has_broken_a_promise(
    shelter: Shelter,
) -> None:
    shelter.decline()
    assert shelter.promises == (0, 1)
    shelter.decline()
    assert shelter.promises == (0, 1), (
        "after the first decline the figure is in doubt, so it is no promise"
    )


def test_refusing_an_enquiry_breaks_a_promise_too_and_a_yes_makes_one_for_a_day(
    shelter: Shelter,
) -> None:
    shelter.answer(yes=False)
    assert shelter.promises == (0, 1)
    shelter.say(0, d.INTAKE_CLOSED)
    shelter.decline()
    assert shelter.promises == (0, 1), "it had stated that it is closed"
    shelter.answer(yes=True)
    shelter.apply_fact("accepted")
    assert shelter.promises == (1, 1)
    shelter.scene.advance(hours=24)
    shelter.decline()
    assert shelter.promises == (1, 1)


def test_a_fact_that_comes_twice_counts_once(shelter: Shelter) -> None:
    referral = new_id()
    shelter.apply_fact("accepted", referral)
    shelter.apply_fact("accepted", referral)
    assert shelter.promises == (1, 0)


def test_no_shelter_improves_its_record_by_referring_to_itself(shelter: Shelter) -> None:
    for _ in range(5):
        shelter.apply_fact("accepted", sender=shelter.organization.id)
    assert shelter.promises == (0, 0)


def test_declining_for_another_reason_breaks_no_promise(shelter: Shelter) -> None:
    shelter.apply_fact("declined", reason="not_eligible")
    assert shelter.promises == (0, 0)


def test_promises_are_forgotten_after_half_a_year(shelter: Shelter) -> None:
    shelter.decline()
    shelter.scene.advance(days=184)
    with shelter.scene.database.transaction(SYSTEM) as tx:
        sweep(tx, shelter.scene.clock.now())
    assert shelter.promises == (0, 0)


def test_only_the_member_and_the_coordination_see_the_truth_score(shelter: Shelter) -> None:
    assert shelter.truth(shelter.scene.coordinator) == shelter.truth()
    stranger = shelter.scene.by(shelter.sender, Role.MANAGER)
    assert not stranger.ListTruthScores(organization_id=shelter.organization.id).scores
    assert not stranger.ListTruthScores().scores, "the other member has no services of its own"
    every = shelter.scene.coordinator.ListTruthScores().scores
    assert [score.service_id for score in every] == [shelter.service.id]


def test_the_coordination_lists_services_that_nobody_confirms_or_that_break_promises(
    shelter: Shelter,
) -> None:
    def doubtful() -> list[str]:
        answer = shelter.scene.coordinator.ListTruthScores(doubtful=True)
        return [score.service_id for score in answer.scores]

    assert doubtful() == []
    shelter.decline()
    assert doubtful() == [shelter.service.id]
    shelter.say(3)
    shelter.apply_fact("accepted")
    assert doubtful() == []
    shelter.scene.advance(days=184)
    assert doubtful() == [shelter.service.id]


def test_a_figure_states_when_it_becomes_stale_for_beds_after_a_day_and_for_talks_after_a_week(
    shelter: Shelter,
) -> None:
    talk = shelter.scene.service(shelter.organization, "Escucha", "PSS")
    for id, stated_time, hours in (
        (shelter.service.id, NOON, 24),
        (talk.id, NOON + timedelta(hours=1), 168),
    ):
        figure = shelter.staff.GetService(id=id).capacity
        assert figure.stale_time.ToDatetime(tzinfo=NOON.tzinfo) == stated_time + timedelta(
            hours=hours
        )


def test_every_change_of_the_figure_is_in_the_history(shelter: Shelter) -> None:
    shelter.say(2)
    shelter.say(2)
    answer = shelter.staff.ListFieldChanges(subject_id=shelter.service.id)
    assert [
        (change.field, change.old_value, change.new_value)
        for change in answer.changes
        if change.field == "capacity.available"
    ] == [("capacity.available", "3", "2")]


@pytest.mark.parametrize(
    ("stored", "broken", "hours", "score"),
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
    stored: int, broken: int, hours: int, score: int
) -> None:
    assert ReliabilityScore(stored, broken, ROOM, BED).score(NOON + timedelta(hours=hours)) == score


def test_neither_a_figure_in_doubt_nor_a_missing_one_is_fresh() -> None:
    now = NOON + timedelta(hours=1)
    assert (
        ReliabilityScore(
            0, 0, Capacity(Intake.OPEN, 3, 9, "beds", NOON, declined_time=now), BED
        ).score(now)
        == 50
    )
    assert ReliabilityScore(0, 0, Capacity(), BED).score(now) == 50


@pytest.mark.parametrize(
    ("stored", "broken", "place"),
    [(0, 0, 0), (8, 2, 0), (0, 1, 1), (2, 2, 1), (0, 3, 2), (1, 9, 2)],
)
def test_services_that_often_break_promises_come_last_among_those_that_state_the_same(
    stored: int, broken: int, place: int
) -> None:
    assert rank(stored, broken) == place


@pytest.mark.parametrize(
    ("capacity", "at", "promised"),
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
    capacity: Capacity, at: datetime, *, promised: bool
) -> None:
    assert has_promised(capacity, BED, None, at) is promised
