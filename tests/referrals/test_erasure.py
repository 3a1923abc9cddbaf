"""Erasures: the two people who decide, the destroyed data and the data that stay."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from functools import partial
from typing import Any, cast

import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import CannotOpen, Keyring
from protos.referrals.v1 import contacts_pb2, erasures_pb2, facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Grant
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store.people import People as Files
from tests.builders import NOON, NOT_FOUND, conflict_of, pages, refusal
from tests.faults.canary import dump
from tests.parts.loops import eventually
from tests.referrals.conftest import LONG, ORG, Client, Service, Story, read
from tests.referrals.contact_calls import update_contact
from tests.referrals.test_referrals_rpc import declined
from tests.referrals.test_withdrawal import waiting

ERASED_PERSON = ("FAILED_PRECONDITION", "person_erased")
NOTHING_TO_CONFIRM = ("FAILED_PRECONDITION", "nothing_to_confirm")
SECOND_PERSON = ("FAILED_PRECONDITION", "second_person_required")
WORDS = ("Ximena", "+50581234567", "her sister calls", "she said it on the line")


def propose(client: Client, person_id: str) -> erasures_pb2.Erasure:
    erasure: erasures_pb2.Erasure = client.ProposeErasure(person_id=person_id, request_id=new_id())
    return erasure


def confirm(client: Client, person_id: str) -> erasures_pb2.Erasure:
    erasure: erasures_pb2.Erasure = client.ConfirmErasure(person_id=person_id, request_id=new_id())
    return erasure


def get_erasure(client: Client, person_id: str) -> erasures_pb2.Erasure:
    return cast(erasures_pb2.Erasure, client.GetErasure(person_id=person_id))


def proposed_erasures(client: Client) -> list[str]:
    return [erasure.person_id for erasure in client.ListErasures().erasures]


def open_identity(client: Client, person_id: str) -> people_pb2.Identity:
    identity: people_pb2.Identity = client.OpenPerson(
        id=person_id,
        purpose_code="HOU.EMG",
        field_groups=[people_pb2.FIELD_GROUP_IDENTITY, people_pb2.FIELD_GROUP_CONTACT],
    )
    return identity


def person_with_data(story: Story) -> tuple[pb.Referral, str]:
    """Makes a person with every kind of data; returns the referral and the contact's id.

    She has a live referral with a note, a draft, and a contact of the line with a note and a
    reference.
    """
    contact = story.contact().contact
    update_contact(story.operator, contact, note=WORDS[3])
    accepted = story.accepted()
    story.ngo.AddNote(
        id=accepted.id, etag=accepted.etag, note=WORDS[2], request_id=story.request_id()
    )
    story.draft(people_pb2.Person(id=accepted.person_id))
    story.service.as_owner(
        "UPDATE referrals SET contact_id = %s, assault_time = now() WHERE id = %s",
        contact.id,
        accepted.id,
    )
    return accepted, contact.id


def erase(story: Story, manager: Client, person_id: str) -> erasures_pb2.Erasure:
    propose(story.ngo, person_id)
    return confirm(manager, person_id)


def test_an_erasure_takes_effect_only_when_a_second_person_confirms_it(
    story: Story, manager: Client
) -> None:
    person = story.person()
    proposal = propose(story.ngo, person.id)
    assert (proposal.proposed_by_worker_id, proposal.HasField("erase_time")) == (
        story.ngo.caller.id,
        False,
    )
    assert proposal.confirm_until_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(days=7)
    assert open_identity(story.ngo, person.id).given_name == "Ximena"
    assert refusal(lambda: confirm(story.ngo, person.id)) == SECOND_PERSON
    erasure = confirm(manager, person.id)
    assert (erasure.proposed_by_worker_id, erasure.confirmed_by_worker_id) == (
        story.ngo.caller.id,
        manager.caller.id,
    )
    assert (
        erasure.erase_time.ToDatetime(tzinfo=UTC),
        erasure.destroyed.sealed_parts,
        erasure.destroyed.name_marks,
    ) == (NOON, 2, 1)
    assert get_erasure(story.ngo, person.id) == erasure
    assert [
        refusal(partial(act, client, person.id))
        for act, client in ((open_identity, story.ngo), (confirm, manager), (propose, story.ngo))
    ] == [ERASED_PERSON, NOTHING_TO_CONFIRM, ERASED_PERSON]


def test_only_a_recent_proposal_of_an_erasure_can_be_confirmed(
    story: Story, service: Service, manager: Client
) -> None:
    person = story.person()
    assert refusal(lambda: confirm(manager, person.id)) == NOTHING_TO_CONFIRM
    propose(story.ngo, person.id)
    assert person.id in proposed_erasures(manager)
    assert person.id not in proposed_erasures(story.shelter)
    service.clock.advance(timedelta(days=7))
    assert refusal(lambda: confirm(manager, person.id)) == NOTHING_TO_CONFIRM
    assert person.id not in proposed_erasures(manager)
    assert not get_erasure(story.ngo, person.id).HasField("confirm_until_time")
    propose(manager, person.id)
    assert refusal(lambda: confirm(manager, person.id)) == SECOND_PERSON, (
        "the latest proposal counts"
    )
    assert confirm(story.ngo, person.id).HasField("erase_time")


def test_another_organisation_can_neither_take_part_in_an_erasure_nor_see_it(
    story: Story, service: Service, manager: Client
) -> None:
    person_id = story.accepted().person_id  # the shelter sees the file of an accepted referral
    assert refusal(lambda: propose(story.shelter, person_id)) == NOT_FOUND
    propose(story.ngo, person_id)
    key = service.as_("ngo", scopes=("people.read", "people.write", "people.open"))
    for act, client, expected in (
        (confirm, story.shelter, NOT_FOUND),
        (get_erasure, story.shelter, NOT_FOUND),
        (propose, key, ("PERMISSION_DENIED", "right_missing")),
        (confirm, key, ("PERMISSION_DENIED", "right_missing")),
    ):
        assert refusal(partial(act, client, person_id)) == expected
    assert refusal(lambda: get_erasure(story.ngo, story.person().id)) == NOT_FOUND, (
        "nobody has proposed this erasure"
    )
    confirm(manager, person_id)
    assert refusal(lambda: get_erasure(story.shelter, person_id)) == NOT_FOUND


def test_an_erasure_ends_live_referrals_and_asks_their_receivers_to_delete_their_data(
    story: Story, manager: Client
) -> None:
    referral, _ = person_with_data(story)
    destroyed = erase(story, manager, referral.person_id).destroyed
    assert (destroyed.referrals, destroyed.receipts, destroyed.notes) == (1, 1, 2)
    current = read(story.shelter, referral.id)
    assert (current.state, current.main_step) == (pb.STATE_CONSENT_WITHDRAWN, "confirm_deletion")
    assert (
        current.person.age_band,
        current.person.department,
        current.HasField("assault_time"),
    ) == (0, "", False)
    [receipt] = story.ngo.ListReceipts(person_id=referral.person_id).receipts
    assert (receipt.genuine, receipt.HasField("withdraw_time")) == (True, True)
    confirm_deletion = partial(
        story.shelter.ConfirmDeletion,
        id=current.id,
        etag=current.etag,
        request_id=story.request_id(),
    )
    assert refusal(lambda: confirm_deletion(note="burnt")) == ERASED_PERSON, (
        "nothing more can be written about her"
    )
    current = confirm_deletion()
    enter_in_error = partial(
        story.ngo.EnterReferralInError, id=current.id, etag=current.etag, note="why"
    )
    assert refusal(enter_in_error) == ERASED_PERSON
    rows = story.service.rows(
        "SELECT state FROM referrals WHERE person_id = %s", referral.person_id
    )
    assert rows == [{"state": "consent_withdrawn"}] * 2, "the draft has ended too"


def test_no_contact_is_linked_to_an_erased_file_and_an_erased_contact_gets_no_file(
    story: Story,
) -> None:
    erased_contact, contact = story.contact().contact, story.contact().contact
    create_file = partial(story.operator.CreatePerson, contact_id=erased_contact.id)
    person_id = create_file().id
    propose(story.operator, person_id)
    confirm(story.service.as_("hotline", "MANAGER"), person_id)
    link = partial(update_contact, story.operator, contact, person_id=person_id)
    assert [refusal(link), refusal(create_file)] == [ERASED_PERSON] * 2


def test_an_erasure_closes_an_open_need_and_its_receiver_has_to_delete_too(
    story: Story, manager: Client
) -> None:
    sent = story.sent()
    story.decline(sent)
    erase(story, manager, sent.person_id)
    need = read(story.ngo, sent.id)
    assert (need.state, need.need_close_reason_code, need.turn) == (
        pb.STATE_CONSENT_WITHDRAWN,
        pb.NEED_CLOSE_REASON_PERSON_DECLINED,
        pb.TURN_RECEIVER,
    )


def test_after_an_erasure_no_stored_data_of_the_person_can_be_opened(
    story: Story, service: Service, manager: Client
) -> None:
    referral, contact_id = person_with_data(story)
    person_id = referral.person_id
    erase(story, manager, person_id)
    assert service.rows("SELECT wrapped FROM person_keys WHERE person_id = %s", person_id) == [
        {"wrapped": None}
    ]
    for table in ("person_sealed", "person_names", "plans"):
        assert service.rows(f"SELECT 1 FROM {table} WHERE person_id = %s", person_id) == [], table
    assert service.rows(
        "SELECT note_sealed, assault_time, department FROM contacts WHERE id = %s", contact_id
    ) == [{"note_sealed": None, "assault_time": None, "department": ""}]
    assert not service.rows("SELECT 1 FROM contact_references WHERE contact_id = %s", contact_id)
    # The history can't be changed. The service's own key does not open the note in it.
    [note] = service.rows(
        "SELECT version, note_sealed FROM referral_events WHERE referral_id = %s"
        " AND note_sealed IS NOT NULL",
        referral.id,
    )
    keyring = Keyring(key_folder.secret(service.keys, "sealing.referrals"))
    context = f"referral_events/{referral.id}/{note['version']}/note"
    with pytest.raises(CannotOpen):
        keyring.open_bytes(bytes(note["note_sealed"]), context)
    [person] = service.rows("SELECT * FROM people WHERE id = %s", person_id)
    assert {name for name, value in person.items() if value in ("", None, False)} >= {
        "age_band",
        "gender_code",
        "language",
        "dependants",
        "trafficking_status_code",
        "safe_contact_channel",
        "has_identity",
    }
    answer = story.ngo.GetPerson(id=person_id)
    assert (answer.erased, answer.coarse, answer.exploitation_country) == (
        True,
        pb.CoarsePerson(),
        "",
    )


@pytest.mark.usefixtures("unhurried")
def test_words_of_a_name_that_are_stored_during_the_erasure_of_the_file_are_deleted_too(
    story: Story, service: Service, manager: Client
) -> None:
    files, person = Files(key_folder.keyring(service.keys, "referrals")), story.person()
    propose(story.ngo, person.id)
    # a file from before the search by name
    service.as_owner("DELETE FROM person_names WHERE person_id = %s", person.id)
    service.as_owner("UPDATE people SET names_form = 0 WHERE id = %s", person.id)
    with ThreadPoolExecutor(1) as pool:
        with service.database.transaction(SYSTEM) as tx:
            for stored_person in files.without_names(tx, 1000):
                files.index_names(tx, stored_person, service.clock.now())
            [row] = tx.execute(
                "SELECT count(*) AS words FROM person_names WHERE person_id = %s", (person.id,)
            )
            erased = pool.submit(confirm, manager, person.id)
            assert eventually(lambda: waiting(service) == 1 or erased.done(), LONG)
        assert erased.result().destroyed.name_marks == row["words"] == 1
    assert not service.rows("SELECT FROM person_names WHERE person_id = %s", person.id)


@pytest.mark.usefixtures("unhurried")
def test_no_line_owes_a_call_that_was_agreed_while_the_file_was_erased(
    story: Story, service: Service
) -> None:
    contact_id = story.contact().contact.id
    person = story.operator.CreatePerson(
        contact_id=contact_id,
        safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE),
    )
    propose(story.operator, person.id)
    callback = contacts_pb2.Callback(
        contact_id=contact_id,
        day_code=contacts_pb2.DAY_BAND_TOMORROW,
        hour_code=contacts_pb2.HOUR_BAND_EVENING,
    )
    with ThreadPoolExecutor(2) as pool:
        with service.database.transaction(SYSTEM) as tx:
            tx.execute("SELECT FROM people WHERE id = %s FOR UPDATE", (person.id,)).fetchone()
            agreed = pool.submit(story.operator.CreateCallback, callback=callback)
            assert eventually(lambda: waiting(service) == 1 or agreed.done(), LONG)
            erased = pool.submit(confirm, service.as_("hotline", "MANAGER"), person.id)
            assert eventually(lambda: waiting(service) == 2 or erased.done(), LONG)
        assert (agreed.result().contact_id, erased.result().HasField("erase_time")) == (
            contact_id,
            True,
        )
    owed_calls = story.operator.ListCallbacks(page_size=200).callbacks
    assert contact_id not in [callback.contact_id for callback in owed_calls]


def test_reading_the_stored_data_of_an_erased_person_is_refused_as_erased(
    story: Story, manager: Client, service: Service
) -> None:
    files = Files(Keyring(key_folder.secret(service.keys, "sealing.referrals")))
    person = story.person()
    erase(story, manager, person.id)
    grant = Grant(person.id, frozenset(FieldGroup))
    for access in (files.identity, files.safe_contact):
        assert conflict_of(partial(service.in_transaction, access, grant)) == "person_erased"


def test_a_file_that_is_erased_while_it_is_read_is_refused_as_erased(
    story: Story, manager: Client, service: Service
) -> None:
    person = story.person()
    erase(story, manager, person.id)
    # the row as it was read before the erasure
    service.as_owner("UPDATE people SET erased = false WHERE id = %s", person.id)
    assert refusal(lambda: story.ngo.GetPerson(id=person.id)) == ERASED_PERSON


def test_an_erasure_is_published_with_ids_only_and_recorded_for_both_workers(
    story: Story, service: Service, manager: Client
) -> None:
    person = story.person()
    erasure = erase(story, manager, person.id)
    facts = service.rows(
        "SELECT version, type, payload FROM outbox WHERE subject = %s ORDER BY version", erasure.id
    )
    assert [(row["version"], row["type"]) for row in facts] == [
        (1, "enlace.erasure.proposed.v1"),
        (2, "enlace.erasure.done.v1"),
    ]
    body = facts_pb2.ErasureFact.FromString(facts[1]["payload"])
    assert (body.person_id, body.organization_id, body.confirmed_by_worker_id) == (
        person.id,
        ORG["ngo"],
        manager.caller.id,
    )
    assert service.rows(
        "SELECT actor_id, action FROM audit WHERE object_id = %s AND action LIKE '%%erasure'"
        " ORDER BY sequence",
        person.id,
    ) == [
        {"actor_id": story.ngo.caller.id, "action": "propose_erasure"},
        {"actor_id": manager.caller.id, "action": "confirm_erasure"},
    ]


def test_an_erasure_does_not_change_the_figures(
    story: Story, service: Service, manager: Client
) -> None:
    referral, _ = person_with_data(story)
    service.as_owner(
        "UPDATE people SET exploitation_country = 'SV' WHERE id = %s", referral.person_id
    )

    def figures() -> list[dict[str, Any]]:
        return service.rows(
            "SELECT p.country, p.department, p.exploitation_country, r.need_code, r.country AS"
            " where FROM people p"
            " JOIN referrals r ON r.person_id = p.id WHERE p.id = %s ORDER BY r.id",
            referral.person_id,
        )

    figures_before = figures()
    erase(story, manager, referral.person_id)
    assert figures_before
    assert figures() == figures_before


def test_neither_draft_nor_receipt_can_be_made_for_an_erased_person(
    story: Story, manager: Client
) -> None:
    person = story.person()
    erase(story, manager, person.id)
    for create in (partial(story.draft, person), partial(story.receipt, person.id)):
        assert refusal(create) == ERASED_PERSON


def test_no_word_of_an_erased_person_is_left_in_the_whole_database(
    story: Story, service: Service, manager: Client
) -> None:
    referral, _ = person_with_data(story)
    erase(story, manager, referral.person_id)
    assert [
        (table, word)
        for table, text in service.in_transaction(dump).items()
        for word in WORDS
        if word.encode() in text
    ] == []


def test_proposed_erasures_are_listed_in_pages(story: Story, manager: Client) -> None:
    person_ids = {story.person().id for _ in range(3)}
    for person_id in person_ids:
        propose(story.ngo, person_id)
    answers = list(pages(manager.ListErasures, page_size=2))
    listed_ids = [erasure.person_id for answer in answers for erasure in answer.erasures]
    assert {len(answer.erasures) for answer in answers[:-1]} == {2}
    assert person_ids <= set(listed_ids)
    assert len(listed_ids) == len(set(listed_ids))


def withdrawn(story: Story) -> pb.Referral:
    sent = story.sent()
    referral: pb.Referral = story.ngo.WithdrawReferral(
        id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED
    )
    return referral


@pytest.mark.parametrize("end", [withdrawn, declined])
def test_a_receiver_that_lists_what_changed_learns_that_the_coarse_data_are_gone(
    story: Story, manager: Client, end: Callable[[Story], pb.Referral]
) -> None:
    ended = end(story)
    story.service.clock.advance(timedelta(days=1))
    erase(story, manager, ended.person_id)
    [listed] = story.shelter.ListReferrals(
        filter=pb.ReferralFilter(modified_after=ended.update_time, person_id=ended.person_id)
    ).referrals
    assert (listed.id, listed.person.age_band) == (ended.id, pb.AGE_BAND_UNSPECIFIED)
