"""Opening hours: of services and their places, in their own time zone, and in searches."""

from datetime import UTC, datetime

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as d
from services.partners.members.domain.organization import Organization
from tests.builders import wrong_fields
from tests.partners.scene import Scene, Stubs
from tests.partners.test_locations import (
    OFFICE,
    change,
    change_service,
    make,
    make_service,
    names,
    offer,
)


def weekly(opens: str, closes: str, *days: str) -> d.Schedule:
    """Returns hours on these days of each week, or on all days."""
    return d.Schedule(freq=d.FREQUENCY_WEEKLY, byday=days, opens_at=opens, closes_at=closes)


def is_open(by: Stubs, id: str) -> bool | None:
    """Returns whether a service is open now; None if its hours are unknown."""
    service = by.GetService(id=id)
    return service.open_now if service.HasField("open_now") else None


def test_a_service_is_open_according_to_the_time_in_its_own_country(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    service = make_service(
        manager, schedules=[weekly("08:00", "17:00", "MO", "TU", "WE", "TH", "FR")]
    )
    scene.clock.set(datetime(2026, 3, 17, 13, 59, tzinfo=UTC))  # 7:59 in Managua, on a Tuesday
    assert is_open(partner, service.id) is False
    scene.advance(minutes=1)
    assert is_open(partner, service.id) is True
    scene.advance(hours=9)
    assert is_open(partner, service.id) is False, "17:00 is outside the hours"
    assert is_open(partner, scene.service(member, "Sin horario", "PSS").id) is None


def test_the_hours_at_a_services_places_count_too_and_are_deleted_with_them(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    service, created = scene.service(member, "Consulta", "PSS"), make(manager, **OFFICE)
    offer_there = offer(manager, service.id, created, schedules=[weekly("00:00", "00:00")])
    assert is_open(partner, service.id) is True
    manager.DeleteServiceAtLocation(id=offer_there.id, request_id=new_id())
    assert is_open(partner, service.id) is None


def test_hours_are_read_in_the_new_time_zone_after_a_service_or_a_place_has_moved(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    scene.clock.set(scene.clock.now().replace(hour=16, minute=30))  # 10:30 in Managua
    hours = [weekly("10:00", "11:00")]
    service = make_service(manager, name="Propia", country="NI", schedules=hours)
    service_at_place = scene.service(member, "Allá", "PSS")
    created = make(manager, **OFFICE | {"area_code": ""})
    offer(manager, service_at_place.id, created, schedules=hours)
    assert (is_open(partner, service.id), is_open(partner, service_at_place.id)) == (True, True)
    change_service(manager, service.id, country="ES", department="")  # 17:30 there
    change(manager, created, country="ES", department="")
    assert (is_open(partner, service.id), is_open(partner, service_at_place.id)) == (False, False)


def test_a_service_keeps_its_hours_across_the_night_in_which_the_clocks_go_forward(
    scene: Scene, manager: Stubs, partner: Stubs
) -> None:
    scene.clock.set(datetime(2027, 2, 1, 15, tzinfo=UTC))
    hours = [weekly("02:30", "03:00"), weekly("10:00", "11:00")]
    service = make_service(manager, country="US", schedules=hours)
    scene.sweep(days=28)  # the hours ahead now contain the night of 14 March
    assert is_open(partner, service.id) is True


def test_hours_stay_known_even_if_nobody_changes_the_entry_for_a_year(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    service, created = scene.service(member, "Guardia", "PSS"), make(manager, **OFFICE)
    round_the_clock = weekly("00:00", "00:00")
    round_the_clock.holidays = True
    offer(manager, service.id, created, schedules=[round_the_clock])
    for _ in range(12):
        scene.sweep(days=30)
        assert is_open(partner, service.id) is True


def test_hours_that_contradict_each_other_are_refused_at_the_second_schedule(
    manager: Stubs,
) -> None:
    hours = [weekly("08:00", "17:00", "MO"), weekly("16:00", "18:00", "MO")]
    assert wrong_fields(lambda: make_service(manager, schedules=hours)) == [
        ("service.schedules.1", "overlaps")
    ]


def test_a_search_for_open_services_uses_their_hours_in_their_own_time_zone(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    scene.service(member, "Sin horario", "PSS")
    make_service(manager, name="De día", schedules=[weekly("08:00", "17:00")])
    make_service(manager, name="De noche", schedules=[weekly("20:00", "06:00")])
    scene.clock.set(scene.clock.now().replace(hour=18))  # noon in Managua
    assert names(partner, open_now=True) == ["De día"]
    scene.advance(hours=10)
    assert names(partner, open_now=True) == ["De noche"]
