"""A person may have any field of her identity removed, except a child's birth date."""

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.person import GROUP_OF
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import Service, Story
from tests.referrals.test_corrections import correction, stored_person
from tests.referrals.test_trail import last_sequence

EVERY_GROUP = [group for group in p.FieldGroup.values() if group]
WHOLE_IDENTITY = p.Identity(
    given_name="Ximena",
    family_name="Rivas",
    birth_date="1990-05-01",
    phone="+50581234567",
    address="Calle 1",
    health_note="asma",
    exploitation_note="algo",
    family_note="una hermana",
    document_number="001-1",
)


def person_with_identity(story: Story, **identity: Any) -> p.Person:
    fields = {name: getattr(WHOLE_IDENTITY, name) for name in GROUP_OF} | identity
    return story.person(**fields)


def update(person: p.Person, *paths: str, **identity: Any) -> p.UpdateIdentityRequest:
    """Returns the request that sets these fields, and that clears the other fields in `paths`."""
    return p.UpdateIdentityRequest(
        id=person.id,
        etag=person.etag,
        identity=p.Identity(**identity),
        update_mask=FieldMask(paths=[*paths, *identity]),
    )


def opened_identity(story: Story, person: p.Person) -> p.Identity:
    identity: p.Identity = story.ngo.OpenPerson(
        id=person.id, purpose_code="HOU.EMG", field_groups=EVERY_GROUP
    )
    identity.ClearField("opened")
    return identity


@pytest.mark.parametrize("name", GROUP_OF)
def test_each_field_of_an_adults_identity_can_be_removed_alone(name: str, story: Story) -> None:
    person = person_with_identity(story)
    changed = story.ngo.UpdateIdentity(update(person, name))
    kept = {
        kept_name: getattr(WHOLE_IDENTITY, kept_name) for kept_name in GROUP_OF if kept_name != name
    }
    assert opened_identity(story, person) == p.Identity(**kept)
    assert changed.coarse == person.coarse, "the age band stays, even without a birth date"


def test_a_whole_identity_can_be_removed(story: Story) -> None:
    person = person_with_identity(story)
    changed = story.ngo.UpdateIdentity(update(person, *GROUP_OF))
    assert opened_identity(story, person) == p.Identity()
    assert not changed.has_identity


def test_fields_that_the_mask_does_not_name_are_neither_set_nor_checked(story: Story) -> None:
    person = person_with_identity(story)
    request = update(person, "phone", family_name="Ruiz")
    request.identity.address, request.identity.birth_date = "Calle 2", "someday"
    story.ngo.UpdateIdentity(request)
    identity = opened_identity(story, person)
    assert (identity.family_name, identity.phone) == ("Ruiz", "")
    assert (identity.address, identity.birth_date) == (
        WHOLE_IDENTITY.address,
        WHOLE_IDENTITY.birth_date,
    )


def test_without_a_mask_an_empty_field_changes_nothing_and_each_field_is_checked(
    story: Story,
) -> None:
    person = person_with_identity(story)
    request = p.UpdateIdentityRequest(
        id=person.id, etag=person.etag, identity=p.Identity(family_name="Ruiz")
    )
    person = story.ngo.UpdateIdentity(request)
    identity = opened_identity(story, person)
    assert (identity.family_name, identity.phone) == ("Ruiz", WHOLE_IDENTITY.phone)
    request.etag, request.identity.phone = person.etag, "+" * 41
    assert wrong_fields(lambda: story.ngo.UpdateIdentity(request)) == [
        ("identity.phone", "too_long")
    ]


def test_a_removed_name_no_longer_finds_her(story: Story) -> None:
    person = person_with_identity(story, given_name="Zenobia", family_name="Inventada")
    story.ngo.UpdateIdentity(update(person, "family_name"))
    assert not story.ngo.SearchPeople(name="Inventada").people
    assert [found.id for found in story.ngo.SearchPeople(name="Zenobia").people] == [person.id]


def test_a_childs_birth_date_can_be_replaced_but_not_removed(story: Story) -> None:
    child = person_with_identity(story, birth_date="2011-01-01")
    for paths in (("birth_date",), tuple(GROUP_OF)):
        assert wrong_fields(partial(story.ngo.UpdateIdentity, update(child, *paths))) == [
            ("identity.birth_date", "required")
        ]
    assert stored_person(story.ngo, child.id).etag == child.etag
    assert opened_identity(story, child).birth_date == "2011-01-01"
    story.ngo.UpdateIdentity(update(child, birth_date="2011-01-02"))
    assert opened_identity(story, child).birth_date == "2011-01-02"


