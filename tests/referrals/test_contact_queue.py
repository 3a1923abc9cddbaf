"""The contacts of a line, as its operators see and change them."""

from functools import partial
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protos.referrals.v1 import contacts_pb2, facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.line.domain.triage import DECIDING, NO, YES
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import ORG, Service, Story
from tests.referrals.contact_calls import update_contact
from tests.referrals.test_any_line import read_contact
from tests.referrals.test_contacts import status

CALM_ANSWERS = dict.fromkeys(DECIDING, NO) | {"safe_place_tonight": YES}


def test_contacts_can_be_listed_by_outcome(story: Story) -> None:
    open_contact, advised_contact = story.contact().contact, story.contact().contact
    update_contact(
        story.operator, advised_contact, outcome_code=contacts_pb2.CONTACT_OUTCOME_ADVISED
    )
    for outcome, expected in (
        (contacts_pb2.CONTACT_OUTCOME_OPEN, {open_contact.id}),
        (contacts_pb2.CONTACT_OUTCOME_ADVISED, {advised_contact.id}),
        (contacts_pb2.CONTACT_OUTCOME_UNSPECIFIED, {open_contact.id, advised_contact.id}),
    ):
        listed_contacts = story.operator.ListContacts(outcome_code=outcome, page_size=200).contacts
        assert {contact.id for contact in listed_contacts} & {
            open_contact.id,
            advised_contact.id,
        } == expected


def test_one_answer_of_the_triage_can_be_changed_or_cleared_alone(story: Story) -> None:
    contact = story.contact(
        danger_now=contacts_pb2.ANSWER_NO, still_held=contacts_pb2.ANSWER_YES
    ).contact
    expected = contacts_pb2.Triage()
    expected.CopyFrom(contact.triage)
    for answer in (contacts_pb2.ANSWER_YES, contacts_pb2.ANSWER_UNSPECIFIED):
        expected.danger_now = answer
        contact = story.operator.UpdateContact(
            contact=contacts_pb2.Contact(
                id=contact.id, etag=contact.etag, triage=contacts_pb2.Triage(danger_now=answer)
            ),
            update_mask={"paths": ["triage.danger_now"]},
        )
        assert contact.triage == expected


def test_a_time_that_is_out_of_range_is_reported_by_its_path(story: Story) -> None:
    in_1874 = Timestamp(seconds=-3_000_000_000)
    new_contact = contacts_pb2.Contact(line_country="NI", assault_time=in_1874)
    contact = story.contact().contact
    for request in (
        lambda: story.operator.CreateContact(contact=new_contact),
        lambda: update_contact(story.operator, contact, assault_time=in_1874),
    ):
        assert wrong_fields(request) == [("contact.assault_time", "out_of_range")]


def test_a_contact_is_not_assessed_until_each_deciding_question_is_answered(
    story: Story, service: Service
) -> None:
    contact = story.contact(danger_now=contacts_pb2.ANSWER_DID_NOT_SAY).contact
    assert (contact.urgency, contact.pathway_code, contact.open_question_count) == (
        pb.URGENCY_UNSPECIFIED,
        contacts_pb2.PATHWAY_UNSPECIFIED,
        10,
    )
    listed_urgencies = {
        contact.id: contact.urgency for contact in story.operator.ListContacts().contacts
    }
    assert listed_urgencies[contact.id] == pb.URGENCY_UNSPECIFIED
    answers: dict[str, Any] = {
        name: contacts_pb2.ANSWER_YES if answer == YES else contacts_pb2.ANSWER_NO
        for name, answer in CALM_ANSWERS.items()
    }
    assessed_contact = update_contact(
        story.operator, contact, triage=contacts_pb2.Triage(**answers)
    )
    assert (assessed_contact.urgency, assessed_contact.open_question_count) == (
        pb.URGENCY_NORMAL,
        0,
    )
    rows = service.rows(
        "SELECT payload FROM outbox WHERE subject = %s ORDER BY version", contact.id
    )
    assert [facts_pb2.ContactFact.FromString(bytes(row["payload"])).urgency for row in rows] == [
        pb.URGENCY_UNSPECIFIED,
        pb.URGENCY_NORMAL,
    ]


@pytest.mark.parametrize("name", ["campaign_code", "kind_code", "speaker_code", "outcome_code"])
def test_an_unknown_code_in_a_contact_is_refused(name: str, story: Story) -> None:
    violations = [("contact." + name, "unknown_code")]
    code: Any = {name: 99}
    new_contact = contacts_pb2.Contact(line_country="NI", **code)
    assert wrong_fields(partial(story.operator.CreateContact, contact=new_contact)) == violations
    if name != "campaign_code":
        contact = story.contact().contact
        assert wrong_fields(partial(update_contact, story.operator, contact, **code)) == violations


def test_an_unknown_triage_answer_is_refused(story: Story) -> None:
    unknown = contacts_pb2.Answer.ValueType(99)
    assert wrong_fields(lambda: story.contact(danger_now=unknown)) == [
        ("contact.triage.danger_now", "unknown_code")
    ]


def test_only_operators_of_the_line_see_its_queue(story: Story, service: Service) -> None:
    own_contact = story.contact().contact
    colleague = service.as_("hotline", "OPERATOR", "WORKER")
    other_line = service.as_("clinic", "OPERATOR")
    assert own_contact.id in {contact.id for contact in colleague.ListContacts().contacts}
    assert own_contact.id not in {contact.id for contact in other_line.ListContacts().contacts}
    for attempt in (
        partial(other_line.GetContact, id=own_contact.id),
        partial(update_contact, other_line, own_contact, outcome_code=own_contact.outcome_code),
    ):
        assert refusal(attempt) == NOT_FOUND
    assert refusal(service.as_("hotline", "WORKER").ListContacts)[1] == "right_missing"


