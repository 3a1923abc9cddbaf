"""The rules of services and their room: refused entries, and the figure that each reader sees.

These tests use no database.
"""

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest

from chassis.errors import Invalid
from services.partners.directory.domain.area import Area, Areas
from services.partners.directory.domain.location import Accessibility
from services.partners.directory.domain.schedule import Frequency, Schedule
from services.partners.directory.domain.service import (
    NOT_STATED,
    Capacity,
    Eligibility,
    Figure,
    Gender,
    Intake,
    Service,
    ServiceEntry,
    for_others,
    stale_time,
)
from services.partners.directory.domain.taxonomy import Taxonomy, Term
from services.partners.members.domain.organization import OrganizationType
from services.partners.network.domain.time_step import time_step_of
from services.partners.network.domain.visibility import ANYONE, Tier, Viewer, sees
from tests.builders import NOON, violations_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATER = NOON + HOUR
MIDNIGHT = NOON.replace(hour=0, minute=0, second=0, microsecond=0)
AREAS = Areas(
    [
        Area("NI", "", "Nicaragua"),
        Area("NI-CI", "NI", "Chinandega"),
        Area("NI-CI.chichigalpa", "NI-CI", "Chichigalpa"),
        Area("NI-LE", "NI", "León"),
    ]
)
TAXONOMY = Taxonomy(
    Term(code, code.partition(".")[0] if "." in code else "", {}, (), "")
    for code in ("HOU", "HOU.EMG", "HOU.SAFE", "HOU.RENT", "PSS")
)
TALK = ServiceEntry("Someone to talk to", ("PSS",), country="NI", phone="+50522334455")
BED = replace(TALK, name="A bed", need_codes=("HOU.EMG",))

EVERYBODY = Eligibility(minimum_age=0, maximum_age=99, genders=tuple(Gender), takes_dependants=True)
ON_NO_DAY = Schedule(Frequency.WEEKLY, time(8), time(12), ("XX",))  # a day that does not exist


def service(entry: ServiceEntry = TALK, capacity: Capacity = NOT_STATED) -> Service:
    return Service.register("service", "ngo", entry, capacity, TAXONOMY, AREAS, NOON)


def registered(entry: ServiceEntry = TALK, **more: Any) -> Service:
    """Returns a service as it was registered."""
    fields = {"create_time": NOON, "update_time": NOON, "version": 1, "assured_time": NOON, **more}
    return Service(id="service", organization_id="ngo", entry=entry, **fields)


def test_the_registration_of_a_service_confirms_its_entry() -> None:
    assert service() == registered()
    assert service().facts == ["registered"]


