"""A change that outlasts a session requires fresh proof, and the people concerned are notified.

Therefore a stolen session gives no lasting access.
"""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from chassis import contract
from chassis.tokens import Caller
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1 import members_pb2 as m
from protos.stubs import SERVICES
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role, Worker
from services.partners.members.usecases import lasting
from tests.builders import refusal, refusal_with_delay, wrong_fields
from tests.partners.providers import propose, sign_in_through
from tests.partners.scene import (
    EMAIL,
    PASSWORD,
    RIGHT_MISSING,
    SESSION_ENDED,
    SITE,
    TOO_MANY_ATTEMPTS,
    UNAVAILABLE,
    Scene,
    Stubs,
)
from tests.partners.test_accounts import change
from tests.partners.test_invitations import answer
from tests.partners.test_passkeys import add_passkey, finish_by_device
from tests.partners.test_password_resets import facts_with_letters
from tests.partners.test_second_factors import App, finish, turn_on_codes
from tests.partners.test_sessions import sign_in, token_of
from tests.parts.authenticator import Authenticator
from tests.parts.provider import Provider

RPCS_WITH_STEP_UP = {
    method.name: (service, method)
    for service in SERVICES
    if service.full_name.startswith("enlace.partners.")
    for method in service.methods
    if contract.rules(method).step_up
}
STEP_UP = ("PERMISSION_DENIED", "step_up_required")
TEN_MINUTES, SECOND = timedelta(minutes=10), timedelta(seconds=1)


@pytest.fixture
def manager(scene: Scene, member: Organization) -> Worker:
    return scene.worker(member, Role.MANAGER, email=EMAIL)


def stubs_of_session(scene: Scene, secret: str) -> Stubs:
    """Returns stubs with this session's tokens."""
    return scene.with_token_of(lambda: token_of(scene, secret).tokens["enlace.partners"])


def make_key(by: Stubs, label: str = "sistema") -> m.CreateApiKeyResponse:
    return by.CreateApiKey(  # type: ignore[no-any-return]
        label=label, scopes=[contract_pb2.SCOPE_DIRECTORY_READ]
    )


def invite(by: Stubs, email: str, *roles: contract_pb2.Role.ValueType) -> m.Invitation:
    return by.CreateInvitation(  # type: ignore[no-any-return]
        invitation=m.Invitation(
            email=email, roles=roles or (contract_pb2.ROLE_MANAGER,), language="es"
        )
    )


def prove(by: Stubs, secret: str, **fields: Any) -> pb.ProveSessionResponse:
    return by.ProveSession(session_secret=secret, **fields)  # type: ignore[no-any-return]


def fails_to_prove(by: Stubs, secret: str, path: str, reason: str = "wrong", **fields: Any) -> None:
    assert wrong_fields(lambda: prove(by, secret, **fields)) == [(path, reason)]


def eleven_minutes_after_sign_in(scene: Scene, secret: str = "") -> tuple[Stubs, str]:
    """Returns the stubs and the secret of a session whose proof is no longer valid."""
    secret = secret or sign_in(scene).session_secret
    scene.advance(minutes=11)
    return stubs_of_session(scene, secret), secret


@pytest.fixture
def app(scene: Scene, manager: Worker) -> App:
    """The app on the manager's phone, whose codes she needs to sign in."""
    return turn_on_codes(scene, scene.as_worker(manager))[0]


@pytest.fixture
def session_with_code(scene: Scene, app: App) -> tuple[Stubs, str]:
    """The stubs and the secret of a session with a code, eleven minutes after its sign-in."""
    signed_in = finish(scene, sign_in(scene).challenge, app.code())
    return eleven_minutes_after_sign_in(scene, signed_in.session_secret)


def recipients_of(scene: Scene, kind: str) -> set[str]:
    """Returns the workers who are notified by facts of a kind."""
    return {fact.worker_id for fact, _ in facts_with_letters(scene, kind)}


# --- who has to prove herself, and how long the proof is valid


