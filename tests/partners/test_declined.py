"""A service that declines for lack of room puts its own figure in doubt until it states a new one.

Neither others nor facts from before the figure can put it in doubt.
"""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.message import DecodeError

from chassis.contract import words_of
from chassis.ids import new_id
from facts.envelope import NewerKind
from protos.partners.v1 import directory_pb2 as pb
from protos.referrals.v1 import facts_pb2
from tests.builders import refusal
from tests.partners.scene import NOON, STALE_ETAG, Scene
from tests.partners.shelters import WOMAN, Shelter, consume

FACTS = tuple(facts_pb2.DESCRIPTOR.message_types_by_name)
HOUR = timedelta(hours=1)


class TransitHouse(Shelter):
    """Transitional housing that stated at noon that it has room; it is two o'clock.

    The facts of its declines name no sender, so that they break no promise.
    """

    def __init__(self, scene: Scene) -> None:
        # transitional housing is no shelter, so that other members see its changes at once
        super().__init__(scene, "HOU.TRANS")
        scene.advance(hours=2)

    def decline(self, **fields: Any) -> None:
        self.refer("declined", **{"sender_organization_id": ""} | fields)

    @property
    def decline_time(self) -> timedelta | None:
        """Returns how long after noon the last decline was, as everybody sees it."""
        room = self.shown(self.scene.coordinator).capacity
        return (
            room.declined_time.ToDatetime(NOON.tzinfo) - NOON
            if room.HasField("declined_time")
            else None
        )

    def room(self) -> tuple[str, str]:
        """Returns the name of the first match, and what is shown of its room."""
        first_match = self.scene.coordinator.MatchServices(
            **WOMAN | {"need_code": "HOU.TRANS"}
        ).matches[0]
        return first_match.service.name, next(
            reason.reason_code
            for reason in first_match.reasons
            if reason.criterion == pb.CRITERION_ROOM
        )


@pytest.fixture
def shelter(scene: Scene) -> TransitHouse:
    return TransitHouse(scene)


def test_declining_for_lack_of_room_puts_the_figure_in_doubt_and_does_not_change_it(
    shelter: TransitHouse,
) -> None:
    before = shelter.shown(shelter.scene.coordinator)
    assert shelter.decline_time is None
    shelter.decline()
    after = shelter.shown(shelter.scene.coordinator)
    assert shelter.decline_time == 2 * HOUR
    assert (after.capacity.intake, after.capacity.available) == (pb.INTAKE_OPEN, 3)
    assert (after.capacity.update_time, after.active) == (before.capacity.update_time, True)
    assert after.etag != before.etag  # a reader sees other content
    assert shelter.scene.facts(shelter.service.id) == [(1, "enlace.service.registered.v1")]


def test_an_enquiry_refused_for_lack_of_room_puts_the_figure_in_doubt_and_a_second_changes_nothing(
    shelter: TransitHouse,
) -> None:
    for reason in ("out_of_area", ""):
        shelter.answer_enquiry(reason)
    shelter.answer_enquiry("no_capacity", actor_organization_id=shelter.scene.coalition.id)
    assert shelter.decline_time is None
    for _ in range(2):
        shelter.answer_enquiry("no_capacity", NOON + HOUR)
    assert shelter.decline_time == HOUR
    etag = shelter.shown().etag
    shelter.answer_enquiry("no_capacity", NOON + HOUR)
    assert shelter.shown().etag == etag


@pytest.mark.parametrize(
    "verb", ["opened", "offers_waiting", "matched", "referred", "exhausted", "cancelled"]
)
def test_other_facts_of_an_enquiry_cast_no_doubt_on_the_figure(
    shelter: TransitHouse, verb: str
) -> None:
    body = facts_pb2.EnquiryFact(service_id=shelter.service.id, reason_code="no_capacity")
    consume(shelter.scene, f"enlace.enquiry.{verb}.v1", body)
    assert shelter.decline_time is None


def test_the_doubt_ends_when_the_service_states_its_room_again(shelter: TransitHouse) -> None:
    shelter.decline()
    shelter.scene.advance(minutes=1)
    shelter.state_room(1)
    assert shelter.decline_time is None
    shelter.decline(at=NOON + 2 * HOUR)  # published late, or again
    assert shelter.decline_time is None
    assert shelter.room() == ("Albergue", "room_free")


def test_facts_that_come_twice_or_out_of_order_count_once_and_the_newest_decides(
    shelter: TransitHouse,
) -> None:
    for minutes in (70, 100, 100, 80, 70):
        shelter.decline(at=NOON + timedelta(minutes=minutes))
    assert shelter.decline_time == timedelta(minutes=100)


def test_a_decline_from_before_the_figure_casts_no_doubt_on_it(shelter: TransitHouse) -> None:
    for at in (NOON - HOUR, NOON):
        shelter.decline(at=at)
    assert shelter.decline_time is None