def test_a_figure_has_a_time_and_a_unit() -> None:
    stated_service = service(capacity=Capacity(Intake.OPEN, 3, 5, declined_time=NOON))
    assert stated_service == registered(capacity=Capacity(Intake.OPEN, 3, 5, "places", NOON))
    stated_service.set_capacity(Capacity(Intake.OPEN, 2, unit="beds"), LATER)
    stated_service.set_capacity(Capacity(Intake.WAITLIST), LATER)
    assert stated_service.capacity == Capacity(Intake.WAITLIST, unit="beds", update_time=LATER)
    assert stated_service.facts == ["registered", "capacity_changed", "capacity_changed"]


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({"need_codes": ("PSS", "PSS")}, "need_codes", "malformed"),
        ({"need_codes": ("PSS", "XYZ")}, "need_codes.1", "unknown_code"),
        ({"department": "GT-01"}, "department", "unknown_code"),
        ({"department": "NI-ZZ"}, "department", "unknown_code"),
        ({"languages": ("es", "es")}, "languages", "malformed"),
        ({"phone": "22334455"}, "phone", "malformed"),
        ({"schedules": (ON_NO_DAY,)}, "schedules.0.byday.0", "unknown_code"),
        ({"area_codes": ("NI-CI", "NI-CI")}, "area_codes", "malformed"),
        ({"area_codes": ("NI-CI", "NI-XX")}, "area_codes.1", "unknown_code"),
        ({"accessibility": (Accessibility.STEP_FREE,) * 2}, "accessibility", "malformed"),
        ({"public": True, "need_codes": ("HOU.SAFE",)}, "public", "out_of_range"),
        ({"public": True, "need_codes": ("HOU", "PSS")}, "public", "out_of_range"),
        ({"public": True, "confidential": True}, "public", "out_of_range"),
        ({"tiers": (("phone", Tier.PARTNER),) * 2}, "tiers", "malformed"),
        ({"tiers": (("name", Tier.PARTNER),)}, "tiers.0.field", "unknown_code"),
        ({"tiers": (("phone", Tier.PUBLIC),)}, "tiers.0.tier", "out_of_range"),
        ({"tiers": (("phone", Tier.NAMED),)}, "tiers.0.tier", "out_of_range"),
        (
            {"eligibility": Eligibility(minimum_age=18, maximum_age=17)},
            "eligibility.maximum_age",
            "out_of_range",
        ),
        (
            {"eligibility": Eligibility(genders=(Gender.FEMININE,) * 2)},
            "eligibility.genders",
            "malformed",
        ),
        (
            {"eligibility": Eligibility(takes_dependants=False, maximum_dependants=1)},
            "eligibility.maximum_dependants",
            "out_of_range",
        ),
        (
            {"eligibility": Eligibility(takes_dependants=False, maximum_age_of_boys=1)},
            "eligibility.maximum_age_of_boys",
            "out_of_range",
        ),
    ],
)
def test_an_invalid_entry_is_refused_with_its_field(
    changes: dict[str, Any], path: str, reason: str
) -> None:
    tested_service = service()
    for act in (
        lambda: service(replace(TALK, **changes)),
        lambda: tested_service.change(changes, TAXONOMY, AREAS, LATER),
    ):
        assert violations_of(act) == [(f"service.{path}", reason)]
    assert tested_service == registered()


@pytest.mark.parametrize(
    "changes",
    [
        {"tiers": (("phone", Tier.PARTNER), ("description", Tier.COORDINATOR))},
        {"public": True, "area_codes": ("NI-CI.chichigalpa",)},
        {"eligibility": Eligibility(minimum_age=18, maximum_age=18)},
        {"eligibility": Eligibility(minimum_age=18)},
        {"eligibility": Eligibility(maximum_age=17)},
        {"eligibility": Eligibility(takes_dependants=True, maximum_dependants=1)},
        {"eligibility": Eligibility(takes_dependants=False, maximum_dependants=0)},
        {"eligibility": Eligibility(maximum_dependants=1, maximum_age_of_boys=12)},
    ],
)
def test_a_valid_entry_is_accepted(changes: dict[str, Any]) -> None:
    assert service(replace(TALK, **changes)).entry == replace(TALK, **changes)


def test_no_more_places_can_be_free_than_there_are() -> None:
    assert violations_of(lambda: service(capacity=Capacity(Intake.OPEN, 6, 5))) == [
        ("service.capacity.available", "out_of_range")
    ]
    tested_service = service(capacity=Capacity(Intake.OPEN, 5, 5))
    assert violations_of(
        lambda: tested_service.set_capacity(Capacity(Intake.OPEN, 6, 5), LATER)
    ) == [("capacity.available", "out_of_range")]


def test_a_confidential_service_keeps_no_phone() -> None:
    assert service(replace(BED, confidential=True)).entry.phone == ""
    tested_service = service(BED)
    tested_service.change({"confidential": True}, TAXONOMY, AREAS, LATER)
    assert tested_service.entry == replace(BED, confidential=True, phone="")


def test_a_change_is_published_once_and_a_confirmation_is_a_change() -> None:
    tested_service = service()
    tested_service.change({"name": "x"}, TAXONOMY, AREAS, LATER)
    assert (tested_service.entry.name, tested_service.entry_time, tested_service.assured_time) == (
        "x",
        LATER,
        NOON,
    )
    tested_service.change({"name": "x"}, TAXONOMY, AREAS, LATER + HOUR)
    assert (tested_service.facts, tested_service.entry_time) == (["registered", "changed"], LATER)
    tested_service.change({"assured_time": None}, TAXONOMY, AREAS, LATER + HOUR)
    assert (tested_service.assured_time, tested_service.entry.name) == (LATER + HOUR, "x")
    tested_service.change({"assured_time": None, "name": "y"}, TAXONOMY, AREAS, LATER + 2 * HOUR)
    assert (tested_service.assured_time, tested_service.entry.name) == (LATER + 2 * HOUR, "y")
    assert tested_service.facts == ["registered", "changed", "changed", "changed"]
    for changes in ({}, {"organization_id": "x"}):
        with pytest.raises(Invalid):
            tested_service.change(changes, TAXONOMY, AREAS, LATER)