def test_the_rpcs_with_a_lasting_effect_require_a_fresh_proof() -> None:
    assert set(RPCS_WITH_STEP_UP) == {
        "CreateInvitation",
        "ConfirmInvitation",
        "CreateApiKey",
        "ConfirmApiKey",
        "TransferApiKey",
        "ProposeSignInProvider",
        "ConfirmSignInProvider",
        "EndSignInProvider",
        "ResetSecondFactor",
        "BeginSecondFactor",
        "ConfirmSecondFactor",
        "EndSecondFactor",
        "BeginPasskey",
        "CreatePasskey",
        "EndPasskey",
        "EndMadeLately",
        "LeaveOrganization",
    }


def test_each_rpc_with_lasting_effect_sends_a_notice_or_is_listed_as_silent() -> None:
    assert lasting.FACTS.keys() | lasting.SILENT == set(RPCS_WITH_STEP_UP)


@pytest.mark.parametrize("rpc", sorted(RPCS_WITH_STEP_UP))
def test_each_rpc_with_lasting_effect_refuses_an_old_proof_and_a_token_without_a_time_of_proof(
    scene: Scene, member: Organization, rpc: str
) -> None:
    service, method = RPCS_WITH_STEP_UP[rpc]
    roles = contract.rules(method).roles
    worker = scene.worker(member, *(Role(role) for role in sorted(roles)))
    caller = Caller(worker.id, "worker", member.id, roles)
    call: Any = scene.channel.unary_unary(
        f"/{service.full_name}/{rpc}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    now = scene.clock.now()
    for prove_time, is_refused in (
        (None, True),
        (now - TEN_MINUTES - SECOND, True),
        (now + TEN_MINUTES + SECOND, True),  # dated ahead by a wrong clock
        (now - TEN_MINUTES, False),
    ):
        token, _ = scene.issuer.issue(replace(caller, prove_time=prove_time), "enlace.partners")
        metadata = [("authorization", f"Bearer {token}")]
        request = GetMessageClass(method.input_type)()
        reason = answer(partial(call, request, metadata=metadata, timeout=10))
        assert (reason == "step_up_required") is is_refused, prove_time


def test_a_proof_is_valid_for_ten_minutes_by_the_clock_and_not_a_second_longer(
    scene: Scene, manager: Worker
) -> None:
    secret = sign_in(scene).session_secret
    by = stubs_of_session(scene, secret)
    scene.advance(minutes=10)
    make_key(by)
    scene.advance(seconds=1)
    assert refusal(lambda: make_key(by)) == STEP_UP
    proof = prove(by, secret, password=PASSWORD)
    assert proof.expire_time.ToDatetime() == (scene.clock.now() + TEN_MINUTES).replace(tzinfo=None)
    make_key(by)
    scene.advance(minutes=10, seconds=1)
    assert refusal(lambda: make_key(by)) == STEP_UP


def test_a_token_without_a_time_of_proof_is_still_verified(scene: Scene, manager: Worker) -> None:
    token, _ = scene.issuer.issue(
        Caller(manager.id, "worker", manager.organization_id, frozenset({"MANAGER"})),
        "enlace.partners",
    )
    assert scene.verifier.verify(token).prove_time is None
    assert scene.with_token(token).ListApiKeys().api_keys == []


def test_a_session_without_a_time_of_proof_counts_as_proved_when_it_began(
    scene: Scene, manager: Worker
) -> None:
    secret = sign_in(scene).session_secret
    scene.rows("UPDATE sessions SET prove_time = NULL RETURNING worker_id")
    make_key(stubs_of_session(scene, secret))


def test_a_refused_call_has_no_effect_and_is_on_record(scene: Scene, manager: Worker) -> None:
    by, _ = eleven_minutes_after_sign_in(scene)
    assert refusal(lambda: make_key(by)) == STEP_UP
    assert scene.rows("SELECT FROM api_keys") == []
    assert scene.rows("SELECT reason FROM audit WHERE action = 'create_api_key'") == [
        {"reason": "step_up_required"}
    ]


# --- the kinds of proof


def test_a_worker_with_a_code_proves_herself_with_the_code_and_not_with_the_password(
    scene: Scene, app: App, session_with_code: tuple[Stubs, str]
) -> None:
    by, secret = session_with_code
    attempt = by.BeginProof()
    assert (
        attempt.asks_code,
        attempt.asks_password,
        attempt.passkey_options,
        attempt.authorization_url,
    ) == (True, False, "", "")
    fails_to_prove(by, secret, "code", "required", password=PASSWORD)
    assert refusal(lambda: make_key(by)) == STEP_UP
    code = app.code()
    prove(by, secret, code=code)
    make_key(by)
    scene.advance(minutes=11)
    fails_to_prove(by, secret, "code", code=code)


def test_a_worker_proves_herself_with_a_passkey_that_signed_for_this_proof_alone(
    scene: Scene, manager: Worker
) -> None:
    phone = add_passkey(scene.as_worker(manager))
    signed_in = finish_by_device(scene, sign_in(scene), phone)
    by, secret = eleven_minutes_after_sign_in(scene, signed_in.session_secret)
    attempt = by.BeginProof()
    assert (attempt.asks_code, attempt.asks_password) == (False, False)
    fails_to_prove(by, secret, "passkey", "required", password=PASSWORD)
    stranger = Authenticator(SITE, id=phone.id, account=phone.account)
    fails_to_prove(
        by,
        secret,
        "passkey",
        challenge=attempt.challenge,
        passkey=stranger.sign(attempt.passkey_options),
    )
    sign_in_response = sign_in(scene)
    fails_to_prove(
        by,
        secret,
        "challenge",
        challenge=sign_in_response.challenge,
        passkey=phone.sign(sign_in_response.passkey_options),
    )
    signature = phone.sign(attempt.passkey_options)
    prove(by, secret, challenge=attempt.challenge, passkey=signature)
    make_key(by)
    fails_to_prove(by, secret, "challenge", challenge=attempt.challenge, passkey=signature)


def proof_at_provider(by: Stubs, provider: Provider, user: str = "ana") -> dict[str, Any]:
    """Signs in at the provider for a proof; returns the fields of the proof."""
    attempt = by.BeginProof()
    callback = provider.signs_in(attempt.authorization_url, user)
    returned = pb.ProviderAnswer(
        state=callback["state"], code=callback["code"], issuer=callback.get("iss", "")
    )
    return {"challenge": attempt.challenge, "provider": returned}


def test_a_worker_who_signs_in_through_her_ministry_proves_herself_there(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    scene.worker(ministry, Role.MANAGER, email="eva@ministerio.example")
    signed_in = sign_in_through(scene, ministry, provider)
    by, secret = eleven_minutes_after_sign_in(scene, signed_in.session_secret)
    attempt = by.BeginProof()
    assert (attempt.asks_password, "max_age=0" in attempt.authorization_url) == (False, True)
    fails_to_prove(by, secret, "challenge", "wrong", password=PASSWORD)
    fails_to_prove(by, secret, "challenge", **proof_at_provider(by, provider, "eva"))
    assert refusal(lambda: make_key(by)) == STEP_UP
    prove(by, secret, **proof_at_provider(by, provider))
    make_key(by)


def test_a_sign_in_at_the_ministry_is_a_proof_from_the_time_when_she_proved_herself_there(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    provider.cheat = lambda claims: provider.sign(
        {**claims, "auth_time": claims["auth_time"] - 11 * 60}
    )
    signed_in = sign_in_through(scene, ministry, provider)
    assert refusal(lambda: make_key(stubs_of_session(scene, signed_in.session_secret))) == STEP_UP


def test_while_the_workers_ministry_does_not_answer_nothing_is_proved_and_the_reason_is_given(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    signed_in = sign_in_through(scene, ministry, provider)
    by, secret = eleven_minutes_after_sign_in(scene, signed_in.session_secret)
    proof = proof_at_provider(by, provider)
    provider.hangs.set()
    assert refusal(lambda: prove(by, secret, **proof)) == UNAVAILABLE
    assert refusal(lambda: make_key(by)) == STEP_UP
    # without an address that may be called, no proof can be started
    scene.rows("UPDATE sign_in_providers SET issuer = 'https://10.0.0.1' RETURNING id")
    assert refusal(by.BeginProof) == UNAVAILABLE


def test_wrong_proofs_are_limited_like_wrong_sign_ins_and_keep_nobody_from_signing_in(
    scene: Scene, app: App, session_with_code: tuple[Stubs, str]
) -> None:
    by, secret = session_with_code
    for _ in range(10):
        fails_to_prove(by, secret, "code", code=app.wrong_code())
    assert refusal_with_delay(lambda: prove(by, secret, code=app.code())) == (
        "RESOURCE_EXHAUSTED",
        "too_many_attempts",
        timedelta(minutes=5),
    )
    assert finish(scene, sign_in(scene).challenge, app.code()).session_secret


def test_guesses_of_the_password_are_counted_too(scene: Scene, manager: Worker) -> None:
    secret = sign_in(scene).session_secret
    by = stubs_of_session(scene, secret)
    for _ in range(10):
        fails_to_prove(by, secret, "password", password="una que no es")
    assert refusal(lambda: prove(by, secret, password=PASSWORD)) == TOO_MANY_ATTEMPTS


def test_the_proof_of_one_session_does_not_count_for_another(
    scene: Scene, manager: Worker, member: Organization
) -> None:
    own_secret, stolen_secret = sign_in(scene).session_secret, sign_in(scene).session_secret
    scene.advance(minutes=11)
    prove(stubs_of_session(scene, own_secret), own_secret, password=PASSWORD)
    make_key(stubs_of_session(scene, own_secret))
    assert refusal(lambda: make_key(stubs_of_session(scene, stolen_secret))) == STEP_UP
    colleague = scene.as_worker(scene.worker(member, Role.MANAGER))
    fails_to_prove(colleague, stolen_secret, "session_secret", password=PASSWORD)
    scene.advance(minutes=16)
    fails_to_prove(scene.as_worker(manager), stolen_secret, "session_secret", password=PASSWORD)


def test_a_key_proves_nothing(scene: Scene, member: Organization, manager: Worker) -> None:
    key, secret = scene.by_key(member, "directory.read"), sign_in(scene).session_secret
    assert refusal(lambda: prove(key, secret, password=PASSWORD)) == RIGHT_MISSING
    created = make_key(scene.as_worker(manager)).secret
    fails_to_prove(scene.as_worker(manager), created, "session_secret", password=PASSWORD)


# --- a stolen session, and who is notified


def test_a_stolen_manager_session_makes_nothing_that_outlasts_it(
    scene: Scene, app: App, session_with_code: tuple[Stubs, str], member: Organization
) -> None:
    thief, secret = session_with_code
    for call in (
        lambda: make_key(thief),
        lambda: invite(thief, "ladron@correo.example"),
        lambda: thief.EndSecondFactor(password=PASSWORD),
        lambda: thief.LeaveOrganization(id=member.id, etag=scene.etag(member.id)),
    ):
        assert refusal(call) == STEP_UP
    fails_to_prove(thief, secret, "code", "required", password=PASSWORD)
    assert (scene.rows("SELECT FROM api_keys"), scene.rows("SELECT FROM invitations")) == ([], [])
    other_secret = finish(scene, sign_in(scene).challenge, app.code(30)).session_secret
    change(stubs_of_session(scene, other_secret), other_secret)
    assert refusal(lambda: token_of(scene, secret)) == SESSION_ENDED


def test_a_worker_and_her_managers_are_emailed_about_a_key_and_an_invitation(
    scene: Scene, member: Organization, manager: Worker
) -> None:
    other, worker = (
        scene.worker(member, Role.MANAGER, email="otra@puentes.org"),
        scene.worker(member),
    )
    make_key(scene.as_worker(manager))
    assert {
        (fact.worker_id, letter.email) for fact, letter in facts_with_letters(scene, "key_made")
    } == {(manager.id, EMAIL), (other.id, "otra@puentes.org")}
    invite(scene.as_worker(manager), "nueva@puentes.org", contract_pb2.ROLE_WORKER)
    assert recipients_of(scene, "person_invited") == {manager.id, other.id}
    me = scene.as_worker(worker)
    app = App(scene, me.BeginSecondFactor(password=PASSWORD).secret)
    assert recipients_of(scene, "sign_in_changed") == set(), "the code is not in use yet"
    me.ConfirmSecondFactor(code=app.code())
    assert recipients_of(scene, "sign_in_changed") == {worker.id, manager.id, other.id}


def test_a_suspended_worker_the_suspending_worker_and_the_managers_are_emailed_about_it(
    scene: Scene, member: Organization, manager: Worker
) -> None:
    other, suspended, _ = (
        scene.worker(member, role) for role in (Role.MANAGER, Role.MANAGER, Role.WORKER)
    )
    scene.as_worker(manager).SuspendWorker(id=suspended.id)
    assert recipients_of(scene, "account_suspended") == {manager.id, other.id, suspended.id}


def test_the_facts_contain_no_name_and_a_repeated_request_publishes_once(
    scene: Scene, manager: Worker
) -> None:
    by = scene.as_worker(manager)
    request = m.CreateApiKeyRequest(
        label="sistema", scopes=[contract_pb2.SCOPE_DIRECTORY_READ], request_id="one"
    )
    for _ in range(2):
        by.CreateApiKey(request)
    [row] = scene.rows("SELECT payload FROM outbox WHERE type = 'enlace.account.key_made.v1'")
    for text in ("Xiomara", EMAIL, "sistema"):
        assert text.encode() not in row["payload"]


def test_the_coordinators_are_notified_of_a_network_role(scene: Scene) -> None:
    first, other_organization = (
        scene.worker(scene.coalition, Role.COORDINATOR),
        scene.organization("Otra"),
    )
    second = scene.worker(other_organization, Role.COORDINATOR)
    created = invite(
        scene.as_worker(first), "tercera@coalicion.example", contract_pb2.ROLE_COORDINATOR
    )
    coordinators = {
        row["id"] for row in scene.rows("SELECT id FROM workers WHERE 'COORDINATOR' = ANY (roles)")
    }
    assert coordinators == recipients_of(scene, "role_given") >= {first.id, second.id}
    scene.as_worker(second).ConfirmInvitation(id=created.id)
    assert len(facts_with_letters(scene, "role_given")) == 2 * len(coordinators)


def test_the_managers_are_notified_that_their_provider_was_ended(scene: Scene) -> None:
    shelter = scene.organization("Casa Luna")
    manager = scene.worker(shelter, Role.MANAGER)
    coordinator = scene.worker(scene.coalition, Role.COORDINATOR)
    proposed = propose(scene.as_worker(coordinator), shelter, "https://sso.example")
    assert recipients_of(scene, "provider_changed") == {coordinator.id}, (
        "a proposal has a different notice, which tells managers how to object"
    )
    scene.as_worker(coordinator).EndSignInProvider(organization_id=shelter.id, etag=proposed.etag)
    assert recipients_of(scene, "provider_changed") == {coordinator.id, manager.id}


def test_changing_the_password_proves_the_continued_session_where_the_password_is_the_only_proof(
    scene: Scene, manager: Worker
) -> None:
    by, secret = eleven_minutes_after_sign_in(scene)
    change(by, secret)
    make_key(by)


def test_changing_the_password_proves_nothing_where_a_code_is_asked_for(
    session_with_code: tuple[Stubs, str],
) -> None:
    by, secret = session_with_code
    change(by, secret)
    assert refusal(lambda: make_key(by)) == STEP_UP
