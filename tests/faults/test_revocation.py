"""Revocations, whatever happens to the facts about them.

A revoked key, a suspended worker and a suspended member have no success later than five seconds
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
from tests.parts.still import standing_still
from tests.parts.stories import STEPS, Cast

pytestmark = [pytest.mark.alone, pytest.mark.long]
PROMISED = 5.0
PASSWORD = "una clave bastante larga"


@pytest.fixture(params=["broker", "none"])
def silent(victim: LocalStack, request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs the test once with a broker that hangs, and once with a working broker.

    While the broker hangs no fact is delivered.
    """
    with ExitStack() as cleanup:
        if request.param != "none":
            cleanup.enter_context(standing_still(victim.pid(request.param)))
        yield
    victim.wait_healthy()


@pytest.mark.usefixtures("silent")
def test_a_revoked_key_stops_working_within_five_seconds(victim: LocalStack) -> None:
    manager = victim.worker("MANAGER")
    created = key_of(manager)
    ways = calls_of(victim, members_pb2.IssueTokenRequest(api_key=created.secret), created.secret)
    check_that_calls_end(
        ways,
        lambda: manager.members.RevokeApiKey(
            members_pb2.RevokeApiKeyRequest(id=created.api_key.id, request_id=new_id())
        ),
    )


@pytest.mark.usefixtures("silent")
def test_a_suspended_worker_is_locked_out_within_five_seconds(victim: LocalStack) -> None:
    manager = victim.worker("MANAGER")
    email = f"{new_id()[:12]}@ejemplo.demo"
    own = manager.members.ListWorkers(members_pb2.ListWorkersRequest()).workers[0].organization_id
    with victim.database("partners") as tx:  # an invitation would wait for the broker
        created = create_worker(
            tx,
            datetime.now(UTC),
            own,
            WorkerEntry(name="Ejemplo", email=email, roles=(Role.WORKER,)),
            PASSWORD,
        )
    worker = next(
        listed
        for listed in manager.members.ListWorkers(members_pb2.ListWorkersRequest()).workers
        if listed.id == created.id
    )
    secret = signed_in(victim, email)
    ways = calls_of(victim, members_pb2.IssueTokenRequest(session_secret=secret), secret)
    check_that_calls_end(
        ways,
        lambda: manager.members.SuspendWorker(
            members_pb2.SuspendWorkerRequest(id=worker.id, etag=worker.etag, request_id=new_id())
        ),
    )


@pytest.mark.usefixtures("silent")
def test_a_suspended_member_is_locked_out_within_five_seconds(victim: LocalStack) -> None:
    coordinator, manager = victim.worker("COORDINATOR"), victim.worker("casa@amanecer")
    key = key_of(manager).secret
    ways = calls_of(victim, members_pb2.IssueTokenRequest(api_key=key), key)
    request = directory_pb2.GetOrganizationRequest(id=victim.client_of_key(key).organization_id)
    organization = coordinator.directory.GetOrganization(request)
    second = victim.worker("coordinacion@gobernacion")

    def now() -> dict[str, Any]:
        return {
            "id": organization.id,
            "etag": coordinator.directory.GetOrganization(request).etag,
            "request_id": new_id(),
        }

    hold_request = directory_pb2.SuspendOrganizationRequest(
        **now(), reason=directory_pb2.SUSPENSION_REASON_FRONT, hold=True
    )
    try:
        check_that_calls_end(ways, lambda: coordinator.directory.SuspendOrganization(hold_request))
    finally:
        second.directory.SuspendOrganization(directory_pb2.SuspendOrganizationRequest(**now()))
        for by in (coordinator, second):
            by.directory.ReinstateOrganization(directory_pb2.ReinstateOrganizationRequest(**now()))


