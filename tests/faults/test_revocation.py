"""Revoked credentials stop working, even if no fact is delivered.

No call of a revoked key, a suspended worker or a suspended member succeeds later than five seconds
after the answer to the revocation.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
import requests

from chassis.ids import new_id
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2
from protos.partners.v1 import directory_pb2, members_pb2
from protos.referrals.v1 import referrals_pb2
from services.partners.members.domain.worker import Role, WorkerEntry
from services.partners.members.usecases.workers import create_worker
from tests.faults.test_away import send_and_step
from tests.parts.local_stack import Client, LocalStack
from tests.parts.paused import paused_process
from tests.parts.stories import STEPS, Cast

pytestmark = [pytest.mark.alone, pytest.mark.long]
LIMIT = 5.0
PASSWORD = "una clave bastante larga"


@pytest.fixture(params=["broker", "none"])
def with_and_without_broker(
    faulty_stack: LocalStack, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Runs the test once while the broker hangs, and once with a working broker.

    While the broker hangs, no fact is delivered.
    """
    with ExitStack() as cleanup:
        if request.param != "none":
            cleanup.enter_context(paused_process(faulty_stack.pid(request.param)))
        yield
    faulty_stack.wait_healthy()


@pytest.mark.usefixtures("with_and_without_broker")
def test_a_revoked_key_stops_working_within_five_seconds(faulty_stack: LocalStack) -> None:
    manager = faulty_stack.worker("MANAGER")
    created = create_key(manager)
    calls = calls_of(
        faulty_stack, members_pb2.IssueTokenRequest(api_key=created.secret), created.secret
    )
    check_that_calls_end(
        calls,
        lambda: manager.members.RevokeApiKey(
            members_pb2.RevokeApiKeyRequest(id=created.api_key.id, request_id=new_id())
        ),
    )


@pytest.mark.usefixtures("with_and_without_broker")
def test_a_suspended_worker_is_locked_out_within_five_seconds(faulty_stack: LocalStack) -> None:
    manager = faulty_stack.worker("MANAGER")
    email = f"{new_id()[:12]}@ejemplo.demo"
    organization_id = (
        manager.members.ListWorkers(members_pb2.ListWorkersRequest()).workers[0].organization_id
    )
    with faulty_stack.database("partners") as tx:  # an invitation would wait for the broker
        created = create_worker(
            tx,
            datetime.now(UTC),
            organization_id,
            WorkerEntry(name="Ejemplo", email=email, roles=(Role.WORKER,)),
            PASSWORD,
        )
    worker = next(
        listed
        for listed in manager.members.ListWorkers(members_pb2.ListWorkersRequest()).workers
        if listed.id == created.id
    )
    secret = sign_in(faulty_stack, email)
    calls = calls_of(faulty_stack, members_pb2.IssueTokenRequest(session_secret=secret), secret)
    check_that_calls_end(
        calls,
        lambda: manager.members.SuspendWorker(
            members_pb2.SuspendWorkerRequest(id=worker.id, etag=worker.etag, request_id=new_id())
        ),
    )


@pytest.mark.usefixtures("with_and_without_broker")
def test_a_suspended_member_is_locked_out_within_five_seconds(faulty_stack: LocalStack) -> None:
    coordinator, manager = faulty_stack.worker("COORDINATOR"), faulty_stack.worker("casa@amanecer")
    key = create_key(manager).secret
    calls = calls_of(faulty_stack, members_pb2.IssueTokenRequest(api_key=key), key)
    request = directory_pb2.GetOrganizationRequest(
        id=faulty_stack.client_of_key(key).organization_id
    )
    organization = coordinator.directory.GetOrganization(request)
    second = faulty_stack.worker("coordinacion@gobernacion")

    def current_version() -> dict[str, Any]:
        return {
            "id": organization.id,
            "etag": coordinator.directory.GetOrganization(request).etag,
            "request_id": new_id(),
        }

    hold_request = directory_pb2.SuspendOrganizationRequest(
        **current_version(), reason=directory_pb2.SUSPENSION_REASON_FRONT, hold=True
    )
    try:
        check_that_calls_end(calls, lambda: coordinator.directory.SuspendOrganization(hold_request))
    finally:
        second.directory.SuspendOrganization(
            directory_pb2.SuspendOrganizationRequest(**current_version())
        )
        for coordinator_of_member in (coordinator, second):
            coordinator_of_member.directory.ReinstateOrganization(
                directory_pb2.ReinstateOrganizationRequest(**current_version())
            )


