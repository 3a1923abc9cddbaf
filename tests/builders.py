"""Small builders of test data; all people are synthetic."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chassis.errors import Conflict, Invalid
from chassis.second import NONE, Kin
from chassis.shape import TIME, shape
from protos.referrals.v1 import referrals_pb2

NOTHING_UNSAFE: dict[str, Any] = {"unsafe_code": referrals_pb2.UNSAFE_ANSWER_NOTHING}
"""The answer of a person who named no organisation or place as unsafe.

Tests of other subjects add this answer to their referrals and enquiries.
"""
EXPLAINED = (
    "interview",
    "purpose",
    "uses",
    "research_use",
    "right_to_data",
    "storage_time",
    "how_to_withdraw",
)
"""All points that are explained to a person before she consents."""
NOT_FOUND = ("NOT_FOUND", "not_found")
NOON = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)  # a Wednesday, noon in Managua


@dataclass(frozen=True)
class Person:
    """A worker as the rules of two people see her."""

    id: str
    kin: Kin = NONE


def with_required_fields(request: Any) -> Any:
    """Fills each missing field that the .proto marks as REQUIRED, and returns the request.

    The request then has the right shape, whatever it means.
    """
    for field in request.DESCRIPTOR.fields:
        if not shape(field).required or (getattr(request, field.name) and not field.message_type):
            continue
        if field.message_type and field.message_type.full_name == TIME:
            getattr(request, field.name).FromDatetime(NOON)
        elif field.message_type and not field.is_repeated:
            getattr(request, field.name).SetInParent()
        elif field.is_repeated:
            getattr(request, field.name).append(1 if field.enum_type else "f" * 32)
        elif field.enum_type:
            setattr(request, field.name, 1)
        else:
            setattr(
                request,
                field.name,
                max(1, shape(field).least) if shape(field).kind is None else "f" * 32,
            )
    return request


def refusal(act: Callable[[], Any]) -> tuple[str, str]:
    """Returns (gRPC code, stable reason) of a call that is refused; fails if it is not refused."""
    code, reason, _, _ = _refusal(act)
    return code, reason


def refusal_with_fields(act: Callable[[], Any]) -> tuple[str, str, dict[str, str]]:
    """Returns (gRPC code, stable reason, wrong fields) of a call that is refused."""
    code, reason, fields, _ = _refusal(act)
    return code, reason, dict(fields)


def refusal_with_delay(act: Callable[[], Any]) -> tuple[str, str, timedelta]:
    """Returns (gRPC code, stable reason, time to wait) of a call that is refused."""
    code, reason, _, delay = _refusal(act)
    return code, reason, delay


def wrong_fields(act: Callable[[], Any]) -> list[tuple[str, str]]:
    """Returns (field, reason) of each wrong field, in order; fails if the call is not refused."""
    code, reason, fields, _ = _refusal(act)
    assert (code, reason) == ("INVALID_ARGUMENT", "invalid_fields")
    return fields


def violations_of(act: Callable[[], Any]) -> list[tuple[str, str]]:
    """Returns (field, reason) of each wrong field that a rule reports; fails if it reports none."""
    with pytest.raises(Invalid) as caught:
        act()
    return caught.value.violations


def conflict_of(act: Callable[[], Any]) -> str:
    """Returns the reason of a conflict that a rule reports; fails if it reports none."""
    with pytest.raises(Conflict) as caught:
        act()
    return caught.value.reason


def _refusal(act: Callable[[], Any]) -> tuple[str, str, list[tuple[str, str]], timedelta]:
    """Returns (gRPC code, stable reason, wrong fields, time to wait) of a refused call."""
    with pytest.raises(grpc.RpcError) as caught:
        act()
    error: Any = caught.value
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()} without details: {error.details()}"
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(retry)
    fields = [(violation.field, violation.reason) for violation in bad.field_violations]
    return error.code().name, info.reason, fields, retry.retry_delay.ToTimedelta()


def pages(rpc: Callable[..., Any], **fields: Any) -> Iterator[Any]:
    """Calls a list rpc until its last page; yields each answer."""
    answer = rpc(**fields)
    yield answer
    while answer.next_page_token:
        answer = rpc(**fields, page_token=answer.next_page_token)
        yield answer
