"""The recipients of each fact, and the facts without recipients."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

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
from services.referrals.referrals.domain.lifecycle import TRANSITIONS
from tests.builders import NOON

SENDER, RECEIVER, OTHER, WORKER, COORDINATOR = (letter * 32 for letter in "srowc")
TO_RECEIVER, TO_COORDINATION = {"receiver's desk"}, {"coordination"}
TO_SENDER = {"sender's desk", "sender's worker"}
TO_BOTH = TO_RECEIVER | TO_SENDER
DEADLINE_VERBS = ("clock_reminded", "clock_breached", "clock_escalated")


def test_a_notice_about_a_referral_goes_to_its_sides_or_the_coordinators() -> None:
    other_parties = {
        Party.AUDITORS,
        Party.MANAGERS,
        Party.COORDINATION_ALONE,
        Party.COORDINATION_PER_FACT,
        Party.COORDINATION_FOR_LONE_MANAGER,
    }
    assert [notice.kind for notice in BY_VERB.values() if other_parties & {*notice.parties}] == []


def event_of(
    verb: str,
    *,
    urgency: str = "NORMAL",
    time: datetime = NOON,
    actor: str = SENDER,
    override: bool = False,
    draft: bool = False,
    **more: str,
) -> ReferralEvent:
    return ReferralEvent(
        verb,
        draft,
        "a" * 32,
        3,
        time,
        urgency,
        SENDER,
        WORKER,
        RECEIVER,
        actor,
        override,
        **more,
    )


def in_words(recipients: list[Recipient]) -> set[str]:
    """Returns the recipients in words; fails if one is named twice."""
    names = {
        (Audience.DESK, RECEIVER): "receiver's desk",
        (Audience.DESK, SENDER): "sender's desk",
        (Audience.WORKER, SENDER): "sender's worker",
        (Audience.COORDINATION, ""): "coordination",
    }
    words = [names[recipient.audience, recipient.organization_id] for recipient in recipients]
    assert len(words) == len(set(words))
    return set(words)


def row(sentence: str, notified: set[str], verb: str, **values: Any) -> Any:
    """Returns a row of the table of recipients: the event of `verb` with these values."""
    sides = {SENDER: "sender", RECEIVER: "receiver", COORDINATOR: "coordination", "": "nobody"}
    details = [sides.get(value, str(value)) for value in values.values()]
    return pytest.param(
        event_of(verb, **values), notified, id=f"{sentence}: {' '.join([verb, *details])}"
    )


def rows(sentence: str, notified: set[str], verbs: Iterable[str], **values: Any) -> list[Any]:
    return [row(sentence, notified, verb, **values) for verb in verbs]


@pytest.mark.parametrize(
    ("event", "notified"),
    [
        *rows(
            "the receiver's desk is notified of the sender's steps",
            TO_RECEIVER,
            "sent amended answered withdrawn consent_withdrawn closed reopened entered_in_error"
            " rerouted note_added consent_attached".split(),
        ),
        # the coordinators, the receiver for the person, and the person by her reference
        *(
            case
            for actor in (COORDINATOR, RECEIVER, "")
            for case in rows(
                "the sender too is notified of steps that others took for it",
                TO_BOTH,
                "withdrawn consent_withdrawn closed reopened entered_in_error".split(),
                actor=actor,
            )
        ),
        row(
            "the sender too is notified of a rerouting by another",
            TO_BOTH,
            "rerouted",
            actor=COORDINATOR,
        ),
        *rows(
            "the sender's worker and desk are notified of the receiver's steps and delays",
            TO_SENDER,
            "override_confirmed acknowledged info_requested accepted waitlisted declined"
            " not_delivered completed appointment_scheduled appointment_missed"
            " appointment_cancelled note_added".split(),
            actor=RECEIVER,
        ),
        *rows(
            "the sender is notified of a suspension or return of the receiver",
            TO_SENDER,
            ["side_out", "side_back"],
            actor=RECEIVER,
        ),
        *rows(
            "the receiver is notified of a suspension or return of the sender",
            TO_RECEIVER,
            ["side_out", "side_back"],
        ),
        row("a deadline reminds first", TO_RECEIVER, "clock_reminded", actor=""),
        row(
            "both sides are notified of a deadline that passed", TO_BOTH, "clock_breached", actor=""
        ),
        row(
            "a deadline escalates to the coordinators",
            TO_BOTH | TO_COORDINATION,
            "clock_escalated",
            actor="",
        ),
        *rows(
            "a deadline of an immediate referral escalates at once",
            TO_BOTH | TO_COORDINATION,
            DEADLINE_VERBS,
            actor="",
            urgency="IMMEDIATE",
        ),
        *(
            case
            for clock in ("answer", "close")
            for case in (
                row(
                    "the sender is reminded when it is its turn",
                    TO_SENDER,
                    "clock_reminded",
                    actor="",
                    clock=clock,
                ),
                row(
                    "both sides are notified when the sender's deadline passed",
                    TO_BOTH,
                    "clock_breached",
                    actor="",
                    clock=clock,
                ),
            )
        ),
        row("both sides are notified of an expired referral", TO_BOTH, "expired", actor=""),
        *rows(
            "a receiver that declined is not notified of the deadline of the need",
            TO_SENDER,
            ["clock_reminded", "clock_breached"],
            actor="",
            clock="replace",
        ),
        row(
            "the coordinators are notified of the escalated deadline of the need",
            TO_SENDER | TO_COORDINATION,
            "clock_escalated",
            actor="",
            clock="replace",
        ),
        *rows(
            "the coordinators are notified of each deadline of an immediate need",
            TO_SENDER | TO_COORDINATION,
            DEADLINE_VERBS,
            actor="",
            clock="replace",
            urgency="IMMEDIATE",
        ),
        *(
            case
            for clock in ("override_confirm", "override_end")
            for urgency in ("NORMAL", "IMMEDIATE")
            for case in rows(
                "the sender and the coordinators are notified of the deadlines of an override",
                TO_SENDER | TO_COORDINATION,
                DEADLINE_VERBS,
                clock=clock,
                urgency=urgency,
            )
        ),
        *rows(
            "only the sender is notified of the deadline of a draft",
            TO_SENDER,
            DEADLINE_VERBS,
            draft=True,
            urgency="IMMEDIATE",
            clock="draft",
        ),
        row(
            "the sender is notified that the coordinators closed a need",
            TO_SENDER,
            "need_closed",
            actor=COORDINATOR,
        ),
        row("a need that the sender closed notifies nobody", set(), "need_closed"),
        row(
            "the sender is notified that a consent ends soon", TO_SENDER, "consent_ending", actor=""
        ),
        row(
            "the sender and the coordinators are notified of a lost leg",
            TO_SENDER | TO_COORDINATION,
            "leg_lost",
            actor="",
        ),
        row(
            "a reminder goes only to the receiver when it is its turn",
            TO_RECEIVER,
            "reminded",
            actor=COORDINATOR,
            reminded_organization_id=RECEIVER,
        ),
        row(
            "a reminder goes only to the sender when it is its turn",
            TO_SENDER,
            "reminded",
            actor=COORDINATOR,
            reminded_organization_id=SENDER,
        ),
        row("an override is reported only when it is sent", TO_SENDER, "accepted", override=True),
        *rows(
            "other facts notify nobody",
            set(),
            ["drafted", "started", "appointment_attended", "a_verb_of_tomorrow"],
        ),
        *rows("no step of a draft notifies anybody", set(), sorted(BY_VERB), draft=True),
        *rows(
            "an old fact notifies nobody",
            set(),
            sorted(BY_VERB),
            time=NOON - HISTORY - timedelta(seconds=1),
        ),
    ],
)
def test_a_fact_notifies_exactly_these_recipients(event: ReferralEvent, notified: set[str]) -> None:
    assert in_words(recipients_of(event, NOON)) == notified


@pytest.mark.parametrize("verb", sorted(BY_VERB))
def test_a_fact_as_old_as_the_history_still_notifies_somebody(verb: str) -> None:
    assert recipients_of(event_of(verb, time=NOON - HISTORY, actor=COORDINATOR), NOON) != []


def test_an_assignment_notifies_the_worker_unless_self_assigned_and_the_desk_if_she_left() -> None:
    event = event_of(
        "assigned", actor=RECEIVER, responsible_worker_id="w" * 32, actor_worker_id="m" * 32
    )
    [recipient] = recipients_of(event, NOON)
    assert (recipient.audience, recipient.organization_id, recipient.worker_id) == (
        Audience.WORKER,
        RECEIVER,
        "w" * 32,
    )
    assert recipients_of(replace(event, actor_worker_id="w" * 32), NOON) == []
    assert (
        in_words(
            recipients_of(replace(event, responsible_worker_id="", actor_organization_id=""), NOON)
        )
        == TO_RECEIVER
    )
    assert recipients_of(replace(event, responsible_worker_id=""), NOON) == [], (
        "the receiver itself returned the referral to its desk"
    )


def test_the_coordinators_are_notified_of_an_override_when_it_is_sent() -> None:
    recipients = recipients_of(event_of("sent", override=True), NOON)
    assert in_words(recipients) == {"receiver's desk", "sender's desk", "coordination"}
    assert {
        recipient.kind for recipient in recipients if recipient.audience is Audience.COORDINATION
    } == {"override_used"}
    assert {recipient.kind for recipient in recipients if recipient.organization_id == SENDER} == {
        "override_used"
    }, "a manager there may confirm it"


def test_an_organisation_that_refers_to_itself_is_notified_once() -> None:
    event = replace(
        event_of("clock_breached", actor=""),
        sender_worker_id="",
        receiver_organization_id=SENDER,
    )
    assert recipients_of(event, NOON) == [Recipient("clock_breached", Audience.DESK, SENDER)]


def test_every_verb_that_the_referrals_service_publishes_is_known() -> None:
    other_verbs = {
        *DEADLINE_VERBS,
        "drafted",
        "amended",
        "leg_lost",
        "consent_ending",
        "side_out",
        "side_back",
    }
    assert {transition.event_verb for transition in TRANSITIONS} | other_verbs == VERBS


def of_asker(kind: str) -> list[Recipient]:
    return [
        Recipient(kind, Audience.DESK, SENDER),
        Recipient(kind, Audience.WORKER, SENDER, WORKER),
    ]


RELEASE_NOTICE = Recipient("enquiry_released", Audience.DESK, OTHER)


@pytest.mark.parametrize(
    ("verb", "values", "recipients"),
    [
        pytest.param(
            "opened",
            {},
            [
                Recipient("enquiry_opened", Audience.DESK, RECEIVER),
                Recipient("enquiry_opened", Audience.DESK, OTHER),
            ],
            id="the asked desks are notified of an enquiry",
        ),
        pytest.param(
            "matched",
            {},
            [Recipient("enquiry_matched", Audience.DESK, OTHER)],
            id="the desk whose offer was taken is notified",
        ),
        pytest.param(
            "answered",
            {"first_offer": True},
            of_asker("enquiry_offered"),
            id="the asking desk and its worker are notified of the first offer",
        ),
        pytest.param("answered", {}, [], id="further offers notify nobody"),
        pytest.param("referred", {"first_offer": True}, [], id="a referral notifies nobody"),
        pytest.param(
            "offers_waiting",
            {},
            of_asker("enquiry_offers_waiting"),
            id="the asking desk and its worker are notified of a deadline",
        ),
        pytest.param(
            "offers_waiting",
            {"worker": ""},
            [Recipient("enquiry_offers_waiting", Audience.DESK, SENDER)],
            id="the asking desk alone is notified if no worker made the enquiry",
        ),
        pytest.param(
            "exhausted",
            {},
            [
                *of_asker("enquiry_exhausted"),
                Recipient("enquiry_exhausted", Audience.COORDINATION),
            ],
            id="the coordinators too are notified of an enquiry that nobody could answer",
        ),
        pytest.param(
            "cancelled",
            {"by_asker": True},
            [RELEASE_NOTICE],
            id="a cancellation by the asker notifies only the desk whose offer was taken",
        ),
        pytest.param(
            "cancelled",
            {"by_asker": True, "taken": ""},
            [],
            id="a cancellation by the asker before an offer was taken notifies nobody",
        ),
        pytest.param(
            "cancelled",
            {},
            [*of_asker("enquiry_cancelled"), RELEASE_NOTICE],
            id="the person's withdrawal notifies the asker and the desk whose offer was taken",
        ),
        pytest.param(
            "cancelled",
            {"taken": "", "reason_code": "not_taken"},
            [
                *of_asker("enquiry_cancelled"),
                Recipient("enquiry_cancelled", Audience.COORDINATION),
            ],
            id="the coordinators too are notified of an enquiry whose offers lapsed",
        ),
        pytest.param(
            "cancelled",
            {"taken": ""},
            of_asker("enquiry_cancelled"),
            id="the asker is notified of the end of an enquiry without a taken offer",
        ),
        pytest.param(
            "not_taken",
            {},
            [Recipient("enquiry_not_taken", Audience.DESK, OTHER)],
            id="a desk whose offer was not taken is notified that the enquiry is closed",
        ),
    ],
)
def test_a_fact_about_an_enquiry_notifies_exactly_these_recipients(
    verb: str, values: dict[str, Any], recipients: list[Recipient]
) -> None:
    """SENDER asked RECEIVER and OTHER, and takes the offer of OTHER."""
    fields: dict[str, Any] = {
        "taken": OTHER,
        "first_offer": False,
        "by_asker": False,
        "reason_code": "consent_withdrawn",
    } | values
    asker = (SENDER, fields.pop("worker", WORKER))
    taken = fields.pop("taken")
    assert recipients_of_enquiry(verb, asker, [RECEIVER, OTHER], taken, **fields) == recipients
