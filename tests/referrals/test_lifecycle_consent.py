"""Drafts, and the consent or override on which a referral is sent.

The tests use no database and no ports.
"""

from copy import deepcopy
from dataclasses import fields, replace
from datetime import datetime, timedelta
from functools import partial
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
from tests.builders import NOON, conflict_of, violations_of
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
from tests.referrals.test_plans import conflict_and_steps

RESCUER = Actor("worker", "rescuer", "sender", manages=True, kin=NONE)


@pytest.mark.parametrize(
    ("receipt", "plan_known", "error"),
    [
        (RECEIPT, False, Conflict("safe_contact_missing")),
        (None, True, Conflict("receipt_missing")),
        (OVERRIDE, True, Invalid(("note", "required"))),
    ],
)
def test_sending_requires_a_safe_contact_plan_and_a_receipt_and_an_override_also_a_note(
    receipt: Receipt | None, plan_known: bool, error: Refusal
) -> None:
    referral = draft()
    original = deepcopy(referral)
    with pytest.raises(Refusal) as caught:
        referral.send(ACTORS[Side.SENDER], NOON, DAYS, receipt, safe_contact_known=plan_known)
    assert (str(caught.value), referral) == (str(error), original)


def test_an_override_cannot_be_attached_as_a_consent() -> None:
    referral = in_state(State.SENT)
    original = deepcopy(referral)
    attach = partial(referral.attach_consent, ACTORS[Side.SENDER], NOON, DAYS, OVERRIDE)
    assert (conflict_of(attach), referral) == ("receipt_missing", original)


@pytest.mark.parametrize(
    ("missing", "conflict"),
    [
        ({"need_code": ""}, "incomplete_draft"),
        ({"urgency": None}, "incomplete_draft"),
        ({"service_id": ""}, "incomplete_draft"),
        # nobody has asked her about unsafe people and places
        ({"unsafe": NOT_STATED}, "unsafe_not_asked unsafe_code"),
    ],
)
def test_an_incomplete_draft_is_not_sent(missing: dict[str, Any], conflict: str) -> None:
    referral = replace(draft(), **missing)
    send = partial(STEPS["send"], referral, ACTORS[Side.SENDER], NOON)
    assert (conflict_and_steps(send), referral.state) == (conflict, State.DRAFT)


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
@pytest.mark.parametrize("no_contact", [True, False])
def test_an_arrival_is_required_and_stored_only_for_a_person_whom_nobody_may_contact(
    no_contact: bool, arrival: Arrival | None
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
            no_contact=no_contact,
            arrival=arrival,
        )

    if no_contact and arrival is None:
        assert violations_of(send) == [
            (f"arrival.{field.name}", "required") for field in fields(Arrival)
        ]
        assert referral == original
        return
    send()
    assert referral.events[-1].arrival == (arrival if no_contact else None)


def test_a_receipt_that_opens_nothing_is_refused_before_an_arrival_is_asked_for() -> None:
    referral = draft()
    receipt = replace(RECEIPT, recipient_organization_id="another")
    send = partial(referral.send, ACTORS[Side.SENDER], NOON, DAYS, receipt)
    refused = partial(send, safe_contact_known=True, no_contact=True)
    assert conflict_of(refused) == "receipt_recipient_differs"


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
        confirm = partial(STEPS["confirm_override"], referral, actor, NOON)
        assert conflict_of(confirm) == "illegal_transition"
    end_time = NOON + timedelta(hours=12)
    for actor in (ACTORS[Side.SENDER], ACTORS[Side.COORDINATOR]):
        assert "confirm_override" in referral.allowed_verbs(actor, end_time - timedelta(seconds=1))
        assert "confirm_override" not in referral.allowed_verbs(actor, end_time)
    referral.take("confirm_override", ACTORS[Side.COORDINATOR], NOON, DAYS)
    assert {*running_kinds(referral)} >= {DeadlineKind.OVERRIDE_END, DeadlineKind.ACKNOWLEDGE}
    confirm = partial(STEPS["confirm_override"], referral, ACTORS[Side.SENDER], NOON)
    assert conflict_of(confirm) == "illegal_transition"


def test_an_account_that_may_belong_to_the_sender_cannot_confirm_her_override() -> None:
    for kin in (Kin(), Kin(alone="second_factor"), Kin(frozenset({mark_of(RESCUER.id)}), "")):
        referral, second_account = overridden_referral(), replace(ACTORS[Side.SENDER], kin=kin)
        assert "confirm_override" not in referral.allowed_verbs(second_account, NOON)
        confirm = partial(STEPS["confirm_override"], referral, second_account, NOON)
        assert conflict_and_steps(confirm) == f"not_independent {kin.alone or 'kin'}"


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
    attach = partial(referral.attach_consent, ACTORS[Side.SENDER], NOON, DAYS)
    attach(new_receipt)
    assert (referral.receipt_id, referral.state) == ("again", State.IN_PROGRESS)
    other_receipt = replace(RECEIPT, id="other", recipient_organization_id="another")
    assert conflict_of(partial(attach, other_receipt)) == "receipt_recipient_differs"
    assert violations_of(partial(attach, new_receipt)) == [("receipt_id", "repeated")]
    assert not referral.could_be_based_on(new_receipt, NOON)
    third_receipt = replace(new_receipt, id="third")
    assert referral.could_be_based_on(third_receipt, NOON)
    attach = partial(in_state(State.CLOSED).attach_consent, ACTORS[Side.SENDER], NOON, DAYS)
    assert conflict_of(partial(attach, third_receipt)) == "illegal_transition"


@pytest.mark.parametrize(("duration", "notice"), [(90, 14), (28, 14), (20, 10), (1, 0.5)])
def test_the_end_of_a_consent_is_announced_two_weeks_ahead_or_halfway_through_a_short_consent(
    duration: float, notice: float
) -> None:
    receipt = replace(RECEIPT, create_time=NOON, until_time=NOON + timedelta(days=duration))
    assert receipt.until_time - receipt.notice_time == timedelta(days=notice)
