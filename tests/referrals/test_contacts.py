"""The line: the triage of answers, and what a caller can see and do with reference and PIN."""

import itertools
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Unauthenticated
from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2, facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.line.domain import triage as rules
from services.referrals.line.domain.contact import new_reference, read_reference, status_for_caller
from services.referrals.line.domain.triage import (
    DECIDING,
    DID_NOT_SAY,
    NO,
    NOT_ASKED,
    RULES,
    YES,
    Rule,
    Triage,
)
from services.referrals.network.domain.codes import ALPHABET, check_character
from services.referrals.network.domain.deadline import Urgency
from services.referrals.referrals.domain.lifecycle import State
from tests.builders import ASKED, refusal, refusal_with_fields
from tests.referrals.conftest import ARRIVAL, ORG, SERVICE, SEVEN_POINTS, Client, Service, Story

WRONG = ("UNAUTHENTICATED", "reference_or_pin_wrong")
QUESTIONS = [field.name for field in fields(Triage)]
CALM_ANSWERS = dict.fromkeys(DECIDING, NO) | {"safe_place_tonight": YES}
TRIAGES = st.builds(
    Triage, **{name: st.sampled_from([YES, NO, DID_NOT_SAY, NOT_ASKED]) for name in QUESTIONS}
)


# Triage.


@pytest.mark.parametrize(
    ("answers", "urgency", "pathway"),
    [
        ({}, None, ""),
        (CALM_ANSWERS, Urgency.NORMAL, "return_and_reintegration"),
        (
            CALM_ANSWERS | {"wants_protection": DID_NOT_SAY},
            Urgency.NORMAL,
            "return_and_reintegration",
        ),
        (CALM_ANSWERS | {"wants_protection": NOT_ASKED}, None, ""),
        ({"danger_now": NO}, None, ""),
        ({"safe_place_tonight": YES}, None, ""),
        ({"danger_now": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"escape_under_way": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"medical_emergency": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"wants_protection": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"child_unsafe": YES}, Urgency.IMMEDIATE, "child"),
        ({"still_held": YES, "wants_out": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        ({"still_held": YES}, Urgency.IMMEDIATE, "protection_on_the_line"),
        (
            {"still_held": YES, "wants_out": DID_NOT_SAY},
            Urgency.IMMEDIATE,
            "protection_on_the_line",
        ),
        ({"still_held": YES, "wants_out": NO}, Urgency.URGENT, "return_and_reintegration"),
        ({"safe_place_tonight": NO}, Urgency.EMERGENCY, "return_and_reintegration"),
        ({"exploiters_looking": YES}, Urgency.EMERGENCY, "return_and_reintegration"),
        ({"sexual_violence_120h": YES}, Urgency.EMERGENCY, "sexual_violence_120h"),
        (
            {"sexual_violence_120h": YES, "danger_now": YES},
            Urgency.IMMEDIATE,
            "sexual_violence_120h",
        ),
        ({"sexual_violence_120h": YES, "child_unsafe": YES}, Urgency.IMMEDIATE, "child"),
        ({"need_within_days": YES}, Urgency.URGENT, "return_and_reintegration"),
        ({"safe_to_talk": NO}, None, ""),
        ({"wants_out": YES}, None, ""),
        (dict.fromkeys(QUESTIONS, DID_NOT_SAY), None, ""),
    ],
)
def test_the_answers_determine_urgency_and_pathway(
    answers: dict[str, str], urgency: Urgency | None, pathway: str
) -> None:
    triage = Triage(**answers)
    assert (triage.urgency(), triage.pathway()) == (urgency, pathway)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.question}-{rule.urgency.value}")
def test_no_triage_rule_is_redundant(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    excluded = next(
        (
            other.unless
            for other in RULES
            if other is not rule and other.question == rule.question and other.unless[0]
        ),
        None,
    )
    answers = {rule.question: rule.answer} | ({excluded[0]: excluded[1]} if excluded else {})
    triage = Triage(**answers)
    assert (triage.urgency(), triage.pathway(), triage.health()) == (
        rule.urgency,
        rule.pathway,
        list(rule.health),
    )
    monkeypatch.setattr(rules, "RULES", tuple(other for other in RULES if other is not rule))
    without = (triage.urgency(), triage.pathway(), triage.health())
    assert without != (rule.urgency, rule.pathway, list(rule.health))


@given(TRIAGES, st.sampled_from(QUESTIONS))
def test_a_missing_answer_never_lowers_the_urgency(triage: Triage, question: str) -> None:
    unanswered_urgency = replace(triage, **{question: DID_NOT_SAY}).urgency()
    urgencies = [replace(triage, **{question: answer}).urgency() for answer in (YES, NO)]
    ranks = [urgency.rank for urgency in urgencies if urgency]
    assert unanswered_urgency is None or unanswered_urgency.rank >= min(ranks)
    assert replace(triage, **{question: NOT_ASKED}).urgency() in (None, unanswered_urgency)


@given(TRIAGES)
def test_d18_a_contact_is_rated_normal_only_once_every_deciding_question_is_answered_or_declined(
    triage: Triage,
) -> None:
    open_questions = [name for name in DECIDING if getattr(triage, name) == NOT_ASKED]
    has_answer = any(getattr(triage, name) in (YES, NO) for name in DECIDING)
    assert triage.urgency() is not Urgency.NORMAL or (has_answer and not open_questions)
    assert bool(triage.pathway()) == (triage.urgency() is not None)


# D18
@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ({}, 11),
        ({"danger_now": NO}, 10),
        ({"danger_now": NO, "still_held": NO}, 8),
        ({"danger_now": NO, "still_held": YES}, 9),
        ({"safe_to_talk": NO}, 11),
        (dict.fromkeys(QUESTIONS, DID_NOT_SAY), 0),
        (CALM_ANSWERS, 0),
    ],
)
def test_the_questions_that_can_still_change_the_urgency_are_counted(
    answers: dict[str, str], left: int
) -> None:
    assert len(Triage(**answers).unanswered()) == left


