"""The list of the stored data of a person.

No table is missing from the list, and erasure and withdrawal follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.db import Transaction
from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2, erasures_pb2, people_pb2
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from services.referrals.files.store.her import Her, ids_of
from services.referrals.people.store import hers
from services.referrals.people.store.hers import PARTS
from tests.builders import ASKED, refusal
from tests.parts.postgres import Server as Postgres
from tests.referrals.conftest import SERVICE, Client, Service, Story
from tests.referrals.test_contacts import status
from tests.referrals.test_enquiries import CONTENT

LINKS = {"person_id", "contact_id", "enquiry_id", "referral_id", "plan_id", "receipt_id"}
"""The columns that tie a row to a person."""
CANCELLED = ("FAILED_PRECONDITION", "enquiry_cancelled")
ERASED = ("FAILED_PRECONDITION", "person_erased")


def columns(owner: psycopg.Connection[Any]) -> dict[str, set[str]]:
    rows = owner.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public'"
    ).fetchall()
    return {table: {column for each, column in rows if each == table} for table, _ in rows}


def missing_tables(owner: psycopg.Connection[Any]) -> set[str]:
    """Returns the tables that refer to a person but are not on the list.

    A table refers to a person by the name of a column or by a foreign key.
    """
    listed = {part.table for part in PARTS}
    keys = owner.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'f'"
    ).fetchall()
    tied = {table for table, names in columns(owner).items() if names & LINKS} | {
        table for table, other in keys if other in listed
    }
    return tied - listed


def test_every_table_and_column_with_a_persons_data_is_on_the_list(postgres: Postgres) -> None:
    place = postgres.database("referrals", MIGRATIONS)
    with psycopg.connect(place.migration_url) as owner:
        existing = columns(owner)
        assert missing_tables(owner) == set()
        for table in {part.table for part in PARTS}:
            parts = [part for part in PARTS if part.table == table]
            column_names = {
                name for part in parts for name in (*part.kept.split(), *(part.erased or {}))
            }
            assert column_names == existing[table] or any(part.erased is None for part in parts), (
                table
            )


@pytest.mark.parametrize(
    "column",
    [
        "person_id text",
        "contact_id text",
        "of_whom text REFERENCES people (id)",
        "call text REFERENCES contacts (id)",
    ],
)
def test_a_new_table_about_a_person_that_is_not_on_the_list_is_detected(
    postgres: Postgres, column: str
) -> None:
    place = postgres.database("referrals", MIGRATIONS)
    with psycopg.connect(place.migration_url) as owner:
        owner.execute(f"CREATE TABLE diaries (id text, {column})".encode())
        assert missing_tables(owner) == {"diaries"}


@dataclass
class CallerWithData:
    """A caller of the line with every kind of data.

    She has a file, an owed call, a referral, and two enquiries: one is open, one has a taken
    offer.
    """

    operator: Client
    manager: Client
    made: contacts_pb2.CreateContactResponse
    contact: contacts_pb2.Contact
    person: people_pb2.Person
    referral: pb.Referral
    open: e.Enquiry
    taken: e.Enquiry


@pytest.fixture
def called(story: Story, service: Service) -> CallerWithData:
    operator, manager = (
        service.as_("hotline", "OPERATOR", "WORKER"),
        service.as_("hotline", "MANAGER"),
    )
    created = story.contact(wants_protection=contacts_pb2.ANSWER_NO)
    person = operator.CreatePerson(
        people_pb2.CreatePersonRequest(
            identity=people_pb2.Identity(given_name="Ximena", phone="+50581234567"),
            coarse=pb.CoarsePerson(
                age_band=pb.AGE_BAND_18_TO_24, language="es", country="NI", department="NI-CI"
            ),
            safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE),
        )
    )
    change = contacts_pb2.Contact(
        id=created.contact.id,
        etag=created.contact.etag,
        person_id=person.id,
        need_code="HOU.EMG",
        language="es",
        department="NI-CI",
        note="she said",
    )
    paths = ["person_id", "need_code", "language", "department", "note"]
    contact = operator.UpdateContact(
        contacts_pb2.UpdateContactRequest(contact=change, update_mask=FieldMask(paths=paths))
    )
    drafting = pb.CreateReferralRequest(
        **ASKED,
        person_id=person.id,
        need_code="HOU.EMG",
        contact_id=contact.id,
        request_id=story.request_id(),
    )
    referral = operator.CreateReferral(drafting)
    operator.CreateCallback(calling(contact.id))

    def create_enquiry() -> e.Enquiry:
        request = e.CreateEnquiryRequest(
            **ASKED,
            content=CONTENT,
            service_ids=[SERVICE["shelter_bed"]],
            contact_id=contact.id,
            keep_unused=True,
        )
        enquiry: e.Enquiry = operator.CreateEnquiry(request)
        return enquiry

    first, second = create_enquiry(), create_enquiry()
    answering = e.AnswerEnquiryRequest(
        id=second.id, etag="v1", service_id=SERVICE["shelter_bed"], answer=e.OFFER_ANSWER_YES
    )
    story.shelter.AnswerEnquiry(answering)
    answer = operator.TakeOffer(
        e.TakeOfferRequest(
            id=second.id, service_id=SERVICE["shelter_bed"], answer=e.OFFER_ANSWER_YES
        )
    )
    return CallerWithData(operator, manager, created, contact, person, referral, first, answer)


def calling(contact_id: str) -> contacts_pb2.CreateCallbackRequest:
    callback = contacts_pb2.Callback(
        contact_id=contact_id,
        day_code=contacts_pb2.DAY_BAND_TOMORROW,
        hour_code=contacts_pb2.HOUR_BAND_MORNING,
    )
    return contacts_pb2.CreateCallbackRequest(callback=callback)


def running(tx: Transaction, her: Her) -> list[str]:
    return [
        part.table
        for part in PARTS
        if part.live
        and tx.execute(
            f"SELECT FROM {part.table} WHERE ({part.hers}) AND {part.live}", vars(her)
        ).fetchall()
    ]


def rows_left(tx: Transaction, her: Her, part: hers.Part) -> list[dict[str, Any]]:
    """Returns the rows of this part that an erasure has to change or delete."""
    differing = (
        " OR ".join(
            f"{name} IS DISTINCT FROM {value}" for name, value in (part.erased or {}).items()
        )
        if part.erased is not None
        else "true"
    )
    return tx.execute(
        f"SELECT * FROM {part.table} WHERE ({part.hers}) AND ({differing or 'false'})", vars(her)
    ).fetchall()


def her_of(service: Service, called: CallerWithData) -> Her:
    with service.database.transaction(SYSTEM) as tx:
        return ids_of(tx, called.person.id)


def erase(called: CallerWithData) -> None:
    called.operator.ProposeErasure(erasures_pb2.ProposeErasureRequest(person_id=called.person.id))
    called.manager.ConfirmErasure(erasures_pb2.ConfirmErasureRequest(person_id=called.person.id))


def test_b10_an_erasure_removes_everything_that_the_list_names(
    service: Service, called: CallerWithData
) -> None:
    her = her_of(service, called)
    with service.database.transaction(SYSTEM) as tx:
        before = {part.table for part in PARTS if rows_left(tx, her, part)}
        assert before >= {
            "contacts",
            "enquiries",
            "enquiry_offers",
            "people",
            "person_keys",
            "person_sealed",
            "person_names",
            "referrals",
        }
    erase(called)
    with service.database.transaction(SYSTEM) as tx:
        assert {part.table: rows for part in PARTS if (rows := rows_left(tx, her, part))} == {}
        assert running(tx, her) == []
    contact = called.operator.GetContact(contacts_pb2.GetContactRequest(id=called.contact.id))
    assert (contact.person_id, contact.need_code, contact.triage, contact.note) == (
        "",
        "",
        contacts_pb2.Triage(),
        "",
    )
    assert contact.outcome_code == contacts_pb2.CONTACT_OUTCOME_DROPPED, (
        "nobody has to follow the contact up"
    )


def test_b10_enquiries_of_an_erased_contact_are_closed_and_can_neither_be_answered_nor_taken(
    story: Story, called: CallerWithData
) -> None:
    erase(called)
    for enquiry in (called.open, called.taken):
        stored = called.operator.GetEnquiry(e.GetEnquiryRequest(id=enquiry.id))
        assert (stored.state, stored.contact_id, stored.person_id, stored.taken_service_id) == (
            e.ENQUIRY_STATE_CANCELLED,
            "",
            "",
            "",
        )
        assert (
            stored.content.age_band,
            list(stored.content.languages),
            stored.content.department,
            stored.content.HasField("dependants"),
        ) == (
            0,
            [],
            "",
            False,
        )
        copy = story.shelter.GetEnquiry(e.GetEnquiryRequest(id=enquiry.id))
        assert copy.content == e.EnquiryContent()
        answering = e.AnswerEnquiryRequest(
            id=enquiry.id,
            etag=copy.etag,
            service_id=SERVICE["shelter_bed"],
            answer=e.OFFER_ANSWER_YES,
        )
        assert refusal(partial(story.shelter.AnswerEnquiry, answering)) == CANCELLED
        taking = e.TakeOfferRequest(
            id=enquiry.id, service_id=SERVICE["shelter_bed"], answer=e.OFFER_ANSWER_YES
        )
        assert refusal(partial(called.operator.TakeOffer, taking)) == CANCELLED


def test_b10_nothing_can_be_written_about_an_erased_contact(
    story: Story, called: CallerWithData
) -> None:
    erase(called)
    contact = called.operator.GetContact(contacts_pb2.GetContactRequest(id=called.contact.id))
    change = contacts_pb2.Contact(id=contact.id, etag=contact.etag, need_code="MED.CHK")
    updating = contacts_pb2.UpdateContactRequest(
        contact=change, update_mask=FieldMask(paths=["need_code"])
    )
    asking = e.CreateEnquiryRequest(
        **ASKED, content=CONTENT, service_ids=[SERVICE["shelter_bed"]], contact_id=contact.id
    )
    another = called.operator.CreatePerson(people_pb2.CreatePersonRequest())
    drafting = pb.CreateReferralRequest(
        **ASKED, person_id=another.id, need_code="HOU.EMG", request_id=story.request_id()
    )
    draft = called.operator.CreateReferral(drafting)
    linking = pb.UpdateReferralRequest(
        referral=pb.Referral(id=draft.id, etag=draft.etag, contact_id=contact.id),
        update_mask=FieldMask(paths=["contact_id"]),
    )
    drafting.MergeFrom(
        pb.CreateReferralRequest(**ASKED, contact_id=contact.id, request_id=story.request_id())
    )
    for act, request in (
        (called.operator.UpdateContact, updating),
        (called.operator.CreateEnquiry, asking),
        (called.operator.CreateCallback, calling(contact.id)),
        (called.operator.CreateReferral, drafting),
        (called.operator.UpdateReferral, linking),
    ):
        assert refusal(partial(act, request)) == ERASED
    assert (
        refusal(
            lambda: called.operator.CreateEnquiry(
                e.CreateEnquiryRequest(
                    **ASKED,
                    content=CONTENT,
                    service_ids=[SERVICE["shelter_bed"]],
                    person_id=called.person.id,
                )
            )
        )
        == ERASED
    )


def test_b10_erasing_one_person_of_a_contact_keeps_the_data_of_the_other(
    story: Story, service: Service, called: CallerWithData
) -> None:
    sister = called.operator.CreatePerson(people_pb2.CreatePersonRequest())
    drafting = pb.CreateReferralRequest(
        **ASKED,
        person_id=sister.id,
        need_code="HOU.EMG",
        contact_id=called.contact.id,
        request_id=story.request_id(),
    )
    called.operator.CreateReferral(drafting)
    erase(called)
    contact = called.operator.GetContact(contacts_pb2.GetContactRequest(id=called.contact.id))
    assert (contact.person_id, contact.need_code, contact.note) == ("", "HOU.EMG", "")
    assert contact.triage.wants_protection == contacts_pb2.ANSWER_NO
    assert len(status(service.public(), called.made).items) == 1


def test_b10_a_withdrawal_ends_everything_that_the_list_names_as_live(
    service: Service, called: CallerWithData
) -> None:
    her = her_of(service, called)
    with service.database.transaction(SYSTEM) as tx:
        assert {"enquiries", "callbacks"} <= set(running(tx, her))
    assert status(service.public(), called.made).organizations_asked == 1, (
        "she sees how many organisations know of her"
    )
    withdrawing = contacts_pb2.WithdrawConsentByReferenceRequest(
        reference=called.made.reference, pin=called.made.pin
    )
    service.public().WithdrawConsentByReference(withdrawing)
    with service.database.transaction(SYSTEM) as tx:
        assert running(tx, her) == []
