"""Reads the options of rpcs in the .proto files: who may call an rpc, whether the trail records its
calls, and the reasons that it may give for refusing a call.

The options are declared in protos/contract/v1/contract.proto. They are looked up by name, since the
chassis imports no message of the project.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from chassis.wire import words

NOTICE = timedelta(days=365)
"""The minimum time between the deprecation of an rpc and its end (docs/versioning.md)."""
_RULES = "enlace.contract.v1.rules"
_WORD_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])")  # the boundaries of words in an rpc's name
_COMMON_REASONS = frozenset(
    (
        "invalid_fields not_found store_unavailable store_busy store_full service_unreachable"
        " deadline_exceeded rate_limited too_many_requests"
    ).split()
)
_TOKEN_REASONS = frozenset(
    "token_missing token_invalid token_expired right_missing organization_not_active".split()
)


@dataclass(frozen=True)
class Rules:
    """The options of one rpc.

    A worker needs one of the roles, and an API key needs the scope; a `public` rpc needs no token.
    The trail records each call of an rpc that is `recorded`.

    `unversioned`: the response may change without a new etag. `refusals` are the reasons that the
    .proto adds to the common reasons. `step_up`: a worker must have proved her identity recently
    (chassis.tokens.PROOF_LIFE). A deprecated rpc has the date of its deprecation, and the date
    after which it may be removed.
    """

    roles: frozenset[str]
    scope: str
    public: bool
    recorded: bool
    unversioned: bool
    refusals: frozenset[str]
    deprecate_date: date | None = None
    sunset_date: date | None = None
    step_up: bool = False


def words_of(rpc: str) -> str:
    """Returns an rpc's name in snake case: send_referral for SendReferral."""
    return _WORD_BOUNDARY.sub("_", rpc).lower()


@cache
def rules(method: MethodDescriptor) -> Rules:
    """Returns the options of an rpc.

    Raises TypeError if they are missing, do not state who may call the rpc, give only one of the
    two dates of a deprecation, or give dates that are less than NOTICE apart.
    """
    return _read(method)


def _read(method: MethodDescriptor) -> Rules:
    options = next(
        (value for field, value in method.GetOptions().ListFields() if field.full_name == _RULES),
        None,
    )
    if options is None or not (options.public or options.roles or options.scope):
        raise TypeError(
            f"{method.full_name} has no option (contract.v1.rules) that states who may call it"
        )
    role_values = options.DESCRIPTOR.fields_by_name["roles"].enum_type.values_by_number
    roles = frozenset(role_values[number].name.removeprefix("ROLE_") for number in options.roles)
    dates = [
        date.fromisoformat(day) if day else None
        for day in (options.deprecate_date, options.sunset_date)
    ]
    if (dates[0] is None) != (dates[1] is None) or (
        dates[0] and dates[1] and dates[1] < dates[0] + NOTICE
    ):
        raise TypeError(
            f"{method.full_name}: a deprecated rpc needs deprecate_date and sunset_date, at least a"
            " year apart"
        )
    reason_words = words(options.DESCRIPTOR.fields_by_name["refusals"].enum_type)
    scope = words(options.DESCRIPTOR.fields_by_name["scope"].enum_type).get(options.scope, "")
    refusal_reasons = frozenset(reason_words[number] for number in options.refusals) | (
        {"step_up_required"} if options.step_up else set()
    )
    return Rules(
        roles,
        scope,
        options.public,
        not options.unrecorded,
        options.unversioned,
        refusal_reasons,
        dates[0],
        dates[1],
        options.step_up,
    )


@cache
def refusals(method: MethodDescriptor) -> frozenset[str]:
    """Returns all reasons that an rpc may give for refusing a call: the common reasons, and the
    reasons that its .proto adds.
    """
    return _reasons(method)


def _reasons(method: MethodDescriptor) -> frozenset[str]:
    options = rules(method)
    reasons = (
        _COMMON_REASONS | options.refusals | (frozenset() if options.public else _TOKEN_REASONS)
    )
    if "request_id" in method.input_type.fields_by_name:
        reasons |= {"request_id_reused"}
    return reasons | {"stale_etag"} if _takes_etag(method.input_type) else reasons


def _takes_etag(request: Descriptor) -> bool:
    nested_messages = [
        field.message_type for field in request.fields if field.message_type is not None
    ]
    return any("etag" in message.fields_by_name for message in (request, *nested_messages))
