"""Drafts, and the consent or override on which a referral is sent.

The tests use no database and no ports.
"""

from copy import deepcopy
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from chassis.errors import Conflict, Invalid, Refusal
from chassis.second import NONE, Kin, mark_of
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.person import Arrival, Coarse
from services.referrals.files.domain.unsafe import NOT_STATED, Unsafe
from services.referrals.network.domain.deadline import HEALTH, Deadline, DeadlineKind, Urgency
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral
from tests.builders import NOON, violations_of
from tests.referrals.test_lifecycle import (
    ACTORS,
    DAYS,
    LATER,
    OVERRIDE,
    RECEIPT,
    STEPS,
    draft,
    in_state,
    running_kinds,
)

RESCUER = Actor("worker", "rescuer", "sender", manages=True, kin=NONE)


@pytest.mark.parametrize(
    ("receipt", "plan_known", "error"),
    [
        (RECEIPT, False, Conflict("safe_contact_missing")),
        (None, True, Conflict("receipt_missing")),
        (OVERRIDE, True, Invalid(("note", "required"))),
    ],
)
def test_nothing_is_sent_without_a_plan_a_receipt_and_the_note_of_an_override(
    receipt: Receipt | None, plan_known: bool, error: Refusal
) -> None:
    referral = draft()
    original = deepcopy(referral)
    with pytest.raises(Refusal) as caught:
        referral.send(ACTORS[Side.SENDER], NOON, DAYS, receipt, safe_contact_known=plan_known)
    assert (str(caught.value), referral) == (str(error), original)


def test_an_override_is_no_consent_to_attach() -> None:
    referral = in_state(State.SENT)
    original = deepcopy(referral)
    with pytest.raises(Conflict, match=r"^receipt_missing$"):
        referral.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, OVERRIDE)
    assert referral == original


@pytest.mark.parametrize("field", ["need_code", "urgency", "service_id"])
def test_an_incomplete_draft_is_not_sent(field: str) -> None:
    referral = draft()
    setattr(referral, field, None if field == "urgency" else "")
    with pytest.raises(Conflict, match=r"^incomplete_draft$"):
        STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    assert referral.state is State.DRAFT


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (
            {"assault_time": NOON - timedelta(hours=1), "urgency": Urgency.NORMAL},
            ("urgency_reason_code", "required"),
        ),
        (
            {
                "need_code": "HOUSE",
                "assault_time": NOON - timedelta(hours=1),
                "urgency": Urgency.NORMAL,
                "urgency_reason_code": "calm",
            },
            ("need_code", "unknown_code"),
        ),
        (
            {
                "need_code": "MED.SVC",
                "assault_time": NOON + timedelta(hours=2),
                "urgency": Urgency.NORMAL,
                "urgency_reason_code": "calm",
            },
            ("assault_time", "out_of_range"),
        ),
    ],
)
def test_a_refused_change_of_a_draft_changes_nothing(
    change: dict[str, Any], violation: tuple[str, str]
) -> None:
    referral = draft()
    original = deepcopy(referral)
    assert violations_of(
        lambda: referral.change_draft(
            ACTORS[Side.SENDER], NOON, DAYS, answered_urgency=Urgency.EMERGENCY, **change
        )
    ) == [violation]
    assert referral == original


@pytest.mark.parametrize(
    ("assault_time", "reason", "violation"),
    [(NOON, "calm", ("urgency", "out_of_range")), (None, "", ("urgency_reason_code", "required"))],
)
def test_a_refused_correction_of_the_urgency_changes_nothing(
    assault_time: datetime | None, reason: str, violation: tuple[str, str]
) -> None:
    referral = in_state(State.SENT)
    referral.assault_time = assault_time
    original = deepcopy(referral)
    assert violations_of(
        lambda: referral.amend(
            ACTORS[Side.SENDER],
            NOON,
            DAYS,
            urgency=Urgency.NORMAL,
            coarse=Coarse(country="NI"),
            note="",
            answered_urgency=Urgency.EMERGENCY,
            urgency_reason_code=reason,
        )
    ) == [violation]
    assert referral == original


def test_another_recipient_needs_another_consent() -> None:
    referral = draft()
    referral.change_draft(ACTORS[Side.SENDER], NOON, DAYS, receipt_id="receipt")
    referral.change_draft(ACTORS[Side.SENDER], NOON, DAYS, service=("other service", "receiver"))
    assert referral.receipt_id == "receipt"
    referral.change_draft(ACTORS[Side.SENDER], NOON, DAYS, service=("service", "other receiver"))
    assert referral.receipt_id == ""


