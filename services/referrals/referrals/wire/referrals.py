"""Parses requests about referrals: the fields of a step, a draft, a filter, a policy."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.contract import words_of
from chassis.errors import Invalid
from chassis.tokens import Caller
from chassis.wire import ANY_YEAR, mask_names, moment, optional_id, word, words
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.wire.messages import unsafe_departments, unsafe_organizations
from services.referrals.network.domain.codes import Check, beginnings_of
from services.referrals.network.domain.deadline import Key, Policy, Span
from services.referrals.network.wire.messages import CLOCKS, URGENCIES
from services.referrals.referrals.domain.draft import Draft
from services.referrals.referrals.domain.filter import Filter
from services.referrals.referrals.domain.lifecycle import BY_VERB
from services.referrals.referrals.wire.messages import STATES

_BOXES = {
    pb.BOX_INBOX: "inbox",
    pb.BOX_OUTBOX: "outbox",
    pb.BOX_NETWORK: "network",
    pb.BOX_MINE: "mine",
    pb.BOX_UNSPECIFIED: "mine",
}
_UNSAFE = ("unsafe_code", "unsafe_organization_ids", "unsafe_departments")
_DRAFT_FIELDS = (
    "need_code",
    "urgency",
    "service_id",
    "receipt_id",
    "contact_id",
    "assault_time",
    "urgency_reason_code",
    *_UNSAFE,
)


class StepRequest(Protocol):
    """The request of a step: these fields, and the fields that the step's row carries."""

    id: str
    etag: str


def _steps() -> Iterable[tuple[str, type[Message], str]]:
    for rpc in pb.DESCRIPTOR.services_by_name["Referrals"].methods:
        # accept for AcceptReferral, enter_in_error for EnterReferralInError
        verb = words_of(rpc.name).replace("_referral", "")
        if verb in BY_VERB:
            yield rpc.name, GetMessageClass(rpc.input_type), verb


VERB_OF: Mapping[type[Any], str] = {request: verb for _, request, verb in _steps()}
"""The verb of each step's request; its row is BY_VERB[verb]."""
STEP_RPCS = tuple(rpc for rpc, _, _ in _steps())
"""The rpcs that are steps of the lifecycle table."""


def step_fields(verb: str, request: StepRequest) -> dict[str, Any]:
    """Returns the fields that the row of a verb carries.

    Raises Invalid for a malformed id or time.
    """
    return {field.name: _value(request, field.name) for field in BY_VERB[verb].carries}


def _value(request: Any, name: str) -> Any:
    field, value = request.DESCRIPTOR.fields_by_name[name], getattr(request, name)
    if field.message_type is not None:
        return moment(request, name)
    if field.enum_type is not None:
        return words(field.enum_type).get(value, "")  # the shape was checked before
    if field.is_repeated:
        return tuple(value)
    return optional_id(value, name) if name.endswith("_id") else value


def new_draft(request: pb.CreateReferralRequest) -> Draft:
    """Parses the fields of a new draft."""
    return Draft(
        need_code=request.need_code or None,
        urgency=URGENCIES.member(request.urgency, "urgency"),
        service_id=optional_id(request.service_id, "service_id") or None,
        contact_id=optional_id(request.contact_id, "contact_id") or None,
        assault_time=moment(request, "assault_time"),
        urgency_reason_code=word(
            pb.UrgencyReason, request.urgency_reason_code, "urgency_reason_code"
        ),
        **_unsafe(request, [name for name in _UNSAFE if getattr(request, name)]),
    )


def changed_draft(request: pb.UpdateReferralRequest) -> Draft:
    """Parses the fields that the mask names."""
    paths = mask_names(request.update_mask, _DRAFT_FIELDS)
    message = request.referral
    path = "referral."
    ids: dict[str, Any] = {
        name: optional_id(getattr(message, name), path + name)
        for name in ("service_id", "receipt_id", "contact_id")
        if name in paths
    }
    return Draft(
        path,
        need_code=message.need_code if "need_code" in paths else None,
        urgency=URGENCIES.member(message.urgency, f"{path}urgency") if "urgency" in paths else None,
        without_urgency="urgency" in paths and not message.urgency,
        assault_time=moment(message, "assault_time", f"{path}assault_time")
        if "assault_time" in paths
        else None,
        without_assault="assault_time" in paths and not message.HasField("assault_time"),
        urgency_reason_code=word(
            pb.UrgencyReason, message.urgency_reason_code, f"{path}urgency_reason_code"
        )
        if "urgency_reason_code" in paths
        else "",
        **ids,
        **_unsafe(message, paths, path),
    )