def test_legitimate_work_continues_without_refusals_while_no_fact_is_delivered(
    victim: LocalStack, cast: Cast
) -> None:
    """Works by gRPC and by REST for longer than a token lives."""
    person_id, receipt_id = cast.person()
    headers = {"Authorization": f"Bearer {cast.sender.api_key}"}
    rounds = 0
    with standing_still(victim.pid("broker")):
        end = time.monotonic() + 12
        while time.monotonic() < end:
            send_and_step(cast, person_id, receipt_id, STEPS[0])
            for path in ("referrals", "notifications"):
                assert (
                    requests.get(
                        f"{victim.gateway}/api/v1/{path}", headers=headers, timeout=10
                    ).status_code
                    == 200
                )
            rounds += 1
    victim.wait_healthy()
    assert rounds > 5


def key_of(manager: Client) -> members_pb2.CreateApiKeyResponse:
    request = members_pb2.CreateApiKeyRequest(
        label="x",
        scopes=[contract_pb2.SCOPE_REFERRALS_READ, contract_pb2.SCOPE_NOTIFICATIONS],
        request_id=new_id(),
    )
    created: members_pb2.CreateApiKeyResponse = manager.members.CreateApiKey(request)
    return created


def signed_in(stack: LocalStack, email: str) -> str:
    answer = stack.nobody().tokens.SignIn(
        members_pb2.SignInRequest(email=email, password=PASSWORD), timeout=10
    )
    return str(answer.session_secret)


def calls_of(
    stack: LocalStack, credential: members_pb2.IssueTokenRequest, bearer: str
) -> dict[str, Callable[[], bool]]:
    """Returns functions, by name, that each make a call and return whether it succeeded.

    They call by gRPC with the latest token, or by REST with the credential itself.
    """
    nobody = stack.nobody()
    current = {"tokens": dict(nobody.tokens.IssueToken(credential, timeout=10).tokens)}

    def renew() -> None:
        """Replaces the tokens by new ones, if the credential still gets any."""
        with suppress(grpc.RpcError):
            current["tokens"] = dict(nobody.tokens.IssueToken(credential, timeout=10).tokens)

    def by_grpc(service: str, ask: Callable[..., object]) -> bool:
        renew()
        try:
            ask(metadata=[("authorization", f"Bearer {current['tokens'][f'enlace.{service}']}")])
        except grpc.RpcError as error:
            if error.code() in (
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            ):
                # The call did not succeed; on a machine that is busy with other tests it may also
                # have timed out or been refused.
                return False
            raise
        return True

    def by_rest(path: str) -> bool:
        answer = requests.get(
            f"{stack.gateway}/api/v1/{path}",
            headers={"Authorization": f"Bearer {bearer}"},
            timeout=10,
        )
        assert answer.status_code in (200, 401, 403, 429, 503), answer.text
        return answer.status_code == 200

    return {
        "referrals": lambda: by_grpc(
            "referrals",
            lambda **how: nobody.referrals.ListReferrals(
                referrals_pb2.ListReferralsRequest(), **how
            ),
        ),
        "what is watched": lambda: by_grpc(  # up to the end of the stream, with its last message
            "referrals",
            lambda **how: list(
                nobody.referrals.WatchReferrals(referrals_pb2.WatchReferralsRequest(), **how)
            ),
        ),
        "notifications": lambda: by_grpc(
            "notifications",
            lambda **how: nobody.notifications.CountUnread(
                notifications_pb2.CountUnreadRequest(), **how
            ),
        ),
        "referrals by REST": lambda: by_rest("referrals"),
        "notifications by REST": lambda: by_rest("notifications"),
    }


def check_that_calls_end(ways: dict[str, Callable[[], bool]], revoke: Callable[[], object]) -> None:
    """Calls in each way ten times a second, starting before the revocation.

    Fails if a call succeeds more than the promised seconds after the answer to the revocation.
    """
    last = dict.fromkeys(ways, 0.0)
    wrong: list[BaseException] = []
    stop = threading.Event()

    def call_repeatedly(name: str) -> None:
        try:
            while not stop.is_set():
                if ways[name]():
                    last[name] = time.monotonic()
                stop.wait(0.1)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=call_repeatedly, args=(name,)) for name in ways]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 10
    while not all(last.values()):
        assert not wrong
        assert time.monotonic() < end, last
        time.sleep(0.02)
    revoke()
    done = time.monotonic()
    stop.wait(PROMISED + 2)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert {name: at - done for name, at in last.items() if at - done > PROMISED} == {}
