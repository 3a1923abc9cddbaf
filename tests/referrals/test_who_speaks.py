"""The person to whom a reference was given, and the rights of the reference to her file.

Somebody else who called about her learns only about the call. Otherwise a trafficker who poses as
her brother could watch the help and stop it.
"""

from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.wire import timestamp
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from tests.builders import NOTHING_UNSAFE, refusal
from tests.referrals.conftest import ORG, SERVICE, Client, Story, open_identity, read
from tests.referrals.contact_calls import credentials
from tests.referrals.test_any_line import (
    accesses_to,
    add_note,
    call_again,
    later_notes,
    operator_of,
    read_contact,
)
from tests.referrals.test_callbacks import (
    NIGHT,
    PHONE,
    arrange_call,
    ask_for_call,
    local_time,
    make_file,
    owed_calls,
)
from tests.referrals.test_contacts import completed, referral_for
from tests.referrals.test_erasure import confirm, propose

OTHER_SPEAKERS = [
    speaker
    for speaker in c.Speaker.values()
    if speaker not in (c.SPEAKER_PERSON, c.SPEAKER_GUARDIAN)
]


def status_of(story: Story, created: c.CreateContactResponse) -> c.ReferenceStatus:
    status: c.ReferenceStatus = story.service.public().GetReferenceStatus(**credentials(created))
    return status


def withdraw_all(story: Story, created: c.CreateContactResponse) -> c.ReferenceStatus:
    status: c.ReferenceStatus = story.service.public().WithdrawConsentByReference(
        **credentials(created)
    )
    return status


def change_contact(operator: Client, contact_id: str, **values: Any) -> None:
    contact = c.Contact(id=contact_id, etag=operator.GetContact(id=contact_id).etag, **values)
    operator.UpdateContact(contact=contact, update_mask=FieldMask(paths=list(values)))


@pytest.mark.parametrize("speaker", OTHER_SPEAKERS, ids=c.Speaker.Name)
def test_a_caller_who_is_not_the_person_learns_only_about_the_call(
    story: Story, speaker: c.Speaker.ValueType
) -> None:
    created = story.contact(speaker)
    before = status_of(story, created)
    sent, _ = referral_for(story, created)
    open_identity(story.shelter, sent.person_id, sent.id)
    status = status_of(story, created)
    assert status == before, "the status is the same as without a file"
    assert status.only_the_call
    assert (list(status.items), status.file_count, status.may_withdraw) == ([], 0, False)
    assert status.contact_time_band == c.TIME_BAND_TODAY
    assert not story.service.public().ListReadingsByReference(**credentials(created)).readings


@pytest.mark.parametrize("speaker", [*OTHER_SPEAKERS, c.SPEAKER_GUARDIAN], ids=c.Speaker.Name)
def test_a_caller_who_is_not_the_person_stops_nothing_and_confirms_nothing(
    story: Story, speaker: c.Speaker.ValueType
) -> None:
    created, public = story.contact(speaker), story.service.public()
    sent, operator = referral_for(story, created)
    enquiry = operator.CreateEnquiry(
        content=enquiries_pb2.EnquiryContent(
            need_code="HOU.EMG", urgency=pb.URGENCY_EMERGENCY, country="NI"
        ),
        service_ids=[SERVICE["shelter_bed"]],
        contact_id=created.contact.id,
        **NOTHING_UNSAFE,
    )
    withdraw_all(story, created)
    assert read(operator, sent.id).state == pb.STATE_SENT
    assert operator.GetEnquiry(id=enquiry.id).state == enquiries_pb2.ENQUIRY_STATE_OPEN
    tomorrow = {"day_code": c.DAY_BAND_TOMORROW, "hour_code": c.HOUR_BAND_MORNING}
    assert refusal(partial(public.AskForCallByReference, **credentials(created), **tomorrow)) == (
        "FAILED_PRECONDITION",
        "call_not_safe",
    )
    completed(story, sent)
    assert refusal(partial(public.ConfirmHelp, **credentials(created), help_came=False)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )


