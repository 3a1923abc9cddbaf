"""The state of a contact follows its referrals.

A contact is open while there is something to do, and referred when help is on its way.
"""

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from chassis.errors import Conflict, Invalid
from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from services.referrals.line.domain.contact import Contact
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.record import still_to_refer
from tests.builders import ASKED, NOON
from tests.referrals.conftest import ARRIVAL, Service, Story
from tests.referrals.test_contacts import completed, referral_for
from tests.referrals.test_lifecycle import ACTORS, DAYS, LATER, STEPS, draft, in_state

OPEN, REFERRED, ADVISED = (
    c.CONTACT_OUTCOME_OPEN,
    c.CONTACT_OUTCOME_REFERRED,
    c.CONTACT_OUTCOME_ADVISED,
)


def contact(outcome: str = "open") -> Contact:
    return Contact("contact", "line", NOON, NOON, outcome_code=outcome)


@pytest.mark.parametrize(
    "state", [state for state in State if state not in (State.DRAFT, State.ENTERED_IN_ERROR)]
)
def test_a_contact_is_referred_unless_its_referral_came_back(state: State) -> None:
    came_back = state in (State.DECLINED, State.EXPIRED, State.NOT_DELIVERED, State.REROUTED)
    for before in ("open", "referred"):
        call, sent = contact(before), replace(in_state(state), send_time=NOON)
        assert call.follow(still_to_refer([sent]), NOON, DAYS) == (call.outcome_code != before)
        assert call.outcome_code == ("open" if came_back else "referred")
        assert call.version == 1 + (call.outcome_code != before)


def test_one_unfinished_referral_keeps_a_contact_open() -> None:
    back = in_state(State.DECLINED)
    for waiting in (draft(), back):
        call = contact("referred")
        assert call.follow(still_to_refer([in_state(State.CLOSED), waiting]), NOON, DAYS)
        assert call.outcome_code == "open"
    STEPS["close_need"](back, ACTORS[Side.SENDER], NOON)
    assert call.follow(still_to_refer([back]), NOON, DAYS)
    assert call.outcome_code == "referred", "somebody has closed the need with a reason"


def test_a_referral_entered_in_error_leaves_its_contact_open() -> None:
    call = contact("referred")
    assert call.follow(still_to_refer([in_state(State.ENTERED_IN_ERROR)]), NOON, DAYS)
    assert call.outcome_code == "open"


@pytest.mark.parametrize("written", ["advised", "handed_over", "dropped"])
def test_an_outcome_written_by_an_operator_is_kept_in_every_state(written: str) -> None:
    for state in State:
        call = contact(written)
        assert not call.follow(still_to_refer([in_state(state)]), NOON, DAYS)
        assert (call.outcome_code, call.version) == (written, 1)


def test_a_callers_note_keeps_her_contact_open_until_an_operator_has_handled_it() -> None:
    for before in ("open", "referred", "advised", "handed_over", "dropped"):
        call = contact(before)
        call.change(NOON, DAYS)
        call.reopen(LATER, DAYS)
        assert (call.outcome_code, call.unheard) == ("open", True)
        assert (call.version, call.step_version, call.update_time) == (3, 3, LATER)
        assert call.clock is not None
        assert call.clock.running, "somebody has to read her note in time"
        assert not call.follow(still_to_refer([in_state(State.ACCEPTED)]), LATER, DAYS)
        call.unheard = False
        assert call.follow(still_to_refer([in_state(State.ACCEPTED)]), LATER, DAYS)
        assert call.outcome_code == "referred"


@pytest.mark.parametrize(
    ("before", "after"),
    [("open", "dropped"), ("referred", "referred"), ("advised", "advised")],
)
def test_a_contact_of_an_erased_person_is_closed_and_never_changes_again(
    before: str, after: str
) -> None:
    call = contact(before)
    call.check_not_erased()
    call.watch(NOON, DAYS)
    call.unheard = True
    call.erase(LATER, DAYS)
    assert (call.outcome_code, call.erased, call.unheard) == (after, True, False)
    assert (call.version, call.update_time) == (2, LATER)
    assert call.clock is None or not call.clock.running
    assert not call.follow([True], LATER, DAYS)
    with pytest.raises(Conflict, match=r"^person_erased$"):
        call.check_not_erased()


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ({}, []),
        ({"need_code": "HOU.EMG", "handed_over_organization_id": "shelter"}, []),
        ({"emergency_number_code": "police"}, []),
        ({"need_code": "XXX"}, [("contact.need_code", "unknown_code")]),
        (
            {"handed_over_organization_id": "shelter", "emergency_number_code": "police"},
            [("contact.emergency_number_code", "out_of_range")],
        ),
    ],
)
def test_a_contact_with_an_unknown_need_or_two_recipients_of_a_hand_over_is_refused(
    statement: dict[str, Any], wrong: list[tuple[str, str]]
) -> None:
    call = Contact("contact", "line", NOON, NOON, **statement)
    if not wrong:
        call.check()
        return
    with pytest.raises(Invalid) as refused:
        call.check()
    assert refused.value.violations == wrong


@pytest.mark.parametrize(("own_country", "accepted"), [("NI", True), ("", True), ("HN", False)])
def test_an_organisation_writes_only_contacts_of_the_line_of_its_own_country(
    own_country: str, accepted: bool
) -> None:
    call = Contact("contact", "line", NOON, NOON, line_country="NI")
    if accepted:
        call.check_line(own_country)
        return
    with pytest.raises(Invalid) as refused:
        call.check_line(own_country)
    assert refused.value.violations == [("contact.line_country", "out_of_range")]


# By rpc and with the database: the receiver, who sees no contact, changes its state too.


