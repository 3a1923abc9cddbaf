"""Small builders of test data; all people are synthetic."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chassis.shape import TIME, shape
from protos.referrals.v1 import referrals_pb2

ASKED: dict[str, Any] = {"unsafe_code": referrals_pb2.UNSAFE_ANSWER_NOTHING}
"""The answer of a person who named no organisation or place as unsafe.

Tests of other subjects add this answer to their referrals and enquiries.
"""
NOON = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)  # a Wednesday, noon in Managua


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
    code, reason, _ = refusal_with_fields(act)
    return code, reason


def refusal_with_fields(act: Callable[[], Any]) -> tuple[str, str, dict[str, str]]:
    """Returns (gRPC code, stable reason, wrong fields) of a call that is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        act()
    error: Any = caught.value
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()} without details: {error.details()}"
    info, fields = error_details_pb2.ErrorInfo(), {}
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            fields = {violation.field: violation.reason for violation in bad.field_violations}
    return error.code().name, info.reason, fields