# The reference.


def test_the_check_character_detects_any_one_wrong_character() -> None:
    for _ in range(20):
        reference = new_reference()
        assert read_reference(reference) == reference
        for place, character in itertools.product(range(8), ALPHABET):
            if character != reference[place]:
                with pytest.raises(Unauthenticated):
                    read_reference(reference[:place] + character + reference[place + 1 :])


@pytest.mark.parametrize(
    ("body", "check"),
    # worked out by hand: from the right, every other value counts double, with its two digits added
    [("", "0"), ("0", "0"), ("1", "Y"), ("10", "Z"), ("G", "Z"), ("Z", "1"), ("Z1G", "Z")],
)
def test_the_check_character_of_a_code_never_changes(body: str, check: str) -> None:
    assert check_character(body) == check


def test_the_check_character_detects_every_swap_of_neighbours_except_that_of_0_and_z() -> None:
    for one, other in itertools.permutations(ALPHABET, 2):
        for rest in ("", "7"):
            detected = check_character(one + other + rest) != check_character(other + one + rest)
            assert detected == ({one, other} != {"0", "Z"})


def test_a_reference_is_recognised_despite_case_spaces_and_similar_letters() -> None:
    reference = next(
        candidate
        for candidate in iter(new_reference, None)
        if "1" in candidate and "0" in candidate
    )
    for spoken in (
        reference.lower(),
        f"{reference[:4]}-{reference[4:]}",
        f" {reference[:4]} {reference[4:]} ",
        reference.replace("1", "I").replace("0", "O"),
        reference.replace("1", "l").replace("0", "o"),
    ):
        assert read_reference(spoken) == reference
    for nonsense in ("", reference[:7], reference + "0", "UUUUUUUU", "ñ" * 8, "\x00" * 8, "٠" * 8):
        with pytest.raises(Unauthenticated):
            read_reference(nonsense)


def test_references_are_distinct_and_use_the_whole_alphabet() -> None:
    created = {new_reference() for _ in range(2_000)}
    assert len(created) == 2_000
    assert set("".join(reference[:7] for reference in created)) == set(ALPHABET)


# The caller's side.


def status(
    client: Client, created: contacts_pb2.CreateContactResponse, pin: str = ""
) -> contacts_pb2.ReferenceStatus:
    request = contacts_pb2.GetReferenceStatusRequest(
        reference=created.reference, pin=pin or created.pin
    )
    answer: contacts_pb2.ReferenceStatus = client.GetReferenceStatus(request)
    return answer


