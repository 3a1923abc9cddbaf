"""The workers and the API keys of a member: who makes them, and when their access ends.

One manager alone makes only keys that may do no more than she may. For a key that may do more, two
managers are needed. A key ends when its maker is suspended.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from functools import partial

import pytest

from chassis.tokens import SYSTEM, Caller
from chassis.wire import number
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.members.store import workers
from services.partners.members.usecases.api_keys import revoke_keys_of
from services.partners.members.usecases.scopes import scopes_within
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import (
    ILLEGAL,
    NOON,
    NOT_ACTIVE,
    NOTHING_TO_CONFIRM,
    RIGHT_MISSING,
    SECOND_PERSON,
    STALE_ETAG,
    Scene,
    Stubs,
)
from tests.partners.test_invitations import answer
from tests.partners.test_password_resets import facts_with_letters
from tests.rights_table import ROLES, SCOPES


def key_request(**fields: object) -> pb.CreateApiKeyRequest:
    defaults = {"label": "x", "scopes": [contract_pb2.SCOPE_DIRECTORY_READ]}
    return pb.CreateApiKeyRequest(**(defaults | fields))  # type: ignore[arg-type]


def test_nobody_not_even_a_coordinator_makes_a_key_for_another_organisation(
    scene: Scene, manager: Stubs
) -> None:
    other_id = scene.organization("Ajena").id
    for caller, id in (
        (manager, other_id),
        (manager, "0" * 32),
        (manager, "x"),
        (scene.coordinator, other_id),
    ):
        assert refusal(partial(caller.CreateApiKey, key_request(organization_id=id))) == NOT_FOUND


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


# Keys that may do more than their maker

OPENING = ["people.open", "people.read"]


def make_key(manager: Stubs, *scopes: str) -> pb.CreateApiKeyResponse:
    """Makes a key, by default one that may open people's files."""
    return manager.CreateApiKey(  # type: ignore[no-any-return]
        label="Sistema",
        scopes=[number(contract_pb2.Scope, scope) for scope in scopes or OPENING],
    )


def exchange(scene: Scene, key: pb.CreateApiKeyResponse) -> str:
    """Exchanges a key for tokens; returns the reason of the refusal, or "OK"."""
    return answer(lambda: scene.nobody.IssueToken(api_key=key.secret))


@pytest.mark.parametrize(
    ("roles", "scopes", "unconfirmed"),
    [
        ((Role.MANAGER,), ("people.open",), True),
        ((Role.MANAGER, Role.WORKER), ("people.open", "people.write"), False),
        ((Role.MANAGER, Role.WORKER), ("contacts.write",), True),
        ((Role.MANAGER, Role.OPERATOR), ("contacts.write", "people.open"), False),
        ((Role.MANAGER, Role.WORKER), ("referrals.override",), True),
        ((Role.MANAGER, Role.WORKER, Role.EMERGENCY), ("referrals.override",), False),
        (
            (Role.MANAGER,),
            ("referrals.read", "referrals.write", "directory.write", "notifications"),
            False,
        ),
        ((Role.MANAGER,), SCOPES, True),
    ],
)
def test_a_key_with_more_rights_than_its_maker_is_invalid_until_it_is_confirmed(
    roles: tuple[Role, ...], scopes: tuple[str, ...], unconfirmed: bool, scene: Scene
) -> None:
    created = make_key(scene.by(scene.organization(), *roles), *scopes)
    assert created.api_key.unconfirmed == unconfirmed
    assert exchange(scene, created) == ("key_invalid" if unconfirmed else "OK")


def test_every_scope_is_a_right_of_some_role() -> None:
    assert scopes_within(frozenset(ROLES)) == set(SCOPES)
    assert not scopes_within(frozenset())


def test_a_key_is_confirmed_by_a_second_manager_and_not_by_its_maker(
    scene: Scene, member: Organization
) -> None:
    maker, second = scene.by(member, Role.MANAGER), scene.by(member, Role.MANAGER)
    created = make_key(maker)
    request = pb.ConfirmApiKeyRequest(id=created.api_key.id)
    for caller, expected in (
        (maker, SECOND_PERSON),
        (scene.by(member, Role.WORKER), RIGHT_MISSING),
        (scene.by(scene.organization("Ajena"), Role.MANAGER), NOT_FOUND),
        (scene.by(scene.coalition, Role.MANAGER, Role.COORDINATOR), NOT_FOUND),
    ):
        assert refusal(partial(caller.ConfirmApiKey, request)) == expected
    confirmed = second.ConfirmApiKey(request)
    assert (confirmed.unconfirmed, bool(confirmed.confirmed_by_worker_id)) == (False, True)
    assert exchange(scene, created) == "OK"
    assert refusal(lambda: second.ConfirmApiKey(request)) == NOTHING_TO_CONFIRM
    assert scene.facts(created.api_key.id) == [
        (1, "enlace.api_key.created.v1"),
        (2, "enlace.api_key.confirmed.v1"),
    ]


def test_an_unconfirmed_key_is_refused_even_with_a_valid_token(
    scene: Scene, member: Organization
) -> None:
    created = make_key(scene.by(member, Role.MANAGER))
    forged = scene.with_token(
        Caller(created.api_key.id, "key", member.id, scopes=frozenset([*OPENING, "directory.read"]))
    )
    assert refusal(forged.ListOrganizations) == NOT_ACTIVE


