"""Rules of places, areas and the details of a service at a place."""

from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from chassis.errors import Conflict, Invalid
from services.partners.directory.domain.area import Area, Areas, with_ancestors
from services.partners.directory.domain.location import (
    Accessibility,
    AddressGrant,
    ContactPoint,
    Location,
    LocationEntry,
    Phone,
    ServiceAtLocation,
)
from services.partners.network.domain.check import check_contact
from tests.builders import NOON, violations_of
from tests.partners.test_service_rules import AREAS, LATER, ON_NO_DAY

HOUSE = LocationEntry("House", "NI", "NI-CI", "NI-CI.chichigalpa", "Calle 1", 12.5, -87.0, "bus 5")
HIDDEN = replace(HOUSE, confidential=True)
WITHOUT_DIRECTIONS = replace(HIDDEN, area_code="", latitude=None, longitude=None)


def place(entry: LocationEntry = HOUSE) -> Location:
    return Location.register("place", "ngo", entry, AREAS, NOON)


def test_nothing_that_leads_to_a_confidential_place_is_stored_in_clear() -> None:
    assert place() == Location(
        id="place",
        create_time=NOON,
        update_time=NOON,
        version=1,
        organization_id="ngo",
        entry=HOUSE,
    )
    assert place().facts == ["registered"]
    assert place(HIDDEN).entry == WITHOUT_DIRECTIONS


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({"department": "GT-01", "area_code": ""}, "department", "unknown_code"),
        ({"department": "NI-ZZ", "area_code": ""}, "department", "unknown_code"),
        ({"country": ""}, "country", "required"),
        ({"area_code": "NI-CI.nowhere"}, "area_code", "unknown_code"),
        ({"department": "NI-LE"}, "area_code", "unknown_code"),
        ({"country": "GT", "department": ""}, "area_code", "unknown_code"),
        ({"latitude": None}, "latitude", "required"),
        ({"longitude": None}, "longitude", "required"),
        ({"accessibility": (Accessibility.STEP_FREE,) * 2}, "accessibility", "malformed"),
    ],
)
def test_an_invalid_place_is_refused_with_its_field(
    changes: dict[str, Any], path: str, reason: str
) -> None:
    tested_place = place()
    for act in (
        lambda: place(replace(HOUSE, **changes)),
        lambda: tested_place.change(changes, AREAS, LATER),
    ):
        assert violations_of(act) == [(f"location.{path}", reason)]
    assert tested_place == place()


def test_the_area_the_department_and_the_coordinates_of_a_place_may_be_missing() -> None:
    for less in ({"area_code": ""}, {"department": ""}, {"latitude": None, "longitude": None}):
        assert place(replace(HOUSE, **less)).entry == replace(HOUSE, **less)


@pytest.mark.parametrize(
    ("changes", "latitude"),
    [
        ({"address": "Del molino"}, None),
        ({"address": ""}, None),
        ({"area_code": ""}, None),
        ({"area_code": "", "latitude": 12.57, "longitude": -87.03}, 12.57),
        ({"address": "Del molino", "latitude": 12.5, "longitude": -87.0}, 12.5),
        ({"address": HOUSE.address, "name": "Otra"}, HOUSE.latitude),
    ],
)
def test_a_place_with_another_address_loses_its_coordinates_unless_they_are_stated(
    changes: dict[str, Any], latitude: float | None
) -> None:
    """The coordinates of the former address would lead to the wrong house."""
    moved_place = place()
    moved_place.change(changes, AREAS, LATER)
    assert moved_place.entry.latitude == latitude


def test_a_place_in_another_department_loses_its_coordinates_even_if_it_had_no_address() -> None:
    moved_place = place(replace(HOUSE, address="", area_code=""))
    moved_place.change({"department": "NI-LE", "address": "Del molino"}, AREAS, LATER)
    assert moved_place.entry == replace(
        HOUSE, department="NI-LE", area_code="", address="Del molino", latitude=None, longitude=None
    )


@pytest.mark.parametrize(
    ("after", "fields"),
    [
        (replace(HOUSE, latitude=0.0), ["latitude"]),
        (replace(HOUSE, latitude=None, longitude=None, address="", transportation=""), []),
        (replace(HOUSE, confidential=True, address="Calle 2"), ["address", "confidential"]),
    ],
)
def test_new_contact_data_of_a_place_are_refused_and_removed_data_are_not(
    after: LocationEntry, fields: list[str]
) -> None:
    assert contact_changes(HOUSE, after) == fields


def test_one_of_two_phones_may_be_removed_but_not_replaced() -> None:
    day, night, strange = (Phone(f"+5052222000{number}") for number in range(3))
    offer = ServiceAtLocation("offer", "service", "place", (day, night))
    changes = [
        contact_changes(offer, replace(offer, phones=(day, *more))) for more in ((), (strange,))
    ]
    assert changes == [[], ["phones"]]


def contact_changes(before: object, after: object) -> list[str]:
    """Returns the fields that `check_contact` refuses."""
    try:
        check_contact("", before, after, "confidential")
    except Invalid as refusal:
        return [field.strip(".") for field, _reason in refusal.violations]
    return []