def referral_for(
    story: Story, created: contacts_pb2.CreateContactResponse
) -> tuple[pb.Referral, Client]:
    """Opens a file at the line, and sends a referral for the contact to the shelter.

    The referral is based on a consent.
    """
    operator = story.service.as_("hotline", "OPERATOR")
    person = operator.CreatePerson(
        people_pb2.CreatePersonRequest(
            coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24),
            safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE),
            request_id=story.request_id(),
        )
    )
    draft = operator.CreateReferral(
        pb.CreateReferralRequest(
            **ASKED,
            person_id=person.id,
            contact_id=created.contact.id,
            need_code="HOU.EMG",
            urgency=created.contact.urgency or pb.URGENCY_EMERGENCY,
            service_id=SERVICE["shelter_bed"],
            request_id=story.request_id(),
        )
    )
    receipt = people_pb2.Receipt(
        person_id=person.id, recipient_organization_id=ORG["shelter"], purpose_codes=["HOU"]
    )
    receipt.field_groups.append(people_pb2.FIELD_GROUP_IDENTITY)
    receipt.giver_code, receipt.manner_code = people_pb2.GIVER_PERSON, people_pb2.MANNER_SPOKEN
    receipt.explained_codes.extend(SEVEN_POINTS)
    given_ = operator.CreateReceipt(
        people_pb2.CreateReceiptRequest(receipt=receipt, request_id=story.request_id())
    )
    return operator.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=given_.id, arrival=ARRIVAL)
    ), operator


def referral_beside(story: Story, first: pb.Referral, operator: Client) -> pb.Referral:
    """Sends another referral to the shelter for the person of `first`, based on the same consent,
    without a contact.
    """
    draft = operator.CreateReferral(
        pb.CreateReferralRequest(
            **ASKED,
            person_id=first.person_id,
            need_code="HOU.SAFE",
            urgency=pb.URGENCY_EMERGENCY,
            service_id=SERVICE["shelter_bed"],
            request_id=story.request_id(),
        )
    )
    send = pb.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=first.receipt_id)
    send.arrival.CopyFrom(ARRIVAL)
    sent: pb.Referral = operator.SendReferral(send)
    return sent


def completed(story: Story, sent: pb.Referral) -> pb.Referral:
    accept = pb.AcceptReferralRequest(id=sent.id, etag=sent.etag)
    accept.planned_first_contact_time.FromDatetime(story.service.clock.now())
    accepted = story.shelter.AcceptReferral(accept)
    start = pb.StartReferralRequest(id=sent.id, etag=accepted.etag)
    start.first_contact_time.FromDatetime(story.service.clock.now())
    started = story.shelter.StartReferral(start)
    referral: pb.Referral = story.shelter.CompleteReferral(
        pb.CompleteReferralRequest(id=sent.id, etag=started.etag, outcome_code=pb.OUTCOME_FULLY_MET)
    )
    return referral


def test_a_contact_of_yesterday_is_not_described_as_of_today(
    story: Story, service: Service
) -> None:
    evening = datetime(2026, 9, 11, 3, tzinfo=UTC)  # 21:00 in Nicaragua
    service.clock.set(evening)
    created = story.contact()
    bands = []
    for hours in (2, 4, 24 * 6, 24 * 7):
        service.clock.set(evening + timedelta(hours=hours))
        bands.append(status(service.public(), created).contact_time_band)
    assert bands == [
        contacts_pb2.TIME_BAND_TODAY,
        contacts_pb2.TIME_BAND_THIS_WEEK,
        contacts_pb2.TIME_BAND_THIS_WEEK,
        contacts_pb2.TIME_BAND_EARLIER,
    ]


def test_reference_and_pin_show_the_status_to_the_public_and_to_any_line(
    story: Story, service: Service
) -> None:
    created = story.contact(danger_now=contacts_pb2.ANSWER_YES)
    assert created.pin == "4821"
    sent, _ = referral_for(story, created)
    for client in (service.public(), service.as_("clinic", "OPERATOR")):
        answer = status(client, created)
        assert answer.contact_time_band == contacts_pb2.TIME_BAND_TODAY
        assert [
            (i.need_group_code, i.status_code, i.may_confirm, i.consent_live) for i in answer.items
        ] == [("HOU", contacts_pb2.REFERENCE_STATE_ASKED, False, True)]
    service.clock.advance(timedelta(days=2))
    completed(story, sent)
    answer = status(service.public(), created)
    assert answer.contact_time_band == contacts_pb2.TIME_BAND_THIS_WEEK
    assert [(i.status_code, i.may_confirm) for i in answer.items] == [
        (contacts_pb2.REFERENCE_STATE_DONE, True)
    ]


