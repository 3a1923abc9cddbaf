"""The rules of a consent receipt, without a database.

The tests cover the validity of a record, the recipient and the period of its access, and the signed
text.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from chassis.errors import Conflict, Unauthenticated
from chassis.second import NONE
from services.referrals.files.domain.consent import (
    BEST_INTEREST,
    FIRST_GROUPS,
    HERSELF,
    OVERRIDE_GROUPS,
    Circumstances,
    Grant,
    Receipt,
)
from services.referrals.files.domain.person import Coarse, FieldGroup, Identity, Person
from services.referrals.referrals.domain.record import Actor
from tests.builders import NOON, violations_of

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SEVEN_POINTS = tuple("abcdefg")
ADULT, CHILD = Circumstances("18-24", "SHELTER"), Circumstances("12-17", "SHELTER")
SMALL_CHILD, UNKNOWN_AGE = Circumstances("0-11", "SHELTER"), Circumstances("", "SHELTER")
CONSENT = Receipt(
    "receipt",
    "person",
    "ngo",
    "shelter",
    frozenset({FieldGroup.IDENTITY}),
    ("HOU",),
    NOON + 90 * DAY,
    HERSELF,
    "spoken",
    NOON,
    recorded_by_worker_id="worker",
    explained_codes=SEVEN_POINTS,
    circumstances=ADULT,
)
GUARDIAN = replace(CONSENT, giver_code="guardian", assent_code="given", circumstances=CHILD)
DECISION = replace(GUARDIAN, giver_code=BEST_INTEREST, assent_code="refused", explained_codes=())
PROXY_CONSENT = replace(
    CONSENT, giver_code="guardian", giver_ground_code="court", until_time=NOON + 72 * HOUR
)
OVERRIDE = Receipt.override(
    "receipt", "person", "ngo", "worker", "shelter", "HOU.EMG", "life_in_danger", NOON
)
SECOND_PERSON = Actor("worker", "second", "ngo", kin=NONE)


def refused_with(reason: str) -> AbstractContextManager[object]:
    """Checks that the block is refused for this reason, or not refused if the reason is empty."""
    return pytest.raises(Conflict, match=f"^{reason}$") if reason else nullcontext()


@pytest.mark.parametrize(
    "receipt",
    [
        CONSENT,
        # to the last minute of the same day of the next year, with a leap day in between
        replace(CONSENT, until_time=NOON + 366 * DAY + timedelta(hours=11, minutes=59)),
        GUARDIAN,
        replace(GUARDIAN, assent_code="too_young", circumstances=SMALL_CHILD),
        DECISION,
        PROXY_CONSENT,  # by another person, for three days
    ],
)
def test_a_complete_record_is_valid(receipt: Receipt) -> None:
    receipt.check()


@pytest.mark.parametrize(
    ("receipt", "expected"),
    [
        (replace(CONSENT, purpose_codes=("HOU", "")), ("purpose_codes.1", "required")),
        (replace(CONSENT, purpose_codes=("XYZ",)), ("purpose_codes.0", "unknown_code")),
        (replace(CONSENT, until_time=NOON), ("until_time", "out_of_range")),
        (replace(CONSENT, until_time=NOON + 367 * DAY), ("until_time", "out_of_range")),
        (replace(PROXY_CONSENT, until_time=NOON + 73 * HOUR), ("until_time", "out_of_range")),
        (replace(CONSENT, explained_codes=SEVEN_POINTS[:6]), ("explained_codes", "required")),
        (
            replace(CONSENT, explained_codes=(*SEVEN_POINTS[:6], "a")),
            ("explained_codes", "required"),
        ),
        (replace(GUARDIAN, assent_code=""), ("assent_code", "required")),
        (replace(GUARDIAN, assent_code="", giver_code=HERSELF), ("assent_code", "required")),
        (replace(GUARDIAN, assent_code="too_young"), ("assent_code", "out_of_range")),
        (replace(PROXY_CONSENT, giver_ground_code=""), ("giver_ground_code", "required")),
        (
            replace(PROXY_CONSENT, field_groups=frozenset({FieldGroup.FAMILY})),
            ("field_groups", "out_of_range"),
        ),
        (replace(PROXY_CONSENT, purpose_codes=("HOU", "MED")), ("purpose_codes", "out_of_range")),
    ],
)
def test_the_refusal_of_a_receipt_names_its_invalid_field(
    receipt: Receipt, expected: tuple[str, str]
) -> None:
    field, reason = expected
    assert violations_of(receipt.check) == [(f"receipt.{field}", reason)]


def test_all_errors_are_reported_at_once() -> None:
    receipt = replace(CONSENT, purpose_codes=("XYZ",), until_time=NOON, explained_codes=())
    assert violations_of(receipt.check) == [
        ("receipt.purpose_codes.0", "unknown_code"),
        ("receipt.until_time", "out_of_range"),
        ("receipt.explained_codes", "required"),
    ]


@pytest.mark.parametrize(
    ("receipt", "reason"),
    [
        (CONSENT, ""),
        (replace(CONSENT, circumstances=CHILD), "guardian_required"),
        (replace(CONSENT, circumstances=UNKNOWN_AGE), "guardian_required"),
        (replace(CONSENT, circumstances=UNKNOWN_AGE, adult_ground_code="said_so"), ""),
        # A child's consent.
        (GUARDIAN, ""),
        (replace(GUARDIAN, giver_code="authority"), ""),
        (replace(GUARDIAN, assent_code=""), "assent_required"),
        (replace(GUARDIAN, assent_code="refused"), "assent_required"),
        (replace(GUARDIAN, assent_code="too_young"), "assent_required"),
        (replace(GUARDIAN, assent_code="too_young", circumstances=SMALL_CHILD), ""),
        (replace(GUARDIAN, assent_code="too_young", circumstances=UNKNOWN_AGE), "assent_required"),
        (DECISION, ""),
        (replace(DECISION, assent_code="given"), ""),
        # If the age of a child is known, the kind of the recipient does not matter.
        (
            replace(
                DECISION,
                circumstances=Circumstances("12-17", "LAW_ENFORCEMENT", has_withdrawn=True),
            ),
            "",
        ),
        (replace(DECISION, circumstances=UNKNOWN_AGE), ""),
        (
            replace(DECISION, circumstances=Circumstances("", "LAW_ENFORCEMENT")),
            "own_consent_required",
        ),
        (
            replace(DECISION, circumstances=Circumstances("", "SHELTER", has_withdrawn=True)),
            "own_consent_required",
        ),
        (
            replace(
                DECISION, assent_code="given", circumstances=Circumstances("", "LAW_ENFORCEMENT")
            ),
            "",
        ),
        # A consent for an adult by somebody else.
        (PROXY_CONSENT, ""),
        (replace(PROXY_CONSENT, giver_code=BEST_INTEREST), "own_consent_required"),
        (replace(PROXY_CONSENT, giver_ground_code=""), "own_consent_required"),
        (replace(PROXY_CONSENT, until_time=NOON + 73 * HOUR), "own_consent_required"),
        (
            replace(PROXY_CONSENT, field_groups=frozenset({FieldGroup.FAMILY})),
            "own_consent_required",
        ),
        (replace(PROXY_CONSENT, field_groups=OVERRIDE_GROUPS), ""),
        (replace(PROXY_CONSENT, purpose_codes=("HOU", "MED")), "own_consent_required"),
        (replace(PROXY_CONSENT, purpose_codes=()), "own_consent_required"),
        (
            replace(PROXY_CONSENT, circumstances=Circumstances("18-24", "LAW_ENFORCEMENT")),
            "own_consent_required",
        ),
        (replace(PROXY_CONSENT, circumstances=Circumstances("18-24", "")), "own_consent_required"),
        (
            replace(
                PROXY_CONSENT, circumstances=Circumstances("18-24", "SHELTER", has_withdrawn=True)
            ),
            "own_consent_required",
        ),
        # An override has no giver.
        (replace(OVERRIDE, circumstances=Circumstances("12-17", "LAW_ENFORCEMENT", True)), ""),
    ],
)
def test_the_allowed_giver_depends_on_age_ground_and_recipient(
    receipt: Receipt, reason: str
) -> None:
    with refused_with(reason):
        receipt.check_giver()


@pytest.mark.parametrize(
    ("receipt", "when", "reason"),
    [
        (CONSENT, {}, ""),
        (CONSENT, {"days": 89, "hours": 23}, ""),
        (CONSENT, {"days": 90}, "receipt_expired"),
        (replace(CONSENT, withdraw_time=NOON), {}, "receipt_withdrawn"),
        (replace(CONSENT, withdraw_time=NOON), {"days": 90}, "receipt_withdrawn"),
        (replace(CONSENT, genuine=False, withdraw_time=NOON), {}, "receipt_missing"),
        (replace(CONSENT, circumstances=CHILD), {}, "guardian_required"),
        (DECISION, {}, "receipt_unconfirmed"),
        (replace(DECISION, confirm_time=NOON), {}, ""),
        (PROXY_CONSENT, {}, "receipt_unconfirmed"),
        (replace(PROXY_CONSENT, confirm_time=NOON), {}, ""),
        (OVERRIDE, {"hours": 11, "minutes": 59}, ""),
        (OVERRIDE, {"hours": 12}, "receipt_unconfirmed"),
        (replace(OVERRIDE, confirm_time=NOON), {"hours": 12}, ""),
        (replace(OVERRIDE, confirm_time=NOON), {"hours": 72}, "receipt_expired"),
    ],
)
def test_a_receipt_is_live_while_genuine_unexpired_and_confirmed_where_required(
    receipt: Receipt, when: dict[str, int], reason: str
) -> None:
    moment = NOON + timedelta(**when)
    with refused_with(reason):
        receipt.check_live(moment)
    assert receipt.is_live(moment) == (not reason)


IDENTITY, CONTACT = FieldGroup.IDENTITY, FieldGroup.CONTACT


@pytest.mark.parametrize(
    ("receipt", "recipient", "purpose", "groups", "expected"),
    [
        (CONSENT, "shelter", "HOU", [IDENTITY], Grant("person", frozenset({IDENTITY}))),
        (CONSENT, "shelter", "HOU.EMG", [IDENTITY], Grant("person", frozenset({IDENTITY}))),
        (CONSENT, "shelter", "HOU", [], Grant("person", frozenset())),
        (CONSENT, "clinic", "HOU", [IDENTITY], "receipt_recipient_differs"),
        (CONSENT, "shelter", "MED", [IDENTITY], "receipt_purpose_differs"),
        (
            replace(CONSENT, purpose_codes=("HOU.EMG",)),
            "shelter",
            "HOU",
            [],
            "receipt_purpose_differs",
        ),
        (CONSENT, "shelter", "HOU", [IDENTITY, CONTACT], "receipt_field_group_differs"),
        (replace(CONSENT, withdraw_time=NOON), "clinic", "MED", [CONTACT], "receipt_withdrawn"),
        # The recipient does not learn that the person turned out to be a child.
        (replace(CONSENT, circumstances=CHILD), "shelter", "HOU", [IDENTITY], "receipt_missing"),
        (
            OVERRIDE,
            "shelter",
            "HOU.EMG",
            FIRST_GROUPS,
            Grant("person", FIRST_GROUPS, first_name_only=True),
        ),
        (OVERRIDE, "shelter", "HOU.EMG", OVERRIDE_GROUPS, "receipt_unconfirmed"),
        (
            replace(OVERRIDE, confirm_time=NOON),
            "shelter",
            "HOU.EMG",
            OVERRIDE_GROUPS,
            Grant("person", OVERRIDE_GROUPS),
        ),
    ],
)
def test_a_receipt_opens_only_its_field_groups_to_its_recipient_for_its_purpose(
    receipt: Receipt, recipient: str, purpose: str, groups: list[FieldGroup], expected: Grant | str
) -> None:
    with refused_with("" if isinstance(expected, Grant) else expected):
        assert receipt.grant_for(recipient, purpose, frozenset(groups), NOON) == expected


def test_a_grant_before_confirmation_shows_only_the_first_name() -> None:
    identity = Identity("Ximena", "Rivas", phone="+50581234567", address="Calle 1")
    groups = frozenset({IDENTITY, CONTACT})
    assert Grant("person", groups).shows(identity) == replace(identity, address="")
    assert Grant("person", groups, first_name_only=True).shows(identity) == Identity("Ximena")


def test_only_its_own_organisation_has_a_grant_to_a_whole_file() -> None:
    person = Person("person", "ngo", Coarse(), NOON, NOON)
    assert Grant.of_file(person, "ngo") == Grant("person", frozenset(FieldGroup))
    assert Grant.of_file(person, "shelter") == Grant("person", frozenset())


def test_an_override_covers_one_need_one_recipient_and_three_days() -> None:
    assert (
        Receipt(
            id="receipt",
            person_id="person",
            organization_id="ngo",
            recipient_organization_id="shelter",
            field_groups=OVERRIDE_GROUPS,
            purpose_codes=("HOU.EMG",),
            until_time=NOON + 72 * HOUR,
            giver_code="",
            manner_code="",
            create_time=NOON,
            reason_code="life_in_danger",
            recorded_by_worker_id="worker",
        )
        == OVERRIDE
    )
    assert OVERRIDE.confirm_until == NOON + 12 * HOUR


@pytest.mark.parametrize(
    ("receipt", "when", "reason"),
    [
        (OVERRIDE, 11 * HOUR, ""),
        (OVERRIDE, 12 * HOUR, "receipt_expired"),
        (DECISION, 12 * HOUR, ""),
        (DECISION, 90 * DAY, "receipt_expired"),
        (PROXY_CONSENT, HOUR, ""),
        (CONSENT, HOUR, "nothing_to_confirm"),
        (replace(OVERRIDE, confirm_time=NOON), HOUR, "nothing_to_confirm"),
        (replace(OVERRIDE, recorded_by_worker_id="second"), HOUR, "second_person_required"),
        (replace(DECISION, withdraw_time=NOON), HOUR, "receipt_withdrawn"),
    ],
)
def test_a_second_person_confirms_a_live_record_once_if_it_needs_confirmation(
    receipt: Receipt, when: timedelta, reason: str
) -> None:
    new_receipt, moment = replace(receipt), NOON + when
    confirmed = replace(receipt, confirm_time=moment, confirmed_by_worker_id="second", version=2)
    with refused_with(reason):
        new_receipt.confirm(SECOND_PERSON, moment)
    assert new_receipt == (receipt if reason else confirmed)


def test_a_token_older_than_the_record_cannot_confirm_it() -> None:
    old_token = replace(SECOND_PERSON, kin=replace(NONE, time=NOON - HOUR))
    with pytest.raises(Unauthenticated, match=r"^token_expired$"):
        replace(DECISION).confirm(old_token, NOON + HOUR)
    replace(DECISION).confirm(replace(SECOND_PERSON, kin=replace(NONE, time=NOON)), NOON + HOUR)


def test_a_withdrawal_and_an_end_each_make_a_new_version() -> None:
    receipt = replace(CONSENT)
    receipt.withdraw(NOON + HOUR)
    assert receipt == replace(CONSENT, withdraw_time=NOON + HOUR, version=2)
    receipt.end(NOON + 2 * HOUR)
    assert (receipt.until_time, receipt.version) == (NOON + 2 * HOUR, 3)
    receipt.end(NOON + 3 * HOUR)
    assert receipt.until_time == NOON + 2 * HOUR


def test_the_signed_text_is_the_same_in_every_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = replace(CONSENT, create_time=NOON.astimezone(timezone(timedelta(hours=-6))))
    try:
        with monkeypatch.context() as environment:
            environment.setenv("TZ", "America/Managua")
            time.tzset()
            assert receipt.canonical() == CONSENT.canonical()
    finally:
        time.tzset()


def test_the_signed_text_holds_every_field_on_its_own_line_in_a_fixed_form() -> None:
    receipt = replace(
        CONSENT,
        field_groups=frozenset({FieldGroup.IDENTITY, FieldGroup.CONTACT}),
        purpose_codes=("MED", "HOU"),
        signature="not itself",
        in_private=True,
    )
    assert receipt.canonical().decode().split("\n") == [
        "id=receipt",
        "person_id=person",
        "organization_id=ngo",
        "recipient_organization_id=shelter",
        "field_groups=contact,identity",
        "purpose_codes=HOU,MED",
        f"until_time={(NOON + 90 * DAY).isoformat(timespec='microseconds')}",
        "giver_code=person",
        "manner_code=spoken",
        f"create_time={NOON.isoformat(timespec='microseconds')}",
        "reason_code=",
        "recorded_by_worker_id=worker",
        "assent_code=",
        "in_private=True",
        "interpreter=False",
        "explained_codes=a,b,c,d,e,f,g",
        "confirm_time=",
        "confirmed_by_worker_id=",
        "withdraw_time=",
        "version=1",
    ]
    grounds = replace(CONSENT, adult_ground_code="said_so", giver_ground_code="court").canonical()
    assert grounds == CONSENT.canonical() + b"\nadult_ground_code=said_so\ngiver_ground_code=court"