def test_a_place_whose_municipality_is_added_keeps_its_coordinates() -> None:
    completed_place = place(replace(HOUSE, area_code=""))
    completed_place.change({"area_code": HOUSE.area_code}, AREAS, LATER)
    assert completed_place.entry == HOUSE


def test_a_place_is_in_the_country_of_its_organisation_unless_stated_otherwise() -> None:
    assert HOUSE.in_country("GT") == HOUSE
    assert replace(HOUSE, country="").in_country("GT") == replace(HOUSE, country="GT")


def test_a_confidential_place_stays_confidential() -> None:
    tested_place = place(HIDDEN)
    assert violations_of(lambda: tested_place.change({"confidential": False}, AREAS, LATER)) == [
        ("location.confidential", "out_of_range")
    ]
    assert tested_place == place(HIDDEN)
    tested_place.change({"name": "Home", "area_code": "NI-CI.chichigalpa"}, AREAS, LATER)
    assert (tested_place.entry, tested_place.facts) == (
        replace(WITHOUT_DIRECTIONS, name="Home"),
        ["registered", "changed"],
    )
    open_place = place()
    open_place.change({"confidential": True}, AREAS, LATER)
    assert open_place.entry == WITHOUT_DIRECTIONS


def test_a_change_of_a_place_that_changes_nothing_stored_is_not_published() -> None:
    tested_place = place(HIDDEN)
    tested_place.change({"area_code": "NI-CI.chichigalpa"}, AREAS, LATER)
    assert (tested_place.facts, tested_place.update_time) == (["registered"], NOON)
    assert violations_of(lambda: tested_place.change({"id": "x"}, AREAS, LATER)) == [
        ("location.id", "unknown_code")
    ]


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("NI", True),
        ("NI-CI", True),
        ("NI-CI.chichigalpa", True),
        ("NI-XX", False),
        ("NI-CI.nowhere", False),
        # the list has no area of Guatemala
        ("GT", True),
        ("GT-01", True),
        ("GT-01.somewhere", False),
        ("XK", True),
        ("XX", False),
        ("gt", False),
        ("GT-", False),
        ("everywhere", False),
    ],
)
def test_subdivisions_are_accepted_unchecked_only_in_countries_without_a_list(
    code: str, known: bool
) -> None:
    assert AREAS.knows(code) is known


def test_a_country_is_known_by_its_subdivisions() -> None:
    honduras = Areas([Area("HN-FM", "HN", "Francisco Morazán")])
    assert honduras.knows("HN")
    assert not honduras.knows("HN-XX")


@pytest.mark.parametrize(
    ("code", "areas"),
    [
        ("NI-CI.chichigalpa", ["NI-CI.chichigalpa", "NI-CI", "NI"]),
        ("NI-CI", ["NI-CI", "NI"]),
        ("NI", ["NI"]),
        ("", []),
    ],
)
def test_an_area_lies_in_itself_and_in_every_larger_area(code: str, areas: list[str]) -> None:
    assert with_ancestors(code) == areas
    codes = ("NI-CI.chichigalpa", "NI-CI", "NI-LE", "NI", "GT")
    assert [area for area in codes if Areas.lies_in(code, area)] == areas
    assert Areas.lies_in(code, "")


SERVICE_AT_PLACE = ServiceAtLocation(
    "id",
    "service",
    "place",
    phones=(Phone("+50522334455"),),
    contacts=(ContactPoint("Ana"),),
    schedules=(replace(ON_NO_DAY, byday=("MO",)),),
    languages=("es", "en"),
)


def test_the_wrong_fields_of_a_service_at_a_place_are_reported_together() -> None:
    SERVICE_AT_PLACE.check()
    assert violations_of(
        replace(SERVICE_AT_PLACE, schedules=(ON_NO_DAY,), languages=("es", "es")).check
    ) == [
        ("service_at_location.schedules.0.byday.0", "unknown_code"),
        ("service_at_location.languages", "malformed"),
    ]


def test_at_a_confidential_place_a_service_keeps_its_hours_but_no_phone_and_no_person() -> None:
    assert SERVICE_AT_PLACE.discreet() == ServiceAtLocation(
        "id", "service", "place", schedules=SERVICE_AT_PLACE.schedules, languages=("es", "en")
    )


HALF_AN_HOUR = timedelta(minutes=30)


@pytest.mark.parametrize(
    ("worker", "when", "is_allowed"),
    [
        ("worker", NOON, True),
        ("worker", NOON + HALF_AN_HOUR - timedelta(seconds=1), True),
        ("worker", NOON + HALF_AN_HOUR, False),
        ("worker", NOON - HALF_AN_HOUR, False),  # recorded by a clock that was ahead
        ("another", NOON, False),
    ],
)
def test_an_address_is_opened_by_one_worker_and_by_the_same_worker_again_for_a_while(
    worker: str, when: datetime, is_allowed: bool
) -> None:
    grant = AddressGrant("referral", "service", "ngo", NOON)
    grant.open("worker", NOON)
    assert grant == AddressGrant("referral", "service", "ngo", NOON, None, NOON, "worker")
    before = deepcopy(grant)
    if is_allowed:
        grant.open(worker, when)
    else:
        with pytest.raises(Conflict, match=r"^address_opened$"):
            grant.open(worker, when)
    assert grant == before