def _unsafe(
    message: pb.CreateReferralRequest | pb.Referral, names: Collection[str], path: str = ""
) -> dict[str, Any]:
    """Parses the fields among `names` that say who or what place is unsafe for the person."""
    code, organizations, departments = _UNSAFE
    values: dict[str, Callable[[], Any]] = {
        code: lambda: word(pb.UnsafeAnswer, message.unsafe_code, path + code),
        organizations: lambda: unsafe_organizations(
            message.unsafe_organization_ids, path + organizations
        ),
        departments: lambda: unsafe_departments(message.unsafe_departments, path + departments),
    }
    return {name: value() for name, value in values.items() if name in names}


def filter(
    message: pb.ReferralFilter, caller: Caller, now: datetime, path: str = "filter."
) -> Filter:
    """Parses a filter; `path` is the prefix of its fields' paths in a refusal."""
    box = _BOXES.get(message.box)
    if box is None:
        raise Invalid((f"{path}box", "unknown_code"))
    check = Check()
    check.need(f"{path}need_code", message.need_code)
    check.require(not message.code or bool(beginnings_of(message.code)), f"{path}code", "malformed")
    check.done()
    if box == "network" and not (caller.has("COORDINATOR") or caller.has("AUDITOR")):
        # A caller who may not see the network gets the referrals of the caller's own organisation,
        # since row-level security would show no other referrals.
        box = "mine"
    return Filter(
        box,
        caller.organization_id,
        now,
        states=tuple(STATES.members(message.states, f"{path}states")),
        need_code=message.need_code,
        urgency=URGENCIES.member(message.urgency, f"{path}urgency"),
        due_before=moment(message, "due_before", f"{path}due_before", years=ANY_YEAR),
        due_after=moment(message, "due_after", f"{path}due_after", years=ANY_YEAR),
        modified_after=moment(message, "modified_after", f"{path}modified_after", years=ANY_YEAR),
        live=message.live,
        waiting_for_me=message.waiting_for_me,
        waiting_for_other=message.waiting_for_other,
        person_id=optional_id(message.person_id, f"{path}person_id"),
        contact_id=optional_id(message.contact_id, f"{path}contact_id"),
        late=message.late,
        due_soon=message.due_soon,
        unanswered=message.unanswered,
        pressing=message.pressing,
        code=message.code,
    )


def policy_message(policy: Policy) -> pb.DeadlinePolicy:
    """Returns one version of the network's deadlines as a message."""
    return pb.DeadlinePolicy(
        version=policy.version,
        deadlines=[
            pb.PolicyDeadline(
                urgency=URGENCIES.number(urgency),
                clock=CLOCKS.number(kind),
                seconds=0 if isinstance(span, int) else int(span.total_seconds()),
                working_days=span if isinstance(span, int) else 0,
            )
            for (urgency, kind), span in policy.all()
        ],
    )


def spans(deadlines: Iterable[pb.PolicyDeadline]) -> dict[Key, Span]:
    """Parses the deadlines of a policy.

    Raises Invalid for a deadline that occurs twice, or that has both seconds and working days.
    """
    spans: dict[Key, Span] = {}
    for number, deadline in enumerate(deadlines):
        kind = CLOCKS.member(deadline.clock, f"deadlines.{number}.clock")
        if kind is None:
            raise Invalid((f"deadlines.{number}.clock", "required"))
        key = URGENCIES.member(deadline.urgency, f"deadlines.{number}.urgency"), kind
        if key in spans or (deadline.seconds and deadline.working_days):
            raise Invalid((f"deadlines.{number}", "out_of_range"))
        spans[key] = deadline.working_days or timedelta(seconds=deadline.seconds)
    return spans