def test_somebody_who_calls_about_a_person_can_still_add_to_what_was_said(story: Story) -> None:
    created = story.contact(c.SPEAKER_FAMILY)
    referral_for(story, created)
    story.service.public().AddNoteByReference(**credentials(created), note="she is in León")
    stored = read_contact(operator_of(story), created.contact)
    assert [note.note for note in stored.later_notes] == ["she is in León"]


def test_an_operator_who_corrects_who_spoke_opens_or_closes_the_reference_at_once(
    story: Story,
) -> None:
    created = story.contact(c.SPEAKER_UNSPECIFIED)
    _, operator = referral_for(story, created)
    change_contact(operator, created.contact.id, speaker_code=c.SPEAKER_PERSON)
    status = status_of(story, created)
    assert (len(status.items), status.only_the_call) == (1, False)
    change_contact(operator, created.contact.id, speaker_code=c.SPEAKER_FAMILY)
    assert status_of(story, created).only_the_call


def test_her_own_reference_opens_the_file_that_began_with_somebody_elses_call(story: Story) -> None:
    brothers_contact, her_contact = story.contact(c.SPEAKER_FAMILY), story.contact()
    sent, operator = referral_for(story, brothers_contact)
    change_contact(operator, her_contact.contact.id, person_id=sent.person_id)
    assert len(status_of(story, her_contact).items) == 1
    withdraw_all(story, her_contact)
    assert read(operator, sent.id).state == pb.STATE_CONSENT_WITHDRAWN
    assert status_of(story, brothers_contact).only_the_call


@pytest.mark.parametrize("speaker", [*OTHER_SPEAKERS, c.SPEAKER_GUARDIAN], ids=c.Speaker.Name)
def test_a_reference_opens_and_stops_nothing_of_somebody_about_whom_its_holder_called_later(
    story: Story, speaker: c.Speaker.ValueType
) -> None:
    created = story.contact(c.SPEAKER_PERSON)
    about_her_friend = call_again(story, created, "hotline", speaker=speaker)
    sent, operator = referral_for(story, about_her_friend)
    visible_count = 1 if speaker == c.SPEAKER_UNSPECIFIED else 0  # she may have spoken herself
    status = status_of(story, created)
    assert (len(status.items), status.file_count) == (visible_count, visible_count)
    withdraw_all(story, created)
    assert (read(operator, sent.id).state == pb.STATE_SENT) == (not visible_count)


def test_a_brothers_reference_shows_neither_her_own_call_nor_when_the_line_calls_her(
    story: Story,
) -> None:
    brothers_contact, operator = story.contact(c.SPEAKER_FAMILY), operator_of(story)
    her_call = call_again(story, brothers_contact, "hotline", speaker=c.SPEAKER_PERSON)
    arrange_call(story, her_call.contact.id)
    add_note(story, brothers_contact, "where is she?")
    for call in (brothers_contact, her_call):
        read_contact(operator, call.contact)
    status = status_of(story, brothers_contact)
    assert (status.only_the_call, status.HasField("call_from_time")) == (True, False)
    assert [access.count for access in accesses_to(story, brothers_contact)] == [1]


@pytest.mark.usefixtures("clinic_in_costa_rica")
def test_a_note_that_she_adds_by_reference_reaches_no_line_that_only_somebody_else_called(
    story: Story,
) -> None:
    created = story.contact(c.SPEAKER_PERSON)
    brothers_call = call_again(story, created, "clinic", speaker=c.SPEAKER_FAMILY)
    add_note(story, created, "I am at the bus station")
    assert later_notes(operator_of(story), created.contact) == ["I am at the bus station"]
    assert later_notes(operator_of(story, "clinic"), brothers_call.contact) == []


