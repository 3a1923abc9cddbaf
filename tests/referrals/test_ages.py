"""A file's age band follows the birth date.

The band changes when the birthday begins in the person's local time, without anybody's action, and
no row holds the date.
"""

from datetime import UTC, date, datetime, timedelta

import pytest

from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import Keyring
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.person import age_band, band_end
from services.referrals.files.store.people import People as Files
from services.referrals.files.usecases.ages import AgeBandUpdater
from tests.referrals.conftest import Service, Story

EIGHTEEN = datetime(2026, 3, 5, tzinfo=UTC)  # the birthday of somebody born on 2008-03-05
MANAGUA_BEHIND_UTC = timedelta(hours=6)


def band_of(story: Story, person_id: str) -> pb.AgeBand.ValueType:
    person: p.Person = story.ngo.GetPerson(p.GetPersonRequest(id=person_id))
    return person.coarse.age_band


def girl_of_seventeen(story: Story, **values: str) -> p.Person:
    """Adds a girl three weeks before her eighteenth birthday."""
    story.service.clock.set(EIGHTEEN - timedelta(days=21))
    return story.person(birth_date="2008-03-05", **values)


def note_all_ages(service: Service, now: datetime | None = None) -> int:
    """Updates the age bands of all files as of `now`; returns the number of changes."""
    service.clock.set(now or service.clock.now())
    change_count = 0
    while batch := service.made.ages.update_batch():
        change_count += batch
    return change_count


def recorded_changes(service: Service, person_id: str) -> int:
    return len(
        service.rows("SELECT 1 FROM audit WHERE action = 'note_age' AND object_id = %s", person_id)
    )


@pytest.mark.parametrize(
    ("birth_date", "band", "end"),
    [
        ("2008-03-05", "12-17", date(2026, 3, 5)),
        ("2008-02-29", "12-17", date(2026, 3, 1)),
        ("2008-02-29", "0-11", date(2020, 2, 29)),
        ("1990-12-31", "25-59", date(2050, 12, 31)),
        ("1950-01-01", "60+", None),
        ("", "12-17", None),
        ("2008-03-05", "", None),
    ],
)
def test_an_age_band_ends_on_a_birthday(birth_date: str, band: str, end: date | None) -> None:
    assert band_end(birth_date, band) == end
    if end is not None:
        assert age_band(birth_date, end - timedelta(days=1)) == band
        assert age_band(birth_date, end) != band


def test_a_person_comes_of_age_when_her_birthday_begins_in_her_local_time(
    story: Story, service: Service
) -> None:
    girl = girl_of_seventeen(story)

    def file_at(now: datetime) -> tuple[pb.AgeBand.ValueType, int]:
        """Returns her age band at a time, and the number of recorded changes."""
        note_all_ages(service, now)
        return band_of(story, girl.id), recorded_changes(service, girl.id)

    # in UTC, her birthday has already begun
    assert file_at(EIGHTEEN + MANAGUA_BEHIND_UTC - timedelta(seconds=1)) == (
        pb.AGE_BAND_12_TO_17,
        0,
    )
    assert file_at(EIGHTEEN + MANAGUA_BEHIND_UTC) == (pb.AGE_BAND_18_TO_24, 1)
    assert note_all_ages(service) == 0
    assert file_at(datetime(2033, 3, 6, tzinfo=UTC)) == (pb.AGE_BAND_25_TO_59, 2)


def test_when_a_girl_comes_of_age_her_file_has_a_new_version_and_a_guardians_consent_ends(
    story: Story, service: Service
) -> None:
    girl = girl_of_seventeen(story)
    receipt = story.receipt(girl.id, giver="guardian", assent_code="given")
    request = p.GetReceiptRequest(id=receipt.id)
    assert story.ngo.GetReceipt(request).live
    note_all_ages(service, EIGHTEEN + MANAGUA_BEHIND_UTC)
    assert not story.ngo.GetReceipt(request).live
    assert story.ngo.GetPerson(p.GetPersonRequest(id=girl.id)).etag != girl.etag


def test_a_corrected_birth_date_moves_the_day_on_which_the_age_band_changes(
    story: Story, service: Service
) -> None:
    girl = girl_of_seventeen(story)
    story.ngo.UpdateIdentity(
        p.UpdateIdentityRequest(
            id=girl.id, etag=girl.etag, identity=p.Identity(birth_date="2008-09-05")
        )
    )
    note_all_ages(service, EIGHTEEN + MANAGUA_BEHIND_UTC)
    assert band_of(story, girl.id) == pb.AGE_BAND_12_TO_17
    note_all_ages(service, datetime(2026, 9, 5, 6, tzinfo=UTC))
    assert band_of(story, girl.id) == pb.AGE_BAND_18_TO_24


