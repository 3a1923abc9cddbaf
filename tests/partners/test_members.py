"""Workers and keys: who may make keys, what is refused, and what ends when they end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from functools import partial

import grpc
import pytest

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import NOON, Scene
from tests.rights_table import SCOPES


def test_a_key_cannot_be_made_for_an_organisation_that_is_not_the_callers_own(scene: Scene) -> None:
    other = scene.organization("Ajena")
    manager = scene.by(scene.organization("Propia"), Role.MANAGER)
    for id in (other.id, "0" * 32, "x"):
        assert (
            refusal(
                partial(
                    manager.CreateApiKey,
                    label="x",
                    scopes=[contract_pb2.SCOPE_DIRECTORY_READ],
                    organization_id=id,
                )
            )
            == NOT_FOUND
        )


def test_workers_are_listed_by_name_for_their_own_manager(scene: Scene) -> None:
    own = scene.organization()
    manager = scene.by(own, Role.MANAGER)  # Xiomara
    for name in ("Zoila", "Álvaro", "berta"):
        scene.worker(own, name=name)
    scene.worker(scene.organization("Ajena"), name="Otra")
    first = manager.ListWorkers(page_size=3)
    rest = manager.ListWorkers(page_size=3, page_token=first.next_page_token)
    assert [w.name for w in (*first.workers, *rest.workers)] == [
        "Álvaro",
        "berta",
        "Xiomara Talavera",
        "Zoila",
    ]
    assert not rest.next_page_token
    for caller in (scene.by(own, Role.WORKER), scene.coordinator, scene.by_key(own, *SCOPES)):
        assert refusal(caller.ListWorkers) == ("PERMISSION_DENIED", "right_missing")


def test_a_suspended_worker_loses_access_at_once(scene: Scene) -> None:
    own = scene.organization()
    worker_id = scene.worker(own)
    caller = scene.as_worker(worker_id)
    caller.ListTaxonomyTerms()
    manager = scene.by(own, Role.MANAGER)
    assert manager.SuspendWorker(id=worker_id.id).status == pb.WORKER_STATUS_SUSPENDED
    assert refusal(caller.ListOrganizations) == ("PERMISSION_DENIED", "organization_not_active")
    assert scene.facts(worker_id.id)[-1] == (2, "enlace.worker.suspended.v1")
    assert refusal(lambda: manager.SuspendWorker(id=worker_id.id)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )


def test_only_her_own_manager_suspends_a_worker_and_only_with_a_current_etag(scene: Scene) -> None:
    worker_id = scene.worker(scene.organization("Propia"))
    stranger, manager = (
        scene.by(scene.organization("Ajena"), Role.MANAGER),
        scene.as_worker(scene.worker(scene.coalition, Role.MANAGER)),
    )
    # A coordinator who is a manager too can't suspend another organisation's workers: otherwise the
    # coordinator could invite a first manager of his own choice.
    coordinator_and_manager = scene.by(scene.coalition, Role.MANAGER, Role.COORDINATOR)
    for caller in (stranger, manager, coordinator_and_manager):
        assert refusal(partial(caller.SuspendWorker, id=worker_id.id)) == NOT_FOUND
    mine = scene.worker(scene.coalition)
    assert refusal(lambda: manager.SuspendWorker(id=mine.id, etag="other")) == (
        "ABORTED",
        "stale_etag",
    )


def test_a_keys_secret_is_shown_once_and_kept_as_a_hash(scene: Scene) -> None:
    manager = scene.by(scene.organization(), Role.MANAGER)
    request = pb.CreateApiKeyRequest(
        label="Sistema de casos",
        scopes=[contract_pb2.SCOPE_PEOPLE_READ, contract_pb2.SCOPE_REFERRALS_WRITE],
        request_id="uno",
    )
    created = manager.CreateApiKey(request)
    assert created.secret.startswith(f"enl_{created.api_key.id}_")
    assert manager.CreateApiKey(request) == created, (
        "the same request gets the same answer, and makes no second key"
    )
    assert scene.facts(created.api_key.id) == [(1, "enlace.api_key.created.v1")]
    assert created.api_key.expire_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(days=365)
    assert list(manager.ListApiKeys().api_keys) == [created.api_key]
    secret = created.secret.split("_")[2].encode()
    for table in ("api_keys", "requests", "outbox", "audit"):
        assert secret not in str(scene.rows(f"SELECT * FROM {table}")).encode()


@pytest.mark.parametrize(
    ("wrong", "violation"),
    [
        ({"label": ""}, ("label", "required")),
        ({"scopes": []}, ("scopes", "required")),
        ({"scopes": [contract_pb2.SCOPE_DIRECTORY_READ, 99]}, ("scopes.1", "unknown_code")),
        (
            {"scopes": [contract_pb2.SCOPE_DIRECTORY_READ, contract_pb2.SCOPE_DIRECTORY_READ]},
            ("scopes", "malformed"),
        ),
    ],
)
def test_an_invalid_key_request_is_refused_with_its_field(
    scene: Scene, wrong: dict[str, object], violation: tuple[str, str]
) -> None:
    fields = {"label": "x", "scopes": [contract_pb2.SCOPE_DIRECTORY_READ]} | wrong
    assert wrong_fields(lambda: scene.coordinator.CreateApiKey(**fields)) == [violation]


@pytest.mark.parametrize("days", [-1, 731, 9_000_000])
def test_a_key_ends_within_two_years(scene: Scene, days: int) -> None:
    request = pb.CreateApiKeyRequest(label="x", scopes=[contract_pb2.SCOPE_DIRECTORY_READ])
    request.expire_time.seconds = int(NOON.timestamp()) + days * 86_400
    assert wrong_fields(lambda: scene.coordinator.CreateApiKey(request)) == [
        ("expire_time", "out_of_range")
    ]


def test_two_live_keys_are_the_limit_and_a_revoked_one_makes_room(scene: Scene) -> None:
    own = scene.organization()
    manager = scene.by(own, Role.MANAGER)
    request = pb.CreateApiKeyRequest(label="x", scopes=[contract_pb2.SCOPE_DIRECTORY_READ])

    def create(_: int) -> str:
        try:
            return str(manager.CreateApiKey(request).api_key.id)
        except grpc.RpcError as error:
            return str(error.code().name)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(create, range(4)))
    assert answers.count("FAILED_PRECONDITION") == 2
    assert refusal(lambda: manager.CreateApiKey(request)) == (
        "FAILED_PRECONDITION",
        "too_many_keys",
    )
    (one, _) = (answer for answer in answers if len(answer) == 32)
    revoked = manager.RevokeApiKey(id=one)
    assert revoked.HasField("revoke_time")
    assert manager.RevokeApiKey(id=one) == revoked
    assert scene.facts(one) == [(1, "enlace.api_key.created.v1"), (2, "enlace.api_key.revoked.v1")]
    manager.CreateApiKey(request)
    assert len(manager.ListApiKeys().api_keys) == 3
    scene.advance(days=366)
    scene.by(own, Role.MANAGER).CreateApiKey(request)  # an expired key does not count


def test_a_revoked_key_loses_access_at_once(scene: Scene) -> None:
    own = scene.organization()
    caller = scene.by_key(own, "directory.read")
    caller.ListOrganizations()
    manager = scene.by(own, Role.MANAGER)
    (key,) = manager.ListApiKeys().api_keys
    manager.RevokeApiKey(id=key.id)
    assert refusal(caller.ListOrganizations) == ("PERMISSION_DENIED", "organization_not_active")


def test_a_key_of_another_organisation_is_not_found(scene: Scene) -> None:
    manager = scene.by(scene.organization("Propia"), Role.MANAGER)
    scene.by_key(scene.organization("Ajena"), "directory.read")
    (row,) = scene.rows("SELECT id FROM api_keys")
    for id in (row["id"], "0" * 32, ""):
        assert refusal(partial(manager.RevokeApiKey, id=id)) == NOT_FOUND


def test_each_step_of_an_account_or_a_key_is_on_the_trail(scene: Scene) -> None:
    own = scene.organization()
    manager = scene.by(own, Role.MANAGER)
    created = scene.worker(own)
    manager.SuspendWorker(id=created.id)
    key = manager.CreateApiKey(label="x", scopes=[contract_pb2.SCOPE_DIRECTORY_READ]).api_key
    manager.RevokeApiKey(id=key.id)
    trail = scene.rows("SELECT action, object_id, organization_id FROM audit ORDER BY sequence")
    assert [(row["action"], row["object_id"]) for row in trail] == [
        ("worker_suspend", created.id),
        ("api_key_create", key.id),
        ("api_key_revoke", key.id),
    ]
    assert {row["organization_id"] for row in trail} == {own.id}