def test_a_child_without_a_birth_date_can_have_her_other_fields_removed(story: Story) -> None:
    child = story.ngo.CreatePerson(
        identity=p.Identity(phone="+50581234567"),
        coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_12_TO_17),
    )
    changed = story.ngo.UpdateIdentity(update(child, "phone", "birth_date"))
    assert changed.coarse.age_band == pb.AGE_BAND_12_TO_17


def test_only_an_acknowledged_birth_date_moves_a_known_age_band_across_the_age_of_eighteen(
    story: Story, service: Service
) -> None:
    before = last_sequence(service)
    person = story.ngo.CreatePerson(coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_12_TO_17))

    def refuse_band(band: pb.AgeBand.ValueType) -> None:
        request = correction(person, coarse=pb.CoarsePerson(age_band=band))
        assert wrong_fields(lambda: story.ngo.UpdatePerson(request)) == [
            ("person.coarse.age_band", "contradicts")
        ]

    for birth_date, band, other_band in (
        ("1990-05-01", pb.AGE_BAND_25_TO_59, pb.AGE_BAND_12_TO_17),
        ("2011-01-01", pb.AGE_BAND_12_TO_17, pb.AGE_BAND_25_TO_59),
        ("2000-05-01", pb.AGE_BAND_25_TO_59, pb.AGE_BAND_18_TO_24),
    ):
        refuse_band(band)
        request = update(person, birth_date=birth_date)
        assert refusal(partial(story.ngo.UpdateIdentity, request)) == (
            "FAILED_PRECONDITION",
            "adulthood_changes",
        )
        request.acknowledged_codes.append(pb.ACKNOWLEDGEMENT_ADULTHOOD_CHANGES)
        person = story.ngo.UpdateIdentity(request)
        assert person.coarse.age_band == band
        refuse_band(other_band)
    trail = service.rows(
        "SELECT detail_codes FROM audit WHERE sequence > %s AND allowed"
        " AND action = 'update_identity'",
        before,
    )
    assert [row["detail_codes"] for row in trail] == [
        ["birth_date", "acknowledged:adulthood_changes"]
    ] * 3
    person = story.ngo.UpdateIdentity(update(person, "birth_date"))
    assert person.coarse.age_band == pb.AGE_BAND_25_TO_59
    refuse_band(pb.AGE_BAND_12_TO_17)


def test_removing_a_birth_date_keeps_the_age_band_of_the_day_of_the_removal(
    story: Story, service: Service
) -> None:
    """The band may not have been updated yet since her birthday."""
    girl = person_with_identity(story, birth_date="2011-01-01")
    service.clock.set(datetime(2029, 1, 1, 12, tzinfo=UTC))
    adult = story.ngo.UpdateIdentity(update(girl, "birth_date"))
    assert adult.coarse.age_band == pb.AGE_BAND_18_TO_24


@pytest.mark.parametrize("path", ["opened", "id", "coarse", "given_name.first"])
def test_a_mask_names_only_fields_of_an_identity(path: str, story: Story) -> None:
    person = person_with_identity(story)
    assert wrong_fields(lambda: story.ngo.UpdateIdentity(update(person, path))) == [
        ("update_mask", "unknown_code")
    ]


def test_the_trail_names_the_changed_and_cleared_fields_but_none_of_their_values(
    story: Story, service: Service
) -> None:
    person = person_with_identity(story)
    before = last_sequence(service)
    story.ngo.UpdateIdentity(update(person, "phone", family_name="Marcada"))
    (row,) = service.rows("SELECT * FROM audit WHERE sequence > %s", before)
    assert (row["action"], row["object_id"], row["detail_codes"]) == (
        "update_identity",
        person.id,
        ["family_name", "cleared:phone"],
    )
    assert "Marcada" not in json.dumps(row, default=str)


def test_only_the_organisation_of_the_file_clears_a_field_and_only_with_the_current_etag(
    story: Story,
) -> None:
    sent = story.sent()
    request = update(stored_person(story.ngo, sent.person_id), "phone")
    assert refusal(lambda: story.shelter.UpdateIdentity(request)) == NOT_FOUND
    story.ngo.UpdateIdentity(request)
    assert refusal(lambda: story.ngo.UpdateIdentity(request)) == ("ABORTED", "stale_etag")
    identity = story.shelter.OpenPerson(
        id=sent.person_id,
        referral_id=sent.id,
        purpose_code="HOU.EMG",
        field_groups=[p.FIELD_GROUP_CONTACT],
    )
    assert identity.phone == "", "a receiver sees no removed field either"