ROOM = Capacity(Intake.OPEN, 3, 5, "beds", NOON)


@pytest.mark.parametrize(
    ("capacity", "decline_time", "is_in_doubt"),
    [
        (ROOM, LATER, True),
        (ROOM, NOON, False),
        (replace(ROOM, declined_time=LATER), LATER, False),
        (replace(ROOM, declined_time=LATER), LATER + HOUR, True),
        (NOT_STATED, LATER, False),
    ],
)
def test_a_figure_is_in_doubt_when_somebody_was_declined_after_it_was_stated(
    capacity: Capacity, decline_time: datetime, is_in_doubt: bool
) -> None:
    tested_service = registered(capacity=capacity)
    assert tested_service.doubt_capacity(decline_time) is is_in_doubt
    assert tested_service.capacity == (
        replace(capacity, declined_time=decline_time) if is_in_doubt else capacity
    )


@pytest.mark.parametrize(
    ("capacity", "free", "at", "available"),
    [
        (ROOM, -1, LATER, 2),
        (ROOM, 1, LATER, 4),
        (ROOM, -4, LATER, 0),
        (ROOM, 3, LATER, 5),
        (replace(ROOM, maximum=None), 3, LATER, 6),
        (replace(ROOM, unit="places"), -1, LATER, 2),
        (replace(ROOM, unit="appointments"), -1, LATER, 3),
        (ROOM, -1, NOON, 3),
        (replace(ROOM, available=5), 1, LATER, 5),
        (replace(ROOM, available=None), 1, LATER, None),
        (replace(ROOM, update_time=None), 1, LATER, 3),
    ],
)
def test_an_arrival_takes_a_place_and_a_departure_gives_it_back(
    capacity: Capacity, free: int, at: datetime, available: int | None
) -> None:
    tested_service = registered(capacity=capacity)
    assert tested_service.add_free_places(free, at) is (available != capacity.available)
    assert tested_service.capacity == replace(capacity, available=available)


@pytest.mark.parametrize(
    ("hour", "minute", "begins"),
    [(0, 0, 0), (0, 59, 0), (5, 59, 0), (6, 0, 6), (6, 59, 6), (17, 59, 12), (23, 59, 18)],
)
def test_a_time_step_lasts_six_hours(hour: int, minute: int, begins: int) -> None:
    time = MIDNIGHT + timedelta(hours=hour, minutes=minute, seconds=7, microseconds=9)
    assert time_step_of(time) == MIDNIGHT + begins * HOUR


def test_others_see_a_shelters_figure_as_it_was_when_the_current_time_step_began() -> None:
    assert time_step_of(NOON) == NOON
    stated_figure = replace(ROOM, update_time=NOON + HOUR, declined_time=NOON + 2 * HOUR)
    live = Figure(stated_figure, 3, 1)
    before = Figure(replace(ROOM, available=5, update_time=NOON - HOUR), 2, 0, NOON)
    coarse = replace(ROOM, update_time=NOON, declined_time=NOON)
    assert for_others(live, None, NOON + 3 * HOUR) == Figure(coarse, 3, 1)
    assert for_others(live, before, NOON + 3 * HOUR) == Figure(
        replace(ROOM, available=5, update_time=NOON - 6 * HOUR), 2, 0
    )
    assert for_others(live, before, NOON + 6 * HOUR) == Figure(coarse, 3, 1)
    assert for_others(Figure(), None, NOON) == Figure()


def test_only_a_shelters_live_figure_is_hidden_from_other_organisations() -> None:
    colleague, coordinator = Viewer(Tier.PARTNER, "ngo"), Viewer(Tier.COORDINATOR, "police")
    before = Figure(replace(ROOM, available=5), step=NOON)
    bed = registered(BED, capacity=ROOM, figure_before=before, kept=3, broken=1)
    assert bed.figure_for(colleague, LATER) == Figure(ROOM, 3, 1)
    assert bed.figure_for(coordinator, LATER).capacity.available == 5
    talk = registered(TALK, capacity=ROOM, figure_before=before)
    assert talk.figure_for(coordinator, LATER) == Figure(ROOM)
    shelters_talk = replace(talk, organization_type=OrganizationType.SHELTER)
    assert shelters_talk.figure_for(coordinator, LATER).capacity.available == 5
    public = replace(shelters_talk, entry=replace(TALK, public=True))
    assert public.figure_for(coordinator, LATER) == Figure(ROOM)


