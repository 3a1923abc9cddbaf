"""The state of a contact follows its referrals.

A contact is open while there is something to do, and referred when help is on its way.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from services.referrals.line.domain.contact import Contact
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.record import still_to_refer
from tests.builders import NOON, NOTHING_UNSAFE, conflict_of, violations_of
from tests.referrals.conftest import ARRIVAL, Service, Story, read, send_request
from tests.referrals.contact_calls import credentials, update_contact
from tests.referrals.test_contacts import completed, referral_for, referred_caller
from tests.referrals.test_lifecycle import ACTORS, DAYS, LATER, STEPS, draft, in_state

OPEN = c.CONTACT_OUTCOME_OPEN
REFERRED = c.CONTACT_OUTCOME_REFERRED
ADVISED = c.CONTACT_OUTCOME_ADVISED


def contact(outcome: str = "open") -> Contact:
    return Contact("contact", "line", NOON, NOON, outcome_code=outcome)


@pytest.mark.parametrize(
    "state", [state for state in State if state not in (State.DRAFT, State.ENTERED_IN_ERROR)]
)
def test_a_contact_is_referred_unless_its_referral_came_back(state: State) -> None:
    came_back = state in (State.DECLINED, State.EXPIRED, State.NOT_DELIVERED, State.REROUTED)
    expected = "open" if came_back else "referred"
    for earlier_outcome in ("open", "referred"):
        call, sent = contact(earlier_outcome), replace(in_state(state), send_time=NOON)
        assert call.update_outcome(still_to_refer([sent]), NOON, DAYS) == (
            expected != earlier_outcome
        )
        assert (call.outcome_code, call.version) == (expected, 1 + (expected != earlier_outcome))


def test_one_unfinished_referral_keeps_a_contact_open() -> None:
    declined_referral = in_state(State.DECLINED)
    for unfinished_referral in (draft(), declined_referral):
        call = contact("referred")
        assert call.update_outcome(
            still_to_refer([in_state(State.CLOSED), unfinished_referral]), NOON, DAYS
        )
        assert call.outcome_code == "open"
    STEPS["close_need"](declined_referral, ACTORS[Side.SENDER], NOON)
    assert call.update_outcome(still_to_refer([declined_referral]), NOON, DAYS)
    assert call.outcome_code == "referred", "somebody has closed the need with a reason"


def test_a_referral_entered_in_error_reopens_its_contact() -> None:
    call = contact("referred")
    assert call.update_outcome(still_to_refer([in_state(State.ENTERED_IN_ERROR)]), NOON, DAYS)
    assert call.outcome_code == "open"


@pytest.mark.parametrize("code", ["advised", "handed_over", "dropped"])
def test_an_outcome_written_by_an_operator_is_kept_whatever_the_state_of_the_referral(
    code: str,
) -> None:
    for state in State:
        call = contact(code)
        assert not call.update_outcome(still_to_refer([in_state(state)]), NOON, DAYS)
        assert (call.outcome_code, call.version) == (code, 1)


def test_a_callers_note_keeps_her_contact_open_until_an_operator_has_handled_it() -> None:
    for earlier_outcome in ("open", "referred", "advised", "handed_over", "dropped"):
        call = contact(earlier_outcome)
        call.change(NOON, DAYS)
        call.reopen(LATER, DAYS)
        assert (call.outcome_code, call.unheard) == ("open", True)
        assert (call.version, call.step_version, call.update_time) == (3, 3, LATER)
        assert call.clock is not None
        assert call.clock.running, "somebody has to read her note in time"
        assert not call.update_outcome(still_to_refer([in_state(State.ACCEPTED)]), LATER, DAYS)
        call.unheard = False
        assert call.update_outcome(still_to_refer([in_state(State.ACCEPTED)]), LATER, DAYS)
        assert call.outcome_code == "referred"


@pytest.mark.parametrize(
    ("outcome_before", "outcome_after"),
    [("open", "dropped"), ("referred", "referred"), ("advised", "advised")],
)
def test_a_contact_of_an_erased_person_is_closed_and_never_changes_again(
    outcome_before: str, outcome_after: str
) -> None:
    call = contact(outcome_before)
    call.check_not_erased()
    call.update_deadline(NOON, DAYS)
    call.unheard = True
    call.erase(LATER, DAYS)
    assert (call.outcome_code, call.erased, call.unheard) == (outcome_after, True, False)
    assert (call.version, call.update_time) == (2, LATER)
    assert call.clock is None or not call.clock.running
    assert not call.update_outcome([True], LATER, DAYS)
    assert conflict_of(call.check_not_erased) == "person_erased"


@pytest.mark.parametrize(
    ("values", "violation"),
    [
        ({"need_code": "XXX"}, ("contact.need_code", "unknown_code")),
        (
            {"handed_over_organization_id": "shelter", "emergency_number_code": "police"},
            ("contact.emergency_number_code", "out_of_range"),
        ),
    ],
)
def test_a_contact_with_an_unknown_need_or_two_recipients_of_a_hand_over_is_refused(
    values: dict[str, Any], violation: tuple[str, str]
) -> None:
    assert violations_of(replace(contact(), **values).check) == [violation]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"need_code": "HOU.EMG", "handed_over_organization_id": "shelter"},
        {"emergency_number_code": "police"},
    ],
)
def test_a_contact_with_a_known_need_and_one_recipient_of_a_hand_over_is_accepted(
    values: dict[str, Any],
) -> None:
    replace(contact(), **values).check()


def test_an_organisation_writes_only_contacts_of_the_line_of_its_own_country() -> None:
    call = replace(contact(), line_country="NI")
    for own_country in ("NI", ""):
        call.check_line(own_country)
    assert violations_of(lambda: call.check_line("HN")) == [
        ("contact.line_country", "out_of_range")
    ]


# Through rpcs and the database: a receiver's steps also change the outcome of a contact, although
# the receiver cannot read contacts.


def outcome(story: Story, call: c.CreateContactResponse) -> c.ContactOutcome.ValueType:
    contact: c.Contact = story.operator.GetContact(id=call.contact.id)
    return contact.outcome_code


def draft_following(story: Story, returned_referral: pb.Referral) -> pb.Referral:
    """Drafts the referral that follows a returned one, for the same person and contact."""
    draft: pb.Referral = story.operator.CreateReferral(
        **NOTHING_UNSAFE,
        person_id=returned_referral.person_id,
        contact_id=read(story.operator, returned_referral.id).contact_id,
        need_code=returned_referral.need_code,
        urgency=returned_referral.urgency,
        service_id=returned_referral.service_id,
        based_on_id=returned_referral.id,
        request_id=story.request_id(),
    )
    return draft


def test_a_contact_leaves_the_open_queue_when_its_referral_is_sent_and_returns_when_declined(
    story: Story, service: Service
) -> None:
    call, sent, operator = referred_caller(story)
    assert outcome(story, call) == REFERRED
    declined_referral = story.decline(sent)
    assert outcome(story, call) == OPEN
    following_draft = draft_following(story, declined_referral)
    assert outcome(story, call) == OPEN, "nobody has been asked yet"
    operator.SendReferral(send_request(following_draft, sent.receipt_id, arrival=ARRIVAL))
    assert outcome(story, call) == REFERRED
    assert service.fact_types(call.contact.id) == [
        "enlace.contact.recorded.v1",
        *["enlace.contact.changed.v1"] * 3,
    ]


def test_a_second_draft_reopens_a_referred_contact(story: Story) -> None:
    call, sent, operator = referred_caller(story)
    assert outcome(story, call) == REFERRED
    second_draft = operator.CreateReferral(
        **NOTHING_UNSAFE,
        person_id=sent.person_id,
        contact_id=call.contact.id,
        request_id=story.request_id(),
    )
    assert outcome(story, call) == OPEN
    operator.EnterReferralInError(id=second_draft.id, etag=second_draft.etag)
    assert outcome(story, call) == REFERRED


def test_a_contact_is_not_open_once_the_person_has_closed_its_referral(
    story: Story, service: Service
) -> None:
    call, sent, operator = referred_caller(story)
    completed(story, sent)
    confirm = partial(service.public().ConfirmHelp, **credentials(call))
    confirm(help_came=False, request_id=story.request_id())
    assert outcome(story, call) == REFERRED
    story.shelter.CompleteReferral(
        id=sent.id, etag=read(operator, sent.id).etag, outcome_code=pb.OUTCOME_FULLY_MET
    )
    confirm(help_came=True, request_id=story.request_id())
    assert outcome(story, call) == REFERRED
    assert read(operator, sent.id).state == pb.STATE_CLOSED


def test_a_withdrawn_consent_does_not_reopen_the_contact(story: Story) -> None:
    call, sent, operator = referred_caller(story)
    operator.WithdrawReceipt(id=sent.receipt_id)
    assert outcome(story, call) == REFERRED


def write_outcome(
    story: Story, call: c.CreateContactResponse, code: c.ContactOutcome.ValueType
) -> None:
    update_contact(story.operator, story.operator.GetContact(id=call.contact.id), outcome_code=code)


def write_note(story: Story, sent: pb.Referral) -> None:
    story.shelter.AddNote(id=sent.id, etag=sent.etag, note="when is she coming?")


@pytest.mark.parametrize(
    ("code", "event"),
    [
        pytest.param(ADVISED, Story.decline, id="advised, and the referral is declined"),
        pytest.param(OPEN, write_note, id="left open, and the shelter writes a note"),
    ],
)
def test_an_outcome_written_by_an_operator_is_not_overwritten_by_a_later_event(
    code: c.ContactOutcome.ValueType, event: Callable[[Story, pb.Referral], object], story: Story
) -> None:
    call, sent, _ = referred_caller(story)
    write_outcome(story, call, code)
    event(story, sent)
    assert outcome(story, call) == code


def test_a_contact_whose_outcome_is_cleared_is_open_and_has_its_deadline(story: Story) -> None:
    """Otherwise the contact leaves the queue of the line, and nobody calls the person."""
    call = story.contact(danger_now=c.ANSWER_YES)
    write_outcome(story, call, c.CONTACT_OUTCOME_UNSPECIFIED)
    stored = story.operator.GetContact(id=call.contact.id)
    assert stored.outcome_code == OPEN
    assert not stored.clocks[-1].HasField("stop_time")


def test_an_upgrade_opens_the_contacts_whose_outcome_was_cleared_and_starts_their_deadline(
    story: Story, service: Service
) -> None:
    cleared, advised = story.contact(), story.contact()
    for call in (cleared, advised):
        write_outcome(story, call, c.CONTACT_OUTCOME_ADVISED)
    service.as_owner("UPDATE contacts SET outcome_code = '' WHERE id = %s", cleared.contact.id)
    migration = (MIGRATIONS[1] / "20261231410004_cleared_outcomes.sql").read_text()
    service.as_owner(migration.split("-- migrate:down")[0])
    queue = story.operator.ListContacts(outcome_code=OPEN).contacts
    [opened] = [contact for contact in queue if contact.id == cleared.contact.id]
    assert not opened.clocks[-1].HasField("stop_time")
    assert outcome(story, advised) == c.CONTACT_OUTCOME_ADVISED


def test_the_migration_gives_open_contacts_the_outcome_that_their_referrals_imply(
    story: Story, service: Service
) -> None:
    with_sent_referral, with_declined_referral, with_following_draft = contacts = [
        story.contact() for _ in range(3)
    ]
    referral_for(story, with_sent_referral)
    story.decline(referral_for(story, with_declined_referral)[0])
    draft_following(story, referral_for(story, with_following_draft)[0])
    service.as_owner(
        "UPDATE contacts SET outcome_code = 'open' WHERE id = ANY(%s)",
        [call.contact.id for call in contacts],
    )
    migration = (MIGRATIONS[1] / "20261128000001_contact_outcome.sql").read_text()
    service.as_owner(migration.split("-- migrate:down")[0])
    assert [outcome(story, call) for call in contacts] == [REFERRED, OPEN, OPEN]
