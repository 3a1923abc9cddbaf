"""Accepting a person subtracts a place from the stated figure; her exit adds it back.

A figure that was stated after the acceptance already counts her. These tests check what the
shelter's own people see; test_time_steps.py checks what others see.
"""

from datetime import timedelta

import pytest

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as pb
from tests.builders import refusal
from tests.partners.scene import STALE_ETAG, Scene
from tests.partners.shelters import Shelter


@pytest.fixture
def shelter(scene: Scene) -> Shelter:
    """A shelter that stated at noon that three of its beds are free; it is two o'clock."""
    shelter = Shelter(scene)
    shelter.state_room(3)
    scene.advance(hours=2)
    return shelter


def free(shelter: Shelter) -> int:
    return shelter.shown().capacity.available


@pytest.mark.parametrize(
    "verb",
    [
        "completed",
        "not_delivered",
        "withdrawn",
        "consent_withdrawn",
        "rerouted",
        "entered_in_error",
    ],
)
def test_an_acceptance_takes_a_bed_and_each_exit_gives_it_back(shelter: Shelter, verb: str) -> None:
    before, referral_id = shelter.shown(), new_id()
    shelter.refer("accepted", referral_id)
    after = shelter.shown()
    assert after.capacity.available == 2
    assert after.etag != before.etag, "the content that readers see has changed"
    assert after.capacity.update_time == before.capacity.update_time, (
        "nobody has counted the beds again"
    )
    shelter.refer("started", referral_id)
    shelter.refer(verb, referral_id)
    assert free(shelter) == 3
    for later_verb in (verb, "closed", "withdrawn"):
        shelter.refer(later_verb, referral_id)
    assert free(shelter) == 3


@pytest.mark.parametrize(
    ("people", "steps"),
    [
        pytest.param(
            3,
            [("accepted", 0), ("completed", 3)],
            id="a person who comes with children takes a bed for each",
        ),
        pytest.param(
            1,
            [("accepted", 2), ("completed", 3), ("reopened", 2), ("completed", 3), ("closed", 3)],
            id="a reopened referral takes a bed again",
        ),
    ],
)
def test_the_steps_of_a_referral_leave_this_many_free_beds(
    shelter: Shelter, people: int, steps: list[tuple[str, int]]
) -> None:
    referral_id = new_id()
    for verb, free_beds in steps:
        shelter.scene.advance(minutes=1)
        shelter.refer(verb, referral_id, people=people)
        assert free(shelter) == free_beds, verb


def test_a_fact_that_arrives_several_times_counts_once(shelter: Shelter) -> None:
    referral_id = new_id()
    for _ in range(3):
        shelter.refer("accepted", referral_id)
    assert free(shelter) == 2


def test_a_figure_stated_after_the_acceptance_already_counts_the_person(shelter: Shelter) -> None:
    referral_id = new_id()
    shelter.state_room(1)
    minute_ago = shelter.scene.clock.now() - timedelta(minutes=1)
    shelter.refer("accepted", referral_id, at=minute_ago)  # received late
    assert free(shelter) == 1
    shelter.scene.advance(minutes=1)
    shelter.refer("completed", referral_id)
    assert free(shelter) == 2, "her bed is free again when she leaves"


def test_free_beds_never_fall_below_zero_or_exceed_the_maximum(shelter: Shelter) -> None:
    referral_id = new_id()
    shelter.refer("accepted", referral_id)
    shelter.scene.advance(minutes=1)
    shelter.state_room(2, maximum=2)
    shelter.scene.advance(minutes=1)
    shelter.refer("completed", referral_id)
    assert free(shelter) == 2
    shelter.refer("accepted", people=3)
    assert free(shelter) == 0


def test_a_shelter_with_more_people_than_beds_has_none_free_until_enough_people_have_left(
    shelter: Shelter,
) -> None:
    shelter.state_room(1)
    shelter.scene.advance(minutes=1)
    with_child, alone = new_id(), new_id()
    shelter.refer("accepted", with_child, people=2)
    shelter.refer("accepted", alone)
    assert free(shelter) == 0
    shelter.refer("completed", alone)
    assert free(shelter) == 0
    shelter.refer("completed", with_child)
    assert free(shelter) == 1
    shelter.refer("accepted", people=3)
    shelter.scene.advance(minutes=1)
    shelter.state_room(0)
    shelter.scene.advance(minutes=1)
    shelter.refer("reopened", with_child)
    shelter.refer("completed", with_child)
    assert free(shelter) == 0, "a new figure already counts everybody"


def test_a_figure_in_appointments_stays_as_it_is_and_a_figure_that_was_not_stated_stays_empty(
    shelter: Shelter,
) -> None:
    shelter.state_room(3, unit=pb.CAPACITY_UNIT_APPOINTMENTS)
    shelter.scene.advance(minutes=1)
    shelter.refer("accepted")
    assert free(shelter) == 3
    shelter.staff.SetCapacity(id=shelter.service.id, capacity=pb.Capacity(intake=pb.INTAKE_OPEN))
    shelter.scene.advance(minutes=1)
    shelter.refer("accepted")
    room = shelter.shown().capacity
    assert (room.intake, room.HasField("available")) == (pb.INTAKE_OPEN, False)


def test_only_a_person_whom_the_shelter_itself_accepted_takes_a_bed_or_gives_one_back(
    shelter: Shelter,
) -> None:
    other = shelter.scene.organization("Ajena")
    shelter.refer("accepted", receiver_organization_id=other.id, actor_organization_id=other.id)
    assert free(shelter) == 3
    shelter.refer("completed")
    assert free(shelter) == 3, "a person who took no bed gives none back"


def test_an_etag_from_before_a_bed_was_taken_is_stale(shelter: Shelter) -> None:
    request = pb.SetCapacityRequest(
        id=shelter.service.id,
        etag=shelter.shown().etag,
        capacity=pb.Capacity(intake=pb.INTAKE_OPEN, available=3),
    )
    shelter.refer("accepted")
    assert refusal(lambda: shelter.staff.SetCapacity(request)) == STALE_ETAG
