"""Rotation of the sealing keys while the service runs.

A rotation is killed midway and resumed, and the old key is destroyed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from keys import key_folder
from keys.rotation import DEAD_LETTERS, count_older, rewrap
from keys.sealing import CannotOpen, Keyring
from services.notifications.__main__ import SEALED as SEALED_IN_NOTIFICATIONS
from services.referrals.__main__ import SEALED
from tests.builders import NOON
from tests.referrals.conftest import Service, Story
from tests.referrals.test_erasure import open_identity

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PLACES = [DEAD_LETTERS, *SEALED]
DAY = timedelta(days=1).total_seconds()


def start_command(service: Service, *words: str) -> "subprocess.Popen[str]":
    """Starts a command of the service, as an administrator does."""
    environment = {
        "ENLACE_DATABASE_URL": service.database_url,
        "ENLACE_KEYS": str(service.keys),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "services.referrals", *words, "--json"],
        cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def run_command(service: Service, *words: str) -> tuple[int, dict[str, Any]]:
    """Runs a command of the service; returns its exit code and output."""
    process = start_command(service, *words)
    out, _ = process.communicate(timeout=60)
    return process.returncode, json.loads(out) if out else {}


def remaining_rows(service: Service, keyring: Keyring) -> int:
    return service.in_transaction(count_older, keyring, PLACES)


def wrapped_key(service: Service, person_id: str) -> bytes:
    """Returns the wrapped key of a person's file."""
    [row] = service.rows("SELECT wrapped FROM person_keys WHERE person_id = %s", person_id)
    return bytes(row["wrapped"])


def add_files(service: Service, count: int) -> None:
    """Adds files, each with a key that is wrapped by the newest sealing key."""
    keyring, organization = key_folder.keyring(service.keys, "referrals"), new_id()
    identifiers = [new_id() for _ in range(count)]
    with service.database.transaction(SYSTEM, timeout=30) as tx, tx.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO people (id, organization_id, version, create_time, update_time,"
            " names_form) VALUES (%s, %s, 1, %s, %s, 9)",
            [(identifier, organization, NOON, NOON) for identifier in identifiers],
        )
        cursor.executemany(
            "INSERT INTO person_keys (person_id, wrapped) VALUES (%s, %s)",
            [
                (identifier, keyring.new_key(f"person_keys/{identifier}/wrapped")[1])
                for identifier in identifiers
            ],
        )


def test_a_key_is_rotated_while_the_service_runs_and_all_data_stay_readable(
    story: Story, service: Service
) -> None:
    created, person = story.contact(note="she said it").contact, story.person()
    former_number = max(key_folder.ring(service.keys, "sealing.referrals"))
    code, output = run_command(service, "rotate-keys")
    assert (code, output["newest"], output["unreadable"]) == (0, former_number + 1, 0)
    assert output["wrapped"] >= 2
    assert remaining_rows(service, key_folder.keyring(service.keys, "referrals")) == 0
    assert open_identity(story.ngo, person.id).given_name == "Ximena"
    assert story.operator.GetContact(id=created.id).note == "she said it"
    # the running service, which was not restarted, makes this file
    new_person = story.person(given_name="Abril")
    assert run_command(service, "rotate-keys", "--dry-run") == (
        0,
        {"waiting": 0, "newest": former_number + 1},
    )
    assert open_identity(story.ngo, new_person.id).given_name == "Abril"


def test_names_and_references_are_still_found_after_a_rotation(
    story: Story, service: Service
) -> None:
    person, caller = story.person(given_name="Iraceles"), story.contact()
    run_command(service, "rotate-keys")
    assert [listed.id for listed in story.ngo.SearchPeople(name="iraceles").people] == [person.id]
    # raises if the reference is not found
    service.public().GetReferenceStatus(reference=caller.reference, pin="4821")


