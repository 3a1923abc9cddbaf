"""Accepting a person subtracts a place from the stated figure; her exit adds it again.

A figure that was stated after the acceptance already counts her. These tests check what the
shelter's own people see; test_steps_of_time.py checks what others see.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import directory_pb2 as pb
from protos.referrals.v1 import facts_pb2
from services.partners import subscriptions
from services.partners.members.domain.worker import Role
from tests.builders import refusal
from tests.partners.scene import NOON, Scene

M = timedelta(minutes=1)


class Shelter:
    """An organisation that stated at noon that three of its beds are free; it is two o'clock."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.organization = scene.organization("Casa Puentes")
        self.service = scene.service(self.organization, "Albergue")
        self.staff = scene.by(self.organization, Role.WORKER, Role.MANAGER)
        self.say(3)
        scene.advance(hours=2)

    def say(self, available: int, **values: object) -> None:
        room = pb.Capacity(
            intake=pb.INTAKE_OPEN,
            available=available,
            unit=values.get("unit", pb.CAPACITY_UNIT_BEDS),  # type: ignore[arg-type]
        )
        if maximum := values.get("maximum"):
            room.maximum = int(str(maximum))
        self.staff.SetCapacity(id=self.service.id, capacity=room)

    def apply_fact(
        self,
        verb: str,
        referral_id: str,
        *,
        people: int = 1,
        by: str = "",
        at: datetime | None = None,
    ) -> None:
        body = facts_pb2.ReferralFact(
            referral_id=referral_id,
            service_id=self.service.id,
            receiver_organization_id=by or self.organization.id,
            people=people if verb == "accepted" else 0,
        )
        fact = Fact(
            referral_id,
            1,
            f"enlace.referral.{verb}.v1",
            body.SerializeToString(),
            at or self.scene.clock.now(),
        )
        with self.scene.database.transaction(SYSTEM) as tx:
            subscriptions.consume(self.scene.clock, tx, fact)

    def seen(self) -> pb.Service:
        service: pb.Service = self.staff.GetService(id=self.service.id)
        return service

    @property
    def free(self) -> int:
        return self.seen().capacity.available


@pytest.fixture
def shelter(scene: Scene) -> Shelter:
    return Shelter(scene)


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
def test_an_accept_takes_a_bed_and_each_exit_gives_it_back(shelter: Shelter, verb: str) -> None:
    before, person_id = shelter.seen(), new_id()
    shelter.apply_fact("accepted", person_id)
    assert shelter.free == 2
    assert shelter.seen().etag != before.etag, "a reader sees other content"
    assert shelter.seen().capacity.update_time == before.capacity.update_time, (
        "nobody has counted the beds again"
    )
    shelter.apply_fact("started", person_id)
    shelter.apply_fact(verb, person_id)
    assert shelter.free == 3
    for again in (verb, "closed", "withdrawn"):
        shelter.apply_fact(again, person_id)
    assert shelter.free == 3


def test_a_person_who_comes_with_children_takes_a_bed_for_each(shelter: Shelter) -> None:
    person_id = new_id()
    shelter.apply_fact("accepted", person_id, people=3)
    assert shelter.free == 0
    shelter.apply_fact("completed", person_id)
    assert shelter.free == 3


def test_a_reopened_referral_takes_a_bed_again(shelter: Shelter) -> None:
    person_id = new_id()
    for verb, free in (
        ("accepted", 2),
        ("completed", 3),
        ("reopened", 2),
        ("completed", 3),
        ("closed", 3),
    ):
        shelter.scene.advance(minutes=1)
        shelter.apply_fact(verb, person_id)
        assert shelter.free == free, verb


def test_a_fact_that_arrives_several_times_counts_once(shelter: Shelter) -> None:
    person_id = new_id()
    for _ in range(3):
        shelter.apply_fact("accepted", person_id)
    assert shelter.free == 2


def test_a_figure_stated_after_the_arrival_already_counts_the_person(shelter: Shelter) -> None:
    person_id = new_id()
    shelter.say(1)
    shelter.apply_fact("accepted", person_id, at=shelter.scene.clock.now() - M)  # received late
    assert shelter.free == 1
    shelter.scene.advance(minutes=1)
    shelter.apply_fact("completed", person_id)
    assert shelter.free == 2, "her bed is free again when she leaves"


def test_free_beds_never_fall_below_zero_or_exceed_the_maximum(shelter: Shelter) -> None:
    early = new_id()
    shelter.apply_fact("accepted", early)
    shelter.scene.advance(minutes=1)
    shelter.say(2, maximum=2)
    shelter.scene.advance(minutes=1)
    shelter.apply_fact("completed", early)
    assert shelter.free == 2
    shelter.apply_fact("accepted", new_id(), people=3)
    assert shelter.free == 0


def test_a_shelter_that_took_in_more_people_than_it_has_beds_has_none_free_until_enough_left(
    shelter: Shelter,
) -> None:
    shelter.say(1)
    shelter.scene.advance(minutes=1)
    with_child, alone = new_id(), new_id()
    shelter.apply_fact("accepted", with_child, people=2)
    shelter.apply_fact("accepted", alone)
    assert shelter.free == 0
    shelter.apply_fact("completed", alone)
    assert shelter.free == 0
    shelter.apply_fact("completed", with_child)
    assert shelter.free == 1
    shelter.apply_fact("accepted", new_id(), people=3)
    shelter.scene.advance(minutes=1)
    shelter.say(0)
    shelter.scene.advance(minutes=1)
    shelter.apply_fact("reopened", with_child)
    shelter.apply_fact("completed", with_child)
    assert shelter.free == 0, "a new figure already counts everybody"


def test_a_figure_that_counts_no_people_or_was_not_stated_stays_as_it_is(shelter: Shelter) -> None:
    shelter.say(3, unit=pb.CAPACITY_UNIT_APPOINTMENTS)
    shelter.scene.advance(minutes=1)
    shelter.apply_fact("accepted", new_id())
    assert shelter.free == 3
    shelter.staff.SetCapacity(id=shelter.service.id, capacity=pb.Capacity(intake=pb.INTAKE_OPEN))
    shelter.scene.advance(minutes=1)
    shelter.apply_fact("accepted", new_id())
    assert shelter.seen().capacity.intake == pb.INTAKE_OPEN


def test_nobody_else_takes_or_gives_a_bed(shelter: Shelter) -> None:
    other = shelter.scene.organization("Ajena")
    shelter.apply_fact("accepted", new_id(), by=other.id)
    assert shelter.free == 3
    shelter.apply_fact("completed", new_id())
    assert shelter.free == 3, "a person who took no bed gives none back"


def test_an_etag_from_before_a_bed_was_taken_is_stale(shelter: Shelter) -> None:
    before = shelter.seen().etag
    shelter.apply_fact("accepted", new_id())
    assert refusal(
        lambda: shelter.staff.SetCapacity(
            id=shelter.service.id,
            etag=before,
            capacity=pb.Capacity(intake=pb.INTAKE_OPEN, available=3),
        )
    ) == ("ABORTED", "stale_etag")
    assert shelter.scene.clock.now() > NOON