def overridden_referral() -> Referral:
    """Returns a referral that the rescuer sent on an override."""
    referral = draft()
    referral.send(RESCUER, NOON, DAYS, OVERRIDE, safe_contact_known=True, note="in danger")
    return referral


@pytest.mark.parametrize("arrival", [None, Arrival("tonight", "by bus", "alone", "red scarf")])
@pytest.mark.parametrize("nobody_calls", [True, False])
def test_an_arrival_is_required_and_stored_only_for_a_person_whom_nobody_may_contact(
    nobody_calls: bool, arrival: Arrival | None
) -> None:
    referral = draft()
    original = deepcopy(referral)

    def send() -> None:
        referral.send(
            ACTORS[Side.SENDER],
            NOON,
            DAYS,
            RECEIPT,
            safe_contact_known=True,
            nobody_calls=nobody_calls,
            arrival=arrival,
        )

    if nobody_calls and arrival is None:
        assert violations_of(send) == [
            (f"arrival.{field.name}", "required") for field in fields(Arrival)
        ]
        assert referral == original
        return
    send()
    assert referral.events[-1].arrival == (arrival if nobody_calls else None)


def test_a_receipt_that_opens_nothing_is_refused_before_an_arrival_is_asked_for() -> None:
    referral = draft()
    receipt = replace(RECEIPT, recipient_organization_id="another")
    with pytest.raises(Conflict, match=r"^receipt_recipient_differs$"):
        referral.send(
            ACTORS[Side.SENDER], NOON, DAYS, receipt, safe_contact_known=True, nobody_calls=True
        )


def test_a_sent_referral_shows_its_receipt_and_the_reason_and_worker_of_an_override() -> None:
    consent, override = draft(), overridden_referral()
    STEPS["send"](consent, ACTORS[Side.SENDER], LATER)
    kinds = {DeadlineKind.OVERRIDE_CONFIRM, DeadlineKind.OVERRIDE_END}
    for referral, receipt, reason, worker, note, time, deadlines in (
        (consent, "receipt", "", "", "", LATER, set()),
        (override, "override", "life_at_risk", "rescuer", "in danger", NOON, kinds),
    ):
        assert (
            referral.receipt_id,
            referral.override_reason_code,
            referral.override_worker_id,
            referral.send_time,
        ) == (receipt, reason, worker, time)
        assert (referral.events[-1].reason_code, referral.events[-1].note) == (reason, note)
        assert kinds & set(running_kinds(referral)) == deadlines


def test_an_answer_about_unsafe_people_and_places_is_needed_before_sending() -> None:
    referral = draft()
    referral.unsafe = NOT_STATED
    with pytest.raises(Conflict, match=r"^unsafe_not_asked$") as caught:
        STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    assert caught.value.about == ("unsafe_code",)


def test_every_change_of_a_draft_makes_its_former_version_stale() -> None:
    referral = Referral.draft("0" * 32, ACTORS[Side.SENDER], "person", Coarse(), NOON, DAYS)
    assert (referral.version, referral.step_version) == (1, 1)
    referral.change_draft(ACTORS[Side.SENDER], LATER, DAYS, need_code="HOU.EMG")
    assert (referral.version, referral.step_version, referral.update_time) == (2, 2, LATER)


def test_the_draft_of_a_rerouting_has_the_known_data_of_the_person_but_no_consent() -> None:
    referral = draft()
    referral.change_draft(
        ACTORS[Side.SENDER],
        NOON,
        DAYS,
        receipt_id="receipt",
        contact_id="contact",
        assault_time=NOON - timedelta(hours=1),
        unsafe=Unsafe("named", ("org",)),
    )
    referral.coarse, referral.urgency_reason_code = Coarse(country="NI"), "safe_until_then"
    STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    coordinator = ACTORS[Side.COORDINATOR]
    following_draft = referral.reroute(
        coordinator,
        LATER,
        DAYS,
        service=("other", "elsewhere"),
        following_id="1" * 32,
        note="nobody answers",
    )
    event = referral.events[-1]
    assert (event.verb, event.note, event.time) == ("rerouted", "nobody answers", LATER)
    assert referral.following_id == following_draft.id == "1" * 32
    assert following_draft == Referral(
        "1" * 32,
        referral.sender_organization_id,
        referral.sender_worker_id,
        "person",
        Coarse(country="NI"),
        LATER,
        LATER,
        version=1,
        step_version=1,
        urgency=Urgency.EMERGENCY,
        urgency_reason_code="safe_until_then",
        need_code="HOU.EMG",
        contact_id="contact",
        receiver_organization_id="elsewhere",
        service_id="other",
        based_on_id="0" * 32,
        assault_time=NOON - timedelta(hours=1),
        unsafe=Unsafe("named", ("org",)),
        deadlines=[
            *referral.unstopped_deadlines(*HEALTH),
            Deadline(DeadlineKind.DRAFT, LATER, LATER + timedelta(hours=1)),
        ],
        events=[Event(1, "drafted", State.DRAFT, State.DRAFT, LATER, coordinator)],
    )


