"""Workers and keys: the right to make keys, refused requests, and the end of access."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from functools import partial

import pytest

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import ILLEGAL, NOON, NOT_ACTIVE, RIGHT_MISSING, STALE_ETAG, Scene, Stubs
from tests.partners.test_invitations import answer
from tests.rights_table import SCOPES


def key_request(**fields: object) -> pb.CreateApiKeyRequest:
    defaults = {"label": "x", "scopes": [contract_pb2.SCOPE_DIRECTORY_READ]}
    return pb.CreateApiKeyRequest(**(defaults | fields))  # type: ignore[arg-type]


def test_a_key_cannot_be_made_for_an_organisation_that_is_not_the_callers_own(
    scene: Scene, manager: Stubs
) -> None:
    for id in (scene.organization("Ajena").id, "0" * 32, "x"):
        assert refusal(partial(manager.CreateApiKey, key_request(organization_id=id))) == NOT_FOUND


def test_workers_are_listed_by_name_for_their_own_manager(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    for name in ("Zoila", "Álvaro", "berta"):
        scene.worker(member, name=name)
    scene.worker(scene.organization("Ajena"), name="Otra")
    first = manager.ListWorkers(page_size=3)
    rest = manager.ListWorkers(page_size=3, page_token=first.next_page_token)
    assert [[worker.name for worker in page.workers] for page in (first, rest)] == [
        ["Álvaro", "berta", "Xiomara Talavera"],
        ["Zoila"],
    ]
    assert not rest.next_page_token
    for caller in (scene.by(member, Role.WORKER), scene.coordinator, scene.by_key(member, *SCOPES)):
        assert refusal(caller.ListWorkers) == RIGHT_MISSING


def test_a_suspended_worker_loses_access_at_once(scene: Scene, member: Organization) -> None:
    worker, manager = scene.worker(member), scene.by(member, Role.MANAGER)
    caller = scene.as_worker(worker)
    caller.ListOrganizations()
    assert manager.SuspendWorker(id=worker.id).status == pb.WORKER_STATUS_SUSPENDED
    assert refusal(caller.ListOrganizations) == NOT_ACTIVE
    assert scene.facts(worker.id)[-1] == (2, "enlace.worker.suspended.v1")
    assert refusal(lambda: manager.SuspendWorker(id=worker.id)) == ILLEGAL


def test_only_her_own_manager_suspends_a_worker_and_only_with_a_current_etag(scene: Scene) -> None:
    worker, manager = scene.worker(scene.organization()), scene.by(scene.coalition, Role.MANAGER)
    for caller in (
        scene.by(scene.organization("Ajena"), Role.MANAGER),
        manager,
        # A coordinator who is a manager too can't suspend another organisation's workers: otherwise
        # the coordinator could invite a first manager of his own choice.
        scene.by(scene.coalition, Role.MANAGER, Role.COORDINATOR),
    ):
        assert refusal(partial(caller.SuspendWorker, id=worker.id)) == NOT_FOUND
    colleague = scene.worker(scene.coalition)
    assert refusal(lambda: manager.SuspendWorker(id=colleague.id, etag="other")) == STALE_ETAG


def test_a_keys_secret_is_shown_once_and_stored_as_a_hash(scene: Scene, manager: Stubs) -> None:
    request = key_request(
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
    assert scene.tables_with(created.secret.split("_")[2]) == set()


@pytest.mark.parametrize(
    ("fields", "violation"),
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
    scene: Scene, fields: dict[str, object], violation: tuple[str, str]
) -> None:
    request = key_request(**fields)
    assert wrong_fields(lambda: scene.coordinator.CreateApiKey(request)) == [violation]


@pytest.mark.parametrize("days", [-1, 731, 9_000_000])
def test_a_key_ends_within_two_years(scene: Scene, days: int) -> None:
    request = key_request()
    request.expire_time.seconds = int(NOON.timestamp()) + days * 86_400
    assert wrong_fields(lambda: scene.coordinator.CreateApiKey(request)) == [
        ("expire_time", "out_of_range")
    ]


def test_two_live_keys_are_the_limit_and_a_revoked_one_makes_room(scene: Scene) -> None:
    member, request = scene.organization(), key_request()
    manager = scene.by(member, Role.MANAGER)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, [partial(manager.CreateApiKey, request)] * 4))
    assert sorted(answers) == ["OK"] * 2 + ["too_many_keys"] * 2
    id = manager.ListApiKeys().api_keys[0].id
    revoked = manager.RevokeApiKey(id=id)
    assert revoked.HasField("revoke_time")
    assert manager.RevokeApiKey(id=id) == revoked
    assert scene.facts(id) == [(1, "enlace.api_key.created.v1"), (2, "enlace.api_key.revoked.v1")]
    manager.CreateApiKey(request)
    assert len(manager.ListApiKeys().api_keys) == 3
    scene.advance(days=366)
    scene.by(member, Role.MANAGER).CreateApiKey(request)  # an expired key does not count


def test_a_revoked_key_loses_access_at_once(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    caller = scene.by_key(member, "directory.read")
    caller.ListOrganizations()
    (key,) = manager.ListApiKeys().api_keys
    manager.RevokeApiKey(id=key.id)
    assert refusal(caller.ListOrganizations) == NOT_ACTIVE


def test_a_key_of_another_organisation_is_not_found(scene: Scene, manager: Stubs) -> None:
    scene.by_key(scene.organization("Ajena"), "directory.read")
    (row,) = scene.rows("SELECT id FROM api_keys")
    for id in (row["id"], "0" * 32, ""):
        assert refusal(partial(manager.RevokeApiKey, id=id)) == NOT_FOUND


def test_each_step_of_an_account_or_a_key_is_on_the_trail(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    created = scene.worker(member)
    manager.SuspendWorker(id=created.id)
    key = manager.CreateApiKey(key_request()).api_key
    manager.RevokeApiKey(id=key.id)
    trail = scene.rows("SELECT action, object_id, organization_id FROM audit ORDER BY sequence")
    assert [tuple(row.values()) for row in trail] == [
        ("worker_suspend", created.id, member.id),
        ("api_key_create", key.id, member.id),
        ("api_key_revoke", key.id, member.id),
    ]
