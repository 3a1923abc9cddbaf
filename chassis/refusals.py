"""Maps refusals to gRPC statuses. The gateway maps statuses back to refusals by their reason."""

from collections.abc import Mapping
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from chassis import errors, shape

CODES: Mapping[type[errors.Refusal], grpc.StatusCode] = {
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Stale: grpc.StatusCode.ABORTED,
    errors.Reused: grpc.StatusCode.ALREADY_EXISTS,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Late: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def refuse(
    context: grpc.ServicerContext, refusal: errors.Refusal, input_type: Descriptor
) -> NoReturn:
    """Aborts the call with the status of a refusal."""
    context.abort_with_status(status_of(refusal, input_type))


def status_of(refusal: errors.Refusal, input_type: Descriptor | None = None) -> grpc.Status:
    """Returns the status of a refusal. ErrorInfo carries its reason; further details carry the
    fields or the delay.
    """
    info = error_details_pb2.ErrorInfo(reason=refusal.reason, domain="enlace")
    details: list[Message] = [info]
    if isinstance(refusal, errors.Conflict) and refusal.about:
        info.metadata["about"] = ",".join(refusal.about)
    if isinstance(refusal, errors.Invalid) and input_type is not None:
        enum_fields = [
            f"{path}={enum_name}"
            for path, _ in refusal.violations
            if (enum_name := shape.enum_name_of(input_type, path))
        ]
        if enum_fields:
            info.metadata["lists"] = ",".join(enum_fields)
        fields = [
            error_details_pb2.BadRequest.FieldViolation(
                field=path, description=reason, reason=reason
            )
            for path, reason in refusal.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if isinstance(refusal, errors.Exhausted):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(refusal.retry_after * 1000))
        details.append(retry)
    packed = []
    for detail in details:
        packed.append(AnyMessage())
        packed[-1].Pack(detail)
    number = getattr(code_pb2, CODES[type(refusal)].name)
    return rpc_status.to_status(
        status_pb2.Status(code=number, message=refusal.reason, details=packed)
    )
