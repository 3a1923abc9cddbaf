"""The rules of a person's file and of a plan step, without a database."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from chassis.errors import Conflict, Invalid
from services.referrals.files.domain.person import FieldGroup, Identity
from services.referrals.network.domain.service import Ages, check_age_taken
from services.referrals.people.domain.reading import Reading, daily_readings
from services.referrals.plans.domain.plan import PlanStep, StepState
from tests.builders import NOON

TODAY = NOON.date()


@pytest.mark.parametrize(
    ("born", "why"),
    [
        ("", ""),
        ("1900-01-01", ""),
        (TODAY.isoformat(), ""),
        ("1899-12-31", "out_of_range"),
        ((TODAY + timedelta(days=1)).isoformat(), "out_of_range"),
        ("2001-02-29", "malformed"),
        ("20010228", "malformed"),
        ("2001-W01-1", "malformed"),
        ("someday", "malformed"),
    ],
)
def test_a_birth_date_is_a_calendar_day_of_somebody_who_may_be_alive(born: str, why: str) -> None:
    identity = Identity(birth_date=born)
    if not why:
        identity.check(TODAY)
        return
    with pytest.raises(Invalid) as refused:
        identity.check(TODAY)
    assert refused.value.violations == [("identity.birth_date", why)]


def test_merging_a_newer_identity_changes_only_the_fields_that_it_states() -> None:
    before = Identity("Ximena", "Rivas", "2001-02-03", phone="+50581234567")
    after = Identity("", "Ruiz", address="Calle 1")
    assert before.merged(after) == Identity(
        "Ximena", "Ruiz", "2001-02-03", "+50581234567", "Calle 1"
    )
    assert (before.known, Identity().known) == (True, False)
    assert before.only(frozenset({FieldGroup.CONTACT})) == Identity(phone="+50581234567")


@pytest.mark.parametrize(
    ("ages", "band", "takes"),
    [
        (Ages(), "12-17", True),
        (Ages(18), "", True),
        (Ages(18), "12-17", False),
        (Ages(17), "12-17", True),
        (Ages(18), "60+", True),
        (Ages(None, 17), "18-24", False),
        (Ages(None, 18), "18-24", True),
        (Ages(None, 60), "60+", True),
        (Ages(None, 59), "60+", False),
        (Ages(18, 24), "25-59", False),
    ],
)
def test_an_age_band_is_accepted_if_any_age_of_it_is(ages: Ages, band: str, takes: bool) -> None:
    assert ages.takes(band) is takes


def test_a_service_for_other_ages_needs_an_acknowledgement() -> None:
    check_age_taken(True, ())
    check_age_taken(False, ("age_not_taken",))
    with pytest.raises(Conflict, match=r"^age_not_taken$"):
        check_age_taken(False, ("unsafe_for_her",))


@pytest.mark.parametrize(
    ("state", "due", "late"),
    [
        (StepState.OPEN, NOON - timedelta(seconds=1), True),
        (StepState.OPEN, NOON, False),
        (StepState.OPEN, None, False),
        (StepState.MET, NOON - timedelta(days=1), False),
    ],
)
def test_a_step_not_settled_by_its_due_time_is_late(
    state: StepState, due: datetime | None, late: bool
) -> None:
    assert PlanStep("bed", state, due_time=due).is_late(NOON) is late


def access(day: int, *fields: str, **more: Any) -> dict[str, Any]:
    """Returns a row of the trail: an access at noon in Managua on a day of March 2026."""
    usual = {"organization_id": "clinic", "purpose_code": "MED.EMG", "allowed": True}
    time = datetime(2026, 3, day, 18, tzinfo=UTC)
    return {"time": time, "detail_codes": fields, **usual, **more}


def read(day: int, **more: Any) -> Reading:
    """Returns the accesses of a health service to health data on a day of March 2026."""
    usual = {
        "organization_type": "health",
        "need_group_code": "MED",
        "field_groups": ("health",),
        "allowed": True,
        "count": 1,
    }
    return Reading(date(2026, 3, day), **{**usual, **more})


@pytest.mark.parametrize(
    ("rows", "readings"),
    [
        ([], []),
        (
            [access(3, "health"), access(4, "health"), access(3, "health", purpose_code="MED")],
            [read(4), read(3, count=2)],
        ),
        (  # all kinds of one day, in the order of what they show
            [
                access(4, "health", organization_id="shelter"),
                access(4, "health", purpose_code="PSS.CNS"),
                access(4, "contact:1", "health", "identity"),
                access(4, "health"),
                access(4, "health", allowed=False),
                access(4, "health", purpose_code=""),
                access(4, "health", organization_id="unknown"),
            ],
            [
                read(4, organization_type=""),
                read(4, need_group_code=""),
                read(4, allowed=False),
                read(4),
                read(4, field_groups=("identity", "health")),
                read(4, need_group_code="PSS"),
                read(4, organization_type="shelter"),
            ],
        ),
        (  # it is still Tuesday in Managua
            [access(4, "health", time=datetime(2026, 3, 4, 5, 59, tzinfo=UTC))],
            [read(3)],
        ),
    ],
)
def test_a_person_sees_how_often_each_kind_of_organisation_read_her_data_newest_day_first(
    rows: list[dict[str, Any]], readings: list[Reading]
) -> None:
    types = {"clinic": "health", "shelter": "shelter"}
    assert daily_readings(rows, types, ZoneInfo("America/Managua")) == readings
