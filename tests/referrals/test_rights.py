"""The rights to call each rpc, and the callers for whom a referral or a file exists.

Every cell of docs/rights.md about this service is tested.
"""

from typing import Any

import grpc
import pytest

from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests import rights_table
from tests.builders import with_required_fields
from tests.parts.callers import REQUESTS
from tests.referrals.conftest import Client, Service, Story
from tests.rights_table import SCOPES

SERVICES = rights_table.services_of("referrals")
CALLERS = {
    "sender": ("ngo", "WORKER"),
    "receiver": ("shelter", "WORKER"),
    "coordinator": ("coalition", "COORDINATOR"),
    "auditor": ("coalition", "AUDITOR"),
    "another member": ("clinic", "WORKER"),
}
BY_REFERRAL = {
    method.name
    for method in pb.DESCRIPTOR.services_by_name["Referrals"].methods
    if method.name
    not in (
        "CreateReferral",
        "ListReferrals",
        "CountReferrals",
        "GetQueueVersion",
        "BatchGetQueueVersions",
        "WatchReferrals",
        "GetDeadlinePolicy",
        "PublishDeadlinePolicy",
    )
}
BY_REFERRAL_OF_PEOPLE = ("GetSafeContact", "OpenSafeContact")
BY_PERSON = (
    "GetPerson",
    "UpdatePerson",
    "UpdateIdentity",
    "SetSafeContact",
    "ListReceipts",
    "ListReadings",
    "CreateReceipt",
    "ExportPerson",
)
OWN_FILE_ONLY = (
    "UpdatePerson",
    "UpdateIdentity",
    "SetSafeContact",
    "ListReadings",
    "CreateReceipt",
    "ExportPerson",
)  # a receiver sees the file, but only the file's organisation may call these rpcs
UNKNOWN = "f" * 32


@pytest.mark.parametrize("descriptor", SERVICES, ids=lambda descriptor: descriptor.name)
def test_every_rpc_admits_exactly_the_callers_that_the_page_names(
    descriptor: Any, service: Service
) -> None:
    def metadata(role: str, scope: str) -> Any:
        return service.as_(
            "ngo", *([role] if role else []), scopes=(scope,) if scope else ()
        ).metadata()

    cells = rights_table.check(descriptor, service.channel, metadata, SCOPES, service.database)
    assert cells == len(descriptor.methods) * (1 + len(rights_table.ROLES) + len(SCOPES))


