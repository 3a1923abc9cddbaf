"""The rules of a person's file and of a plan step, without a database."""

from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from chassis.errors import Conflict
from services.referrals.files.domain.person import (
    NO_CONTACT,
    Coarse,
    FieldGroup,
    Identity,
    Person,
    SafeContact,
)
from services.referrals.network.domain.service import Ages, check_age_taken
from services.referrals.people.domain.reading import Reading, daily_readings
from services.referrals.plans.domain.plan import PlanStep, StepState
from tests.builders import NOON, conflict_of, violations_of

TODAY = NOON.date()
LATER = NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("born", "reason"),
    [
        ("", ""),
        ("1900-01-01", ""),
        (TODAY.isoformat(), ""),
        ("1899-12-31", "out_of_range"),
        ((TODAY + timedelta(days=1)).isoformat(), "out_of_range"),
        ("2001-02-29", "malformed"),
        ("20010228", "malformed"),
        ("2001-02-28\n", "malformed"),
        ("1-1-2001", "malformed"),
        ("2001-W01-1", "malformed"),
        ("someday", "malformed"),
    ],
)
def test_a_birth_date_is_a_calendar_day_of_somebody_who_may_be_alive(
    born: str, reason: str
) -> None:
    identity = Identity(birth_date=born)
    if reason:
        assert violations_of(lambda: identity.check(TODAY)) == [("identity.birth_date", reason)]
    else:
        identity.check(TODAY)


def test_merging_a_newer_identity_changes_only_the_fields_that_it_states() -> None:
    before = Identity("Ximena", "Rivas", "2001-02-03", phone="+50581234567")
    after = Identity("", "Ruiz", address="Calle 1")
    assert before.with_fields(after, after.known_fields) == Identity(
        "Ximena", "Ruiz", "2001-02-03", "+50581234567", "Calle 1"
    )
    assert before.with_fields(after, ["family_name", "phone"]) == Identity(
        "Ximena", "Ruiz", "2001-02-03"
    )
    assert (before.known, Identity().known) == (True, False)
    assert before.only(frozenset({FieldGroup.CONTACT})) == Identity(phone="+50581234567")


def file(**more: Any) -> Person:
    return Person("person", "ngo", Coarse(), NOON, NOON, **more)


@pytest.mark.parametrize("message", [True, False])
@pytest.mark.parametrize(
    ("channel", "contact", "refusal"),
    [
        ("phone", True, ""),
        ("visit", True, "call_not_safe"),
        (NO_CONTACT, False, "call_not_safe"),
    ],
)
def test_a_file_shows_the_channel_of_the_newest_plan_and_whether_a_message_may_be_left(
    channel: str, contact: bool, refusal: str, message: bool
) -> None:
    person = file(safe_contact_channel="through_worker", message_may_be_left=not message)
    person.plan_contact(SafeContact(channel, "9-12", "mango", "police", message), LATER)
    assert person.contact_outline() == SafeContact(channel, message_may_be_left=message)
    assert (person.version, person.update_time) == (2, LATER)
    assert (person.may_be_contacted, person.may_be_called) == (contact, not refusal)
    with pytest.raises(Conflict, match=f"^{refusal}$") if refusal else nullcontext():
        person.check_callable()


def test_a_person_is_not_contacted_or_called_before_she_was_asked_how() -> None:
    person = file()
    assert (person.may_be_contacted, person.may_be_called) == (False, False)
    for contact in (person.contact_outline, person.check_callable):
        assert conflict_of(contact) == "safe_contact_missing"


def test_an_erased_file_accepts_neither_a_safe_contact_plan_nor_an_identity() -> None:
    erased = file(erased=True)
    for change in (
        partial(erased.plan_contact, SafeContact("phone"), LATER),
        partial(erased.apply_identity, Identity("Ximena"), LATER, TODAY),
    ):
        assert conflict_of(change) == "person_erased"
    assert erased == file(erased=True)


@pytest.mark.parametrize(
    ("identity", "known", "band"),
    [
        (Identity(birth_date="2000-01-01"), True, "25-59"),
        (Identity("Ximena"), True, "12-17"),
        (Identity(), False, "12-17"),
    ],
)
def test_an_identity_sets_the_age_band_only_if_it_has_a_birth_date(
    identity: Identity, known: bool, band: str
) -> None:
    person = file()
    person.coarse = Coarse("12-17", "Feminine")
    person.apply_identity(identity, LATER, TODAY, acknowledged_codes=("adulthood_changes",))
    assert (person.has_identity, person.coarse) == (known, Coarse(band, "Feminine"))
    assert (person.version, person.update_time) == (2, LATER)


@pytest.mark.parametrize(
    ("ages", "band", "takes"),
    [
        (Ages(), "12-17", True),
        (Ages(18), "", True),  # the age is unknown
        (Ages(18), "12-17", False),
        (Ages(17), "12-17", True),
        (Ages(18), "60+", True),
        (Ages(None, 17), "18-24", False),
        (Ages(None, 18), "18-24", True),
        (Ages(None, 60), "60+", True),
        (Ages(None, 59), "60+", False),
        (Ages(18, 24), "25-59", False),
        (Ages(16), "12-17", True),  # some ages of the band are accepted
        (Ages(18), "18-24", True),
        (Ages(None, 11), "12-17", False),
        (Ages(12, 17), "0-11", False),
        (Ages(60), "25-59", False),
        (Ages(18, 25), "60+", False),
        (Ages(), "0-11", True),
    ],
)
def test_an_age_band_is_accepted_if_any_age_in_the_band_is_accepted(
    ages: Ages, band: str, takes: bool
) -> None:
    assert ages.takes(band) is takes


def test_a_service_for_other_ages_needs_an_acknowledgement() -> None:
    check_age_taken(True, ())
    check_age_taken(False, ("age_not_taken",))
    assert conflict_of(lambda: check_age_taken(False, ("unsafe_for_her",))) == "age_not_taken"


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
    row = {
        "time": datetime(2026, 3, day, 18, tzinfo=UTC),
        "detail_codes": fields,
        "organization_id": "clinic",
        "purpose_code": "MED.EMG",
        "allowed": True,
    }
    return row | more


def reading(day: int, **more: Any) -> Reading:
    """Returns the accesses of a health service to health data on a day of March 2026."""
    defaults = {
        "organization_type": "health",
        "need_group_code": "MED",
        "field_groups": ("health",),
        "allowed": True,
        "count": 1,
    }
    return Reading(date(2026, 3, day), **{**defaults, **more})


@pytest.mark.parametrize(
    ("rows", "readings"),
    [
        ([], []),
        (
            [access(3, "health"), access(4, "health"), access(3, "health", purpose_code="MED")],
            [reading(4), reading(3, count=2)],
        ),
        (  # accesses of one day that differ in one value each are listed separately
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
                reading(4, organization_type=""),
                reading(4, need_group_code=""),
                reading(4, allowed=False),
                reading(4),
                reading(4, field_groups=("identity", "health")),
                reading(4, need_group_code="PSS"),
                reading(4, organization_type="shelter"),
            ],
        ),
        (  # it is still Tuesday in Managua
            [access(4, "health", time=datetime(2026, 3, 4, 5, 59, tzinfo=UTC))],
            [reading(3)],
        ),
    ],
)
def test_a_person_sees_how_often_each_kind_of_organisation_read_her_data_newest_day_first(
    rows: list[dict[str, Any]], readings: list[Reading]
) -> None:
    types = {"clinic": "health", "shelter": "shelter"}
    assert daily_readings(rows, types, ZoneInfo("America/Managua")) == readings