def test_the_status_names_neither_people_nor_places(story: Story, service: Service) -> None:
    created = story.contact()
    sent, _ = referral_for(story, created)
    answer = status(service.public(), created).SerializeToString()
    secret = [
        *ORG.values(),
        *SERVICE.values(),
        sent.id,
        sent.person_id,
        sent.receipt_id,
        created.contact.id,
        "NI-",
        "EMG",
    ]
    assert not [word for word in secret if word.encode() in answer]
    assert {field.name for field in contacts_pb2.ReferenceItem.DESCRIPTOR.fields} == {
        "need_group_code",
        "status_code",
        "may_confirm",
        "consent_live",
        "update_time",
        "may_be_contacted",
        "key",
        "may_withdraw",
        "deletion_due_time",
        "deletion_confirm_time",
        "utc_offset_minutes",  # at the caller's own place
    }


def test_a_caller_may_be_contacted_only_while_a_referral_is_live_and_every_plan_allows_it(
    story: Story, service: Service
) -> None:
    def promised() -> list[bool]:
        return [item.may_be_contacted for item in status(service.public(), created).items]

    def plan(channel: people_pb2.SafeChannel.ValueType) -> None:
        file = operator.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
        request = people_pb2.SetSafeContactRequest(id=file.id, etag=file.etag)
        request.safe_contact.channel_code = channel
        operator.SetSafeContact(request)

    created = story.contact()
    sent, operator = referral_for(story, created)
    assert promised() == [False], "her plan forbids any contact"
    plan(people_pb2.SAFE_CHANNEL_PHONE)
    assert promised() == [True]
    plan(people_pb2.SAFE_CHANNEL_NONE)
    assert promised() == [False]
    plan(people_pb2.SAFE_CHANNEL_THROUGH_WORKER)
    assert promised() == [True]
    operator.CreateReferral(
        pb.CreateReferralRequest(
            **ASKED,
            person_id=operator.CreatePerson(
                people_pb2.CreatePersonRequest(request_id=story.request_id())
            ).id,
            contact_id=created.contact.id,
            request_id=story.request_id(),
        )
    )
    assert promised() == [False, False], "another file of hers has no plan yet"
    service.public().WithdrawConsentByReference(
        contacts_pb2.WithdrawConsentByReferenceRequest(reference=created.reference, pin=created.pin)
    )
    assert not any(promised())


@pytest.mark.parametrize("end", ["decline", "consent"])
def test_a_caller_may_not_be_contacted_once_no_referral_is_live(
    end: str, story: Story, service: Service
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    file = operator.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
    request = people_pb2.SetSafeContactRequest(id=file.id, etag=file.etag)
    request.safe_contact.channel_code = people_pb2.SAFE_CHANNEL_VISIT
    operator.SetSafeContact(request)
    assert [item.may_be_contacted for item in status(service.public(), created).items] == [True]
    if end == "decline":
        reason = pb.DECLINE_REASON_NO_CAPACITY
        story.shelter.DeclineReferral(
            pb.DeclineReferralRequest(id=sent.id, etag=sent.etag, reason_code=reason)
        )
    else:
        service.clock.advance(timedelta(days=400))
    assert [item.may_be_contacted for item in status(service.public(), created).items] == [False]


def test_every_state_except_entered_in_error_has_a_status_in_plain_words() -> None:
    words = {state.value: status_for_caller(state.value, "") for state in State}
    assert [state for state, word in words.items() if word is None] == ["entered_in_error"]
    assert {word for word in words.values() if word} == set(
        "being_prepared asked accepted waiting_list in_progress done not_possible stopped".split()
    )


@pytest.mark.parametrize("by_herself", [True, False])
@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("FULLY_MET", "DONE"),
        ("PARTLY_MET", "DONE"),
        ("NOT_MET", "NOT_POSSIBLE"),
        ("PERSON_ENDED_EARLY", "STOPPED"),
    ],
)
def test_a_caller_is_told_that_help_was_given_only_if_it_was(
    outcome: str, expected: str, by_herself: bool, story: Story, service: Service
) -> None:
    created, public = story.contact(), service.public()
    sent, operator = referral_for(story, created)
    accept = pb.AcceptReferralRequest(id=sent.id, etag=sent.etag)
    start = pb.StartReferralRequest(id=sent.id)
    for time in (accept.planned_first_contact_time, start.first_contact_time):
        time.FromDatetime(service.clock.now())
    start.etag = story.shelter.AcceptReferral(accept).etag
    complete = pb.CompleteReferralRequest(
        id=sent.id, outcome_code=pb.Outcome.Value(f"OUTCOME_{outcome}")
    )
    complete.etag = story.shelter.StartReferral(start).etag
    completed = story.shelter.CompleteReferral(complete)
    assert [(item.status_code, item.may_confirm) for item in status(public, created).items] == [
        (contacts_pb2.ReferenceState.Value(f"REFERENCE_STATE_{expected}"), True)
    ]
    if not by_herself:
        operator.CloseReferral(
            pb.CloseReferralRequest(
                id=sent.id, etag=completed.etag, help_came_code=pb.HELP_CAME_COULD_NOT_REACH
            )
        )
        assert [item.status_code for item in status(public, created).items] == [
            contacts_pb2.ReferenceState.Value(f"REFERENCE_STATE_{expected}")
        ], "nobody reached her, so nobody knows more"
        return
    yes = contacts_pb2.ConfirmHelpRequest(
        reference=created.reference, pin=created.pin, help_came=True
    )
    assert [item.status_code for item in public.ConfirmHelp(yes).items] == [
        contacts_pb2.REFERENCE_STATE_DONE
    ], "her own word counts"