def test_an_override_is_confirmed_only_in_time_and_by_another_person_with_that_right() -> None:
    referral = overridden_referral()
    worker = Actor("worker", "another worker", "sender")
    for actor in (RESCUER, worker, ACTORS[Side.RECEIVER], ACTORS[Side.PERSON], ACTORS[None]):
        assert "confirm_override" not in referral.allowed_verbs(actor, NOON)
        with pytest.raises(Conflict, match=r"^illegal_transition$"):
            referral.take("confirm_override", actor, NOON, DAYS)
    end_time = NOON + timedelta(hours=12)
    for actor in (ACTORS[Side.SENDER], ACTORS[Side.COORDINATOR]):
        assert "confirm_override" in referral.allowed_verbs(actor, end_time - timedelta(seconds=1))
        assert "confirm_override" not in referral.allowed_verbs(actor, end_time)
    referral.take("confirm_override", ACTORS[Side.COORDINATOR], NOON, DAYS)
    assert {*running_kinds(referral)} >= {DeadlineKind.OVERRIDE_END, DeadlineKind.ACKNOWLEDGE}
    with pytest.raises(Conflict, match=r"^illegal_transition$"):
        referral.take("confirm_override", ACTORS[Side.SENDER], NOON, DAYS)


def test_an_account_that_may_be_the_senders_cannot_confirm_her_override() -> None:
    for kin in (Kin(), Kin(alone="second_factor"), Kin(frozenset({mark_of(RESCUER.id)}), "")):
        referral, second_account = overridden_referral(), replace(ACTORS[Side.SENDER], kin=kin)
        assert "confirm_override" not in referral.allowed_verbs(second_account, NOON)
        with pytest.raises(Conflict, match=r"^not_independent$") as caught:
            referral.take("confirm_override", second_account, NOON, DAYS)
        assert caught.value.about == (kin.alone or "kin",)


def test_a_consent_replaces_an_override_once_and_stops_its_deadlines() -> None:
    referral = overridden_referral()
    assert (referral.receipt_id, referral.override_reason_code) == ("override", "life_at_risk")
    referral.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, RECEIPT)
    assert (referral.receipt_id, referral.state, referral.override_reason_code) == (
        "receipt",
        State.SENT,
        "life_at_risk",
    )
    assert set(running_kinds(referral)) == {DeadlineKind.ACKNOWLEDGE, DeadlineKind.DECIDE}
    assert "confirm_override" not in referral.allowed_verbs(ACTORS[Side.SENDER], NOON)


def test_a_consent_can_be_replaced_by_another_consent_but_not_by_itself() -> None:
    referral = in_state(State.IN_PROGRESS)
    new_receipt = replace(RECEIPT, id="again", until_time=NOON + timedelta(days=365))
    referral.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, new_receipt)
    assert (referral.receipt_id, referral.state) == ("again", State.IN_PROGRESS)
    other_receipt = replace(RECEIPT, id="other", recipient_organization_id="another")
    with pytest.raises(Conflict, match=r"^receipt_recipient_differs$"):
        referral.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, other_receipt)
    assert violations_of(
        lambda: referral.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, new_receipt)
    ) == [("receipt_id", "repeated")]
    assert not referral.could_be_based_on(new_receipt, NOON)
    third_receipt = replace(new_receipt, id="third")
    assert referral.could_be_based_on(third_receipt, NOON)
    closed_referral = in_state(State.CLOSED)
    with pytest.raises(Conflict, match=r"^illegal_transition$"):
        closed_referral.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, third_receipt)


@pytest.mark.parametrize(("duration", "notice"), [(90, 14), (28, 14), (20, 10), (1, 0.5)])
def test_the_end_of_a_consent_is_announced_two_weeks_ahead_or_halfway_through_a_short_consent(
    duration: float, notice: float
) -> None:
    receipt = replace(RECEIPT, create_time=NOON, until_time=NOON + timedelta(days=duration))
    assert receipt.until_time - receipt.notice_time == timedelta(days=notice)