def referral_in(story: Story, stage: str) -> pb.Referral:
    """Returns a referral in one of the stages of the page."""
    if stage == "draft":
        return story.draft()
    sent = story.sent()
    if stage == "ended":
        story.ngo.WithdrawReferral(id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    return sent


def call(client: Client, rpc: str, request: Any) -> tuple[str, bytes]:
    """Returns the status code and all bytes of the answer."""
    try:
        getattr(client, rpc)(request)
    except grpc.RpcError as caught:
        error: Any = caught
        texts = [
            value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"
        ]
        return error.code().name, b"".join(texts) + str(error.details()).encode()
    return "OK", b""


@pytest.mark.parametrize("side", rights_table.SIDES)
@pytest.mark.parametrize("stage", rights_table.STAGES)
def test_a_referral_exists_only_where_the_page_says_so_and_otherwise_looks_unknown(
    stage: str, side: str, story: Story, service: Service
) -> None:
    table = {row.rpc: row for row in rights_table.rows("enlace.referrals.v1.Referrals")}
    referral, (organization, role) = referral_in(story, stage), CALLERS[side]
    exists = rights_table.exists("referral")[stage, side]
    for role_ in {role, "WORKER", "MANAGER"} if role == "WORKER" else {role}:
        client = service.as_(organization, role_)
        for rpc in BY_REFERRAL:
            answer, answer_if_unknown = (
                call(client, rpc, request_for(rpc, identifier))
                for identifier in (referral.id, UNKNOWN)
            )
            if not table[rpc].lets_in(role_):
                assert answer[0] == answer_if_unknown[0] == "PERMISSION_DENIED", rpc
            elif not exists:
                assert answer == answer_if_unknown, rpc
                assert answer[0] == "NOT_FOUND", rpc
            elif rpc == "UpdateReferral" and side != "sender":
                assert answer[0] in ("NOT_FOUND", "ABORTED"), rpc
            elif rpc == "AddNote":  # the rpc checks only the state, and not the version
                assert answer[0] in ("OK", "FAILED_PRECONDITION"), (rpc, answer)
            else:
                assert answer[0] in ("OK", "ABORTED"), (rpc, answer)


def request_for(rpc: str, identifier: str) -> Any:
    """Returns a request about this referral that changes nothing.

    The request names a version that never existed; the answer shows whether the referral was found.
    """
    request = REQUESTS[rpc]()
    if rpc == "UpdateReferral":
        request.referral.id, request.referral.etag = identifier, "v0"
        request.update_mask.paths.append("need_code")
    elif rpc == "ListReferralEvents":
        request.referral_id = identifier
    else:
        request.id = identifier
        if "etag" in request.DESCRIPTOR.fields_by_name:
            request.etag = "v0"
    return with_required_fields(request)


@pytest.mark.parametrize("side", rights_table.SIDES)
@pytest.mark.parametrize("stage", rights_table.STAGES)
@pytest.mark.parametrize(
    ("rpcs", "field", "codes"),
    [
        (BY_PERSON, "person_id", ("OK", "ABORTED", "INVALID_ARGUMENT")),
        (BY_REFERRAL_OF_PEOPLE, "id", ("OK",)),
    ],
    ids=["file", "safe-contact plan"],
)
def test_a_file_and_its_plan_exist_only_where_the_page_says_so_and_otherwise_look_unknown(
    rpcs: tuple[str, ...],
    field: str,
    codes: tuple[str, ...],
    stage: str,
    side: str,
    story: Story,
    service: Service,
) -> None:
    table = {row.rpc: row for row in rights_table.rows("enlace.referrals.v1.People")}
    referral, (organization, role) = referral_in(story, stage), CALLERS[side]
    exists = rights_table.exists("file of a person")[stage, side]
    client = service.as_(organization, role)
    for rpc in rpcs:
        answer, answer_if_unknown = (
            call(client, rpc, request_about(rpc, identifier))
            for identifier in (getattr(referral, field), UNKNOWN)
        )
        if not table[rpc].lets_in(role):
            assert answer[0] == answer_if_unknown[0] == "PERMISSION_DENIED", rpc
        elif not exists or (side == "receiver" and rpc in OWN_FILE_ONLY):
            assert answer == answer_if_unknown, rpc
            assert answer[0] == "NOT_FOUND", rpc
        else:
            assert answer[0] in codes, (rpc, answer)


def request_about(rpc: str, identifier: str) -> Any:
    """Returns a request about this file that changes nothing."""
    request = REQUESTS[rpc]()
    names = request.DESCRIPTOR.fields_by_name
    if rpc == "CreateReceipt":
        request.receipt.person_id = identifier
        request.receipt.until_time.FromSeconds(1)
        with_required_fields(request.receipt)
    elif rpc in BY_REFERRAL_OF_PEOPLE:
        request.referral_id = identifier
    elif "person_id" in names:
        request.person_id = identifier
    elif rpc == "UpdatePerson":
        request.person.id, request.person.etag = identifier, "v0"
        request.update_mask.paths.append("exploitation_country")
    else:
        request.id = identifier
    if "etag" in names:
        request.etag = "v0"
    if rpc == "SetSafeContact":
        request.safe_contact.channel_code = people_pb2.SAFE_CHANNEL_NONE
    if rpc == "UpdateIdentity":
        request.identity.given_name = "Ximena"
    return with_required_fields(request)
