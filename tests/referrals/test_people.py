"""A person's identity: stored sealed, opened for a purpose, each access recorded."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import CannotOpen, Keyring
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Grant
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.store.people import People as Files
from services.referrals.network.store import members
from tests.builders import refusal, refusal_with_fields
from tests.parts.loops import eventually
from tests.referrals.conftest import LONG, ORG, Client, Service, Story
from tests.referrals.test_withdrawal import waiting

G = people_pb2
IDENTITY, CONTACT, HEALTH = G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_CONTACT, G.FIELD_GROUP_HEALTH
EVERYTHING = [number for number in G.FieldGroup.values() if number]
MARKED = {
    "given_name": "Quetzalli",
    "family_name": "Mondragonez",
    "phone": "+50587654321",
    "address": "Barrio Tlatelolco 7",
    "health_note": "xocoyote-health",
    "exploitation_note": "xocoyote-exploitation",
    "family_note": "xocoyote-family",
    "document_number": "888-010101-0008Z",
}


def opening(
    person_id: str, *groups: int, purpose: str = "HOU", referral_id: str = ""
) -> people_pb2.OpenPersonRequest:
    request = people_pb2.OpenPersonRequest(
        id=person_id, purpose_code=purpose, referral_id=referral_id
    )
    request.field_groups.extend(groups or (IDENTITY,))  # type: ignore[arg-type]
    return request


def marked_identity() -> people_pb2.Identity:
    created = people_pb2.Identity()
    for name, value in MARKED.items():
        setattr(created, name, value)
    return created


def readings(client: Client, person_id: str) -> list[tuple[str, list[int], bool]]:
    listed = client.ListReadings(people_pb2.ListReadingsRequest(person_id=person_id)).readings
    return [
        (reading.organization_id, list(reading.field_groups), reading.allowed) for reading in listed
    ]


# At rest.


def everything_stored(url: str) -> dict[str, bytes]:
    """Returns the whole database as bytes by table and column.

    Reads as the owner of the tables, whom no policy limits.
    """
    contents: dict[str, bytes] = {}
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()
        for table, column, kind in columns:
            cast = f'"{column}"' if kind == "bytea" else f"convert_to(\"{column}\"::text, 'UTF8')"
            rows = connection.execute(
                f'SELECT {cast} FROM "{table}" WHERE "{column}" IS NOT NULL'
            ).fetchall()
            contents[f"{table}.{column}"] = b"\n".join(bytes(row[0]) for row in rows)
    return contents


def test_no_sealed_value_of_a_person_is_readable_anywhere_in_the_database(
    story: Story, service: Service
) -> None:
    marked = [
        *MARKED.values(),
        "tecuani-hours",
        "tecuani-word",
        "tecuani-never",
        "ocelotl-note",
        "ocelotl-answer",
    ]
    request = people_pb2.CreatePersonRequest(
        identity=marked_identity(),
        safe_contact=people_pb2.SafeContact(
            channel_code=people_pb2.SAFE_CHANNEL_PHONE,
            hours=marked[8],
            code_word=marked[9],
            never_say=marked[10],
        ),
        request_id=story.request_id(),
    )
    request.coarse.age_band = pb.AGE_BAND_18_TO_24
    person = story.ngo.CreatePerson(request)
    sent = story.sent(person=person)
    question = story.shelter.AskReferral(
        pb.AskReferralRequest(
            id=sent.id,
            etag=sent.etag,
            question_code=pb.QUESTION_OTHER,
            note=marked[11],
            request_id=story.request_id(),
        )
    )
    story.ngo.AnswerReferral(
        pb.AnswerReferralRequest(
            id=question.id, etag=question.etag, note=marked[12], request_id=story.request_id()
        )
    )
    assert story.ngo.OpenPerson(opening(person.id, *EVERYTHING)).given_name == "Quetzalli"
    notes = [
        event.note
        for event in story.ngo.ListReferralEvents(
            pb.ListReferralEventsRequest(referral_id=sent.id)
        ).events
    ]
    assert marked[11] in notes

    stored = everything_stored(service.migration_url)
    assert person.id.encode() in stored["people.id"]  # proves that the database was read
    assert len(stored["person_sealed.sealed"]) > 200
    for value in marked:
        needles = {
            value.encode(),
            value.encode("utf-16-le"),
            value.encode().hex().encode(),
            value.lower().encode(),
        }
        assert not [place for place, text in stored.items() for needle in needles if needle in text]


def test_a_persons_key_opens_only_her_own_data_in_their_own_place(
    story: Story, service: Service
) -> None:
    files = Files(Keyring(key_folder.secret(service.keys, "sealing.referrals")))
    mine, other = story.person(given_name="Mine").id, story.person(given_name="Other").id
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT person_id, field, sealed FROM person_sealed WHERE person_id = ANY(%s)",
            ([mine, other],),
        ).fetchall()
        sealed = {(row["person_id"], row["field"]): row["sealed"] for row in rows}
        key = files.key(tx, mine)
        place = f"person_sealed/{mine}/identity"
        assert "Mine" in key.open(sealed[mine, "identity"], place)
        for blob, column in (
            (sealed[other, "identity"], f"person_sealed/{other}/identity"),
            (sealed[other, "identity"], place),
            (sealed[mine, "identity"], f"person_sealed/{mine}/safe_contact"),
            (sealed[mine, "safe_contact"], place),
            (sealed[mine, "identity"][:-1], place),
            (sealed[mine, "identity"][:-1] + bytes([sealed[mine, "identity"][-1] ^ 1]), place),
        ):
            with pytest.raises(CannotOpen):
                key.open(blob, column)


def test_sealed_data_moved_to_another_file_does_not_open(story: Story, service: Service) -> None:
    files = Files(Keyring(key_folder.secret(service.keys, "sealing.referrals")))
    mine, other = story.person().id, story.person().id
    with service.database.transaction(SYSTEM) as tx:
        for table, column in (("person_sealed", "sealed"), ("person_keys", "wrapped")):
            with pytest.raises(CannotOpen), tx.transaction(force_rollback=True):  # noqa: PT012
                tx.execute(
                    f"UPDATE {table} SET {column} = (SELECT s.{column} FROM {table} s"
                    " WHERE s.person_id = %s LIMIT 1) WHERE person_id = %s",
                    (other, mine),
                )
                files.identity(tx, Grant(mine, frozenset(FieldGroup)))


# Opening.


def test_the_files_own_organisation_opens_only_the_requested_field_groups(story: Story) -> None:
    person = story.person(**MARKED)
    answer = story.ngo.OpenPerson(opening(person.id, IDENTITY, HEALTH))
    assert (answer.given_name, answer.family_name, answer.health_note) == (
        MARKED["given_name"],
        MARKED["family_name"],
        MARKED["health_note"],
    )
    assert (
        answer.phone,
        answer.address,
        answer.exploitation_note,
        answer.family_note,
        answer.document_number,
    ) == ("", "", "", "", "")
    assert list(answer.opened) == [IDENTITY, HEALTH]
    assert (
        story.ngo.OpenPerson(opening(person.id, *EVERYTHING)).document_number
        == MARKED["document_number"]
    )
    assert refusal_with_fields(
        lambda: story.ngo.OpenPerson(people_pb2.OpenPersonRequest(id=person.id))
    )[2] == {
        "purpose_code": "required",
        "field_groups": "required",
    }


def test_a_receiver_opens_the_field_groups_that_the_receipt_names(story: Story) -> None:
    person = story.person(**MARKED)
    sent = story.sent(person=person)
    identity = story.shelter.OpenPerson(
        opening(person.id, IDENTITY, CONTACT, purpose="HOU.EMG", referral_id=sent.id)
    )
    assert (identity.given_name, identity.phone, identity.health_note, identity.address) == (
        MARKED["given_name"],
        MARKED["phone"],
        "",
        "",
    )


def test_a_receiver_is_refused_field_groups_and_purposes_that_the_receipt_does_not_name(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    open_ = story.shelter.OpenPerson
    differs = [
        (
            opening(sent.person_id, IDENTITY, HEALTH, referral_id=sent.id),
            ("FAILED_PRECONDITION", "receipt_field_group_differs"),
        ),
        (
            opening(sent.person_id, purpose="MED", referral_id=sent.id),
            ("FAILED_PRECONDITION", "receipt_purpose_differs"),
        ),
        (opening(sent.person_id), ("INVALID_ARGUMENT", "invalid_fields")),
        (opening(sent.person_id, referral_id="f" * 32), ("NOT_FOUND", "not_found")),
        (opening(sent.person_id, referral_id=story.sent().id), ("NOT_FOUND", "not_found")),
    ]
    for request, expected in differs:
        assert refusal(partial(open_, request)) == expected
    service.clock.advance(timedelta(days=90))
    assert refusal(partial(open_, opening(sent.person_id, referral_id=sent.id))) == (
        "FAILED_PRECONDITION",
        "receipt_expired",
    )


def test_a_receiver_cannot_find_the_person_before_the_referral_is_sent(story: Story) -> None:
    draft = story.draft()
    story.receipt(draft.person_id)
    assert refusal(
        lambda: story.shelter.OpenPerson(opening(draft.person_id, referral_id=draft.id))
    ) == ("NOT_FOUND", "not_found")
    assert refusal(
        lambda: story.shelter.GetPerson(people_pb2.GetPersonRequest(id=draft.person_id))
    ) == ("NOT_FOUND", "not_found")


def test_a_confirmed_override_opens_the_data_needed_to_act_but_not_the_persons_story(
    story: Story,
) -> None:
    sent = story.overridden(person=story.person(**MARKED))
    story.coordinator.ConfirmOverride(pb.ConfirmOverrideRequest(id=sent.id, etag=sent.etag))
    identity = story.shelter.OpenPerson(
        opening(
            sent.person_id,
            IDENTITY,
            CONTACT,
            HEALTH,
            G.FIELD_GROUP_LOCATION,
            purpose="HOU.EMG",
            referral_id=sent.id,
        )
    )
    assert identity.address == MARKED["address"]
    for group in (G.FIELD_GROUP_EXPLOITATION, G.FIELD_GROUP_FAMILY, G.FIELD_GROUP_DOCUMENTS):
        assert refusal(
            partial(
                story.shelter.OpenPerson,
                opening(sent.person_id, group, purpose="HOU.EMG", referral_id=sent.id),
            )
        ) == (
            "FAILED_PRECONDITION",
            "receipt_field_group_differs",
        )


def withdraw(story: Story, sent: pb.Referral) -> None:
    story.ngo.WithdrawReferral(
        pb.WithdrawReferralRequest(id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    )


def decline(story: Story, sent: pb.Referral) -> None:
    story.shelter.DeclineReferral(
        pb.DeclineReferralRequest(
            id=sent.id, etag=sent.etag, reason_code=pb.DECLINE_REASON_NO_CAPACITY
        )
    )


def withdraw_consent(story: Story, sent: pb.Referral) -> None:
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))


def enter_in_error(story: Story, sent: pb.Referral) -> None:
    story.ngo.EnterReferralInError(pb.EnterReferralInErrorRequest(id=sent.id, etag=sent.etag))


@pytest.mark.parametrize("end", [withdraw, decline, withdraw_consent, enter_in_error])
def test_access_ends_with_the_referral_and_a_later_attempt_is_recorded(
    end: Any, story: Story
) -> None:
    sent = story.sent()
    request = opening(sent.person_id, referral_id=sent.id)
    assert story.shelter.OpenPerson(request).given_name
    end(story, sent)
    assert refusal(lambda: story.shelter.OpenPerson(request)) == ("NOT_FOUND", "not_found")
    assert refusal(
        lambda: story.shelter.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
    ) == ("NOT_FOUND", "not_found")
    assert readings(story.ngo, sent.person_id) == [
        (ORG["shelter"], [IDENTITY], False),
        (ORG["shelter"], [IDENTITY], True),
    ]
    # The receiver keeps the history, without its notes.
    events = story.shelter.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=sent.id)
    ).events
    assert len(events) == 4
    assert not any(event.note for event in events)


@pytest.mark.parametrize(
    "roles",
    [
        ("COORDINATOR",),
        ("AUDITOR",),
        ("MANAGER",),
        ("COORDINATOR", "WORKER"),
        ("AUDITOR", "WORKER"),
    ],
)
def test_roles_that_manage_coordinate_or_audit_never_open_a_file(
    roles: tuple[str, ...], story: Story, service: Service
) -> None:
    sent = story.sent()
    for organization in ("ngo", "shelter", "coalition"):
        client = service.as_(organization, *roles)
        request = opening(sent.person_id, referral_id=sent.id)
        assert refusal(partial(client.OpenPerson, request)) == (
            "PERMISSION_DENIED",
            "right_missing",
        )


def test_a_member_on_probation_opens_no_file(story: Story, service: Service) -> None:
    sent = story.sent()
    with service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", ORG["shelter"], True, "PROBATION", "NGO")
    try:
        request = opening(sent.person_id, referral_id=sent.id)
        assert refusal(lambda: story.shelter.OpenPerson(request)) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )
    finally:
        with service.database.transaction(SYSTEM) as tx:
            members.note_member(tx, "organization", ORG["shelter"], True, "APPROVED", "NGO")
    assert readings(story.ngo, sent.person_id) == [(ORG["shelter"], [IDENTITY], False)]


def test_every_access_and_every_refusal_is_listed_for_the_files_organisation(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    clinic = service.as_("clinic", "WORKER")
    story.ngo.OpenPerson(opening(sent.person_id, IDENTITY, HEALTH))
    story.shelter.OpenPerson(opening(sent.person_id, referral_id=sent.id))
    refusal(lambda: story.shelter.OpenPerson(opening(sent.person_id, HEALTH, referral_id=sent.id)))
    # the person does not even exist for the clinic
    refusal(lambda: clinic.OpenPerson(opening(sent.person_id, CONTACT)))
    assert readings(story.ngo, sent.person_id) == [
        (ORG["clinic"], [CONTACT], False),
        (ORG["shelter"], [HEALTH], False),
        (ORG["shelter"], [IDENTITY], True),
        (ORG["ngo"], [IDENTITY, HEALTH], True),
    ]
    for client in (story.shelter, clinic):
        request = people_pb2.ListReadingsRequest(person_id=sent.person_id)
        assert refusal(partial(client.ListReadings, request)) == ("NOT_FOUND", "not_found")
    page = story.ngo.ListReadings(
        people_pb2.ListReadingsRequest(person_id=sent.person_id, page_size=3)
    )
    rest = story.ngo.ListReadings(
        people_pb2.ListReadingsRequest(
            person_id=sent.person_id, page_size=3, page_token=page.next_page_token
        )
    )
    assert (len(page.readings), len(rest.readings), rest.next_page_token) == (3, 1, "")


def test_reading_notes_is_listed_as_a_reading(story: Story) -> None:
    sent = story.sent()
    story.shelter.AskReferral(
        pb.AskReferralRequest(
            id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES, note="until when?"
        )
    )
    story.ngo.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=sent.id))
    assert readings(story.ngo, sent.person_id) == [(ORG["ngo"], [G.FIELD_GROUP_NOTES], True)]


def test_a_safe_contact_plan_is_shown_only_to_the_files_own_organisation(story: Story) -> None:
    sent = story.sent()
    plan = people_pb2.SafeContact(
        channel_code=people_pb2.SAFE_CHANNEL_PHONE,
        hours="mornings",
        code_word="jocote",
        never_say="the shelter",
    )
    person = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
    changed = story.ngo.SetSafeContact(
        people_pb2.SetSafeContactRequest(id=person.id, etag=person.etag, safe_contact=plan)
    )
    assert (
        story.ngo.GetPerson(people_pb2.GetPersonRequest(id=person.id)).safe_contact
        == changed.safe_contact
        == plan
    )
    shown_person = story.shelter.GetPerson(people_pb2.GetPersonRequest(id=person.id))
    assert shown_person.coarse.age_band == pb.AGE_BAND_18_TO_24
    assert not shown_person.HasField("safe_contact")
    request = people_pb2.SetSafeContactRequest(id=person.id, etag=changed.etag, safe_contact=plan)
    assert refusal(lambda: story.shelter.SetSafeContact(request)) == ("NOT_FOUND", "not_found")
    assert not any(
        entry.HasField("safe_contact")
        for entry in story.ngo.ListPeople(people_pb2.ListPeopleRequest()).people
    )


def test_an_identity_is_completed_and_omitted_fields_are_kept(story: Story) -> None:
    person = story.person()
    newer = people_pb2.Identity(family_name="Rivas", birth_date="2010-05-01")
    changed = story.ngo.UpdateIdentity(
        people_pb2.UpdateIdentityRequest(id=person.id, etag=person.etag, identity=newer)
    )
    assert changed.coarse.age_band == pb.AGE_BAND_12_TO_17  # follows from the birth date
    identity = story.ngo.OpenPerson(opening(person.id, IDENTITY, CONTACT))
    assert (identity.given_name, identity.family_name, identity.phone) == (
        "Ximena",
        "Rivas",
        "+50581234567",
    )
    again = people_pb2.UpdateIdentityRequest(id=person.id, etag=person.etag, identity=newer)
    assert refusal(lambda: story.ngo.UpdateIdentity(again)) == ("ABORTED", "stale_etag")


def test_an_erased_person_can_be_opened_by_nobody(story: Story, service: Service) -> None:
    sent = story.sent(person=story.person(**MARKED))
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE people SET erased = true WHERE id = %s", (sent.person_id,))
        tx.execute("UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", (sent.person_id,))
    gone = ("FAILED_PRECONDITION", "person_erased")
    person = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
    assert person.erased
    assert not person.HasField("safe_contact")
    assert refusal(lambda: story.ngo.OpenPerson(opening(person.id))) == gone
    assert (
        refusal(lambda: story.shelter.OpenPerson(opening(person.id, referral_id=sent.id))) == gone
    )
    change = people_pb2.UpdateIdentityRequest(
        id=person.id, etag=person.etag, identity=people_pb2.Identity(given_name="Back")
    )
    assert refusal(lambda: story.ngo.UpdateIdentity(change)) == gone
    plan = people_pb2.SetSafeContactRequest(
        id=person.id,
        etag=person.etag,
        safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE),
    )
    assert refusal(lambda: story.ngo.SetSafeContact(plan)) == gone
    assert refusal(lambda: story.receipt(person.id)) == gone
    assert refusal(lambda: story.draft(person=person)) == gone
    assert story.ngo.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=sent.id)).events
    acknowledged = story.shelter.AcknowledgeReferral(
        pb.AcknowledgeReferralRequest(id=sent.id, etag=sent.etag)
    )
    # the referral can continue to its end, without any data of the person
    assert acknowledged.state == pb.STATE_ACKNOWLEDGED


def test_a_coordinator_ends_a_referral_with_a_note_that_she_cannot_read_afterwards(
    story: Story,
) -> None:
    sent = story.sent()
    request = pb.WithdrawReferralRequest(
        id=sent.id,
        etag=sent.etag,
        reason_code=pb.WITHDRAW_REASON_OTHER,
        note="asked twice by mistake",
    )
    assert story.coordinator.WithdrawReferral(request).state == pb.STATE_WITHDRAWN
    referral_events_request = pb.ListReferralEventsRequest(referral_id=sent.id)
    assert [event.note for event in story.ngo.ListReferralEvents(referral_events_request).events][
        -1
    ] == "asked twice by mistake"
    assert not any(
        event.note for event in story.coordinator.ListReferralEvents(referral_events_request).events
    )


def test_a_receiver_does_not_learn_from_her_file_where_she_had_been_taken(story: Story) -> None:
    person = story.ngo.CreatePerson(
        people_pb2.CreatePersonRequest(
            exploitation_country="SV",
            trafficking_status_code=people_pb2.TRAFFICKING_STATUS_ACTUAL_VICTIM_OF_TRAFFICKING,
            coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24, country="NI"),
            safe_contact=people_pb2.SafeContact(
                channel_code=people_pb2.SAFE_CHANNEL_THROUGH_WORKER
            ),
        )
    )
    sent = story.sent(person=person)
    request = people_pb2.GetPersonRequest(id=sent.person_id)
    owners, others = story.ngo.GetPerson(request), story.shelter.GetPerson(request)
    assert (owners.exploitation_country, bool(owners.trafficking_status_code)) == ("SV", True)
    assert (others.exploitation_country, bool(others.trafficking_status_code)) == ("", False)
    assert others.coarse == owners.coarse


@pytest.mark.parametrize(
    "path",
    [
        "coarse.age_band",
        "coarse.gender_code",
        "safe_contact.channel_code",
        "trafficking_status_code",
    ],
)
def test_an_unknown_code_in_a_file_is_refused(path: str, story: Story) -> None:
    request: Any = people_pb2.CreatePersonRequest()
    *outer, name = path.split(".")
    setattr(getattr(request, outer[0]) if outer else request, name, 99)
    assert refusal_with_fields(lambda: story.ngo.CreatePerson(request)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        {path: "unknown_code"},
    )


def test_a_safe_contact_plan_needs_a_channel(story: Story) -> None:
    request = people_pb2.CreatePersonRequest(safe_contact=people_pb2.SafeContact(hours="at night"))
    assert refusal_with_fields(lambda: story.ngo.CreatePerson(request))[2] == {
        "safe_contact.channel_code": "required"
    }


def test_an_unstated_number_of_dependants_is_unknown_and_not_zero(story: Story) -> None:
    def coarse(dependants: int | None = None) -> pb.CoarsePerson:
        person = story.ngo.CreatePerson(
            people_pb2.CreatePersonRequest(
                coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24, dependants=dependants),
                safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE),
            )
        )
        sent = story.sent(person=person)
        coarse: pb.CoarsePerson = story.shelter.GetReferral(
            pb.GetReferralRequest(id=sent.id)
        ).person
        return coarse

    assert not coarse().HasField("dependants")
    alone = coarse(dependants=0)
    assert (alone.HasField("dependants"), alone.dependants) == (True, 0)
    assert coarse(dependants=2).dependants == 2


@pytest.mark.parametrize(
    ("country", "band"), [("NI", pb.AGE_BAND_12_TO_17), ("ES", pb.AGE_BAND_18_TO_24)]
)
def test_a_person_is_of_age_when_her_birthday_begins_in_her_local_time(
    story: Story, country: str, band: pb.AgeBand.ValueType
) -> None:
    # 7 p.m. on the 4th in Managua
    story.service.clock.set(datetime(2026, 3, 5, 1, 0, tzinfo=UTC))
    request = people_pb2.CreatePersonRequest(
        identity=people_pb2.Identity(birth_date="2008-03-05"),
        coarse=pb.CoarsePerson(country=country),
        request_id=story.request_id(),
    )
    created = story.ngo.CreatePerson(request)
    assert created.coarse.age_band == band
    corrected = people_pb2.UpdateIdentityRequest(
        id=created.id, etag=created.etag, identity=people_pb2.Identity(given_name="Ana")
    )
    assert story.ngo.UpdateIdentity(corrected).coarse.age_band == band


@pytest.mark.usefixtures("unhurried")
def test_simultaneous_requests_for_the_file_of_one_contact_create_only_one(
    story: Story, service: Service
) -> None:
    operators = [
        service.as_("hotline", *roles) for roles in (("OPERATOR",), ("OPERATOR", "WORKER"))
    ]
    contact = story.contact().contact

    def create(operator: Client) -> people_pb2.Person:
        person: people_pb2.Person = operator.CreatePerson(
            people_pb2.CreatePersonRequest(contact_id=contact.id, request_id=story.request_id())
        )
        return person

    with ThreadPoolExecutor(2) as pool:
        with service.database.transaction(SYSTEM) as tx:
            tx.execute("SELECT FROM contacts WHERE id = %s FOR UPDATE", (contact.id,))
            futures = [pool.submit(create, operator) for operator in operators]
            assert eventually(lambda: waiting(service) == 2, LONG)
        [person_id] = {each.result().id for each in futures}
    linked = operators[0].GetContact(contacts_pb2.GetContactRequest(id=contact.id))
    assert linked.person_id == person_id
    assert create(operators[0]).id == person_id, "also in a tab that is sent later"


def test_a_file_is_linked_only_to_a_contact_of_its_own_organisation(story: Story) -> None:
    request = people_pb2.CreatePersonRequest(contact_id=story.contact().contact.id)
    assert refusal(partial(story.ngo.CreatePerson, request)) == ("NOT_FOUND", "not_found")