def test_a_rotation_killed_midway_can_be_resumed_and_loses_nothing(
    story: Story, service: Service
) -> None:
    add_files(service, 6_000)
    person, newest = story.person(), max(key_folder.ring(service.keys, "sealing.referrals"))
    keyring = key_folder.keyring(service.keys, "referrals")
    process, key_number = start_command(service, "rotate-keys"), (newest + 1).to_bytes(2, "big")
    statement = "SELECT FROM person_keys WHERE substring(wrapped FROM 2 FOR 2) = %s LIMIT 1"
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        if service.rows(statement, key_number):
            process.send_signal(signal.SIGKILL)
            break
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert 0 < remaining_rows(service, key_folder.keyring(service.keys, "referrals")) < 6_000, (
        "the rotation was not killed midway"
    )
    assert open_identity(story.ngo, person.id).given_name == "Ximena"
    assert run_command(service, "retire-keys", "--at-once")[0] == 1, (
        "a key in use cannot be retired"
    )
    code, output = run_command(service, "rotate-keys")
    assert (code, output["newest"], output["unreadable"]) == (0, newest + 1, 0), (
        "resuming makes no further key"
    )
    assert remaining_rows(service, keyring) == 0
    assert open_identity(story.ngo, person.id).given_name == "Ximena"


def test_an_old_key_is_destroyed_once_no_backup_needs_it_and_then_opens_nothing(
    story: Story, service: Service
) -> None:
    person, first_key = story.person(), key_folder.secret(service.keys, "sealing.referrals")
    run_command(service, "rotate-keys")
    assert run_command(service, "retire-keys")[0] == 1, (
        "backups from before the rotation need the key"
    )
    ring = key_folder.ring(service.keys, "sealing.referrals")
    newest = service.keys / f"sealing.referrals.{max(ring)}.key"
    os.utime(newest, (time.time() - DAY, time.time() - DAY))
    code, output = run_command(service, "retire-keys")
    assert (code, output["retired"]) == (0, sorted(ring)[:-1])
    assert list(key_folder.ring(service.keys, "sealing.referrals")) == [max(ring)]
    assert key_folder.is_readable(service.keys, "sealing.referrals.key"), (
        "the `doctor` command still finds the key that it needs"
    )
    key_folder.create(service.keys, ["referrals"])
    assert list(key_folder.ring(service.keys, "sealing.referrals")) == [max(ring)], (
        "a start of the service does not recreate the first key"
    )
    keyring = key_folder.keyring(service.keys, "referrals")
    wrapped, place = wrapped_key(service, person.id), f"person_keys/{person.id}/wrapped"
    keyring.unwrap(wrapped, place)
    with pytest.raises(CannotOpen):
        Keyring(first_key).unwrap(wrapped, place)
    assert keyring.fingerprint(b"x", "references") == Keyring(first_key).fingerprint(
        b"x", "references"
    )
    assert story.ngo.SearchPeople(name="Ximena").people


def test_a_row_that_cannot_be_opened_is_reported_and_the_others_are_rewrapped(
    story: Story, service: Service
) -> None:
    damaged, person = story.person(), story.person()
    original = wrapped_key(service, damaged.id)
    change = "UPDATE person_keys SET wrapped = %s WHERE person_id = %s"
    service.as_owner(change, wrapped_key(service, person.id), damaged.id)
    code, output = run_command(service, "rotate-keys")
    assert (code, output["unreadable"]) == (1, 1)
    assert open_identity(story.ngo, person.id).given_name == "Ximena"
    assert run_command(service, "retire-keys", "--at-once")[0] == 1
    service.as_owner(change, original, damaged.id)
    assert rewrap(service.database, key_folder.keyring(service.keys, "referrals"), PLACES) == (1, 0)


def test_every_column_sealed_with_a_services_key_is_rewrapped(service: Service) -> None:
    """Compares the list of rewrapped columns with the binary columns of the database.

    The comparison leaves out hashes, and columns sealed with another key, such as the person's own.
    """
    exceptions = {
        ("sealing_checks", "value"),
        ("person_sealed", "sealed"),
        ("referral_events", "note_sealed"),
        ("referral_events", "arrival_sealed"),
        ("requests", "response"),
        ("person_names", "mark"),
        ("people", "band_end"),  # a keyed hash, like the marks of names
        ("emergencies", "note"),
    }
    rows = service.rows(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'bytea'"
    )
    hashes = {"hash", "fingerprint", "payload", "body", "mark", "key"}
    assert {
        (row["table_name"], row["column_name"]) for row in rows if row["column_name"] not in hashes
    } - exceptions == {(place.table, place.column) for place in PLACES}
    assert {place.column for place in SEALED_IN_NOTIFICATIONS} == {
        "email",
        "secret",
        "former_secret",
    }
