"""Requests that no correct client sends.

Every field of every rpc gets unexpected values. Each request is refused with a status code and a
reason, or succeeds; it never causes a fault.
"""

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chassis.shape import TIME
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import refusal, wrong_fields
from tests.referrals.conftest import Client, Story
from tests.referrals.honest_referrals import MakeRequest
from tests.referrals.honest_referrals import started as started
from tests.referrals.honest_requests import REQUESTS

DECLARED_CODES = {
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "ABORTED",
    "ALREADY_EXISTS",
    "RESOURCE_EXHAUSTED",
}


def token_of(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


NASTY_TEXTS = [
    "\x00",
    "\x1b[31ma\x00b\r\n",
    "ñ" * 4_001,
    "HOU\n",
    "v99999999999999999999",
    "'; DROP TABLE people; --",
    "f" * 32,
    "es" + "-aaaaaaaa" * 500,
    "2026-W01-1",
    "\ufeff\u202e\U0001f4a5",
]
NASTY_TOKENS = [
    token_of("never", "f" * 32),
    token_of("infinity", "\x00"),
    token_of("2026-03-04 18:00:00+23:59", "f" * 32),
    token_of("0001-01-01 00:00:00+14:00", "f" * 32),
    token_of("infinity", "never", "f" * 32),
    token_of("9" * 60),
    token_of(1, None),
    base64.urlsafe_b64encode(b"[" * 5_000).decode(),
]
NASTY_NUMBERS = [-(2**31), -1, 0, 21, 366, 2**31 - 1]
NASTY_ENUMS = [-1, 0, 99, 2**31 - 1]
NASTY_TIMES = [
    (-(2**63), 0),
    (2**63 - 1, 0),
    (-62135596800, 0),
    (253402300799, 999_999_999),
    (0, -1),
    (0, 2**31 - 1),
]
MAX_DEPTH = 3
# The fields of Referral that a request may set.
_SET_IN_REFERRAL = {
    "id",
    "etag",
    "need_code",
    "urgency",
    "urgency_reason_code",
    "service_id",
    "receipt_id",
    "contact_id",
    "assault_time",
    "unsafe_code",
    "unsafe_organization_ids",
    "unsafe_departments",
}
# Fields that only answers use, in messages that requests use too: no rpc reads them, so no rpc can
# fail on them.
ANSWER_FIELDS = {
    "Referral": {*pb.Referral.DESCRIPTOR.fields_by_name} - _SET_IN_REFERRAL,
    "Contact": {
        "organization_id",
        "urgency",
        "pathway_code",
        "reference_hint",
        "create_time",
        "update_time",
        "later_notes",
        "unheard",
        "called_before",
        "medicine_codes",
    },
    "Callback": {"asked_by_herself", "tries", "outcome_code", "reference_hint", "person_id"},
    "Receipt": {
        "id",
        "recorded_by_worker_id",
        "create_time",
        "withdraw_time",
        "signature",
        "reason_code",
        "confirm_time",
        "confirmed_by_worker_id",
        "confirm_until_time",
        "genuine",
        "live",
    },
}


def mutations(request: Any, depth: int = 0) -> Iterator[Callable[[Any], None]]:
    """Yields functions that each spoil one field of a request and keep the others."""
    for field in request.DESCRIPTOR.fields:
        name = field.name
        if depth and name in ANSWER_FIELDS.get(request.DESCRIPTOR.name, ()):
            continue
        if field.is_repeated:
            for value in _values(field):
                yield partial(_add, name, [value])
            yield partial(_add, name, _values(field)[:2] * 150)
        elif field.message_type is not None and field.message_type.full_name == TIME:
            for seconds, nanos in NASTY_TIMES:
                yield partial(_set_time, name, seconds, nanos)
        elif field.message_type is not None:
            if depth < MAX_DEPTH:
                yield partial(_clear, name)
                for inner in mutations(getattr(request, name), depth + 1):
                    yield partial(_inside, name, inner)
        else:
            for value in _values(field):
                yield partial(_set, name, value)


def _values(field: FieldDescriptor) -> list[Any]:
    if field.type == FieldDescriptor.TYPE_STRING:
        if field.name == "request_id":
            return []  # The chassis reads it in the same way for every service; see the last test.
        return NASTY_TEXTS + NASTY_TOKENS if field.name == "page_token" else NASTY_TEXTS
    if field.type == FieldDescriptor.TYPE_ENUM:
        return NASTY_ENUMS
    if field.type == FieldDescriptor.TYPE_BOOL:
        return [True]
    return NASTY_NUMBERS if field.message_type is None else []


def _add(name: str, values: list[Any], request: Any) -> None:
    getattr(request, name).extend(values)


def _set(name: str, value: Any, request: Any) -> None:
    setattr(request, name, value)


def _clear(name: str, request: Any) -> None:
    request.ClearField(name)


def _inside(name: str, spoil: Callable[[Any], None], request: Any) -> None:
    spoil(getattr(request, name))


def _set_time(name: str, seconds: int, nanos: int, request: Any) -> None:
    time = getattr(request, name)
    time.seconds, time.nanos = seconds, nanos


def answer_of(client: Client, rpc: str, request: Any) -> tuple[str, str]:
    """Returns ("OK", "") or (code, reason).

    The reason is empty if the service itself did not refuse the request.
    """
    try:
        getattr(client, rpc)(request)
    except grpc.RpcError as caught:
        error: Any = caught
        status = rpc_status.from_call(error)
        info = error_details_pb2.ErrorInfo()
        for detail in status.details if status else ():
            _ = detail.Unpack(info)
        return error.code().name, info.reason
    return "OK", ""


@pytest.mark.long
@pytest.mark.parametrize("name", REQUESTS)
def test_no_spoiled_field_of_a_request_causes_a_fault(name: str, story: Story) -> None:
    spoil_each_field(name.split(" ")[0], REQUESTS[name], story)


def spoil_each_field(rpc: str, make_request: MakeRequest, story: Story) -> None:
    """Sends a request once for each wrong value of each of its fields, and then as it is.

    Every wrong value has to be accepted, or refused with a reason.
    """
    client, valid_request = make_request(story)
    faults: list[tuple[str, str, str]] = []
    # the valid request can be sent again after a spoiled copy of it has succeeded
    reusable = rpc != "GetReferenceStatus" and rpc.startswith(
        ("Get", "List", "Count", "Create", "Open", "Verify")
    )
    fresh = True
    for spoil in mutations(valid_request):
        if not fresh:
            client, valid_request = make_request(story)
            fresh = True
        request = type(valid_request)()
        request.CopyFrom(valid_request)
        spoil(request)
        code, reason = answer_of(client, rpc, request)
        if code != "OK" and (code not in DECLARED_CODES or not reason):
            faults.append((code, reason, str(request)[:120]))
        # these rpcs count wrong PINs, so each attempt needs a new contact
        if code == "OK" or rpc in (
            "GetReferenceStatus",
            "WithdrawConsentByReference",
            "ConfirmHelp",
        ):
            fresh = reusable
    client, valid_request = make_request(story)
    code, reason = answer_of(client, rpc, valid_request)
    assert code == "OK" or reason == "nothing_to_confirm", (
        f"the valid request itself: {code} {reason}"
    )
    assert not faults, f"{len(faults)}: {faults[:5]}"


@pytest.mark.parametrize("value", ["HOU\n", "hou", "XXX", "HOU.EMG.MORE", "HOU.\x00\x00\x00"])
def test_a_need_code_has_to_match_exactly(value: str, story: Story) -> None:
    assert wrong_fields(lambda: story.draft(need_code=value)) == [("need_code", "unknown_code")]


def test_a_birth_date_that_does_not_exist_is_refused(story: Story) -> None:
    assert wrong_fields(lambda: story.person(birth_date="2001-02-30")) == [
        ("identity.birth_date", "malformed")
    ]


def test_a_refusal_lists_at_most_twenty_fields(story: Story) -> None:
    give = partial(story.receipt, story.person().id, purposes=["no need"] * 20)
    assert len(wrong_fields(lambda: give(giver="", recipient=""))) == 20


def test_an_update_of_a_draft_names_a_wrong_field_by_its_path_in_the_request(story: Story) -> None:
    draft = story.draft()
    change = pb.Referral(
        id=draft.id,
        etag=draft.etag,
        service_id="x",
        receipt_id="x",
        contact_id="x",
        assault_time=Timestamp(seconds=2**36),
        unsafe_code=pb.UNSAFE_ANSWER_NAMED,
    )
    for field, path, reason in (
        ("service_id", "service_id", "malformed"),
        ("receipt_id", "receipt_id", "malformed"),
        ("contact_id", "contact_id", "malformed"),
        ("assault_time", "assault_time", "out_of_range"),
        ("unsafe_code", "unsafe_organization_ids", "required"),
    ):
        request = pb.UpdateReferralRequest(referral=change, update_mask=FieldMask(paths=[field]))
        assert wrong_fields(partial(story.ngo.UpdateReferral, request)) == [
            (f"referral.{path}", reason)
        ]


def test_a_refusal_never_repeats_what_was_sent(story: Story) -> None:
    draft = story.draft()
    request = pb.UpdateReferralRequest(
        referral=pb.Referral(id=draft.id, etag=draft.etag), update_mask=FieldMask(paths=["Ximena"])
    )
    assert wrong_fields(lambda: story.ngo.UpdateReferral(request)) == [
        ("update_mask", "unknown_code")
    ]
    with pytest.raises(grpc.RpcError) as caught:
        story.ngo.UpdateReferral(request)
    error: Any = caught.value
    assert "Ximena" not in f"{error.details()} {error.trailing_metadata()}"


def test_an_etag_that_never_existed_is_stale_and_a_missing_one_is_required(story: Story) -> None:
    acknowledge = partial(story.shelter.AcknowledgeReferral, id=story.sent().id)
    for etag in ("v0", "v99", "1", "W/v2", "v-2", "v٣", "v" + "9" * 40):
        assert refusal(partial(acknowledge, etag=etag)) == ("ABORTED", "stale_etag")
    assert wrong_fields(acknowledge) == [("etag", "required")]


def test_a_page_never_has_more_than_two_hundred_referrals(story: Story) -> None:
    person = story.person()
    for _ in range(201):
        story.draft(person)
    assert len(story.ngo.ListReferrals(page_size=2**31 - 1).referrals) == 200
    assert wrong_fields(lambda: story.ngo.ListReferrals(page_size=-1)) == [
        ("page_size", "out_of_range")
    ]


def test_a_request_id_that_cannot_be_stored_is_refused(story: Story) -> None:
    assert wrong_fields(lambda: story.ngo.CreatePerson(request_id="twice\x00")) == [
        ("request_id", "malformed")
    ]