def test_a_caller_sees_only_the_following_request_continue_after_a_rerouting(
    story: Story, service: Service
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    operator.RerouteReferral(
        pb.RerouteReferralRequest(
            id=sent.id, etag=sent.etag, service_id=SERVICE["clinic_visit"], note="no answer"
        )
    )
    assert {item.status_code for item in status(service.public(), created).items} == {
        contacts_pb2.REFERENCE_STATE_NOT_POSSIBLE,
        contacts_pb2.REFERENCE_STATE_BEING_PREPARED,
    }


def test_an_unknown_or_mistyped_reference_is_answered_like_a_wrong_pin(
    story: Story, service: Service
) -> None:
    created, public = story.contact(), service.public()
    mistyped = ("0" if created.reference[0] != "0" else "1") + created.reference[1:]
    refusals = {
        refusal(
            partial(
                public.GetReferenceStatus,
                contacts_pb2.GetReferenceStatusRequest(reference=reference, pin=pin),
            )
        )
        for reference, pin in (
            (created.reference, "0000"),
            (new_reference(), "4821"),
            (mistyped, "4821"),
            ("", ""),
            (created.reference, ""),
        )
    }
    assert refusals == {WRONG}


def test_neither_reference_nor_pin_is_stored_readably(story: Story, service: Service) -> None:
    operator = service.as_("hotline", "OPERATOR")
    request = contacts_pb2.CreateContactRequest(
        contact=contacts_pb2.Contact(line_country="NI", note="tepezcuintle"),
        pin="7319",
        request_id=story.request_id(),
    )
    created = operator.CreateContact(request)
    plain = created.reference.replace("-", "")
    status(service.public(), created)
    with psycopg.connect(service.migration_url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        stored = {
            table: "\n".join(
                str(row[0])
                for row in connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()
            )
            for (table,) in tables
        }
    assert created.contact.id in stored["contacts"]
    for secret in (
        plain,
        created.reference,
        "tepezcuintle",
        plain.encode().hex(),
        b"tepezcuintle".hex(),
    ):
        assert not [table for table, text in stored.items() if secret in text]
    # Any id may contain the same four digits; only columns that might hold a PIN matter.
    with psycopg.connect(service.migration_url) as connection:
        row = connection.execute(
            "SELECT fingerprint, pin_hash FROM contact_references WHERE contact_id = %s",
            (created.contact.id,),
        ).fetchone()
    assert row is not None
    assert b"7319" not in bytes(row[0])
    assert row[1].startswith("$argon2id$")


def test_a_pin_must_have_four_digits_and_is_generated_if_missing(
    story: Story, service: Service
) -> None:
    operator = service.as_("hotline", "OPERATOR")
    for pin in ("123", "12345", "abcd", "١٢٣٤", "12 4"):
        request = contacts_pb2.CreateContactRequest(
            contact=contacts_pb2.Contact(line_country="NI"), pin=pin
        )
        assert refusal_with_fields(partial(operator.CreateContact, request))[2] == {
            "pin": "malformed"
        }
    created = operator.CreateContact(
        contacts_pb2.CreateContactRequest(contact=contacts_pb2.Contact(line_country="NI"))
    )
    assert len(created.pin) == 4
    assert created.pin.isdigit()
    assert status(service.public(), created).contact_time_band == contacts_pb2.TIME_BAND_TODAY


def test_a_caller_confirms_that_help_came_or_reopens_her_referral(
    story: Story, service: Service
) -> None:
    created, public = story.contact(), service.public()
    request = contacts_pb2.ConfirmHelpRequest(
        reference=created.reference, pin=created.pin, help_came=True
    )
    assert refusal(lambda: public.ConfirmHelp(request)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )
    sent, operator = referral_for(story, created)
    completed(story, sent)
    no = contacts_pb2.ConfirmHelpRequest(
        reference=created.reference, pin=created.pin, help_came=False, request_id=story.request_id()
    )
    assert [item.status_code for item in public.ConfirmHelp(no).items] == [
        contacts_pb2.REFERENCE_STATE_IN_PROGRESS
    ]
    assert [item.status_code for item in public.ConfirmHelp(no).items] == [
        contacts_pb2.REFERENCE_STATE_IN_PROGRESS
    ]  # sent twice, done once
    again = operator.GetReferral(pb.GetReferralRequest(id=sent.id))
    story.shelter.CompleteReferral(
        pb.CompleteReferralRequest(id=sent.id, etag=again.etag, outcome_code=pb.OUTCOME_FULLY_MET)
    )
    yes = contacts_pb2.ConfirmHelpRequest(
        reference=created.reference, pin=created.pin, help_came=True
    )
    answer = public.ConfirmHelp(yes)
    assert [(item.status_code, item.may_confirm) for item in answer.items] == [
        (contacts_pb2.REFERENCE_STATE_DONE, False)
    ]
    events = operator.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=sent.id)).events
    assert [
        (e.verb, e.actor_kind, e.actor_id) for e in events if e.verb in ("reopened", "closed")
    ] == [
        ("reopened", pb.ACTOR_KIND_PERSON, created.contact.id),
        ("closed", pb.ACTOR_KIND_PERSON, created.contact.id),
    ]