def outcome(operator: Any, created: c.CreateContactResponse) -> c.ContactOutcome.ValueType:
    code: c.ContactOutcome.ValueType = operator.GetContact(
        c.GetContactRequest(id=created.contact.id)
    ).outcome_code
    return code


def decline(story: Story, sent: pb.Referral) -> pb.Referral:
    created: pb.Referral = story.shelter.DeclineReferral(
        pb.DeclineReferralRequest(
            id=sent.id, etag=sent.etag, reason_code=pb.DECLINE_REASON_NO_CAPACITY
        )
    )
    return created


def draft_following(story: Story, operator: Any, back: pb.Referral) -> pb.Referral:
    """Drafts a referral to follow a returned one, for the same person and contact."""
    created: pb.Referral = operator.CreateReferral(
        pb.CreateReferralRequest(
            **ASKED,
            person_id=back.person_id,
            contact_id=operator.GetReferral(pb.GetReferralRequest(id=back.id)).contact_id,
            need_code=back.need_code,
            urgency=back.urgency,
            service_id=back.service_id,
            based_on_id=back.id,
            request_id=story.request_id(),
        )
    )
    return created


def test_a_contact_leaves_the_open_queue_when_its_referral_is_sent_and_returns_with_a_decline(
    story: Story, service: Service
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    assert outcome(operator, created) == REFERRED
    back = decline(story, sent)
    assert outcome(operator, created) == OPEN
    follows = draft_following(story, operator, back)
    assert outcome(operator, created) == OPEN, "nobody has been asked yet"
    operator.SendReferral(
        pb.SendReferralRequest(
            id=follows.id, etag=follows.etag, receipt_id=sent.receipt_id, arrival=ARRIVAL
        )
    )
    assert outcome(operator, created) == REFERRED
    with service.database.transaction(SYSTEM) as tx:
        texts = [
            row["type"]
            for row in tx.execute(
                "SELECT type FROM outbox WHERE subject = %s ORDER BY version", (created.contact.id,)
            )
        ]
    assert texts == ["enlace.contact.recorded.v1", *["enlace.contact.changed.v1"] * 3]


def test_a_second_draft_reopens_a_referred_contact(story: Story) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    assert outcome(operator, created) == REFERRED
    request = pb.CreateReferralRequest(
        **ASKED,
        person_id=sent.person_id,
        contact_id=created.contact.id,
        request_id=story.request_id(),
    )
    second = operator.CreateReferral(request)
    assert outcome(operator, created) == OPEN
    operator.EnterReferralInError(pb.EnterReferralInErrorRequest(id=second.id, etag=second.etag))
    assert outcome(operator, created) == REFERRED


def test_a_contact_is_not_open_once_the_person_has_closed_its_referral(
    story: Story, service: Service
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    completed(story, sent)
    for help_came in (False, True):
        if help_came:
            current = operator.GetReferral(pb.GetReferralRequest(id=sent.id))
            story.shelter.CompleteReferral(
                pb.CompleteReferralRequest(
                    id=sent.id, etag=current.etag, outcome_code=pb.OUTCOME_FULLY_MET
                )
            )
        service.public().ConfirmHelp(
            c.ConfirmHelpRequest(
                reference=created.reference,
                pin=created.pin,
                help_came=help_came,
                request_id=story.request_id(),
            )
        )
        assert outcome(operator, created) == REFERRED
    assert operator.GetReferral(pb.GetReferralRequest(id=sent.id)).state == pb.STATE_CLOSED


def test_a_withdrawn_consent_does_not_reopen_the_contact(story: Story) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    operator.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    assert outcome(operator, created) == REFERRED


def test_an_outcome_written_by_an_operator_is_not_overwritten_by_a_later_decline(
    story: Story,
) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    current = operator.GetContact(c.GetContactRequest(id=created.contact.id))
    request = c.UpdateContactRequest(
        contact=c.Contact(id=current.id, etag=current.etag, outcome_code=ADVISED)
    )
    request.update_mask.paths.append("outcome_code")
    operator.UpdateContact(request)
    decline(story, sent)
    assert outcome(operator, created) == ADVISED


def test_a_note_does_not_change_a_contact_that_an_operator_left_open(story: Story) -> None:
    created = story.contact()
    sent, operator = referral_for(story, created)
    current = operator.GetContact(c.GetContactRequest(id=created.contact.id))
    request = c.UpdateContactRequest(
        contact=c.Contact(id=current.id, etag=current.etag, outcome_code=OPEN)
    )
    request.update_mask.paths.append("outcome_code")
    operator.UpdateContact(request)
    story.shelter.AddNote(pb.AddNoteRequest(id=sent.id, etag=sent.etag, note="when does she come?"))
    assert outcome(operator, created) == OPEN


def test_the_migration_gives_open_contacts_the_outcome_that_their_referrals_imply(
    story: Story, service: Service
) -> None:
    on_its_way, came_back, prepared = story.contact(), story.contact(), story.contact()
    _, operator = referral_for(story, on_its_way)
    decline(story, referral_for(story, came_back)[0])
    draft_following(story, operator, referral_for(story, prepared)[0])
    up = (
        (MIGRATIONS[1] / "20261128000001_contact_outcome.sql")
        .read_text()
        .split("-- migrate:down")[0]
    )
    mine = [created.contact.id for created in (on_its_way, came_back, prepared)]
    with psycopg.connect(service.migration_url) as owner:
        owner.execute("UPDATE contacts SET outcome_code = 'open' WHERE id = ANY(%s)", (mine,))
        owner.execute(up)
    assert [outcome(operator, created) for created in (on_its_way, came_back, prepared)] == [
        REFERRED,
        OPEN,
        OPEN,
    ]