def test_keys_become_invalid_when_their_maker_is_suspended(
    scene: Scene, member: Organization
) -> None:
    maker = scene.worker(member, Role.MANAGER, Role.WORKER)
    other_manager = scene.by(member, Role.MANAGER)
    own_key, other_key = make_key(scene.as_worker(maker)), make_key(other_manager, "directory.read")
    other_manager.SuspendWorker(id=maker.id)
    assert [exchange(scene, key) for key in (own_key, other_key)] == ["key_invalid", "OK"]
    assert scene.facts(own_key.api_key.id)[-1] == (2, "enlace.api_key.revoked.v1")


@pytest.mark.parametrize("change", ["make", "take over"])
def test_no_key_is_made_or_taken_over_while_its_managers_account_ends(
    scene: Scene, member: Organization, change: str
) -> None:
    """A manager who is being suspended could otherwise go on making keys until one outlives her."""
    manager = scene.worker(member, Role.MANAGER, Role.WORKER)
    other_key = make_key(scene.by(member, Role.MANAGER, Role.WORKER)).api_key
    calls: dict[str, Callable[[Stubs], object]] = {
        "make": make_key,
        "take over": lambda by: by.TransferApiKey(id=other_key.id),
    }

    def waits_or_is_done() -> bool:
        return done.done() or bool(scene.rows("SELECT FROM pg_locks WHERE NOT granted"))

    with ThreadPoolExecutor(1) as pool:
        with scene.database.transaction(SYSTEM) as tx:
            locked = workers.fetch(tx, manager.id, lock=True)
            assert locked
            locked.suspend(scene.clock.now())
            workers.save_status(tx, locked)
            revoke_keys_of(tx, scene.clock.now(), manager.id)
            done = pool.submit(calls[change], scene.as_worker(manager))
            while not waits_or_is_done():
                pass
        assert refusal(done.result) == NOT_ACTIVE
    assert not scene.rows("SELECT FROM api_keys WHERE worker_id = %s", manager.id)


def test_a_worker_who_has_just_lost_her_role_makes_no_key_with_her_older_token(
    scene: Scene,
) -> None:
    manager = scene.worker(scene.organization(), Role.MANAGER)
    scene.rows("UPDATE workers SET roles = '{WORKER}' WHERE id = %s RETURNING id", manager.id)
    assert refusal(lambda: make_key(scene.as_worker(manager))) == RIGHT_MISSING


def test_a_key_that_another_manager_took_over_stays_valid(
    scene: Scene, member: Organization
) -> None:
    maker = scene.worker(member, Role.MANAGER, Role.WORKER)
    other_manager = scene.by(member, Role.MANAGER, Role.WORKER)
    created = make_key(scene.as_worker(maker))
    transferred = other_manager.TransferApiKey(id=created.api_key.id)
    assert (transferred.unconfirmed, transferred.worker_id != maker.id) == (False, True)
    other_manager.SuspendWorker(id=maker.id)
    assert exchange(scene, created) == "OK"


def test_a_key_taken_over_by_a_manager_with_fewer_rights_has_to_be_confirmed_again(
    scene: Scene, member: Organization
) -> None:
    manager = scene.by(member, Role.MANAGER, Role.WORKER)
    created = make_key(manager)
    assert scene.by(member, Role.MANAGER).TransferApiKey(id=created.api_key.id).unconfirmed
    assert exchange(scene, created) == "key_invalid"
    manager.ConfirmApiKey(id=created.api_key.id)
    assert exchange(scene, created) == "OK"


def test_one_manager_cannot_confirm_her_own_key_by_transferring_it_back_and_forth(
    scene: Scene, member: Organization
) -> None:
    first, second = scene.by(member, Role.MANAGER), scene.by(member, Role.MANAGER)
    id = make_key(first).api_key.id
    second.TransferApiKey(id=id)
    assert refusal(lambda: second.ConfirmApiKey(id=id)) == SECOND_PERSON
    first.ConfirmApiKey(id=id)
    key = first.TransferApiKey(id=id)
    assert key.unconfirmed, "she was the second person for the key that is now hers"


def test_a_revoked_key_cannot_be_taken_over_or_confirmed(
    scene: Scene, member: Organization
) -> None:
    first, second = scene.by(member, Role.MANAGER), scene.by(member, Role.MANAGER)
    id = make_key(first, "directory.read").api_key.id
    first.RevokeApiKey(id=id)
    assert refusal(lambda: second.TransferApiKey(id=id)) == ILLEGAL
    assert refusal(lambda: second.ConfirmApiKey(id=id)) == NOTHING_TO_CONFIRM


def test_a_manager_who_is_also_a_coordinator_revokes_the_key_of_any_member_and_its_manager_hears(
    scene: Scene,
) -> None:
    manager = scene.worker(scene.organization("Ajena"), Role.MANAGER)
    created = make_key(scene.as_worker(manager), "directory.read")
    assert exchange(scene, created) == "OK"
    revoke = {"id": created.api_key.id}
    assert refusal(lambda: scene.coordinator.RevokeApiKey(**revoke)) == RIGHT_MISSING
    scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER).RevokeApiKey(**revoke)
    assert exchange(scene, created) == "key_invalid"
    assert [fact.worker_id for fact, _ in facts_with_letters(scene, "entry_changed")] == [
        manager.id
    ]