def test_a_caller_confirms_each_help_that_she_is_asked_about_also_without_a_contact(
    story: Story, service: Service
) -> None:
    created = story.contact()
    first, operator = referral_for(story, created)
    second = referral_beside(story, first, operator)
    completed(story, second)
    public = service.public()
    assert sorted(item.may_confirm for item in status(public, created).items) == [False, True]
    yes = contacts_pb2.ConfirmHelpRequest(
        reference=created.reference, pin=created.pin, help_came=True
    )
    assert [item.may_confirm for item in public.ConfirmHelp(yes).items] == [False, False]
    assert operator.GetReferral(pb.GetReferralRequest(id=second.id)).state == pb.STATE_CLOSED


def test_a_caller_withdraws_her_consent_with_her_reference(story: Story, service: Service) -> None:
    created, public = story.contact(), service.public()
    sent, operator = referral_for(story, created)
    request = contacts_pb2.WithdrawConsentByReferenceRequest(
        reference=created.reference, pin=created.pin
    )
    for _ in range(2):
        answer = public.WithdrawConsentByReference(request)
        assert [(item.status_code, item.consent_live) for item in answer.items] == [
            (contacts_pb2.REFERENCE_STATE_STOPPED, False)
        ]
    assert (
        operator.GetReferral(pb.GetReferralRequest(id=sent.id)).state == pb.STATE_CONSENT_WITHDRAWN
    )
    assert operator.GetReceipt(people_pb2.GetReceiptRequest(id=sent.receipt_id)).HasField(
        "withdraw_time"
    )
    assert (
        refusal(lambda: story.shelter.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id)))[0]
        == "NOT_FOUND"
    )
    with service.database.transaction(SYSTEM) as tx:
        trail = tx.execute(
            "SELECT action FROM audit WHERE object_id = ANY(%s)",
            ([created.contact.id, sent.person_id],),
        ).fetchall()
    assert {"enter_by_reference", "withdraw_consent"} <= {row["action"] for row in trail}


