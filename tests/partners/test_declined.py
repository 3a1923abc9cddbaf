"""A service that declines for lack of room puts its own figure in doubt until it states a new one.

Nobody else can put the figure in doubt, and no fact from before the figure can.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from google.protobuf.message import DecodeError

from chassis.contract import words_of
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.partners.v1 import directory_pb2 as pb
from protos.referrals.v1 import enquiries_pb2, facts_pb2
from services.partners import subscriptions
from services.partners.directory.domain.service import Service
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import refusal
from tests.partners.scene import NOON, Scene

WOMAN = {
    "need_code": "HOU.TRANS",
    "country": "NI",
    "department": "NI-CI",
    "age": 24,
    "gender": pb.GENDER_FEMININE,
    "dependants": 0,
}

FACTS = tuple(facts_pb2.DESCRIPTOR.message_types_by_name)


class Shelter:
    """An organisation with one service that reported room at noon; it is two o'clock."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.organization: Organization = scene.organization("Casa Puentes")
        # other members do not see a shelter's change at once
        self.service: Service = scene.service(self.organization, "Albergue", "HOU.TRANS")
        self.staff = scene.by(self.organization, Role.WORKER, Role.MANAGER)
        scene.advance(hours=2)

    def apply_fact(
        self,
        verb: str = "declined",
        *,
        reason: str = "no_capacity",
        by: str = "",
        service: str = "",
        at: datetime | None = None,
    ) -> None:
        fact = facts_pb2.ReferralFact(
            referral_id=new_id(),
            service_id=service or self.service.id,
            reason_code=reason,
            actor_organization_id=by or self.organization.id,
            receiver_organization_id=self.organization.id,
        )
        self.fact(f"enlace.referral.{verb}.v1", fact.SerializeToString(), at)

    def apply_answer_fact(
        self, reason: str = "no_capacity", *, by: str = "", at: datetime | None = None
    ) -> None:
        """Applies the fact of an answer to an enquiry."""
        answer = enquiries_pb2.OFFER_ANSWER_NO if reason else enquiries_pb2.OFFER_ANSWER_YES
        fact = facts_pb2.EnquiryFact(
            enquiry_id=new_id(),
            service_id=self.service.id,
            answer=answer,
            reason_code=reason,
            actor_organization_id=by or self.organization.id,
        )
        self.fact("enlace.enquiry.answered.v1", fact.SerializeToString(), at)

    def fact(self, type_: str, body: bytes, at: datetime | None = None) -> None:
        with self.scene.database.transaction(SYSTEM) as tx:
            subscriptions.consume(
                self.scene.clock, tx, Fact(new_id(), 1, type_, body, at or self.scene.clock.now())
            )

    def seen(self) -> pb.Service:
        service: pb.Service = self.scene.coordinator.GetService(id=self.service.id)
        return service

    @property
    def declined(self) -> timedelta | None:
        """Returns how long after noon the last decline was, as everybody sees it."""
        room = self.seen().capacity
        return (
            room.declined_time.ToDatetime(NOON.tzinfo) - NOON
            if room.HasField("declined_time")
            else None
        )

    def room(self) -> tuple[str, str]:
        """Returns the name of the first match, and what is shown of its room."""
        first = self.scene.coordinator.MatchServices(**WOMAN).matches[0]
        return first.service.name, next(
            reason.reason_code for reason in first.reasons if reason.criterion == pb.CRITERION_ROOM
        )


@pytest.fixture
def shelter(scene: Scene) -> Shelter:
    return Shelter(scene)


def test_declining_for_lack_of_room_puts_the_figure_in_doubt_and_does_not_change_it(
    shelter: Shelter,
) -> None:
    before = shelter.seen()
    assert shelter.declined is None
    shelter.apply_fact()
    after = shelter.seen()
    assert shelter.declined == timedelta(hours=2)
    assert (after.capacity.intake, after.capacity.available) == (pb.INTAKE_OPEN, 3)
    assert after.capacity.update_time == before.capacity.update_time
    assert after.active
    assert after.etag != before.etag  # a reader sees other content
    assert [kind for _, kind in shelter.scene.facts(shelter.service.id)] == [
        "enlace.service.registered.v1"
    ]


def test_refusing_an_enquiry_for_lack_of_room_puts_the_figure_in_doubt_once_too(
    shelter: Shelter,
) -> None:
    for other in ("out_of_area", ""):
        shelter.apply_answer_fact(other)
    shelter.apply_answer_fact(by=shelter.scene.coalition.id)
    assert shelter.declined is None
    for _ in range(2):
        shelter.apply_answer_fact(at=NOON + timedelta(hours=1))
    assert shelter.declined == timedelta(hours=1)
    etag = shelter.seen().etag
    shelter.apply_answer_fact(at=NOON + timedelta(hours=1))
    assert shelter.seen().etag == etag


@pytest.mark.parametrize(
    "verb", ["opened", "offers_waiting", "matched", "referred", "exhausted", "cancelled"]
)
def test_other_facts_of_an_enquiry_cast_no_doubt_on_the_figure(shelter: Shelter, verb: str) -> None:
    shelter.fact(
        f"enlace.enquiry.{verb}.v1",
        facts_pb2.EnquiryFact(
            service_id=shelter.service.id, reason_code="no_capacity"
        ).SerializeToString(),
    )
    assert shelter.declined is None


