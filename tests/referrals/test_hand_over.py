"""Live hand-overs of a caller to a member or to a state emergency number.

Nothing else about a hand-over is stored.
"""

from functools import partial
from typing import Any

import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2 as c
from tests.builders import refusal_with_fields
from tests.referrals.conftest import ORG, Service, Story
from tests.referrals.test_any_line import operator_of, read_contact


def hand_over(story: Story, contact: c.Contact, **values: Any) -> c.Contact:
    current = read_contact(operator_of(story), contact)
    request = c.UpdateContactRequest(contact=c.Contact(id=current.id, etag=current.etag, **values))
    request.update_mask.paths.extend(values)
    updated: c.Contact = operator_of(story).UpdateContact(request)
    return updated


def test_a_hand_over_records_its_receiver_and_whether_it_was_connected_live(story: Story) -> None:
    contact = story.contact().contact
    assert not contact.connected_live
    to_member = {
        "connected_live": c.ANSWER_YES,
        "handed_over_organization_id": ORG["clinic"],
        "outcome_code": c.CONTACT_OUTCOME_HANDED_OVER,
    }
    stored = hand_over(story, contact, **to_member)
    assert (stored.connected_live, stored.handed_over_organization_id) == (
        c.ANSWER_YES,
        ORG["clinic"],
    )
    assert read_contact(operator_of(story), contact) == stored
    instead = {
        "connected_live": c.ANSWER_NO,
        "handed_over_organization_id": "",
        "emergency_number_code": c.EMERGENCY_NUMBER_AMBULANCE,
    }
    again = hand_over(story, contact, **instead)
    assert (again.handed_over_organization_id, again.emergency_number_code) == (
        "",
        c.EMERGENCY_NUMBER_AMBULANCE,
    )


def test_a_contact_is_not_saved_as_handed_over_to_nobody(story: Story) -> None:
    contact = story.contact().contact
    missing = {"contact.handed_over_organization_id": "required"}
    handed: dict[str, Any] = {"outcome_code": c.CONTACT_OUTCOME_HANDED_OVER}
    assert refusal_with_fields(partial(hand_over, story, contact, **handed))[2] == missing
    new = c.CreateContactRequest(contact=c.Contact(line_country="NI", **handed))
    assert refusal_with_fields(partial(operator_of(story).CreateContact, new))[2] == missing
    hand_over(story, contact, **handed, emergency_number_code=c.EMERGENCY_NUMBER_POLICE)
    cleared = {"emergency_number_code": c.EMERGENCY_NUMBER_UNSPECIFIED}
    assert refusal_with_fields(partial(hand_over, story, contact, **cleared))[2] == missing


@pytest.mark.parametrize(
    ("organization_id", "reason"), [("f" * 32, "unknown_code"), ("not-an-id", "malformed")]
)
def test_a_hand_over_to_an_unknown_organisation_is_refused(
    organization_id: str, reason: str, story: Story
) -> None:
    contact = story.contact().contact
    refused = refusal_with_fields(
        partial(hand_over, story, contact, handed_over_organization_id=organization_id)
    )[2]
    assert refused == {"contact.handed_over_organization_id": reason}
    request = c.CreateContactRequest(
        contact=c.Contact(line_country="NI", handed_over_organization_id=organization_id)
    )
    assert refusal_with_fields(lambda: operator_of(story).CreateContact(request))[2] == refused


def test_a_hand_over_to_both_a_member_and_a_number_is_refused(story: Story) -> None:
    both = {
        "handed_over_organization_id": ORG["clinic"],
        "emergency_number_code": c.EMERGENCY_NUMBER_POLICE,
    }
    refused = refusal_with_fields(partial(hand_over, story, story.contact().contact, **both))[2]
    assert refused == {"contact.emergency_number_code": "out_of_range"}


def test_no_fact_names_the_receiver_of_a_hand_over(story: Story, service: Service) -> None:
    contact = story.contact().contact
    hand_over(
        story, contact, connected_live=c.ANSWER_YES, handed_over_organization_id=ORG["clinic"]
    )
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute("SELECT payload FROM outbox WHERE subject = %s", (contact.id,)).fetchall()
    assert not [row for row in rows if ORG["clinic"].encode() in bytes(row["payload"])]