@pytest.mark.usefixtures("clinic_in_costa_rica")
def test_another_line_cannot_end_or_move_her_call_or_enquiry_through_a_brothers_reference(
    story: Story,
) -> None:
    brothers_contact, operator = story.contact(c.SPEAKER_FAMILY), operator_of(story)
    her_call = call_again(story, brothers_contact, "hotline", speaker=c.SPEAKER_PERSON)
    enquiry = operator.CreateEnquiry(
        content=enquiries_pb2.EnquiryContent(
            need_code="HOU.EMG", urgency=pb.URGENCY_EMERGENCY, country="NI"
        ),
        service_ids=[SERVICE["shelter_bed"]],
        contact_id=her_call.contact.id,
        **NOTHING_UNSAFE,
    )
    arrange_call(story, her_call.contact.id)
    [owed_call] = owed_calls(story, her_call)
    others_contact = call_again(story, brothers_contact, "clinic", speaker=c.SPEAKER_PERSON)
    other_line = operator_of(story, "clinic")
    others_file = make_file(story, others_contact, PHONE, other_line)
    arrange_call(story, others_contact.contact.id, NIGHT, other_line)
    assert owed_calls(story, her_call) == [owed_call]
    propose(other_line, others_file.id)
    confirm(story.service.as_("clinic", "OPERATOR", "MANAGER"), others_file.id)
    assert owed_calls(story, her_call) == [owed_call]
    assert operator.GetEnquiry(id=enquiry.id).state == enquiries_pb2.ENQUIRY_STATE_OPEN
    assert read_contact(operator, her_call.contact).outcome_code == c.CONTACT_OUTCOME_OPEN


@pytest.mark.parametrize("ask", [ask_for_call, arrange_call], ids=lambda ask: ask.__name__)
def test_a_new_time_also_replaces_the_time_agreed_with_the_person_under_another_reference(
    ask: Any, story: Story
) -> None:
    earlier, later, brothers_contact = (
        story.contact(),
        story.contact(),
        story.contact(c.SPEAKER_FAMILY),
    )
    person = make_file(story, later, PHONE)
    for contact in (earlier, brothers_contact):
        change_contact(story.operator, contact.contact.id, person_id=person.id)
        arrange_call(story, contact.contact.id)
    ask(story, later if ask is ask_for_call else later.contact.id, hour=NIGHT)
    start_times = [
        owed_calls(story, contact)[0].clocks[0].start_time.ToDatetime(UTC)
        for contact in (earlier, later, brothers_contact)
    ]
    assert start_times == [local_time(5, 20), local_time(5, 20), local_time(5, 17)]


def refer_child(
    story: Story, created: c.CreateContactResponse, giver: str = "guardian"
) -> pb.Referral:
    """Sends a referral of a child for the contact, on the consent of `giver`."""
    operator = operator_of(story)
    person = operator.CreatePerson(
        coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_12_TO_17),
        safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE),
    )
    draft = operator.CreateReferral(
        **NOTHING_UNSAFE,
        person_id=person.id,
        contact_id=created.contact.id,
        need_code="HOU.EMG",
        urgency=pb.URGENCY_EMERGENCY,
        service_id=SERVICE["shelter_bed"],
    )
    return replace(story, ngo=operator).send(draft, giver=giver, assent_code="given")


def test_a_guardian_who_consented_sees_and_stops_what_was_asked_for_the_child(story: Story) -> None:
    created = story.contact(c.SPEAKER_GUARDIAN)
    sent = refer_child(story, created)
    status = status_of(story, created)
    assert (len(status.items), status.may_ask_for_call, status.only_the_call) == (1, True, False)
    stopped = withdraw_all(story, created)
    assert read(operator_of(story), sent.id).state == pb.STATE_CONSENT_WITHDRAWN
    assert [item.status_code for item in stopped.items] == [c.REFERENCE_STATE_STOPPED]