def test_the_doubt_ends_when_the_service_states_its_room_again(shelter: Shelter) -> None:
    shelter.apply_fact()
    shelter.scene.advance(minutes=1)
    shelter.staff.SetCapacity(
        id=shelter.service.id, capacity=pb.Capacity(intake=pb.INTAKE_OPEN, available=1)
    )
    assert shelter.declined is None
    shelter.apply_fact(at=NOON + timedelta(hours=2))  # published late, or again
    assert shelter.declined is None
    assert shelter.room() == ("Albergue", "room_free")


def test_facts_that_come_twice_or_out_of_order_count_once_and_the_newest_decides(
    shelter: Shelter,
) -> None:
    for minutes in (70, 100, 100, 80, 70):
        shelter.apply_fact(at=NOON + timedelta(minutes=minutes))
    assert shelter.declined == timedelta(minutes=100)


def test_a_decline_from_before_the_figure_casts_no_doubt_on_it(shelter: Shelter) -> None:
    for at in (NOON - timedelta(hours=1), NOON):
        shelter.apply_fact(at=at)
    assert shelter.declined is None


@pytest.mark.parametrize(
    "reason", ["not_eligible", "other", "", "NO_CAPACITY", "no_capacity_at_all"]
)
def test_declining_for_another_reason_casts_no_doubt_on_the_figure(
    shelter: Shelter, reason: str
) -> None:
    shelter.apply_fact(reason=reason)
    assert shelter.declined is None


@pytest.mark.parametrize("verb", ["accepted", "waitlisted", "expired", "withdrawn", "drafted"])
def test_no_other_step_of_a_referral_casts_doubt_on_the_figure(shelter: Shelter, verb: str) -> None:
    shelter.apply_fact(verb)
    assert shelter.declined is None


def test_nobody_else_can_put_the_figure_in_doubt(shelter: Shelter) -> None:
    other = shelter.scene.organization("Ajena")
    shelter.apply_fact(by=other.id)
    shelter.apply_fact(by=shelter.scene.coalition.id)
    assert shelter.declined is None


def test_a_decline_by_an_unknown_service_or_one_without_a_figure_is_ignored(
    shelter: Shelter,
) -> None:
    shelter.apply_fact(service=new_id())
    silent = shelter.staff.CreateService(service=pb.Service(name="Ropero", need_codes=["MAT.NFI"]))
    shelter.apply_fact(service=silent.id)
    assert not shelter.scene.coordinator.GetService(id=silent.id).HasField("capacity")


def test_a_service_in_doubt_ranks_below_those_with_room_and_is_not_found_among_them(
    shelter: Shelter,
) -> None:
    shelter.scene.service(shelter.scene.organization("Zaguán"), "Zaguán", "HOU.TRANS", room=1)
    assert shelter.room() == ("Albergue", "room_free")
    shelter.apply_fact()
    assert shelter.room() == ("Zaguán", "room_free")
    matches = shelter.scene.coordinator.MatchServices(**WOMAN).matches
    reasons = {reason.reason_code: reason.verdict for reason in matches[1].reasons}
    assert reasons["room_declined"] == pb.VERDICT_ASK
    with_room = shelter.scene.coordinator.SearchServices(has_room=True).services
    assert [service.name for service in with_room] == ["Zaguán"]
    assert shelter.scene.coordinator.SearchServices().total_size == 2


def test_a_closed_service_stays_closed_and_a_full_one_stays_full(shelter: Shelter) -> None:
    for room, reason in (
        (pb.Capacity(intake=pb.INTAKE_CLOSED), "room_closed"),
        (pb.Capacity(intake=pb.INTAKE_OPEN, available=0), "room_none"),
    ):
        shelter.staff.SetCapacity(id=shelter.service.id, capacity=room)
        shelter.scene.advance(minutes=1)
        shelter.apply_fact()
        assert shelter.room() == ("Albergue", reason)


def test_an_etag_from_before_the_doubt_is_stale(shelter: Shelter) -> None:
    before = shelter.seen().etag
    shelter.apply_fact()
    open_again = pb.SetCapacityRequest(
        id=shelter.service.id, etag=before, capacity=pb.Capacity(intake=pb.INTAKE_OPEN)
    )
    assert refusal(lambda: shelter.staff.SetCapacity(open_again)) == ("ABORTED", "stale_etag")


def test_a_decline_time_that_the_caller_sends_is_ignored(shelter: Shelter) -> None:
    room = pb.Capacity(intake=pb.INTAKE_OPEN, available=2)
    room.declined_time.FromDatetime(NOON + timedelta(days=1))
    shelter.staff.SetCapacity(id=shelter.service.id, capacity=room)
    assert shelter.declined is None


@pytest.mark.parametrize(
    "type_",
    [
        "enlace.referral.something_new.v1",
        *(f"enlace.{words_of(name.removesuffix('Fact'))}.changed.v1" for name in FACTS),
    ],
)
def test_facts_that_do_not_concern_room_are_received_and_ignored(
    shelter: Shelter, type_: str
) -> None:
    shelter.fact(type_, b"")
    assert shelter.declined is None


@pytest.mark.parametrize(
    "type_",
    ["enlace.weather.changed.v1", "enlace.referral.declined.v2", "other.referral.declined.v1", ""],
)
def test_a_kind_of_fact_that_is_newer_than_this_service_is_held(
    shelter: Shelter, type_: str
) -> None:
    with pytest.raises(NewerKind):
        shelter.fact(type_, b"")


def test_a_body_that_cannot_be_read_is_refused(shelter: Shelter) -> None:
    with pytest.raises(DecodeError):
        shelter.fact("enlace.referral.declined.v1", b"\xff\xff\xff")
