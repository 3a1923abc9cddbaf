"""Reads what a .proto says of its rpcs: who may call each, whether it is on the trail, and which
reasons it may refuse with.

The options are those of protos/contract/v1/contract.proto, found by name: the chassis knows no
message of its own.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from chassis.wire import words

NOTICE = timedelta(days=365)
"""So long what is deprecated goes on, at least (docs/versioning.md)."""
_RULES = "enlace.contract.v1.rules"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")  # between the words of an rpc's name
_EVERY = frozenset(
    (
        "invalid_fields not_found store_unavailable store_busy store_full service_unreachable"
        " deadline_exceeded rate_limited too_many_requests"
    ).split()
)
_WITH_TOKEN = frozenset(
    "token_missing token_invalid token_expired right_missing organization_not_active".split()
)


@dataclass(frozen=True)
class Rules:
    """Of one rpc: any of the roles (workers), or the scope (API keys); `public` needs no token.

    Each call is on the trail if it is `recorded`.

    `unversioned`: what it answers may change without a new etag. `refusals` are the reasons that
    its .proto names, beyond the usual ones. `step_up`: a worker has proved who she is in the last
    minutes. One that ends is deprecated since a day, and after another may be gone.
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
    """An rpc's name as a word: send_referral for SendReferral."""
    return _WORDS.sub("_", rpc).lower()


@cache
def rules(method: MethodDescriptor) -> Rules:
    """What the .proto says of an rpc.

    Raises TypeError when it says nothing, or neither who may call it nor that all may.
    """
    return _read(method)


def _read(method: MethodDescriptor) -> Rules:
    said = next(
        (value for field, value in method.GetOptions().ListFields() if field.full_name == _RULES),
        None,
    )
    if said is None or not (said.public or said.roles or said.scope):
        raise TypeError(
            f"{method.full_name} has no option (contract.v1.rules) that says who may call it"
        )
    names = said.DESCRIPTOR.fields_by_name["roles"].enum_type.values_by_number
    roles = frozenset(names[number].name.removeprefix("ROLE_") for number in said.roles)
    ends = [
        date.fromisoformat(day) if day else None for day in (said.deprecate_date, said.sunset_date)
    ]
    if (ends[0] is None) != (ends[1] is None) or (
        ends[0] and ends[1] and ends[1] < ends[0] + NOTICE
    ):
        raise TypeError(
            f"{method.full_name}: what is deprecated says since when and until when, a year later"
            " at least"
        )
    reasons = words(said.DESCRIPTOR.fields_by_name["refusals"].enum_type)
    scope = words(said.DESCRIPTOR.fields_by_name["scope"].enum_type).get(said.scope, "")
    refused = frozenset(reasons[number] for number in said.refusals) | (
        {"step_up_required"} if said.step_up else set()
    )
    return Rules(
        roles,
        scope,
        said.public,
        not said.unrecorded,
        said.unversioned,
        refused,
        ends[0],
        ends[1],
        said.step_up,
    )


@cache
def refusals(method: MethodDescriptor) -> frozenset[str]:
    """Every reason that an rpc may refuse with: the usual ones of its kind, and those that its
    .proto names.
    """
    return _reasons(method)


def _reasons(method: MethodDescriptor) -> frozenset[str]:
    given = rules(method)
    reasons = _EVERY | given.refusals | (frozenset() if given.public else _WITH_TOKEN)
    if "request_id" in method.input_type.fields_by_name:
        reasons |= {"request_id_reused"}
    return reasons | {"stale_etag"} if _takes_etag(method.input_type) else reasons


def _takes_etag(request: Descriptor) -> bool:
    inside = [field.message_type for field in request.fields if field.message_type is not None]
    return any("etag" in message.fields_by_name for message in (request, *inside))
