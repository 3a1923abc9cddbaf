"""Live hand-overs of a caller to a member or to a state emergency number.

A contact stores only the receiver of the hand-over and whether the call was connected live.
"""

from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import contacts_pb2 as c
from tests.builders import wrong_fields
from tests.referrals.conftest import ORG, Service, Story, update_contact
from tests.referrals.test_any_line import read_contact


def hand_over(story: Story, contact: c.Contact, **values: Any) -> c.Contact:
    """Sets these fields of the current version of a contact."""
    current = read_contact(story.operator, contact)
    updated_contact: c.Contact = update_contact(story.operator, current, **values)
    return updated_contact


def test_a_hand_over_records_its_receiver_and_whether_it_was_connected_live(story: Story) -> None:
    contact = story.contact().contact
    assert not contact.connected_live
    member_contact = hand_over(
        story,
        contact,
        connected_live=c.ANSWER_YES,
        handed_over_organization_id=ORG["clinic"],
        outcome_code=c.CONTACT_OUTCOME_HANDED_OVER,
    )
    assert (member_contact.connected_live, member_contact.handed_over_organization_id) == (
        c.ANSWER_YES,
        ORG["clinic"],
    )
    assert read_contact(story.operator, contact) == member_contact
    number_contact = hand_over(
        story,
        contact,
        connected_live=c.ANSWER_NO,
        handed_over_organization_id="",
        emergency_number_code=c.EMERGENCY_NUMBER_AMBULANCE,
    )
    assert (number_contact.handed_over_organization_id, number_contact.emergency_number_code) == (
        "",
        c.EMERGENCY_NUMBER_AMBULANCE,
    )


def test_a_contact_cannot_be_saved_as_handed_over_without_a_receiver(story: Story) -> None:
    contact = story.contact().contact
    violations = [("contact.handed_over_organization_id", "required")]
    outcome: dict[str, Any] = {"outcome_code": c.CONTACT_OUTCOME_HANDED_OVER}
    assert wrong_fields(partial(hand_over, story, contact, **outcome)) == violations
    assert wrong_fields(partial(create_contact, story, **outcome)) == violations
    hand_over(story, contact, **outcome, emergency_number_code=c.EMERGENCY_NUMBER_POLICE)
    no_number = {"emergency_number_code": c.EMERGENCY_NUMBER_UNSPECIFIED}
    assert wrong_fields(partial(hand_over, story, contact, **no_number)) == violations


def create_contact(story: Story, **values: Any) -> None:
    story.operator.CreateContact(contact=c.Contact(line_country="NI", **values))


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
        to_unknown = partial(attempt, handed_over_organization_id=organization_id)
        assert wrong_fields(to_unknown) == [("contact.handed_over_organization_id", reason)]


def test_a_hand_over_to_both_a_member_and_a_number_is_refused(story: Story) -> None:
    to_both = partial(
        hand_over,
        story,
        story.contact().contact,
        handed_over_organization_id=ORG["clinic"],
        emergency_number_code=c.EMERGENCY_NUMBER_POLICE,
    )
    assert wrong_fields(to_both) == [("contact.emergency_number_code", "out_of_range")]


def test_no_fact_names_the_receiver_of_a_hand_over(story: Story, service: Service) -> None:
    contact = story.contact().contact
    hand_over(
        story, contact, connected_live=c.ANSWER_YES, handed_over_organization_id=ORG["clinic"]
    )
    rows = service.rows("SELECT payload FROM outbox WHERE subject = %s", contact.id)
    assert not [row for row in rows if ORG["clinic"].encode() in bytes(row["payload"])]
