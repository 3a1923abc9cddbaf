"""Wrong PINs.

The tests cover how many guesses are allowed from which address, and that guesses don't lock the
caller out.
"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import contacts_pb2 as pb
from protos.referrals.v1 import contacts_pb2_grpc
from services.referrals.line.domain.contact import new_reference
from services.referrals.line.usecases import contacts as usecases
from tests.builders import NOON, refusal, refusal_with_delay
from tests.referrals.conftest import Service, Story
from tests.referrals.contact_calls import credentials

WRONG = ("UNAUTHENTICATED", "reference_or_pin_wrong")
WAIT = ("RESOURCE_EXHAUSTED", "too_many_attempts")
PHONE = "p" * 43


def lookup(
    service: Service, reference: str, pin: str = "0000", address: str = "", device: str = ""
) -> pb.ReferenceStatus:
    """Looks up a reference from an address and a device."""
    metadata = [
        ("client-address", service.gateway.sign(address, "enlace.referrals")),
        ("client-device", device),
    ]
    stub: Any = contacts_pb2_grpc.ReferencesStub(service.channel)
    status: pb.ReferenceStatus = stub.GetReferenceStatus(
        pb.GetReferenceStatusRequest(reference=reference, pin=pin), metadata=metadata, timeout=10
    )
    return status


def assert_found(service: Service, call: pb.CreateContactResponse, **origin: str) -> None:
    """Checks that the caller finds her reference with the right PIN."""
    status = lookup(service, call.reference, call.pin, **origin)
    assert status.contact_time_band == pb.TIME_BAND_TODAY


def refusals_of(
    service: Service, reference: str, times: int = 1, **options: str
) -> set[tuple[str, str]]:
    return {refusal(partial(lookup, service, reference, **options)) for _ in range(times)}


def retry_delay(service: Service, reference: str, **options: str) -> timedelta:
    code, _, delay = refusal_with_delay(partial(lookup, service, reference, **options))
    assert (code, bool(delay)) == ("RESOURCE_EXHAUSTED", True)
    return delay


def test_after_ten_wrong_pins_the_right_pin_has_to_wait_too(story: Story, service: Service) -> None:
    call = story.contact()
    assert refusals_of(service, call.reference, 10) == {WRONG}
    service.clock.advance(timedelta(minutes=10))
    assert retry_delay(service, call.reference, pin=call.pin) == timedelta(minutes=110)
    service.clock.advance(timedelta(minutes=110))
    assert_found(service, call)


def test_guesses_are_answered_alike_for_an_existing_and_an_unknown_reference(
    story: Story, service: Service
) -> None:
    existing_reference, unknown_reference = story.contact().reference, new_reference()

    def answers_for(reference: str) -> list[tuple[str, str] | timedelta]:
        answers: list[tuple[str, str] | timedelta] = [
            refusal(partial(lookup, service, reference)) for _ in range(12)
        ]
        return [*answers, retry_delay(service, reference)]

    assert answers_for(existing_reference) == answers_for(unknown_reference)
    assert answers_for(existing_reference)[:10] == [WAIT] * 10


def test_guesses_from_one_address_block_that_address_but_not_the_callers_address(
    story: Story, service: Service
) -> None:
    call = story.contact()
    assert refusals_of(service, call.reference, 12, address="192.0.2.66") == {WRONG, WAIT}
    delay = retry_delay(service, call.reference, pin=call.pin, address="192.0.2.66")
    assert delay == timedelta(days=1), "guesses from this address have to wait for a day"
    assert_found(service, call, address="192.0.2.67")


def test_guesses_from_many_addresses_delay_the_caller_but_never_lock_her_out(
    story: Story, service: Service
) -> None:
    call, unknown_reference = story.contact(), new_reference()

    def try_everywhere(reference: str) -> list[tuple[str, str]]:
        return [
            refusal(partial(lookup, service, reference, address=f"198.51.100.{number}"))
            for number in range(40)
        ]

    answers = try_everywhere(call.reference)
    assert answers == try_everywhere(unknown_reference)
    assert answers[-1] == WAIT
    assert (
        refusal(partial(lookup, service, call.reference, call.pin, address="198.51.100.3")) == WAIT
    ), "an address with wrong guesses waits longer"
    longest_delay = retry_delay(service, call.reference, pin=call.pin, address="192.0.2.67")
    assert longest_delay <= timedelta(hours=1)
    service.clock.advance(longest_delay)
    assert_found(service, call, address="192.0.2.67")


def test_a_line_finds_a_caller_despite_guesses_and_is_never_blocked_for_long(
    story: Story, service: Service
) -> None:
    call = story.contact()
    find = partial(story.operator.GetContactByReference, reference=call.reference)
    for number in range(40):
        refusal(partial(lookup, service, call.reference, address=f"203.0.113.{number}"))
    for _ in range(20):
        refusal(partial(find, pin="0000"))
    service.clock.advance(timedelta(minutes=5))
    assert find(pin=call.pin).id == call.contact.id


def test_wrong_pins_of_others_do_not_lock_out_a_known_device(
    story: Story, service: Service
) -> None:
    call, other_contact = story.contact(), story.contact()
    assert_found(service, call, address="192.0.2.7", device=PHONE)
    for number in range(60, 100):
        refusals_of(service, call.reference, 1, address=f"192.0.2.{number}")
    assert retry_delay(service, call.reference, pin=call.pin, address="192.0.2.69")
    assert_found(service, call, address="192.0.2.68", device=PHONE)
    assert refusals_of(service, other_contact.reference, 10, device=PHONE) == {WRONG}
    assert retry_delay(service, other_contact.reference, pin=other_contact.pin, device=PHONE), (
        "the device is known only for her own reference"
    )


def test_public_guesses_do_not_keep_a_line_from_finding_a_caller(
    story: Story, service: Service
) -> None:
    call = story.contact()
    refusals_of(service, call.reference, 20, address="192.0.2.66")
    find, find_elsewhere = (
        partial(service.as_(name, "OPERATOR").GetContactByReference, **credentials(call))
        for name in ("hotline", "ngo")
    )
    assert find().id == call.contact.id
    assert {refusal(partial(find_elsewhere, pin="0000")) for _ in range(10)} == {WRONG}
    assert refusal(find_elsewhere) == WAIT, (
        "each organisation may make as many wrong guesses as the whole public"
    )
    assert find().id == call.contact.id


def test_one_address_cannot_try_a_pin_on_every_reference(story: Story, service: Service) -> None:
    call = story.contact()
    for _ in range(30):
        assert refusals_of(service, new_reference(), address="192.0.2.99") == {WRONG}
    delay = retry_delay(service, call.reference, pin=call.pin, address="192.0.2.99")
    assert delay == timedelta(minutes=10)
    assert_found(service, call, address="192.0.2.98")


def test_the_right_pin_costs_no_guess_even_if_the_request_is_refused(
    story: Story, service: Service
) -> None:
    call = story.contact()
    confirm = partial(service.public().ConfirmHelp, **credentials(call), help_came=True)
    for _ in range(15):
        assert refusal(partial(confirm, request_id=story.request_id())) == (
            "FAILED_PRECONDITION",
            "nothing_to_confirm",
        )
    assert_found(service, call)


def test_guesses_dated_by_a_fast_clock_block_nobody_once_the_clock_is_right(
    story: Story, service: Service
) -> None:
    call = story.contact()
    service.clock.advance(timedelta(days=30))
    assert refusals_of(service, call.reference, 3, address="192.0.2.7") == {WRONG}
    service.clock.set(NOON)
    assert_found(service, call, address="192.0.2.7")
    assert refusals_of(service, call.reference, 2, address="192.0.2.7") == {WRONG}
    assert retry_delay(service, call.reference, address="192.0.2.7") == timedelta(days=1)


def test_concurrent_guesses_do_not_evade_the_limit(
    story: Story, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = story.contact()
    compared_pins: list[str] = []
    matches = usecases._matches

    def record_and_match(pin_hash: str, pin: str) -> bool:
        compared_pins.append(pin)
        return matches(pin_hash, pin)

    monkeypatch.setattr(usecases, "_matches", record_and_match)
    start = threading.Barrier(20)

    def guess(number: int) -> tuple[str, str]:
        start.wait()
        pin, address = f"{number:04d}", f"192.0.2.{number % 2}"
        return refusal(partial(lookup, service, call.reference, pin, address=address))

    with ThreadPoolExecutor(20) as pool:
        results = Counter(pool.map(guess, range(20)))
    assert len(compared_pins) == 10
    assert results == {WRONG: 10, WAIT: 10}


def test_forged_addresses_count_as_one_address_and_do_not_use_up_the_callers_limit(
    story: Story, service: Service
) -> None:
    call, public = story.contact(), contacts_pb2_grpc.ReferencesStub(service.channel)

    def guess(reference: str, address: str) -> tuple[str, str]:
        request = pb.GetReferenceStatusRequest(reference=reference, pin="0000")
        return refusal(
            lambda: public.GetReferenceStatus(
                request, metadata=(("client-address", address),), timeout=10
            )
        )

    refusals = [guess(call.reference, f"203.0.113.{number}") for number in range(12)]
    assert refusals == [WRONG] * 5 + [WAIT] * 7, "five guesses from one address, then one a day"
    assert [guess(new_reference(), f"203.0.113.{number}") for number in range(26)] == [
        WRONG
    ] * 25 + [WAIT]
    assert_found(service, call, address="192.0.2.7")
