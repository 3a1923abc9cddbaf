"""Wrong PINs.

The tests cover how many guesses are allowed from which address, and that guesses don't lock the
caller out.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import contacts_pb2 as pb
from protos.referrals.v1 import contacts_pb2_grpc
from services.referrals.line.domain.contact import new_reference
from services.referrals.line.usecases import contacts as usecases
from tests.builders import refusal, refusal_with_delay
from tests.referrals.conftest import Service, Story

WRONG = ("UNAUTHENTICATED", "reference_or_pin_wrong")
WAIT = ("RESOURCE_EXHAUSTED", "too_many_attempts")
PHONE = "p" * 43


def ask(
    service: Service, reference: str, pin: str = "0000", address: str = "", device: str = ""
) -> pb.ReferenceStatus:
    metadata = [
        ("client-address", service.gateway.sign(address, "enlace.referrals")),
        ("client-device", device),
    ]
    stub: Any = contacts_pb2_grpc.ReferencesStub(service.channel)
    status: pb.ReferenceStatus = stub.GetReferenceStatus(
        pb.GetReferenceStatusRequest(reference=reference, pin=pin), metadata=metadata, timeout=10
    )
    return status


def refusals_of(
    service: Service, reference: str, often: int = 1, **options: str
) -> set[tuple[str, str]]:
    return {refusal(partial(ask, service, reference, **options)) for _ in range(often)}


def retry_delay(service: Service, reference: str, **options: str) -> timedelta:
    code, _, delay = refusal_with_delay(partial(ask, service, reference, **options))
    assert (code, bool(delay)) == ("RESOURCE_EXHAUSTED", True)
    return delay


def test_after_ten_wrong_pins_the_right_pin_has_to_wait_too(story: Story, service: Service) -> None:
    created = story.contact()
    assert refusals_of(service, created.reference, 10) == {WRONG}
    service.clock.advance(timedelta(minutes=10))
    assert retry_delay(service, created.reference, pin=created.pin) == timedelta(minutes=110)
    service.clock.advance(timedelta(minutes=110))
    assert ask(service, created.reference, created.pin).contact_time_band == pb.TIME_BAND_TODAY


def test_guesses_are_answered_alike_for_an_existing_and_an_unknown_reference(
    story: Story, service: Service
) -> None:
    exists, unknown = story.contact().reference, new_reference()

    def answers_for(reference: str) -> list[tuple[str, str] | timedelta]:
        answers: list[tuple[str, str] | timedelta] = [
            refusal(partial(ask, service, reference)) for _ in range(12)
        ]
        return [*answers, retry_delay(service, reference)]

    assert answers_for(exists) == answers_for(unknown)
    assert answers_for(exists)[:10] == [WAIT] * 10


def test_c13_guesses_from_one_address_block_that_address_but_not_the_callers(
    story: Story, service: Service
) -> None:
    created = story.contact()
    assert refusals_of(service, created.reference, 12, address="192.0.2.66") == {WRONG, WAIT}
    assert retry_delay(
        service, created.reference, pin=created.pin, address="192.0.2.66"
    ) == timedelta(days=1), "at this address, guessing stops"
    assert (
        ask(service, created.reference, created.pin, address="192.0.2.67").contact_time_band
        == pb.TIME_BAND_TODAY
    )


def test_c13_guesses_from_many_addresses_delay_the_caller_but_never_lock_her_out(
    story: Story, service: Service
) -> None:
    created, unknown = story.contact(), new_reference()

    def try_everywhere(reference: str) -> list[tuple[str, str]]:
        return [
            refusal(partial(ask, service, reference, address=f"198.51.100.{number}"))
            for number in range(40)
        ]

    answers = try_everywhere(created.reference)
    assert answers == try_everywhere(unknown)
    assert answers[-1] == WAIT
    assert (
        refusal(partial(ask, service, created.reference, created.pin, address="198.51.100.3"))
        == WAIT
    ), "an address with wrong guesses waits longer"
    longest = retry_delay(service, created.reference, pin=created.pin, address="192.0.2.67")
    assert longest <= timedelta(hours=1)
    service.clock.advance(longest)
    assert (
        ask(service, created.reference, created.pin, address="192.0.2.67").contact_time_band
        == pb.TIME_BAND_TODAY
    )


def test_c13_a_line_finds_a_caller_despite_guesses_and_is_never_blocked_for_long(
    story: Story, service: Service
) -> None:
    created, operator = story.contact(), service.as_("hotline", "OPERATOR")
    for number in range(40):
        refusal(partial(ask, service, created.reference, address=f"203.0.113.{number}"))
    wrong = pb.GetContactByReferenceRequest(
        reference=created.reference, pin="0000" if created.pin != "0000" else "1111"
    )
    for _ in range(20):
        refusal(partial(operator.GetContactByReference, wrong))
    service.clock.advance(timedelta(minutes=5))
    right = pb.GetContactByReferenceRequest(reference=created.reference, pin=created.pin)
    assert operator.GetContactByReference(right).id == created.contact.id


def test_wrong_pins_of_others_do_not_lock_out_a_known_device(
    story: Story, service: Service
) -> None:
    created = story.contact()
    ask(service, created.reference, created.pin, address="192.0.2.7", device=PHONE)
    for number in range(60, 100):
        refusals_of(service, created.reference, 1, address=f"192.0.2.{number}")
    assert retry_delay(service, created.reference, pin=created.pin, address="192.0.2.69")
    assert (
        ask(
            service, created.reference, created.pin, address="192.0.2.68", device=PHONE
        ).contact_time_band
        == pb.TIME_BAND_TODAY
    )
    other = story.contact()
    assert refusals_of(service, other.reference, 10, device=PHONE) == {WRONG}
    assert retry_delay(service, other.reference, pin=other.pin, device=PHONE), (
        "the device is known only for her own reference"
    )


def test_public_guesses_do_not_keep_a_line_from_finding_a_caller(
    story: Story, service: Service
) -> None:
    created = story.contact()
    refusals_of(service, created.reference, 20, address="192.0.2.66")
    operator, other = service.as_("hotline", "OPERATOR"), service.as_("ngo", "OPERATOR")
    request = pb.GetContactByReferenceRequest(reference=created.reference, pin=created.pin)
    wrong = pb.GetContactByReferenceRequest(reference=created.reference, pin="0000")
    assert operator.GetContactByReference(request).id == created.contact.id
    assert {refusal(partial(other.GetContactByReference, wrong)) for _ in range(10)} == {WRONG}
    assert refusal(partial(other.GetContactByReference, request)) == WAIT, (
        "each organisation has as many guesses as the public has together"
    )
    assert operator.GetContactByReference(request).id == created.contact.id


def test_one_address_cannot_try_a_pin_on_every_reference(story: Story, service: Service) -> None:
    created = story.contact()
    for _ in range(30):
        assert refusals_of(service, new_reference(), address="192.0.2.99") == {WRONG}
    assert retry_delay(
        service, created.reference, pin=created.pin, address="192.0.2.99"
    ) == timedelta(minutes=10)
    assert (
        ask(service, created.reference, created.pin, address="192.0.2.98").contact_time_band
        == pb.TIME_BAND_TODAY
    )


def test_the_right_pin_costs_no_guess_even_if_the_request_is_refused(
    story: Story, service: Service
) -> None:
    created, public = story.contact(), service.public()
    for _ in range(15):
        request = pb.ConfirmHelpRequest(
            reference=created.reference,
            pin=created.pin,
            help_came=True,
            request_id=story.request_id(),
        )
        assert refusal(partial(public.ConfirmHelp, request)) == (
            "FAILED_PRECONDITION",
            "nothing_to_confirm",
        )
    assert ask(service, created.reference, created.pin).contact_time_band == pb.TIME_BAND_TODAY


def test_guesses_dated_by_a_fast_clock_block_nobody_once_the_clock_is_right(
    story: Story, service: Service
) -> None:
    created, right = story.contact(), service.clock.now()
    service.clock.advance(timedelta(days=30))
    assert refusals_of(service, created.reference, 3, address="192.0.2.7") == {WRONG}
    service.clock.set(right)
    assert (
        ask(service, created.reference, created.pin, address="192.0.2.7").contact_time_band
        == pb.TIME_BAND_TODAY
    )
    assert refusals_of(service, created.reference, 2, address="192.0.2.7") == {WRONG}
    assert retry_delay(service, created.reference, address="192.0.2.7") == timedelta(days=1)


def test_concurrent_guesses_do_not_evade_the_limit(
    story: Story, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = story.contact()
    tried: list[str] = []
    real = usecases._matches

    def counting(pin_hash: str, pin: str) -> bool:
        tried.append(pin)
        return real(pin_hash, pin)

    monkeypatch.setattr(usecases, "_matches", counting)
    begin = threading.Barrier(20)
    results: list[tuple[str, str]] = []

    def guess(number: int) -> None:
        begin.wait()
        results.append(
            refusal(
                partial(
                    ask,
                    service,
                    created.reference,
                    f"{number:04d}",
                    address=f"192.0.2.{number % 2}",
                )
            )
        )

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(tried) == 10
    assert Counter(results) == {WRONG: 10, WAIT: 10}


def test_c15_forged_addresses_count_as_one_and_leave_the_callers_own_limit_untouched(
    story: Story, service: Service
) -> None:
    created, public = story.contact(), contacts_pb2_grpc.ReferencesStub(service.channel)

    def guess(reference: str, address: str) -> tuple[str, str]:
        request = pb.GetReferenceStatusRequest(reference=reference, pin="0000")
        return refusal(
            lambda: public.GetReferenceStatus(
                request, metadata=(("client-address", address),), timeout=10
            )
        )

    outcomes = [guess(created.reference, f"203.0.113.{number}") for number in range(12)]
    assert outcomes == [WRONG] * 5 + [WAIT] * 7, "five guesses from one address, then one a day"
    assert [guess(new_reference(), f"203.0.113.{number}") for number in range(26)] == [
        WRONG
    ] * 25 + [WAIT]
    assert (
        ask(service, created.reference, created.pin, address="192.0.2.7").contact_time_band
        == pb.TIME_BAND_TODAY
    )
