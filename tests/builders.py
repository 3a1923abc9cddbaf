"""Small builders of what tests talk about; synthetic people only."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

NOON = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)  # a Wednesday, noon in Managua


def refusal(act: Callable[[], Any]) -> tuple[str, str]:
    """(gRPC code, stable reason) of a call that is refused; fails when it is not."""
    code, reason, _ = refusal_with_fields(act)
    return code, reason


def refusal_with_fields(act: Callable[[], Any]) -> tuple[str, str, dict[str, str]]:
    """The same with the fields that were wrong."""
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