def test_a_guardian_sees_nothing_of_a_consent_that_was_not_given_for_a_referral_of_her_own_call(
    story: Story,
) -> None:
    mothers_contact, fathers_contact = (story.contact(c.SPEAKER_GUARDIAN) for _ in range(2))
    sent = refer_child(story, mothers_contact)
    change_contact(operator_of(story), fathers_contact.contact.id, person_id=sent.person_id)
    assert status_of(story, fathers_contact).only_the_call
    withdraw_all(story, fathers_contact)
    assert [item.consent_live for item in status_of(story, mothers_contact).items] == [True]


@pytest.mark.parametrize(
    ("speaker", "giver"),
    [(c.SPEAKER_FAMILY, "guardian"), (c.SPEAKER_GUARDIAN, "authority")],
)
def test_a_relative_sees_nothing_of_a_guardians_consent_and_a_guardian_nothing_of_an_authoritys(
    story: Story, speaker: c.Speaker.ValueType, giver: str
) -> None:
    created = story.contact(speaker)
    refer_child(story, created, giver)
    assert status_of(story, created).only_the_call


@pytest.mark.parametrize(
    "decision",
    [
        {"giver": "authority", "assent_code": "given"},
        {"giver": "best_interest", "assent_code": "refused"},
    ],
    ids=["authority", "best interest"],
)
def test_a_guardian_who_consented_stops_nothing_while_somebody_else_decides_for_the_child(
    story: Story, decision: dict[str, Any]
) -> None:
    created, operator = story.contact(c.SPEAKER_GUARDIAN), operator_of(story)
    sent = refer_child(story, created)
    decision_receipt = replace(story, ngo=operator).receipt(
        sent.person_id,
        recipient=ORG["clinic"],
        purposes=["MED"],
        until_time=timestamp(story.service.clock.now() + timedelta(days=9)),
        **decision,
    )
    assert status_of(story, created).only_the_call
    withdraw_all(story, created)
    assert read(operator, sent.id).state == pb.STATE_SENT
    assert not operator.GetReceipt(id=decision_receipt.id).HasField("withdraw_time")
    story.service.clock.advance(timedelta(days=9))
    assert not status_of(story, created).only_the_call, "the decision has ended"


def grow_up(story: Story, referral: pb.Referral) -> None:
    """Records a birth date by which the person of the referral is an adult."""
    operator = operator_of(story)
    person = operator.GetPerson(id=referral.person_id)
    operator.UpdateIdentity(
        id=person.id,
        etag=person.etag,
        identity=people_pb2.Identity(birth_date="2000-01-01"),
        acknowledged_codes=[pb.ACKNOWLEDGEMENT_ADULTHOOD_CHANGES],
    )


def test_a_guardians_reference_ends_with_the_childs_eighteenth_birthday(story: Story) -> None:
    created = story.contact(c.SPEAKER_GUARDIAN)
    grow_up(story, refer_child(story, created))
    assert status_of(story, created).only_the_call


UPGRADE = [
    (MIGRATIONS[1] / f"{name}.sql").read_text().split("-- migrate:down")[0]
    for name in ("20261223100001_guardians", "20261225100001_speakers_to_record")
]


@pytest.mark.parametrize("speaker", c.Speaker.values(), ids=c.Speaker.Name)
def test_an_upgrade_makes_no_relative_a_guardian_because_some_guardian_consented(
    story: Story, speaker: c.Speaker.ValueType
) -> None:
    """A brother and a mother had the same code in 0.1.0: only an operator can tell them apart."""
    created = story.contact(speaker)
    refer_child(story, created)
    for migration in UPGRADE:
        story.service.as_owner(migration)
    contact = operator_of(story).GetContact(id=created.contact.id)
    assert contact.speaker_code == (c.SPEAKER_FAMILY if speaker == c.SPEAKER_GUARDIAN else speaker)
    assert status_of(story, created).only_the_call == (speaker != c.SPEAKER_PERSON)