# The operators' side.


def test_contacts_can_be_listed_by_outcome(story: Story, service: Service) -> None:
    operator, waits, done = (
        service.as_("hotline", "OPERATOR"),
        story.contact().contact,
        story.contact().contact,
    )
    ended = contacts_pb2.Contact(
        id=done.id, etag=done.etag, outcome_code=contacts_pb2.CONTACT_OUTCOME_ADVISED
    )
    operator.UpdateContact(
        contacts_pb2.UpdateContactRequest(
            contact=ended, update_mask=FieldMask(paths=["outcome_code"])
        )
    )

    def listed(outcome: contacts_pb2.ContactOutcome.ValueType) -> set[str]:
        request = contacts_pb2.ListContactsRequest(outcome_code=outcome, page_size=200)
        return {contact.id for contact in operator.ListContacts(request).contacts} & {
            waits.id,
            done.id,
        }

    assert listed(contacts_pb2.CONTACT_OUTCOME_OPEN) == {waits.id}
    assert listed(contacts_pb2.CONTACT_OUTCOME_ADVISED) == {done.id}
    assert listed(contacts_pb2.CONTACT_OUTCOME_UNSPECIFIED) == {waits.id, done.id}


def test_a_contact_is_not_assessed_until_each_deciding_question_is_answered(
    story: Story, service: Service
) -> None:
    operator, created = (
        service.as_("hotline", "OPERATOR"),
        story.contact(danger_now=contacts_pb2.ANSWER_DID_NOT_SAY).contact,
    )
    assert (created.urgency, created.pathway_code) == (
        pb.URGENCY_UNSPECIFIED,
        contacts_pb2.PATHWAY_UNSPECIFIED,
    )
    assert created.open_question_count == 10
    listed = {
        contact.id: contact.urgency
        for contact in operator.ListContacts(contacts_pb2.ListContactsRequest()).contacts
    }
    assert listed[created.id] == pb.URGENCY_UNSPECIFIED
    change = contacts_pb2.UpdateContactRequest(
        contact=contacts_pb2.Contact(id=created.id, etag=created.etag)
    )
    change.update_mask.paths.append("triage")
    for name, answer in CALM_ANSWERS.items():
        setattr(
            change.contact.triage,
            name,
            {YES: contacts_pb2.ANSWER_YES, NO: contacts_pb2.ANSWER_NO}[answer],
        )
    changed = operator.UpdateContact(change)
    assert (changed.urgency, changed.open_question_count) == (pb.URGENCY_NORMAL, 0)
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT payload FROM outbox WHERE subject = %s ORDER BY version", (created.id,)
        ).fetchall()
    assert [facts_pb2.ContactFact.FromString(bytes(row["payload"])).urgency for row in rows] == [
        pb.URGENCY_UNSPECIFIED,
        pb.URGENCY_NORMAL,
    ]


@pytest.mark.parametrize("name", ["campaign_code", "kind_code", "speaker_code", "outcome_code"])
def test_an_unknown_code_in_a_contact_is_refused(name: str, story: Story, service: Service) -> None:
    operator, wrong = service.as_("hotline", "OPERATOR"), {"contact." + name: "unknown_code"}
    new: Any = contacts_pb2.CreateContactRequest(contact=contacts_pb2.Contact(line_country="NI"))
    setattr(new.contact, name, 99)
    assert refusal_with_fields(lambda: operator.CreateContact(new))[2] == wrong
    if name != "campaign_code":
        created = story.contact().contact
        change: Any = contacts_pb2.UpdateContactRequest(
            contact=contacts_pb2.Contact(id=created.id, etag=created.etag)
        )
        change.update_mask.paths.append(name)
        setattr(change.contact, name, 99)
        assert refusal_with_fields(lambda: operator.UpdateContact(change))[2] == wrong


def test_an_unknown_triage_answer_is_refused(service: Service) -> None:
    contact = contacts_pb2.Contact(
        line_country="NI", triage=contacts_pb2.Triage(danger_now=contacts_pb2.Answer.ValueType(99))
    )
    request = contacts_pb2.CreateContactRequest(contact=contact)
    refused = refusal_with_fields(lambda: service.as_("hotline", "OPERATOR").CreateContact(request))
    assert refused[2] == {"contact.triage.danger_now": "unknown_code"}