def test_a_colleague_of_the_next_shift_can_continue_a_contact(
    story: Story, service: Service
) -> None:
    contact = story.contact().contact
    colleague = service.as_("hotline", "OPERATOR", "WORKER")
    change = partial(
        update_contact,
        colleague,
        contact,
        triage=contacts_pb2.Triage(child_unsafe=contacts_pb2.ANSWER_YES),
        note="calls again at six",
        outcome_code=contacts_pb2.CONTACT_OUTCOME_ADVISED,
    )
    changed_contact = change()
    assert (
        changed_contact.urgency,
        changed_contact.pathway_code,
        changed_contact.outcome_code,
    ) == (pb.URGENCY_IMMEDIATE, contacts_pb2.PATHWAY_CHILD, contacts_pb2.CONTACT_OUTCOME_ADVISED)
    assert colleague.GetContact(id=contact.id) == changed_contact
    assert refusal(change) == ("ABORTED", "stale_etag")
    assert update_contact(colleague, changed_contact, note="").note == ""
    assert colleague.GetContact(id=contact.id).note == ""


def test_a_repeated_request_gets_the_same_reference_and_pin(story: Story, service: Service) -> None:
    create = partial(
        story.operator.CreateContact,
        contact=contacts_pb2.Contact(line_country="NI"),
        request_id=story.request_id(),
    )
    first, second = create(), create()
    assert first == second
    assert status(service.public(), second).contact_time_band == contacts_pb2.TIME_BAND_TODAY


def test_referrals_and_files_are_linked_only_to_contacts_of_their_own_organisation(
    story: Story,
) -> None:
    contact_id = story.contact().contact.id
    for link in (story.draft, story.ngo.CreatePerson):
        assert refusal(partial(link, contact_id=contact_id)) == NOT_FOUND


# Live hand-overs of a caller to a member or to a state emergency number.


def hand_over(story: Story, contact: contacts_pb2.Contact, **values: Any) -> contacts_pb2.Contact:
    """Sets these fields of the current version of a contact."""
    current = read_contact(story.operator, contact)
    return cast(contacts_pb2.Contact, update_contact(story.operator, current, **values))


def test_a_hand_over_records_its_receiver_and_whether_it_was_connected_live(story: Story) -> None:
    contact = story.contact().contact
    assert not contact.connected_live
    member_contact = hand_over(
        story,
        contact,
        connected_live=contacts_pb2.ANSWER_YES,
        handed_over_organization_id=ORG["clinic"],
        outcome_code=contacts_pb2.CONTACT_OUTCOME_HANDED_OVER,
    )
    assert (member_contact.connected_live, member_contact.handed_over_organization_id) == (
        contacts_pb2.ANSWER_YES,
        ORG["clinic"],
    )
    assert read_contact(story.operator, contact) == member_contact
    number_contact = hand_over(
        story,
        contact,
        connected_live=contacts_pb2.ANSWER_NO,
        handed_over_organization_id="",
        emergency_number_code=contacts_pb2.EMERGENCY_NUMBER_AMBULANCE,
    )
    assert (number_contact.handed_over_organization_id, number_contact.emergency_number_code) == (
        "",
        contacts_pb2.EMERGENCY_NUMBER_AMBULANCE,
    )


def test_a_contact_cannot_be_saved_as_handed_over_without_a_receiver(story: Story) -> None:
    contact = story.contact().contact
    violations = [("contact.handed_over_organization_id", "required")]
    outcome: dict[str, Any] = {"outcome_code": contacts_pb2.CONTACT_OUTCOME_HANDED_OVER}
    assert wrong_fields(partial(hand_over, story, contact, **outcome)) == violations
    assert wrong_fields(partial(create_contact, story, **outcome)) == violations
    hand_over(story, contact, **outcome, emergency_number_code=contacts_pb2.EMERGENCY_NUMBER_POLICE)
    no_number = {"emergency_number_code": contacts_pb2.EMERGENCY_NUMBER_UNSPECIFIED}
    assert wrong_fields(partial(hand_over, story, contact, **no_number)) == violations


def create_contact(story: Story, **values: Any) -> None:
    story.operator.CreateContact(contact=contacts_pb2.Contact(line_country="NI", **values))


@pytest.mark.parametrize(
    ("organization_id", "reason"), [("f" * 32, "unknown_code"), ("not-an-id", "malformed")]
)
def test_a_hand_over_to_an_unknown_organisation_is_refused(
    organization_id: str, reason: str, story: Story
) -> None:
    for attempt in (
        partial(hand_over, story, story.contact().contact),
        partial(create_contact, story),
    ):
        hand_over_to_unknown = partial(attempt, handed_over_organization_id=organization_id)
        assert wrong_fields(hand_over_to_unknown) == [
            ("contact.handed_over_organization_id", reason)
        ]


def test_a_hand_over_to_both_a_member_and_a_number_is_refused(story: Story) -> None:
    hand_over_to_both = partial(
        hand_over,
        story,
        story.contact().contact,
        handed_over_organization_id=ORG["clinic"],
        emergency_number_code=contacts_pb2.EMERGENCY_NUMBER_POLICE,
    )
    assert wrong_fields(hand_over_to_both) == [("contact.emergency_number_code", "out_of_range")]


def test_no_fact_names_the_receiver_of_a_hand_over(story: Story, service: Service) -> None:
    contact = story.contact().contact
    hand_over(
        story,
        contact,
        connected_live=contacts_pb2.ANSWER_YES,
        handed_over_organization_id=ORG["clinic"],
    )
    rows = service.rows("SELECT payload FROM outbox WHERE subject = %s", contact.id)
    assert not [row for row in rows if ORG["clinic"].encode() in bytes(row["payload"])]
