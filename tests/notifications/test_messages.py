"""The ids and recipients of messages, without a database; the same cause makes the same message."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.notifications.domain.message import (
    Message,
    about_disabled,
    about_enquiry,
    about_subject,
    about_undeliverable,
    derived_id,
    letter_id,
    messages_of,
)
from services.notifications.domain.rules import Audience, Recipient, ReferralEvent
from services.notifications.wire import message_answer
from tests.builders import NOON

EVENT = ReferralEvent(
    verb="sent",
    draft=False,
    referral_id="referral",
    version=3,
    time=NOON,
    urgency="HIGH",
    sender_organization_id="ngo",
    sender_worker_id="",
    receiver_organization_id="shelter",
    actor_organization_id="ngo",
    override_used=False,
    need_code="HOU.EMG",
)
DESK = Recipient("asked", Audience.DESK, "shelter")
WORKER = Recipient("asked", Audience.WORKER, "shelter", "worker")


def test_an_event_makes_one_message_for_each_recipient() -> None:
    coordination = Recipient("asked", Audience.COORDINATION)
    [first, second] = messages_of(EVENT, [DESK, coordination])
    assert first == Message(
        id=derived_id(f"referral/3/{NOON.isoformat()}", DESK),
        audience=Audience.DESK,
        organization_id="shelter",
        worker_id="",
        besides_worker_id="",
        kind="asked",
        referral_id="referral",
        urgency="HIGH",
        sender_organization_id="ngo",
        receiver_organization_id="shelter",
        create_time=NOON,
        need_code="HOU.EMG",
    )
    assert second == replace(
        first,
        id=derived_id(f"referral/3/{NOON.isoformat()}", coordination),
        audience=Audience.COORDINATION,
        organization_id="",
    )


def test_the_message_of_a_desk_names_the_worker_who_gets_the_same_message() -> None:
    other = replace(DESK, organization_id="ngo")
    another_kind = replace(DESK, kind="reminded")
    created = messages_of(EVENT, [DESK, WORKER, other, another_kind])
    assert [(message.worker_id, message.besides_worker_id) for message in created] == [
        ("", "worker"),
        ("worker", ""),
        ("", ""),
        ("", ""),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"referral_id": "another"},
        {"version": 4},
        {"time": NOON + timedelta(seconds=1)},
    ],
)
def test_another_event_makes_other_ids(change: dict[str, Any]) -> None:
    [message] = messages_of(EVENT, [DESK])
    [another] = messages_of(replace(EVENT, **change), [DESK])
    assert message.id != another.id


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "reminded"},
        {"audience": Audience.COORDINATION},
        {"organization_id": "ngo"},
        {"worker_id": "worker"},
    ],
)
def test_the_same_cause_gives_the_same_id_to_one_recipient_and_another_id_to_others(
    change: dict[str, Any],
) -> None:
    assert derived_id("cause", DESK) == derived_id("cause", replace(DESK))
    assert derived_id("cause", DESK) != derived_id("another cause", DESK)
    assert derived_id("cause", DESK) != derived_id("cause", replace(DESK, **change))


def test_derived_ids_never_change_so_that_a_repeated_fact_makes_no_new_message() -> None:
    assert derived_id("cause", DESK) == "438711f61354168817832151bd190d1c"
    assert letter_id("message") == "77e7685293120332a702a9f7b507ef1e"


def test_the_coordinators_message_about_an_unreached_message_keeps_its_details() -> None:
    [message] = messages_of(EVENT, [DESK])
    unreached = Recipient("message_undeliverable", Audience.COORDINATION)
    assert about_undeliverable(message, NOON + timedelta(hours=1)) == replace(
        message,
        id=derived_id(message.id, unreached),
        audience=Audience.COORDINATION,
        organization_id="",
        kind="message_undeliverable",
        sender_organization_id=message.organization_id,
        receiver_organization_id="",
        create_time=NOON + timedelta(hours=1),
    )


def blank(id: str, recipient: Recipient) -> Message:
    """Returns a message that is about no referral."""
    return Message(
        id=id,
        audience=recipient.audience,
        organization_id=recipient.organization_id,
        worker_id=recipient.worker_id,
        besides_worker_id="",
        kind=recipient.kind,
        referral_id="",
        urgency="",
        sender_organization_id="",
        receiver_organization_id="",
        create_time=NOON,
    )


def test_a_desk_is_notified_each_time_its_webhook_is_disabled() -> None:
    recipient = Recipient("webhook_disabled", Audience.DESK, "ngo")
    created = about_disabled("webhook", "ngo", NOON)
    assert created == blank(derived_id(f"webhook/{NOON.isoformat()}", recipient), recipient)
    assert created.id != about_disabled("webhook", "ngo", NOON + timedelta(days=1)).id


def test_a_message_without_a_referral_is_made_once_for_each_cause() -> None:
    assert about_subject(WORKER, "cause", NOON) == blank(derived_id("cause", WORKER), WORKER)


def test_a_message_names_the_organisation_that_it_is_about_unless_it_leads_to_a_referral() -> None:
    message = about_subject(
        Recipient("contact_escalated", Audience.COORDINATION), "cause", NOON, "line"
    )
    assert message_answer(message, "es").organization_id == "line"
    for other in (replace(message, referral_id="r"), replace(message, enquiry_id="e")):
        assert message_answer(other, "es").organization_id == ""


def test_only_the_askers_copies_of_an_enquirys_message_name_the_asker() -> None:
    recipients = [
        Recipient("enquired", Audience.DESK, "ngo"),
        Recipient("enquired", Audience.WORKER, "ngo", "worker"),
        Recipient("enquired", Audience.DESK, "shelter"),
    ]
    desk, worker, other = (
        replace(
            blank(derived_id(f"enquiry/sent/{NOON.isoformat()}", recipient), recipient),
            urgency="HIGH",
            need_code="HOU.EMG",
            enquiry_id="enquiry",
        )
        for recipient in recipients
    )
    assert about_enquiry(recipients, "enquiry", "ngo", "sent", "HIGH", "HOU.EMG", NOON) == [
        replace(desk, besides_worker_id="worker", sender_organization_id="ngo"),
        replace(worker, sender_organization_id="ngo"),
        other,
    ]