@pytest.mark.parametrize(
    ("verb", "reason"),
    [
        ("declined", "not_eligible"),
        ("declined", "other"),
        ("declined", ""),
        ("declined", "NO_CAPACITY"),
        ("declined", "no_capacity_at_all"),
        ("accepted", "no_capacity"),
        ("waitlisted", "no_capacity"),
        ("expired", "no_capacity"),
        ("withdrawn", "no_capacity"),
        ("drafted", "no_capacity"),
    ],
)
def test_another_reason_or_another_step_of_a_referral_casts_no_doubt_on_the_figure(
    shelter: TransitHouse, verb: str, reason: str
) -> None:
    shelter.refer(verb, reason_code=reason)
    assert shelter.decline_time is None


def test_nobody_else_can_put_the_figure_in_doubt(shelter: TransitHouse) -> None:
    for organization in (shelter.scene.organization("Ajena"), shelter.scene.coalition):
        shelter.decline(actor_organization_id=organization.id)
    assert shelter.decline_time is None


def test_a_decline_by_an_unknown_service_or_one_without_a_figure_is_ignored(
    shelter: TransitHouse,
) -> None:
    shelter.decline(service_id=new_id())
    service_without_figure = shelter.staff.CreateService(
        service=pb.Service(name="Ropero", need_codes=["MAT.NFI"])
    )
    shelter.decline(service_id=service_without_figure.id)
    assert not shelter.scene.coordinator.GetService(id=service_without_figure.id).HasField(
        "capacity"
    )


def test_a_service_in_doubt_ranks_below_those_with_room_and_is_not_found_among_them(
    shelter: TransitHouse,
) -> None:
    shelter.scene.service(shelter.scene.organization("Zaguán"), "Zaguán", "HOU.TRANS", room=1)
    assert shelter.room() == ("Albergue", "room_free")
    shelter.decline()
    assert shelter.room() == ("Zaguán", "room_free")
    matches = shelter.scene.coordinator.MatchServices(**WOMAN | {"need_code": "HOU.TRANS"}).matches
    reasons = {reason.reason_code: reason.verdict for reason in matches[1].reasons}
    assert reasons["room_declined"] == pb.VERDICT_ASK
    with_room = shelter.scene.coordinator.SearchServices(has_room=True).services
    assert [service.name for service in with_room] == ["Zaguán"]
    assert shelter.scene.coordinator.SearchServices().total_size == 2


def test_a_closed_service_stays_closed_and_a_full_one_stays_full(shelter: TransitHouse) -> None:
    for room, reason in (
        (pb.Capacity(intake=pb.INTAKE_CLOSED), "room_closed"),
        (pb.Capacity(intake=pb.INTAKE_OPEN, available=0), "room_none"),
    ):
        shelter.staff.SetCapacity(id=shelter.service.id, capacity=room)
        shelter.scene.advance(minutes=1)
        shelter.decline()
        assert shelter.room() == ("Albergue", reason)


def test_an_etag_from_before_the_doubt_is_stale(shelter: TransitHouse) -> None:
    request = pb.SetCapacityRequest(
        id=shelter.service.id,
        etag=shelter.shown().etag,
        capacity=pb.Capacity(intake=pb.INTAKE_OPEN),
    )
    shelter.decline()
    assert refusal(lambda: shelter.staff.SetCapacity(request)) == STALE_ETAG


def test_a_decline_time_that_the_caller_sends_is_ignored(shelter: TransitHouse) -> None:
    room = pb.Capacity(intake=pb.INTAKE_OPEN, available=2)
    room.declined_time.FromDatetime(NOON + timedelta(days=1))
    shelter.staff.SetCapacity(id=shelter.service.id, capacity=room)
    assert shelter.decline_time is None


@pytest.mark.parametrize(
    "type_",
    [
        "enlace.referral.something_new.v1",
        *(f"enlace.{words_of(name.removesuffix('Fact'))}.changed.v1" for name in FACTS),
    ],
)
def test_facts_that_do_not_concern_room_are_received_and_ignored(
    shelter: TransitHouse, type_: str
) -> None:
    consume(shelter.scene, type_, b"")
    assert shelter.decline_time is None


@pytest.mark.parametrize(
    "type_",
    ["enlace.weather.changed.v1", "enlace.referral.declined.v2", "other.referral.declined.v1", ""],
)
def test_a_kind_of_fact_that_is_newer_than_this_service_is_held(scene: Scene, type_: str) -> None:
    with pytest.raises(NewerKind):
        consume(scene, type_, b"")


def test_a_body_that_cannot_be_read_is_refused(scene: Scene) -> None:
    with pytest.raises(DecodeError):
        consume(scene, "enlace.referral.declined.v1", b"\xff\xff\xff")
