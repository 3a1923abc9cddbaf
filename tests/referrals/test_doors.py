"""Input that a service refuses before any method sees it.

Such input is bytes that are no request, invalid ids, and anonymous callers with the same
request id.
"""

import random
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from structlog.testing import capture_logs

from chassis import log
from chassis.ids import is_id
from chassis.limits import Limits
from protos.referrals.v1 import contacts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal, refusal_with_delay
from tests.parts.local_stack import until
from tests.referrals.conftest import Service, Story, read
from tests.referrals.contact_calls import credentials
from tests.referrals.test_contacts import referred_caller
from tests.rights_table import services_of

RPCS = [
    (service.full_name, method)
    for service in services_of("referrals")
    for method in service.methods
]
EVERYBODY = ("WORKER", "OPERATOR", "MANAGER")
RATE_LIMITED = ("RESOURCE_EXHAUSTED", "rate_limited")


def rubbish() -> list[bytes]:
    """Returns bytes of every length below sixty, and broken messages.

    The messages are truncated, end within a number or a field, or hold invalid UTF-8.
    """
    rng = random.Random(7)
    return [
        b"\x0a\xff",
        b"\x0a\x02\xc3\x28",
        b"\x08",
        b"\xff" * 11,
        b"\x0b\x0a",
        *(rng.randbytes(n) for n in range(1, 60)),
    ]


@pytest.mark.long
def test_unreadable_bytes_are_refused_and_never_cause_a_fault(service: Service) -> None:
    client = service.as_("ngo", *EVERYBODY, "COORDINATOR")
    assert len(RPCS) > 25
    for name, method in RPCS:
        # a stream can be called like this too, because it is refused before its first message
        call: Any = service.channel.unary_unary(f"/{name}/{method.name}")
        unreadable = [data for data in rubbish() if not readable(method, data)]
        assert len(unreadable) > 40
        for data in unreadable:
            assert refusal(partial(call, data, metadata=client.metadata(), timeout=10)) in {
                ("INVALID_ARGUMENT", "invalid_fields"),
                ("PERMISSION_DENIED", "right_missing"),
            }, method.name


def readable(method: Any, data: bytes) -> bool:
    """Returns whether bytes are a request of a method."""
    try:
        GetMessageClass(method.input_type).FromString(data)
    except DecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "request_id",
    [
        "María López, +505 8123 4567",
        "x" * 32,
        "5F0C9A4E1B7D42B38C6DE0F1A2B3C4D5",
        "a b",
        "' OR 1=1",
    ],
)
def test_a_request_id_that_is_no_id_does_not_reach_the_log(request_id: str, story: Story) -> None:
    ascii_text = request_id.encode("ascii", "replace").decode()
    [entry] = log_lines(story, ascii_text)
    assert is_id(entry["request_id"])
    assert ascii_text not in str(entry)


@pytest.mark.parametrize(
    "request_id", ["5f0c9a4e1b7d42b38c6de0f1a2b3c4d5", "5F0C9A4E-1B7D-42B3-8C6D-E0F1A2B3C4D5"]
)
def test_a_partners_request_id_is_logged_unchanged(request_id: str, story: Story) -> None:
    assert [entry["request_id"] for entry in log_lines(story, request_id)] == [request_id]


def log_lines(story: Story, request_id: str) -> list[Any]:
    """Returns the log lines of a refused call with this x-request-id."""
    call: Any = story.service.channel.unary_unary("/enlace.referrals.v1.Referrals/GetReferral")
    metadata = [*story.ngo.metadata(), ("x-request-id", request_id)]
    log.setup("tests")  # an earlier command in this process may have disabled logging
    with capture_logs() as entries:
        with pytest.raises(grpc.RpcError):
            call(
                pb.GetReferralRequest(id="f" * 32).SerializeToString(),
                metadata=metadata,
                timeout=10,
            )
        # the line is written after the answer
        until(lambda: any(entry["event"] == "rpc" for entry in entries))
    return [entry for entry in entries if entry["event"] == "rpc"]


def test_two_anonymous_callers_with_the_same_request_id_do_not_collide(
    story: Story, service: Service
) -> None:
    for _ in range(2):
        call, sent, operator = referred_caller(story)
        for _ in range(2):  # each caller sends the request twice, and it takes effect once
            answer = service.public().WithdrawConsentByReference(
                **credentials(call), request_id="1"
            )
            assert answer.items[0].status_code == contacts_pb2.REFERENCE_STATE_STOPPED
        assert read(operator, sent.id).state == pb.STATE_CONSENT_WITHDRAWN


def test_an_anonymous_caller_cannot_fetch_another_callers_answer_with_a_request_id(
    story: Story, service: Service
) -> None:
    call, _, _ = referred_caller(story)
    request = {**credentials(call), "request_id": "guessed"}
    service.public().WithdrawConsentByReference(**request)
    guess = partial(service.public().WithdrawConsentByReference, **(request | {"pin": "0000"}))
    assert refusal(guess) == ("UNAUTHENTICATED", "reference_or_pin_wrong")


@pytest.fixture
def limited_service(service: Service) -> Iterator[Service]:
    """A service that allows each caller two calls, and each address forty calls without a token.

    All calls count within one second of the test's clock, however long the test takes.
    """
    limits = Limits(1, now=lambda: 0.0)
    for servicer in service.made.servicers:
        servicer.use_limits(limits)
    yield service
    for servicer in service.made.servicers:
        servicer.use_limits(Limits(100_000))


def test_a_caller_over_its_rate_limit_is_refused_with_a_retry_delay_and_others_are_not(
    limited_service: Service,
) -> None:
    worker, other_worker = (
        limited_service.as_("ngo", "WORKER"),
        limited_service.as_("shelter", "WORKER"),
    )
    for _ in range(2):
        worker.ListReferrals()
    # calls of another rpc count too
    code, reason, delay = refusal_with_delay(worker.ListPeople)
    assert (code, reason) == RATE_LIMITED
    assert timedelta(0) < delay <= timedelta(seconds=1)
    other_worker.ListReferrals()


def test_a_call_over_the_rate_limit_opens_no_transaction(
    limited_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = limited_service.as_("ngo", "WORKER")
    for _ in range(2):
        client.ListReferrals()
    monkeypatch.setattr(limited_service.database, "transaction", None)  # a transaction would fail
    assert refusal(client.ListReferrals) == RATE_LIMITED


def test_anonymous_callers_are_limited_by_address(limited_service: Service) -> None:
    guess = partial(limited_service.public().GetReferenceStatus, reference="x", pin="0000")
    refusals = [refusal(guess) for _ in range(45)]
    assert refusals[0] != RATE_LIMITED
    assert refusals[-1] == RATE_LIMITED
    limited_service.as_("ngo", "WORKER").ListReferrals()