def test_legitimate_work_continues_without_refusals_while_no_fact_is_delivered(
    faulty_stack: LocalStack, cast: Cast
) -> None:
    """Makes calls by gRPC and REST for longer than the lifetime of a token."""
    person_id, receipt_id = cast.person()
    headers = {"Authorization": f"Bearer {cast.sender.api_key}"}
    rounds = 0
    with paused_process(faulty_stack.pid("broker")):
        end = time.monotonic() + 12
        while time.monotonic() < end:
            send_and_step(cast, person_id, receipt_id, STEPS[0])
            for path in ("referrals", "notifications"):
                assert (
                    requests.get(
                        f"{faulty_stack.gateway}/api/v1/{path}", headers=headers, timeout=10
                    ).status_code
                    == 200
                )
            rounds += 1
    faulty_stack.wait_healthy()
    assert rounds > 5


def create_key(manager: Client) -> members_pb2.CreateApiKeyResponse:
    request = members_pb2.CreateApiKeyRequest(
        label="x",
        scopes=[contract_pb2.SCOPE_REFERRALS_READ, contract_pb2.SCOPE_NOTIFICATIONS],
        request_id=new_id(),
    )
    created: members_pb2.CreateApiKeyResponse = manager.members.CreateApiKey(request)
    return created


def sign_in(stack: LocalStack, email: str) -> str:
    answer = stack.nobody().tokens.SignIn(
        members_pb2.SignInRequest(email=email, password=PASSWORD), timeout=10
    )
    return str(answer.session_secret)


def calls_of(
    stack: LocalStack, credential: members_pb2.IssueTokenRequest, bearer: str
) -> dict[str, Callable[[], bool]]:
    """Returns functions by name; each makes a call and returns whether the call succeeded.

    The calls use gRPC with the latest token, or REST with the credential itself.
    """
    nobody = stack.nobody()
    current = {"tokens": dict(nobody.tokens.IssueToken(credential, timeout=10).tokens)}

    def renew() -> None:
        """Replaces the tokens by new ones, if the credential still gets any."""
        with suppress(grpc.RpcError):
            current["tokens"] = dict(nobody.tokens.IssueToken(credential, timeout=10).tokens)

    def call_by_grpc(service: str, call: Callable[..., object]) -> bool:
        renew()
        try:
            call(metadata=[("authorization", f"Bearer {current['tokens'][f'enlace.{service}']}")])
        except grpc.RpcError as error:
            if error.code() in (
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            ):
                # The call did not succeed; on a machine that is busy with other tests, the service
                # may have been unavailable or too busy.
                return False
            raise
        return True

    def call_by_rest(path: str) -> bool:
        answer = requests.get(
            f"{stack.gateway}/api/v1/{path}",
            headers={"Authorization": f"Bearer {bearer}"},
            timeout=10,
        )
        assert answer.status_code in (200, 401, 403, 429, 503), answer.text
        return answer.status_code == 200

    return {
        "referrals": lambda: call_by_grpc(
            "referrals",
            lambda **options: nobody.referrals.ListReferrals(
                referrals_pb2.ListReferralsRequest(), **options
            ),
        ),
        "watch": lambda: call_by_grpc(  # reads the stream to its end
            "referrals",
            lambda **options: list(
                nobody.referrals.WatchReferrals(referrals_pb2.WatchReferralsRequest(), **options)
            ),
        ),
        "notifications": lambda: call_by_grpc(
            "notifications",
            lambda **options: nobody.notifications.CountUnread(
                notifications_pb2.CountUnreadRequest(), **options
            ),
        ),
        "referrals by REST": lambda: call_by_rest("referrals"),
        "notifications by REST": lambda: call_by_rest("notifications"),
    }


def check_that_calls_end(
    calls: dict[str, Callable[[], bool]], revoke: Callable[[], object]
) -> None:
    """Makes each call ten times a second, starting before the revocation.

    Fails if a call succeeds more than LIMIT seconds after the answer to the revocation.
    """
    last_success_at = dict.fromkeys(calls, 0.0)
    errors: list[BaseException] = []
    stop = threading.Event()

    def call_repeatedly(name: str) -> None:
        try:
            while not stop.is_set():
                if calls[name]():
                    last_success_at[name] = time.monotonic()
                stop.wait(0.1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call_repeatedly, args=(name,)) for name in calls]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 10
    while not all(last_success_at.values()):
        assert not errors
        assert time.monotonic() < end, last_success_at
        time.sleep(0.02)
    revoke()
    revoked_at = time.monotonic()
    stop.wait(LIMIT + 2)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert {
        name: at - revoked_at for name, at in last_success_at.items() if at - revoked_at > LIMIT
    } == {}
