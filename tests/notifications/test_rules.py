"""The recipients of each fact, and the facts without any."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.notifications.domain.message import about_unreached, messages_of
from services.notifications.domain.notices import BY_VERB
from services.notifications.domain.rules import (
    HISTORY,
    VERBS,
    Audience,
    Happening,
    Recipient,
    recipients_of,
)

NOW = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
SENDER, RECEIVER, WORKER, COORDINATOR = "s" * 32, "r" * 32, "w" * 32, "c" * 32
TO_RECEIVER, TO_SENDER, TO_WORKER, TO_COORDINATION = (
    "receiver's desk",
    "sender's desk",
    "sender's worker",
    "coordination",
)


def happening(
    verb: str,
    *,
    urgency: str = "NORMAL",
    time: datetime = NOW,
    actor: str = SENDER,
    override: bool = False,
    draft: bool = False,
) -> Happening:
    return Happening(
        verb, draft, "a" * 32, 3, time, urgency, SENDER, WORKER, RECEIVER, actor, override
    )


def who(recipients: list[Recipient]) -> set[str]:
    """Returns the recipients in words; fails if one is named twice."""
    names = {
        (Audience.DESK, RECEIVER): TO_RECEIVER,
        (Audience.DESK, SENDER): TO_SENDER,
        (Audience.WORKER, SENDER): TO_WORKER,
        (Audience.COORDINATION, ""): TO_COORDINATION,
    }
    words = [names[one.audience, one.organization_id] for one in recipients]
    assert len(words) == len(set(words))
    return set(words)


@pytest.mark.parametrize(
    "verb", ["sent", "amended", "answered", "withdrawn", "consent_withdrawn", "closed", "reopened"]
)
def test_what_the_sender_does_the_receivers_desk_hears(verb: str) -> None:
    assert who(recipients_of(happening(verb), NOW)) == {TO_RECEIVER}


@pytest.mark.parametrize("verb", ["withdrawn", "consent_withdrawn", "closed", "reopened"])
def test_what_another_did_to_the_senders_referral_the_sender_hears_too(verb: str) -> None:
    # the coordinators, the receiver on the person's word, the person by her reference
    for other in (COORDINATOR, RECEIVER, ""):
        assert who(recipients_of(happening(verb, actor=other), NOW)) == {
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
def test_what_the_receiver_does_or_fails_to_do_the_senders_worker_and_desk_hear(verb: str) -> None:
    assert who(recipients_of(happening(verb, actor=RECEIVER), NOW)) == {TO_SENDER, TO_WORKER}


@pytest.mark.parametrize(
    ("verb", "heard_by"),
    [
        ("clock_reminded", {TO_RECEIVER}),
        ("clock_breached", {TO_RECEIVER, TO_SENDER, TO_WORKER}),
        ("clock_escalated", {TO_RECEIVER, TO_SENDER, TO_WORKER, TO_COORDINATION}),
    ],
)
def test_a_clock_climbs_a_ladder_and_an_immediate_one_takes_all_steps_at_once(
    verb: str, heard_by: set[str]
) -> None:
    assert who(recipients_of(happening(verb, actor=""), NOW)) == heard_by
    assert who(recipients_of(happening(verb, actor="", urgency="IMMEDIATE"), NOW)) == {
        TO_RECEIVER,
        TO_SENDER,
        TO_WORKER,
        TO_COORDINATION,
    }


@pytest.mark.parametrize("clock", ["answer", "close"])
def test_who_is_reminded_is_whose_turn_it_is(clock: str) -> None:
    assert who(recipients_of(replace(happening("clock_reminded", actor=""), clock=clock), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }
    assert who(recipients_of(replace(happening("clock_breached", actor=""), clock=clock), NOW)) == {
        TO_RECEIVER,
        TO_SENDER,
        TO_WORKER,
    }


def test_that_a_referral_expired_both_desks_hear() -> None:
    assert who(recipients_of(happening("expired", actor=""), NOW)) == {
        TO_RECEIVER,
        TO_SENDER,
        TO_WORKER,
    }


@pytest.mark.parametrize("urgency", ["NORMAL", "IMMEDIATE"])
@pytest.mark.parametrize("verb", ["clock_reminded", "clock_breached", "clock_escalated"])
def test_that_nobody_found_another_service_is_no_news_to_who_said_no(
    verb: str, urgency: str
) -> None:
    heard = who(
        recipients_of(replace(happening(verb, actor="", urgency=urgency), clock="replace"), NOW)
    )
    overseen = {TO_COORDINATION} if verb == "clock_escalated" or urgency == "IMMEDIATE" else set()
    assert heard == {TO_SENDER, TO_WORKER} | overseen


def test_the_sender_hears_that_the_coordination_closed_a_need_and_the_receiver_never() -> None:
    assert who(recipients_of(happening("need_closed", actor=COORDINATOR), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }
    assert who(recipients_of(happening("need_closed", actor=SENDER), NOW)) == set()


@pytest.mark.parametrize("verb", ["side_out", "side_back"])
def test_d24_that_one_side_is_out_or_back_the_other_side_hears(verb: str) -> None:
    assert who(recipients_of(happening(verb, actor=RECEIVER), NOW)) == {TO_SENDER, TO_WORKER}
    assert who(recipients_of(happening(verb, actor=SENDER), NOW)) == {TO_RECEIVER}


def test_that_a_consent_ends_soon_hears_who_can_ask_her_again() -> None:
    assert who(recipients_of(happening("consent_ending", actor=""), NOW)) == {TO_SENDER, TO_WORKER}


def test_the_sender_and_the_coordination_hear_that_a_leg_is_lost_while_she_travels() -> None:
    assert who(recipients_of(happening("leg_lost", actor=""), NOW)) == {
        TO_SENDER,
        TO_WORKER,
        TO_COORDINATION,
    }


def test_that_another_service_is_asked_the_receiver_hears_and_the_sender_if_others_did_it() -> None:
    assert who(recipients_of(happening("rerouted", actor=SENDER), NOW)) == {TO_RECEIVER}
    assert who(recipients_of(happening("rerouted", actor=COORDINATOR), NOW)) == {
        TO_RECEIVER,
        TO_SENDER,
        TO_WORKER,
    }


def test_the_responsible_worker_hears_so_unless_she_took_it_and_her_desk_when_she_left() -> None:
    hers = replace(
        happening("assigned", actor=RECEIVER),
        responsible_worker_id="w" * 32,
        actor_worker_id="m" * 32,
    )
    [recipient] = recipients_of(hers, NOW)
    assert (recipient.audience, recipient.organization_id, recipient.worker_id) == (
        Audience.WORKER,
        RECEIVER,
        "w" * 32,
    )
    assert recipients_of(replace(hers, actor_worker_id="w" * 32), NOW) == []
    assert who(
        recipients_of(replace(hers, responsible_worker_id="", actor_organization_id=""), NOW)
    ) == {TO_RECEIVER}
    assert recipients_of(replace(hers, responsible_worker_id=""), NOW) == [], (
        "they gave it back to their own desk"
    )


def test_the_desk_whose_turn_it_is_is_reminded_and_nobody_else() -> None:
    reminded = replace(happening("reminded", actor=COORDINATOR), reminded_organization_id=RECEIVER)
    assert who(recipients_of(reminded, NOW)) == {TO_RECEIVER}
    assert who(recipients_of(replace(reminded, reminded_organization_id=SENDER), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }


def test_a_note_is_told_to_the_side_that_did_not_write_it() -> None:
    assert who(recipients_of(happening("note_added", actor=RECEIVER), NOW)) == {
        TO_SENDER,
        TO_WORKER,
    }
    assert who(recipients_of(happening("note_added", actor=SENDER), NOW)) == {TO_RECEIVER}


def test_an_override_is_told_to_the_coordination_when_it_is_sent() -> None:
    recipients = recipients_of(happening("sent", override=True), NOW)
    assert who(recipients) == {TO_RECEIVER, TO_SENDER, TO_COORDINATION}
    assert {one.kind for one in recipients if one.audience is Audience.COORDINATION} == {
        "override_used"
    }
    assert {one.kind for one in recipients if one.organization_id == SENDER} == {"override_used"}, (
        "a manager there may confirm it"
    )
    assert who(recipients_of(happening("accepted", override=True), NOW)) == {TO_SENDER, TO_WORKER}


@pytest.mark.parametrize(
    "verb", ["drafted", "started", "appointment_attended", "entered_in_error", "a_verb_of_tomorrow"]
)
def test_other_facts_tell_nobody(verb: str) -> None:
    assert recipients_of(happening(verb), NOW) == []


@pytest.mark.parametrize("verb", sorted(BY_VERB))
def test_nobody_learns_of_a_draft_whatever_happens_to_it(verb: str) -> None:
    assert recipients_of(happening(verb, draft=True), NOW) == []


@pytest.mark.parametrize("verb", sorted(BY_VERB))
def test_history_wakes_nobody(verb: str) -> None:
    assert recipients_of(happening(verb, time=NOW - HISTORY - timedelta(seconds=1)), NOW) == []
    assert recipients_of(happening(verb, time=NOW - HISTORY, actor=COORDINATOR), NOW) != []


def test_an_organisation_that_refers_to_itself_is_told_once() -> None:
    own = Happening(
        "clock_breached", False, "a" * 32, 3, NOW, "NORMAL", SENDER, "", SENDER, "", False
    )
    assert recipients_of(own, NOW) == [Recipient("clock_breached", Audience.DESK, SENDER)]


def test_the_same_fact_makes_the_same_messages_and_another_makes_others() -> None:
    first, second = happening("accepted"), happening("declined")
    ids = [message.id for message in messages_of(first, recipients_of(first, NOW))]
    assert ids == [message.id for message in messages_of(first, recipients_of(first, NOW))]
    assert len(ids) == len(set(ids)) == 2
    assert not set(ids) & {
        message.id for message in messages_of(second, recipients_of(second, NOW))
    }


def test_the_desks_copy_names_the_worker_who_has_one_of_her_own() -> None:
    accepted = happening("accepted")
    desk, worker = messages_of(accepted, recipients_of(accepted, NOW))
    assert (desk.worker_id, desk.besides_worker_id) == ("", WORKER)
    assert (worker.worker_id, worker.besides_worker_id) == (WORKER, "")


def test_a_message_that_reached_nobody_is_told_to_the_coordination() -> None:
    sent = happening("sent")
    [lost] = messages_of(sent, recipients_of(sent, NOW))
    about = about_unreached(lost, NOW)
    assert (about.audience, about.kind, about.referral_id) == (
        Audience.COORDINATION,
        "message_undeliverable",
        lost.referral_id,
    )


def test_every_verb_that_the_referrals_service_says_is_known() -> None:
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
def test_the_clocks_of_an_override_are_told_to_those_who_can_do_something(
    verb: str, clock: str
) -> None:
    for urgency in ("NORMAL", "IMMEDIATE"):
        recipients = recipients_of(replace(happening(verb, urgency=urgency), clock=clock), NOW)
        assert who(recipients) == {TO_SENDER, TO_WORKER, TO_COORDINATION}


def test_that_a_consent_takes_the_place_of_an_override_the_receiver_hears() -> None:
    assert who(recipients_of(happening("consent_attached"), NOW)) == {TO_RECEIVER}


@pytest.mark.parametrize("verb", ["clock_reminded", "clock_breached", "clock_escalated"])
def test_of_a_drafts_deadline_its_sender_hears_and_nobody_else(verb: str) -> None:
    assert who(
        recipients_of(replace(happening(verb, draft=True, urgency="IMMEDIATE"), clock="draft"), NOW)
    ) == {TO_SENDER, TO_WORKER}