@pytest.mark.parametrize(
    ("needs", "duration"),
    [
        (("PSS",), 7 * DAY),
        (("HOU.RENT",), 7 * DAY),
        (("HOU", "HOU.RENT"), 7 * DAY),
        (("HOU",), DAY),
        (("PSS", "HOU.EMG"), DAY),
        (("HOU.SAFE",), DAY),
    ],
)
def test_a_figure_of_beds_is_relied_on_for_a_day_and_any_other_for_a_week(
    needs: tuple[str, ...], duration: timedelta
) -> None:
    assert stale_time(ROOM, needs) == NOON + duration
    assert stale_time(NOT_STATED, needs) is None


@pytest.mark.parametrize(
    ("more", "criteria"),
    [
        ({}, ()),
        ({"eligibility": Eligibility(minimum_age=18)}, ("age",)),
        ({"eligibility": Eligibility(minimum_age=0, maximum_age=99)}, ()),
        ({"eligibility": EVERYBODY}, ()),
        ({"eligibility": Eligibility(maximum_age=98)}, ("age",)),
        ({"eligibility": Eligibility(maximum_age=17)}, ("age",)),
        ({"eligibility": Eligibility(genders=(Gender.FEMININE,))}, ("gender",)),
        ({"eligibility": Eligibility(genders=tuple(Gender))}, ()),
        ({"eligibility": Eligibility(takes_dependants=False)}, ("dependants",)),
        ({"eligibility": Eligibility(takes_dependants=True)}, ()),
        ({"eligibility": Eligibility(maximum_dependants=2)}, ("dependants",)),
        ({"eligibility": Eligibility(maximum_dependants=3)}, ("dependants",)),
        ({"languages": ("es",), "department": "NI-CI"}, ("language", "area")),
    ],
)
def test_a_service_limits_whom_it_accepts_only_by_statements_that_exclude_somebody(
    more: dict[str, Any], criteria: tuple[str, ...]
) -> None:
    assert replace(TALK, **more).limiting_criteria == criteria


def test_values_that_are_shown_besides_the_entry_change_its_etag() -> None:
    tested_service = registered(
        organization_name="Casa Luz", organization_type=OrganizationType.NGO
    )
    assert tested_service.data_outside_version() == ("Casa Luz", "NGO", "", "")
    tested_service.capacity = replace(ROOM, available=0, declined_time=NOON)
    assert tested_service.data_outside_version() == ("Casa Luz", "NGO", NOON.isoformat(), "0")
    assert registered().data_outside_version() == ("", "", "", "")


# The tiers of readers


@pytest.mark.parametrize(
    ("tier", "expected", "narrowed", "is_shown"),
    [
        (Tier.PUBLIC, Tier.PUBLIC, None, True),
        (Tier.PUBLIC, Tier.PARTNER, None, False),
        (Tier.PARTNER, Tier.PUBLIC, Tier.COORDINATOR, False),
        (Tier.COORDINATOR, Tier.PUBLIC, Tier.COORDINATOR, True),
        (Tier.PUBLIC, Tier.PARTNER, Tier.PUBLIC, False),  # a tier only narrows
    ],
)
def test_a_field_is_shown_from_its_tier_upwards(
    tier: Tier, expected: Tier, narrowed: Tier | None, is_shown: bool
) -> None:
    assert sees(tier, expected, narrowed) is is_shown


def test_an_organisation_sees_all_fields_of_its_own_entries() -> None:
    worker = Viewer(Tier.PARTNER, "ngo")
    assert worker.tier_of("ngo") is Tier.COORDINATOR
    assert worker.tier_of("police") is Tier.PARTNER
    assert Viewer(Tier.NAMED, "ngo").tier_of("ngo") is Tier.NAMED
    assert ANYONE.tier_of("") is Tier.PUBLIC
