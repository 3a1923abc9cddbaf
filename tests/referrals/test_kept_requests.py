"""Requests stored to answer repeats: the service's own key opens nothing in them."""

from datetime import timedelta

import pytest

from chassis import idempotency
from chassis.clock import SystemClock
from chassis.errors import Reused
from chassis.idempotency import IdempotencyStore
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from keys import key_folder
from keys.sealing import CannotOpen, Keyring
from protos.referrals.v1 import contacts_pb2
from runtime.sweeper import REQUEST_LIFETIME, Sweeper
from tests.builders import refusal
from tests.faults.canary import dump
from tests.referrals.conftest import Service, Story

CALLER, METHOD = "c" * 32, "Contacts/CreateContact"


@pytest.fixture
def keyring(service: Service) -> Keyring:
    return Keyring(key_folder.secret(service.keys, "sealing.referrals"))


def test_a_stored_answer_is_repeated_to_its_caller_and_cannot_be_opened_with_any_key_of_the_service(
    story: Story, service: Service, keyring: Keyring
) -> None:
    operator, request_id = service.as_("hotline", "OPERATOR"), new_id()
    contact = contacts_pb2.Contact(
        line_country="NI",
        kind_code=contacts_pb2.CONTACT_KIND_CRISIS,
        note="she said it on the line",
    )
    request = contacts_pb2.CreateContactRequest(contact=contact, pin="4821", request_id=request_id)
    assert operator.CreateContact(request).reference == operator.CreateContact(request).reference
    [row, *_] = service.rows(
        "SELECT * FROM requests WHERE caller_id = %s ORDER BY time DESC", operator.caller.id
    )
    assert request_id not in str(row)
    for context in (
        f"requests/{operator.caller.id}/{row['request_id']}",
        f"requests/{operator.caller.id}/{request_id}",
    ):
        with pytest.raises(CannotOpen):
            keyring.open_bytes(row["response"], context)
    # A PIN has only 10,000 values, so anybody who can compute the fingerprint can try them all.
    assert row["fingerprint"] != keyring.fingerprint(
        request.SerializeToString(deterministic=True), "requests"
    )
    request.pin = "4822"
    assert refusal(lambda: operator.CreateContact(request)) == (
        "ALREADY_EXISTS",
        "request_id_reused",
    )


def test_no_request_id_is_stored_in_the_database(story: Story, service: Service) -> None:
    request_id = new_id()
    contact = contacts_pb2.Contact(line_country="NI", kind_code=contacts_pb2.CONTACT_KIND_TIP)
    story.operator.CreateContact(contact=contact, request_id=request_id)
    texts = service.in_transaction(dump)
    assert [table for table, text in texts.items() if request_id.encode() in text] == []


def test_requests_stored_by_the_previous_version_are_still_answered(
    service: Service, keyring: Keyring
) -> None:
    store, request_id = IdempotencyStore(keyring), new_id()
    with service.database.transaction(SYSTEM) as tx:
        tx.execute(
            "INSERT INTO requests (caller_id, request_id, method, fingerprint, response)"
            " VALUES (%s, %s, %s, %s, %s)",
            (
                CALLER,
                request_id,
                METHOD,
                keyring.fingerprint(b"body", "requests"),
                keyring.seal_bytes(b"answer", f"requests/{CALLER}/{request_id}"),
            ),
        )
        assert store.store_request(tx, CALLER, request_id, METHOD, b"body")() == b"answer"
        with pytest.raises(Reused):
            store.store_request(tx, CALLER, request_id, METHOD, b"another body")()


def test_the_same_request_id_from_two_callers_means_two_requests() -> None:
    assert idempotency.stored_id("a", "1") != idempotency.stored_id("b", "1")


# Stored answers are deleted after a while, because a first answer may hold a PIN.


def stored_answers(service: Service) -> int:
    return len(service.rows("SELECT FROM requests"))


def test_stored_answers_are_deleted_after_a_day_and_not_before(
    story: Story, service: Service
) -> None:
    story.contact()
    count_before = stored_answers(service)
    assert count_before > 0
    moment = SystemClock().now()  # the database stamps requests by its own clock
    for age, count in ((timedelta(), count_before), (REQUEST_LIFETIME + timedelta(minutes=1), 0)):
        service.clock.set(moment + age)
        Sweeper(service.database, service.clock).sweep()
        assert stored_answers(service) == count
