"""The recipients of each fact, and the facts without recipients."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.notifications.domain.message import about_unreached, messages_of
from services.notifications.domain.notices import BY_VERB
from services.notifications.domain.notices.notice import Party
from services.notifications.domain.rules import (
    HISTORY,
    VERBS,
    Audience,
    Recipient,
    ReferralEvent,
    recipients_of,
    recipients_of_enquiry,
)

NOW = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
SENDER, RECEIVER, OTHER, WORKER, COORDINATOR = (letter * 32 for letter in "srowc")
TO_RECEIVER, TO_SENDER, TO_WORKER, TO_COORDINATION = (
    "receiver's desk",
    "sender's desk",
    "sender's worker",
    "coordination",
)


def test_a_notice_about_a_referral_goes_to_its_sides_or_the_coordinators() -> None:
    elsewhere = {
        Party.AUDITORS,
        Party.MANAGERS,
        Party.COORDINATION_ALONE,
        Party.COORDINATION_EACH,
    }
    assert [notice.kind for notice in BY_VERB.values() if elsewhere & {*notice.parties}] == []


def event_of(
    verb: str,
    *,
    urgency: str = "NORMAL",
    time: datetime = NOW,
    actor: str = SENDER,
    override: bool = False,
    draft: bool = False,
) -> ReferralEvent:
    return ReferralEvent(
        verb, draft, "a" * 32, 3, time, urgency, SENDER, WORKER, RECEIVER, actor, override
    )


def in_words(recipients: list[Recipient]) -> set[str]:
    """Returns the recipients in words; fails if one is named twice."""
    names = {
        (Audience.DESK, RECEIVER): TO_RECEIVER,
        (Audience.DESK, SENDER): TO_SENDER,
        (Audience.WORKER, SENDER): TO_WORKER,
        (Audience.COORDINATION, ""): TO_COORDINATION,
    }
    words = [names[recipient.audience, recipient.organization_id] for recipient in recipients]
    assert len(words) == len(set(words))
    return set(words)


@pytest.mark.parametrize(
    "verb",
    "sent amended answered withdrawn consent_withdrawn closed reopened entered_in_error".split(),
)
def test_the_receivers_desk_is_notified_of_the_senders_steps(verb: str) -> None:
    assert in_words(recipients_of(event_of(verb), NOW)) == {TO_RECEIVER}


@pytest.mark.parametrize(
    "verb", ["withdrawn", "consent_withdrawn", "closed", "reopened", "entered_in_error"]
)
def test_the_sender_too_is_notified_of_steps_that_others_took_for_it(verb: str) -> None:
    # the coordinators, the receiver for the person, and the person by her reference
    for other in (COORDINATOR, RECEIVER, ""):
        assert in_words(recipients_of(event_of(verb, actor=other), NOW)) == {
            TO_RECEIVER,
            TO_SENDER,
            TO_WORKER,
        }


@pytest.mark.parametrize(
    "verb",
    "override_confirmed acknowledged info_requested accepted waitlisted declined not_delivered"
    " completed"
    " appointment_scheduled appointment_missed appointment_cancelled".split(),
)
def test_the_senders_worker_and_desk_are_notified_of_the_receivers_steps_and_delays(
    verb: str,
) -> None:
    assert in_words(recipients_of(event_of(verb, actor=RECEIVER), NOW)) == {TO_SENDER, TO_WORKER}


@pytest.mark.parametrize(
    ("verb", "heard_by"),
    [
        ("clock_reminded", {TO_RECEIVER}),
        ("clock_breached", {TO_RECEIVER, TO_SENDER, TO_WORKER}),
        ("clock_escalated", {TO_RECEIVER, TO_SENDER, TO_WORKER, TO_COORDINATION}),
    ],
)
def test_a_deadline_escalates_by_level_and_at_once_for_an_immediate_referral(
    verb: str, heard_by: set[str]
) -> None:
    assert in_words(recipients_of(event_of(verb, actor=""), NOW)) == heard_by
    assert in_words(recipients_of(event_of(verb, actor="", urgency="IMMEDIATE"), NOW)) == {
        TO_RECEIVER,
        TO_SENDER,
        TO_WORKER,
        TO_COORDINATION,
    }


@pytest.mark.parametrize("clock", ["answer", "close"])
def test_the_side_whose_turn_it_is_is_reminded(clock: str) -> None:
    assert in_words(
        recipients_of(replace(event_of("clock_reminded", actor=""), clock=clock), NOW)
    ) == {
        TO_SENDER,
        TO_WORKER,
    }
    assert in_words(
        recipients_of(replace(event_of("clock_breached", actor=""), clock=clock), NOW)
    ) == {
        TO_RECEIVER,
        TO_SENDER,
        TO_WORKER,
    }


def test_both_desks_are_notified_of_an_expired_referral() -> None:
    assert in_words(recipients_of(event_of("expired", actor=""), NOW)) == {
        TO_RECEIVER,
        TO_SENDER,
        TO_WORKER,
    }


@pytest.mark.parametrize("urgency", ["NORMAL", "IMMEDIATE"])
@pytest.mark.parametrize("verb", ["clock_reminded", "clock_breached", "clock_escalated"])
def test_a_receiver_that_declined_is_not_notified_of_the_deadline_of_the_need(
    verb: str, urgency: str
) -> None:
    sentences = in_words(
        recipients_of(replace(event_of(verb, actor="", urgency=urgency), clock="replace"), NOW)
    )
    overseen = {TO_COORDINATION} if verb == "clock_escalated" or urgency == "IMMEDIATE" else set()
    assert sentences == {TO_SENDER, TO_WORKER} | overseen


def test_only_the_sender_is_notified_that_the_coordinators_closed_a_need() -> None:
    assert in_words(recipients_of(event_of("need_closed", actor=COORDINATOR), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }
    assert in_words(recipients_of(event_of("need_closed", actor=SENDER), NOW)) == set()


@pytest.mark.parametrize("verb", ["side_out", "side_back"])
def test_d24_each_side_is_notified_of_a_suspension_or_return_of_the_other(verb: str) -> None:
    assert in_words(recipients_of(event_of(verb, actor=RECEIVER), NOW)) == {TO_SENDER, TO_WORKER}
    assert in_words(recipients_of(event_of(verb, actor=SENDER), NOW)) == {TO_RECEIVER}


def test_the_sender_is_notified_that_a_consent_ends_soon() -> None:
    assert in_words(recipients_of(event_of("consent_ending", actor=""), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }


def test_the_sender_and_the_coordinators_are_notified_of_a_lost_leg() -> None:
    assert in_words(recipients_of(event_of("leg_lost", actor=""), NOW)) == {
        TO_SENDER,
        TO_WORKER,
        TO_COORDINATION,
    }


def test_the_receiver_is_notified_of_a_rerouting_and_the_sender_if_another_did_it() -> None:
    assert in_words(recipients_of(event_of("rerouted", actor=SENDER), NOW)) == {TO_RECEIVER}
    assert in_words(recipients_of(event_of("rerouted", actor=COORDINATOR), NOW)) == {
        TO_RECEIVER,
        TO_SENDER,
        TO_WORKER,
    }


def test_an_assignment_notifies_the_worker_unless_self_assigned_and_the_desk_if_she_left() -> None:
    own_event = replace(
        event_of("assigned", actor=RECEIVER),
        responsible_worker_id="w" * 32,
        actor_worker_id="m" * 32,
    )
    [recipient] = recipients_of(own_event, NOW)
    assert (recipient.audience, recipient.organization_id, recipient.worker_id) == (
        Audience.WORKER,
        RECEIVER,
        "w" * 32,
    )
    assert recipients_of(replace(own_event, actor_worker_id="w" * 32), NOW) == []
    assert in_words(
        recipients_of(replace(own_event, responsible_worker_id="", actor_organization_id=""), NOW)
    ) == {TO_RECEIVER}
    assert recipients_of(replace(own_event, responsible_worker_id=""), NOW) == [], (
        "the receiver itself returned the referral to its desk"
    )


def test_a_reminder_goes_only_to_the_organisation_whose_turn_it_is() -> None:
    reminded = replace(event_of("reminded", actor=COORDINATOR), reminded_organization_id=RECEIVER)
    assert in_words(recipients_of(reminded, NOW)) == {TO_RECEIVER}
    assert in_words(recipients_of(replace(reminded, reminded_organization_id=SENDER), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }


def test_the_other_side_is_notified_of_a_note() -> None:
    assert in_words(recipients_of(event_of("note_added", actor=RECEIVER), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }
    assert in_words(recipients_of(event_of("note_added", actor=SENDER), NOW)) == {TO_RECEIVER}


def test_the_coordinators_are_notified_of_an_override_when_it_is_sent() -> None:
    recipients = recipients_of(event_of("sent", override=True), NOW)
    assert in_words(recipients) == {TO_RECEIVER, TO_SENDER, TO_COORDINATION}
    assert {
        recipient.kind for recipient in recipients if recipient.audience is Audience.COORDINATION
    } == {"override_used"}
    assert {recipient.kind for recipient in recipients if recipient.organization_id == SENDER} == {
        "override_used"
    }, "a manager there may confirm it"
    assert in_words(recipients_of(event_of("accepted", override=True), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }


@pytest.mark.parametrize(
    "verb", ["drafted", "started", "appointment_attended", "a_verb_of_tomorrow"]
)
def test_other_facts_notify_nobody(verb: str) -> None:
    assert recipients_of(event_of(verb), NOW) == []


@pytest.mark.parametrize("verb", sorted(BY_VERB))
def test_nobody_learns_of_a_draft_whatever_happens_to_it(verb: str) -> None:
    assert recipients_of(event_of(verb, draft=True), NOW) == []


@pytest.mark.parametrize("verb", sorted(BY_VERB))
def test_an_old_fact_notifies_nobody(verb: str) -> None:
    assert recipients_of(event_of(verb, time=NOW - HISTORY - timedelta(seconds=1)), NOW) == []
    assert recipients_of(event_of(verb, time=NOW - HISTORY, actor=COORDINATOR), NOW) != []


def test_an_organisation_that_refers_to_itself_is_notified_once() -> None:
    own = ReferralEvent(
        "clock_breached", False, "a" * 32, 3, NOW, "NORMAL", SENDER, "", SENDER, "", False
    )
    assert recipients_of(own, NOW) == [Recipient("clock_breached", Audience.DESK, SENDER)]


def test_the_same_fact_makes_the_same_message_ids_and_another_fact_makes_others() -> None:
    first, second = event_of("accepted"), event_of("declined")
    ids = [message.id for message in messages_of(first, recipients_of(first, NOW))]
    assert ids == [message.id for message in messages_of(first, recipients_of(first, NOW))]
    assert len(ids) == len(set(ids)) == 2
    assert not set(ids) & {
        message.id for message in messages_of(second, recipients_of(second, NOW))
    }


def test_the_desks_copy_names_the_worker_who_has_her_own_copy() -> None:
    accepted = event_of("accepted")
    desk, worker = messages_of(accepted, recipients_of(accepted, NOW))
    assert (desk.worker_id, desk.besides_worker_id) == ("", WORKER)
    assert (worker.worker_id, worker.besides_worker_id) == (WORKER, "")


def test_the_coordinators_are_notified_of_a_message_that_reached_nobody() -> None:
    sent = event_of("sent")
    [message] = messages_of(sent, recipients_of(sent, NOW))
    about = about_unreached(message, NOW)
    assert (about.audience, about.kind, about.referral_id) == (
        Audience.COORDINATION,
        "message_undeliverable",
        message.referral_id,
    )


def test_every_verb_that_the_referrals_service_publishes_is_known() -> None:
    from services.referrals.referrals.domain.lifecycle import TRANSITIONS

    beside_the_table = {
        "clock_reminded",
        "clock_breached",
        "clock_escalated",
        "drafted",
        "amended",
        "leg_lost",
        "consent_ending",
        "side_out",
        "side_back",
    }
    assert {t.event_verb for t in TRANSITIONS} | beside_the_table == VERBS


@pytest.mark.parametrize("verb", ["clock_reminded", "clock_breached", "clock_escalated"])
@pytest.mark.parametrize("clock", ["override_confirm", "override_end"])
def test_the_sender_and_the_coordinators_are_notified_of_the_deadlines_of_an_override(
    verb: str, clock: str
) -> None:
    for urgency in ("NORMAL", "IMMEDIATE"):
        recipients = recipients_of(replace(event_of(verb, urgency=urgency), clock=clock), NOW)
        assert in_words(recipients) == {TO_SENDER, TO_WORKER, TO_COORDINATION}


def test_the_receiver_is_notified_that_a_consent_replaced_an_override() -> None:
    assert in_words(recipients_of(event_of("consent_attached"), NOW)) == {TO_RECEIVER}


@pytest.mark.parametrize("verb", ["clock_reminded", "clock_breached", "clock_escalated"])
def test_only_the_sender_is_notified_of_the_deadline_of_a_draft(verb: str) -> None:
    assert in_words(
        recipients_of(replace(event_of(verb, draft=True, urgency="IMMEDIATE"), clock="draft"), NOW)
    ) == {TO_SENDER, TO_WORKER}


# Enquiries


def of_asker(kind: str) -> list[Recipient]:
    return [
        Recipient(kind, Audience.DESK, SENDER),
        Recipient(kind, Audience.WORKER, SENDER, WORKER),
    ]


def of_enquiry(
    verb: str,
    worker: str = WORKER,
    *,
    taken: str = OTHER,
    first_offer: bool = False,
    by_asker: bool = False,
) -> list[Recipient]:
    """Returns the recipients if SENDER asked RECEIVER and OTHER, and takes the offer of OTHER."""
    return recipients_of_enquiry(
        verb,
        (SENDER, worker),
        [RECEIVER, OTHER],
        taken,
        first_offer=first_offer,
        by_asker=by_asker,
    )


def test_the_asked_desks_are_notified_of_an_enquiry_and_the_desk_whose_offer_was_taken() -> None:
    opened_kind, matched_kind = "enquiry_opened", "enquiry_matched"
    assert of_enquiry("opened") == [
        Recipient(opened_kind, Audience.DESK, RECEIVER),
        Recipient(opened_kind, Audience.DESK, OTHER),
    ]
    assert of_enquiry("matched") == [Recipient(matched_kind, Audience.DESK, OTHER)]


def test_the_asking_desk_and_its_worker_are_notified_of_the_first_offer_and_of_deadlines() -> None:
    assert of_enquiry("answered", first_offer=True) == of_asker("enquiry_offered")
    assert of_enquiry("offers_waiting") == of_asker("enquiry_offers_waiting")
    assert of_enquiry("cancelled", taken="") == of_asker("enquiry_cancelled")


def test_the_coordinators_too_are_notified_of_an_enquiry_that_nobody_could_answer() -> None:
    assert of_enquiry("exhausted") == [
        *of_asker("enquiry_exhausted"),
        Recipient("enquiry_exhausted", Audience.COORDINATION),
    ]


def test_an_own_cancellation_notifies_only_the_desk_whose_offer_was_taken() -> None:
    released = Recipient("enquiry_released", Audience.DESK, OTHER)
    assert of_enquiry("cancelled", by_asker=True) == [released]
    assert of_enquiry("cancelled", taken="", by_asker=True) == []


def test_the_persons_withdrawal_notifies_the_asker_and_the_desk_whose_offer_was_taken() -> None:
    released = Recipient("enquiry_released", Audience.DESK, OTHER)
    assert of_enquiry("cancelled") == [*of_asker("enquiry_cancelled"), released]
    assert of_enquiry("cancelled", taken="") == of_asker("enquiry_cancelled")


def test_a_desk_whose_offer_was_not_taken_is_notified_that_the_enquiry_is_closed() -> None:
    assert of_enquiry("not_taken") == [Recipient("enquiry_not_taken", Audience.DESK, OTHER)]


def test_further_offers_and_referrals_from_an_enquiry_notify_nobody() -> None:
    assert of_enquiry("answered") == []
    assert of_enquiry("referred", first_offer=True) == []


def test_a_notice_about_an_enquiry_that_no_worker_made_goes_to_the_asking_desk_alone() -> None:
    assert of_enquiry("offers_waiting", worker="") == [
        Recipient("enquiry_offers_waiting", Audience.DESK, SENDER)
    ]