def test_the_day_of_the_change_is_stored_only_as_a_keyed_fingerprint(
    story: Story, service: Service
) -> None:
    girl = girl_of_seventeen(story)
    keyring = Keyring(key_folder.secret(service.keys, "sealing.referrals"))
    fingerprint = keyring.fingerprint(b"2026-03-05", "band_end")
    assert service.rows("SELECT band_end FROM people WHERE id = %s", girl.id) == [
        {"band_end": fingerprint}
    ], "the fingerprint is made with the key of the service"


def prepare_file_from_before_the_migration(service: Service, person_id: str, now: datetime) -> None:
    """Reverts a file to its form before the migration, and runs the background job as of `now`."""
    service.as_owner("UPDATE people SET names_form = 2, band_end = NULL WHERE id = %s", person_id)
    service.clock.set(now)
    while service.made.names.index_batch():
        pass


def test_the_end_of_the_band_of_a_file_from_before_the_migration_is_set_in_the_background(
    story: Story, service: Service
) -> None:
    girl = girl_of_seventeen(story)
    prepare_file_from_before_the_migration(service, girl.id, EIGHTEEN - timedelta(days=1))
    assert band_of(story, girl.id) == pb.AGE_BAND_12_TO_17
    note_all_ages(service, EIGHTEEN + MANAGUA_BEHIND_UTC)
    assert band_of(story, girl.id) == pb.AGE_BAND_18_TO_24


def test_a_file_from_before_the_migration_is_updated_however_long_ago_its_band_ended(
    story: Story, service: Service
) -> None:
    girl = girl_of_seventeen(story)
    prepare_file_from_before_the_migration(service, girl.id, EIGHTEEN + timedelta(days=4 * 365))
    assert band_of(story, girl.id) == pb.AGE_BAND_18_TO_24


def test_a_file_that_cannot_be_opened_does_not_delay_the_update_of_other_files(
    story: Story, service: Service
) -> None:
    broken_file, girl = girl_of_seventeen(story), girl_of_seventeen(story)
    service.as_owner(
        "UPDATE person_sealed SET sealed = '\\x01' WHERE person_id = %s AND field = 'identity'",
        broken_file.id,
    )
    note_all_ages(service, EIGHTEEN + MANAGUA_BEHIND_UTC)
    assert (band_of(story, girl.id), band_of(story, broken_file.id)) == (
        pb.AGE_BAND_18_TO_24,
        pb.AGE_BAND_12_TO_17,
    )
    assert note_all_ages(service) == 0


def test_two_processes_record_each_change_of_age_once(story: Story, service: Service) -> None:
    girls = [girl_of_seventeen(story) for _ in range(3)]
    service.clock.set(EIGHTEEN + MANAGUA_BEHIND_UTC)
    other_updater = AgeBandUpdater(
        Files(key_folder.keyring(service.keys, "referrals")), service.database, service.clock
    )
    with service.database.transaction(SYSTEM) as tx:
        # the other process is working on one of the files
        tx.execute("SELECT 1 FROM people WHERE id = %s FOR UPDATE", (girls[0].id,)).fetchone()
        assert other_updater.update_batch() >= 2
    assert note_all_ages(service) == 1
    assert [recorded_changes(service, girl.id) for girl in girls] == [1, 1, 1]


def test_a_file_is_not_opened_before_the_birthday_begins_locally_and_does_not_delay_others(
    story: Story, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.referrals.files.usecases.ages._BATCH", 1)
    girls = sorted([girl_of_seventeen(story).id, girl_of_seventeen(story).id])
    service.as_owner(
        "UPDATE people SET country = 'US', department = 'US-GU' WHERE id = %s", girls[1]
    )
    service.clock.set(EIGHTEEN)  # her birthday has begun on Guam, not in Managua
    opened_ids = list[str]()
    identity = Files.identity
    monkeypatch.setattr(
        Files,
        "identity",
        lambda self, tx, grant: opened_ids.append(grant.person_id) or identity(self, tx, grant),  # type: ignore[func-returns-value]
    )
    for _ in range(3):
        service.made.ages.update_batch()
    assert opened_ids == [girls[1]]
    assert [band_of(story, girl) for girl in girls] == [pb.AGE_BAND_12_TO_17, pb.AGE_BAND_18_TO_24]
