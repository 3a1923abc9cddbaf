"""Rows that can't be opened: another key at the start, a changed row, swapped rows.

The fault is reported. The damaged row is not served; the other rows are served.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import structlog
from prometheus_client import REGISTRY

from chassis import log
from chassis.db import Database
from chassis.errors import Unavailable
from chassis.tokens import SYSTEM
from keys import key_folder
from keys.check import KeyCheck
from keys.sealing import Keyring
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2
from services.referrals.__main__ import MIGRATIONS
from tests.parts import postgres as parts
from tests.referrals.conftest import Service, Story, history, open_identity, read
from tests.referrals.contact_calls import credentials, update_contact

ROOT = Path(__file__).resolve().parents[2]


def unreadable_counts(*tables: str) -> list[float]:
    """Returns the number of unreadable rows that were reported of each table."""
    return [
        REGISTRY.get_sample_value("enlace_rows_unreadable_total", {"table": table}) or 0.0
        for table in tables
    ]


def damage(service: Service, table: str, column: str, where: str, *values: object) -> None:
    """Changes one bit of a sealed value."""
    changed_count = service.as_owner(
        f"UPDATE {table} SET {column} = set_byte({column}, 30, get_byte({column}, 30) # 1)"
        f" WHERE {where}",
        *values,
    )
    assert changed_count == 1


def fault_code(act: Callable[[], object]) -> str:
    """Returns the code of a call that ends in a fault; its answer holds only the request id."""
    with pytest.raises(grpc.RpcError) as caught:
        act()
    error: Any = caught.value
    assert error.details().startswith("fault; request ")
    return str(error.code().name)


# A row


def test_a_changed_row_is_refused_and_reported_and_the_other_rows_are_still_served(
    story: Story, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_person, intact_person = story.person(), story.person(given_name="Abril")
    [count_before] = unreadable_counts("person_sealed")
    damage(
        service,
        "person_sealed",
        "sealed",
        "person_id = %s AND field = 'identity'",
        broken_person.id,
    )
    log.setup("referrals")
    assert fault_code(lambda: open_identity(story.ngo, broken_person.id)) == "INTERNAL"
    with capsys.disabled():
        output = capsys.readouterr().out
        # otherwise later tests in this process would log to the capture of this test
        structlog.reset_defaults()
    log_lines = [json.loads(line) for line in output.splitlines() if "row_unreadable" in line]
    assert [line["where"] for line in log_lines] == [f"person_sealed/{broken_person.id}/identity"]
    assert unreadable_counts("person_sealed") == [count_before + 1]
    assert open_identity(story.ngo, intact_person.id).given_name == "Abril"
    assert (
        story.ngo.GetPerson(id=broken_person.id).safe_contact.channel_code
        == people_pb2.SAFE_CHANNEL_THROUGH_WORKER
    )


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE person_sealed SET sealed = (SELECT sealed FROM person_sealed"
        " WHERE person_id = %(b)s AND field = 'identity')"
        " WHERE person_id = %(a)s AND field = 'identity'",
        (
            "UPDATE person_keys SET wrapped = (SELECT wrapped FROM person_keys"
            " WHERE person_id = %(b)s) WHERE person_id = %(a)s"
        ),
        "UPDATE person_sealed SET sealed = (SELECT sealed FROM person_sealed"
        " WHERE person_id = %(a)s AND field = 'safe_contact')"
        " WHERE person_id = %(a)s AND field = 'identity'",
        (
            "UPDATE person_sealed SET sealed = ''::bytea WHERE person_id = %(a)s"
            " AND field = 'identity'"
        ),
        (
            "UPDATE person_sealed SET sealed = substring(sealed FROM 1 FOR 9)"
            " WHERE person_id = %(a)s AND field = 'identity'"
        ),
    ],
    ids=["another identity", "another key", "another field", "no bytes", "too few bytes"],
)
def test_sealed_data_that_was_moved_or_truncated_does_not_open(
    swap: str, story: Story, service: Service
) -> None:
    ana, berta = story.person(given_name="Ana"), story.person(given_name="Berta")
    with service.database.transaction(SYSTEM) as tx:
        assert tx.execute(swap.encode(), {"a": ana.id, "b": berta.id}).rowcount
    assert fault_code(lambda: open_identity(story.ngo, ana.id)) == "INTERNAL"
    assert open_identity(story.ngo, berta.id).given_name == "Berta"


def test_one_unreadable_note_of_a_history_is_withheld_and_the_others_are_served(
    story: Story, service: Service
) -> None:
    referral, [count_before] = story.accepted(), unreadable_counts("referral_events")
    for note in ("the first", "the second"):
        story.ngo.AddNote(
            id=referral.id,
            etag=read(story.ngo, referral.id).etag,
            note=note,
            request_id=story.request_id(),
        )
    damage(
        service,
        "referral_events",
        "note_sealed",
        "referral_id = %s AND version = (SELECT min(version) FROM referral_events"
        " WHERE referral_id = %s AND note_sealed IS NOT NULL)",
        referral.id,
        referral.id,
    )
    assert [
        (event.note, event.note_withheld)
        for event in history(story.ngo, referral.id)
        if event.verb == "note_added"
    ] == [("", True), ("the second", False)]
    assert unreadable_counts("referral_events") == [count_before + 1]


# The keys


def test_nothing_is_sealed_or_opened_before_the_keys_are_checked(service: Service) -> None:
    sealed = key_folder.keyring(service.keys, "referrals").seal("x", "c")
    check = KeyCheck(service.database, key_folder.keyring(service.keys, "referrals"))
    checked_keyring = check._keyring
    for act in (
        lambda: checked_keyring.seal("x", "c"),
        lambda: checked_keyring.open(sealed, "c"),
        lambda: checked_keyring.new_key("c"),
    ):
        with pytest.raises(Unavailable):
            act()
    assert check.turn() == ""
    assert checked_keyring.open(sealed, "c") == "x"


def test_a_wrong_or_missing_key_is_refused_with_its_own_reason(
    service: Service, tmp_path: Path
) -> None:
    def new_check() -> KeyCheck:
        return KeyCheck(service.database, key_folder.keyring(service.keys, "referrals"))

    assert new_check().turn() == ""
    key_folder.create(tmp_path, ["referrals"])
    other_keyring = key_folder.keyring(tmp_path, "referrals")
    assert KeyCheck(service.database, other_keyring).turn() == "sealing_key_wrong"
    with pytest.raises(Unavailable):
        other_keyring.seal("x", "c")
    first_secret = key_folder.secret(service.keys, "sealing.referrals")
    newer_keyring = Keyring(first_secret, lambda: {0: first_secret, 7: bytes(32)})
    running_check, later_check = new_check(), new_check()
    assert running_check.turn() == ""
    assert KeyCheck(service.database, newer_keyring).turn() == ""
    assert (running_check.turn(), running_check.problem) == ("sealing_key_missing", ""), (
        "a running process continues, and reports the missing key"
    )
    assert (later_check.turn(), later_check.problem) == ("sealing_key_missing",) * 2


def test_a_process_with_a_wrong_key_logs_the_reason_and_exits(
    postgres: parts.Server, tmp_path: Path
) -> None:
    test_database = postgres.database("referrals", MIGRATIONS)
    right_folder, wrong_folder = tmp_path / "right", tmp_path / "wrong"
    for folder in (right_folder, wrong_folder):
        key_folder.create(folder, ["partners", "referrals", "notifications"])

    database = Database(test_database.url, max_size=2)
    database.open()
    assert KeyCheck(database, key_folder.keyring(right_folder, "referrals")).turn() == ""
    database.close()
    environment = os.environ | {
        "ENLACE_DATABASE_URL": test_database.url,
        "ENLACE_KEYS": str(wrong_folder),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "ENLACE_LISTEN": "127.0.0.1:0",
    }
    process = subprocess.run(
        [sys.executable, "-m", "services.referrals", "serve"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    log_lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    reasons = [line["reason"] for line in log_lines if line["event"] == "refuses_to_run"]
    assert (process.returncode, reasons) == (78, ["sealing_key_wrong"])


# A contact


def damaged_contact(story: Story, service: Service) -> c.CreateContactResponse:
    """Makes a contact with a note and two later notes; damages the note and the first later note.

    Returns the answer to the creation.
    """
    call: c.CreateContactResponse = story.operator.CreateContact(
        contact=c.Contact(
            line_country="NI", kind_code=c.CONTACT_KIND_CRISIS, note="ella espera en la terminal"
        ),
        pin="4821",
        request_id=story.request_id(),
    )
    for note in ("tiene un teléfono", "ya no lo tiene"):
        service.public().AddNoteByReference(**credentials(call), note=note)
    damage(service, "contacts", "note_sealed", "id = %s", call.contact.id)
    damage(service, "contact_notes", "sealed", "contact_id = %s AND number = 0", call.contact.id)
    return call


def test_a_contact_with_a_changed_note_is_served_without_that_note(
    story: Story, service: Service
) -> None:
    counts_before = unreadable_counts("contacts", "contact_notes")
    contact = story.operator.GetContact(id=damaged_contact(story, service).contact.id)
    assert (contact.note, contact.note_withheld, contact.kind_code) == (
        "",
        True,
        c.CONTACT_KIND_CRISIS,
    )
    assert [(note.note, note.note_withheld) for note in contact.later_notes] == [
        ("", True),
        ("ya no lo tiene", False),
    ]
    assert unreadable_counts("contacts", "contact_notes") == [count + 1 for count in counts_before]


def test_a_caller_is_found_by_her_reference_even_if_a_note_was_changed(
    story: Story, service: Service
) -> None:
    call = damaged_contact(story, service)
    status = service.public().GetReferenceStatus(**credentials(call))
    assert status.contact_time_band == c.TIME_BAND_TODAY
    assert story.operator.GetContactByReference(**credentials(call)).id == call.contact.id


def test_saving_a_form_without_the_unreadable_note_leaves_the_note_unchanged(
    story: Story, service: Service
) -> None:
    contact_id = damaged_contact(story, service).contact.id
    contact = story.operator.GetContact(id=contact_id)
    saved_contact = update_contact(story.operator, contact, note="", need_code="HOU.EMG")
    assert saved_contact.note_withheld
    assert story.operator.GetContact(id=contact_id).note_withheld
    update_contact(story.operator, saved_contact, note="llamó otra vez", need_code="HOU.EMG")
    contact_with_new_note = story.operator.GetContact(id=contact_id)
    assert (contact_with_new_note.note, contact_with_new_note.note_withheld) == (
        "llamó otra vez",
        False,
    )


# The keys of a restored copy


@pytest.mark.parametrize("keys", ["destroyed", "of another network", "of a later copy"])
def test_doctor_reports_that_a_restored_database_needs_keys_that_are_not_there(
    story: Story, service: Service, tmp_path: Path, keys: str
) -> None:
    story.person()
    folder = tmp_path / "keys"
    shutil.copytree(service.keys, folder)

    def doctor() -> bool:
        process = subprocess.run(
            [sys.executable, "-m", "services.referrals", "doctor", "--json"],
            cwd=ROOT,
            env=os.environ
            | {
                "ENLACE_DATABASE_URL": service.database_url,
                "ENLACE_KEYS": str(folder),
                "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return cast(bool, json.loads(process.stdout)["keys of all sealed rows"])

    service.as_owner("DELETE FROM sealing_checks WHERE number > 0")
    assert KeyCheck(service.database, key_folder.keyring(folder, "referrals")).turn() == ""
    checks_before = service.rows("SELECT number, value FROM sealing_checks ORDER BY 1")
    assert doctor()
    if keys == "destroyed":
        newest = key_folder.add_to_ring(folder, "sealing.referrals")
        assert doctor(), "a key that has sealed nothing yet does no harm"
        key_folder.retire(folder, "referrals", newest)
    elif keys == "of another network":
        shutil.rmtree(folder)
        key_folder.create(folder, ["partners", "referrals", "notifications"])
    else:
        service.as_owner("INSERT INTO sealing_checks VALUES (9, 'x')")
    assert not doctor()
    service.as_owner("DELETE FROM sealing_checks WHERE number = 9")
    assert service.rows("SELECT number, value FROM sealing_checks ORDER BY 1") == checks_before, (
        "the command changes nothing"
    )