def test_only_operators_of_the_line_see_its_queue(story: Story, service: Service) -> None:
    created = story.contact()
    colleague, other = (
        service.as_("hotline", "OPERATOR", "WORKER"),
        service.as_("clinic", "OPERATOR"),
    )
    assert created.contact.id in [
        contact.id
        for contact in colleague.ListContacts(contacts_pb2.ListContactsRequest()).contacts
    ]
    assert created.contact.id not in [
        contact.id for contact in other.ListContacts(contacts_pb2.ListContactsRequest()).contacts
    ]
    assert refusal(
        lambda: other.GetContact(contacts_pb2.GetContactRequest(id=created.contact.id))
    ) == ("NOT_FOUND", "not_found")
    request = contacts_pb2.UpdateContactRequest(contact=created.contact)
    request.update_mask.paths.append("outcome_code")
    assert refusal(lambda: other.UpdateContact(request)) == ("NOT_FOUND", "not_found")
    assert (
        refusal(
            lambda: service.as_("hotline", "WORKER").ListContacts(
                contacts_pb2.ListContactsRequest()
            )
        )[1]
        == "right_missing"
    )


def test_a_colleague_of_the_next_shift_can_continue_a_contact(
    story: Story, service: Service
) -> None:
    created = story.contact()
    colleague = service.as_("hotline", "OPERATOR", "WORKER")
    request = contacts_pb2.UpdateContactRequest(
        contact=contacts_pb2.Contact(
            id=created.contact.id,
            etag=created.contact.etag,
            note="calls again at six",
            outcome_code=contacts_pb2.CONTACT_OUTCOME_ADVISED,
        )
    )
    request.contact.triage.child_unsafe = contacts_pb2.ANSWER_YES
    request.update_mask.paths.extend(["triage", "note", "outcome_code"])
    changed = colleague.UpdateContact(request)
    assert (changed.urgency, changed.pathway_code, changed.outcome_code) == (
        pb.URGENCY_IMMEDIATE,
        contacts_pb2.PATHWAY_CHILD,
        contacts_pb2.CONTACT_OUTCOME_ADVISED,
    )
    assert colleague.GetContact(contacts_pb2.GetContactRequest(id=created.contact.id)) == changed
    assert refusal(lambda: colleague.UpdateContact(request)) == ("ABORTED", "stale_etag")
    emptied = contacts_pb2.UpdateContactRequest(
        contact=contacts_pb2.Contact(id=changed.id, etag=changed.etag)
    )
    emptied.update_mask.paths.append("note")
    assert colleague.UpdateContact(emptied).note == ""
    assert colleague.GetContact(contacts_pb2.GetContactRequest(id=created.contact.id)).note == ""


def test_a_repeated_request_gets_the_same_reference_and_pin(story: Story, service: Service) -> None:
    operator = service.as_("hotline", "OPERATOR")
    request = contacts_pb2.CreateContactRequest(
        contact=contacts_pb2.Contact(line_country="NI"), request_id=story.request_id()
    )
    first, second = operator.CreateContact(request), operator.CreateContact(request)
    assert first == second
    assert status(service.public(), second).contact_time_band == contacts_pb2.TIME_BAND_TODAY


def test_a_referral_can_be_linked_only_to_a_contact_of_its_own_organisation(story: Story) -> None:
    created = story.contact()
    assert refusal(lambda: story.draft(contact_id=created.contact.id)) == ("NOT_FOUND", "not_found")


@pytest.mark.parametrize(("department", "hours_behind"), [("NI-CI", 6), ("ES-CN", 0), ("US-CA", 8)])
def test_each_item_of_a_reference_has_the_local_time_of_the_callers_place(
    department: str, hours_behind: int, story: Story, service: Service
) -> None:
    contact = contacts_pb2.Contact(
        line_country="NI", department=department, speaker_code=contacts_pb2.SPEAKER_PERSON
    )
    created = service.as_("hotline", "OPERATOR").CreateContact(
        contacts_pb2.CreateContactRequest(contact=contact, pin="4821")
    )
    referral_for(story, created)
    (item,) = status(service.public(), created, "4821").items
    assert item.utc_offset_minutes == -60 * hours_behind
