"""Input that a service refuses before any method sees it.

Such input is bytes that are no request, invalid ids, and anonymous callers with the same
request id.
"""

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from structlog.testing import capture_logs

from chassis import log
from chassis.ids import is_id
from chassis.limits import Limits
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal
from tests.parts.local_stack import until
from tests.referrals.conftest import Service, Story
from tests.referrals.test_contacts import referral_for
from tests.rights_table import services_of

RPCS = [
    (service.full_name, method)
    for service in services_of("referrals")
    for method in service.methods
]
EVERYBODY = ("WORKER", "OPERATOR", "MANAGER")


def rubbish() -> list[bytes]:
    """Returns bytes of every length up to sixty, and broken messages.

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
    refused = 0
    for name, method in RPCS:
        # works for a stream too, which is refused before its first message
        call: Any = service.channel.unary_unary(f"/{name}/{method.name}")
        unreadable = [sent for sent in rubbish() if not readable(method, sent)]
        assert len(unreadable) > 40
        for sent in unreadable:
            assert refusal(partial(call, sent, metadata=client.metadata(), timeout=10)) in {
                ("INVALID_ARGUMENT", "invalid_fields"),
                ("PERMISSION_DENIED", "right_missing"),
            }, method.name
            refused += 1
    assert refused > 1_000


def readable(method: Any, sent: bytes) -> bool:
    try:
        GetMessageClass(method.input_type).FromString(sent)
    except DecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "sent",
    [
        "María López, +505 8123 4567",
        "x" * 32,
        "5F0C9A4E1B7D42B38C6DE0F1A2B3C4D5",
        "a b",
        "' OR 1=1",
    ],
)
def test_a_request_id_that_is_no_id_does_not_reach_the_log(sent: str, story: Story) -> None:
    logged_id = sent.encode("ascii", "replace").decode()
    [entry] = logged(story, logged_id)
    assert is_id(entry["request_id"])
    assert logged_id not in str(entry)


@pytest.mark.parametrize(
    "sent", ["5f0c9a4e1b7d42b38c6de0f1a2b3c4d5", "5F0C9A4E-1B7D-42B3-8C6D-E0F1A2B3C4D5"]
)
def test_a_partners_request_id_is_logged_unchanged(sent: str, story: Story) -> None:
    assert [entry["request_id"] for entry in logged(story, sent)] == [sent]


def logged(story: Story, request_id: str) -> list[Any]:
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
    withdrawn = []
    for _ in range(2):
        created = story.contact()
        sent, operator = referral_for(story, created)
        request = contacts_pb2.WithdrawConsentByReferenceRequest(
            reference=created.reference, pin=created.pin, request_id="1"
        )
        for _ in range(2):  # each caller sends the request twice, and it takes effect once
            withdrawn.append(
                service.public().WithdrawConsentByReference(request).items[0].status_code
            )
        assert (
            operator.GetReferral(pb.GetReferralRequest(id=sent.id)).state
            == pb.STATE_CONSENT_WITHDRAWN
        )
    assert withdrawn == [contacts_pb2.REFERENCE_STATE_STOPPED] * 4


def test_an_anonymous_caller_cannot_fetch_anothers_answer_with_a_request_id(
    story: Story, service: Service
) -> None:
    created = story.contact()
    referral_for(story, created)
    request = contacts_pb2.WithdrawConsentByReferenceRequest(
        reference=created.reference, pin=created.pin, request_id="guessed"
    )
    service.public().WithdrawConsentByReference(request)
    guess = contacts_pb2.WithdrawConsentByReferenceRequest(
        reference=created.reference, pin="0000", request_id="guessed"
    )
    assert refusal(lambda: service.public().WithdrawConsentByReference(guess)) == (
        "UNAUTHENTICATED",
        "reference_or_pin_wrong",
    )


@pytest.fixture
def counted(service: Service) -> Iterator[Service]:
    """A service that allows each caller two calls, and forty from an address without a token.

    All calls count within one second of the test's clock, however long the test takes.
    """
    limits = Limits(1, now=lambda: 0.0)
    for servicer in service.made.servicers:
        servicer.use_limits(limits)
    yield service
    for servicer in service.made.servicers:
        servicer.use_limits(Limits(100_000))


def test_a_caller_over_its_rate_limit_is_refused_with_a_retry_delay_and_others_are_not(
    counted: Service,
) -> None:
    one, other = counted.as_("ngo", "WORKER"), counted.as_("shelter", "WORKER")
    for _ in range(2):
        one.ListReferrals(pb.ListReferralsRequest())
    with pytest.raises(grpc.RpcError) as caught:
        one.ListPeople(people_pb2.ListPeopleRequest())  # calls of another rpc count too
    error: Any = caught.value
    status = rpc_status.from_call(error)
    assert status is not None
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert (error.code(), status.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate_limited")
    assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= 1
    other.ListReferrals(pb.ListReferralsRequest())


def test_a_call_over_the_rate_limit_opens_no_transaction(
    counted: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = counted.as_("ngo", "WORKER")
    for _ in range(2):
        client.ListReferrals(pb.ListReferralsRequest())
    monkeypatch.setattr(counted.database, "transaction", None)  # a transaction would fail
    assert refusal(lambda: client.ListReferrals(pb.ListReferralsRequest())) == (
        "RESOURCE_EXHAUSTED",
        "rate_limited",
    )


def test_anonymous_callers_are_limited_by_address(counted: Service) -> None:
    ask = partial(
        counted.public().GetReferenceStatus,
        contacts_pb2.GetReferenceStatusRequest(reference="x", pin="0000"),
    )
    refusals = [refusal(ask) for _ in range(45)]
    assert refusals[0][1] != "rate_limited"
    assert refusals[-1] == ("RESOURCE_EXHAUSTED", "rate_limited")
    counted.as_("ngo", "WORKER").ListReferrals(pb.ListReferralsRequest())
