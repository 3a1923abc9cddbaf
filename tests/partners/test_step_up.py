"""A change that outlasts a session requires fresh proof, and the people concerned are notified.

Therefore a stolen session gives no lasting access.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
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
from tests.partners.scene import PASSWORD, SITE, Scene, Stubs
from tests.partners.test_accounts import change
from tests.partners.test_passkeys import begin as begin_passkey
from tests.partners.test_passkeys import create
from tests.partners.test_password_resets import facts_with_letters
from tests.partners.test_second_factors import App, finish
from tests.partners.test_sessions import EMAIL, sign_in, token_of
from tests.partners.test_sign_in_providers import EMAIL as OFFICIAL
from tests.partners.test_sign_in_providers import propose, set_up, sign_in_through
from tests.parts.authenticator import Authenticator
from tests.parts.provider import Person, Provider

ASKING = {
    method.name: (service, method)
    for service in SERVICES
    if service.full_name.startswith("enlace.partners.")
    for method in service.methods
    if contract.rules(method).step_up
}
STEP_UP = ("PERMISSION_DENIED", "step_up_required")
TEN = timedelta(minutes=10)


@pytest.fixture
def own(scene: Scene) -> Organization:
    return scene.organization("Puentes")


@pytest.fixture
def manager(scene: Scene, own: Organization) -> Worker:
    return scene.worker(own, Role.MANAGER, email=EMAIL)


def of_session(scene: Scene, secret: str) -> Stubs:
    """Returns stubs with this session's tokens."""
    return scene.with_token_of(lambda: token_of(scene, secret).tokens["enlace.partners"])


def make_key(by: Stubs, label: str = "sistema") -> m.CreateApiKeyResponse:
    created: m.CreateApiKeyResponse = by.CreateApiKey(
        label=label, scopes=[contract_pb2.SCOPE_DIRECTORY_READ]
    )
    return created


def invite(by: Stubs, email: str, *roles: contract_pb2.Role.ValueType) -> m.Invitation:
    invitation = m.Invitation(
        email=email, roles=roles or (contract_pb2.ROLE_MANAGER,), language="es"
    )
    created: m.Invitation = by.CreateInvitation(invitation=invitation)
    return created


def prove(by: Stubs, secret: str, **fields: Any) -> pb.ProveSessionResponse:
    answer: pb.ProveSessionResponse = by.ProveSession(session_secret=secret, **fields)
    return answer


def fails_to_prove(by: Stubs, secret: str, path: str, reason: str = "wrong", **fields: Any) -> None:
    assert wrong_fields(lambda: prove(by, secret, **fields)) == [(path, reason)]


def with_app(scene: Scene, worker: Worker) -> App:
    """Turns on codes from the worker's phone."""
    me = scene.as_worker(worker)
    app = App(scene, me.BeginSecondFactor(password=PASSWORD).secret)
    me.ConfirmSecondFactor(code=app.code())
    scene.advance(seconds=60)
    return app


def recipients_of(scene: Scene, fact: str) -> set[str]:
    return {each.worker_id for each, _ in facts_with_letters(scene, fact)}


# --- who has to prove herself, and how long the proof is valid


def test_a4_these_rpcs_require_a_fresh_proof() -> None:
    assert set(ASKING) == {
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
    }


def test_a4_each_rpc_with_lasting_effect_is_notified_or_states_why_not() -> None:
    assert lasting.FACTS.keys() | lasting.SILENT == set(ASKING)


@pytest.mark.parametrize("rpc", sorted(ASKING))
def test_a4_every_such_rpc_refuses_an_old_proof_and_a_token_without_a_time_of_proof(
    scene: Scene, own: Organization, rpc: str
) -> None:
    service, method = ASKING[rpc]
    roles = contract.rules(method).roles
    worker = scene.worker(own, *(Role(role) for role in sorted(roles)))
    caller = Caller(worker.id, "worker", own.id, roles)
    call: Any = scene.channel.unary_unary(
        f"/{service.full_name}/{rpc}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )

    def answer(caller: Caller) -> str:
        token = scene.issuer.issue(caller, "enlace.partners")[0]
        try:
            call(
                GetMessageClass(method.input_type)(),
                metadata=[("authorization", f"Bearer {token}")],
                timeout=10,
            )
        except grpc.RpcError as error:
            return str(error.details())
        return "OK"

    now = scene.clock.now()
    assert answer(caller) == "step_up_required", "the token contains no time of proof"
    assert (
        answer(replace(caller, prove_time=now - TEN - timedelta(seconds=1))) == "step_up_required"
    )
    assert (
        answer(replace(caller, prove_time=now + TEN + timedelta(seconds=1))) == "step_up_required"
    ), "a proof from the future comes from a wrong clock"
    assert answer(replace(caller, prove_time=now - TEN)) != "step_up_required"


def test_a4_a_proof_is_valid_for_ten_minutes_by_the_clock_and_not_a_second_longer(
    scene: Scene, manager: Worker
) -> None:
    secret = sign_in(scene).session_secret
    by = of_session(scene, secret)
    scene.advance(minutes=10)
    make_key(by)
    scene.advance(seconds=1)
    assert refusal(lambda: make_key(by)) == STEP_UP
    good = prove(by, secret, password=PASSWORD)
    assert good.expire_time.ToDatetime() == (scene.clock.now() + TEN).replace(tzinfo=None)
    make_key(by)
    scene.advance(minutes=10, seconds=1)
    assert refusal(lambda: make_key(by)) == STEP_UP


def test_a4_a_token_from_before_proofs_is_still_verified(scene: Scene, manager: Worker) -> None:
    token, _ = scene.issuer.issue(
        Caller(manager.id, "worker", manager.organization_id, frozenset({"MANAGER"})),
        "enlace.partners",
    )
    assert scene.verifier.verify(token).prove_time is None
    assert scene.with_token(token).ListApiKeys().api_keys == []


def test_a4_a_session_from_before_proofs_was_proved_when_it_began(
    scene: Scene, manager: Worker
) -> None:
    secret = sign_in(scene).session_secret
    scene.rows("UPDATE sessions SET prove_time = NULL RETURNING worker_id")
    make_key(of_session(scene, secret))


def test_a4_a_refused_call_has_no_effect_and_is_on_record(scene: Scene, manager: Worker) -> None:
    by = of_session(scene, sign_in(scene).session_secret)
    scene.advance(minutes=11)
    assert refusal(lambda: make_key(by)) == STEP_UP
    assert scene.rows("SELECT FROM api_keys") == []
    assert scene.rows("SELECT reason FROM audit WHERE action = 'create_api_key'") == [
        {"reason": "step_up_required"}
    ]


# --- the kinds of proof


def test_a4_a_worker_with_a_code_proves_herself_with_the_code_and_not_with_the_password(
    scene: Scene, manager: Worker
) -> None:
    app = with_app(scene, manager)
    secret = finish(scene, sign_in(scene).challenge, app.code()).session_secret
    by = of_session(scene, secret)
    scene.advance(minutes=11)
    answer = by.BeginProof()
    assert (
        answer.asks_code,
        answer.asks_password,
        answer.passkey_options,
        answer.authorization_url,
    ) == (True, False, "", "")
    fails_to_prove(by, secret, "code", "required", password=PASSWORD)
    assert refusal(lambda: make_key(by)) == STEP_UP
    code = app.code()
    prove(by, secret, code=code)
    make_key(by)
    scene.advance(minutes=11)
    fails_to_prove(by, secret, "code", code=code)


def test_a4_a_worker_proves_herself_with_a_passkey_that_signed_for_this_proof_alone(
    scene: Scene, manager: Worker
) -> None:
    me, phone, stranger = scene.as_worker(manager), Authenticator(SITE), Authenticator(SITE)
    challenge = begin_passkey(me)
    create(me, challenge, phone.make(challenge.options))
    sign_in_response = sign_in(scene)
    secret = scene.nobody.FinishSignIn(
        challenge=sign_in_response.challenge,
        passkey=phone.sign(sign_in_response.passkey_options),
    ).session_secret
    by = of_session(scene, secret)
    scene.advance(minutes=11)
    question = by.BeginProof()
    assert (question.asks_code, question.asks_password) == (False, False)
    fails_to_prove(by, secret, "passkey", "required", password=PASSWORD)
    stranger.id, stranger.account = phone.id, phone.account
    fails_to_prove(
        by,
        secret,
        "passkey",
        challenge=question.challenge,
        passkey=stranger.sign(question.passkey_options),
    )
    to_sign_in = sign_in(scene)
    fails_to_prove(
        by,
        secret,
        "challenge",
        challenge=to_sign_in.challenge,
        passkey=phone.sign(to_sign_in.passkey_options),
    )
    signed = phone.sign(question.passkey_options)
    prove(by, secret, challenge=question.challenge, passkey=signed)
    make_key(by)
    fails_to_prove(by, secret, "challenge", challenge=question.challenge, passkey=signed)


def test_a4_a_worker_who_signs_in_through_her_ministry_proves_herself_there(scene: Scene) -> None:
    ministry = scene.organization("Ministerio")
    people = {"ana": Person("ana-1", OFFICIAL), "eva": Person("eva-9", "eva@ministerio.example")}
    provider = Provider(f"{SITE}/sign-in/return", people, now=lambda: scene.clock.now().timestamp())
    scene.worker(ministry, Role.MANAGER, email=OFFICIAL)
    scene.worker(ministry, Role.MANAGER, email="eva@ministerio.example")
    try:
        set_up(scene, ministry, provider)
        secret = sign_in_through(scene, ministry, provider).session_secret
        by = of_session(scene, secret)
        scene.advance(minutes=11)
        response = by.BeginProof()
        assert (response.asks_password, "max_age=0" in response.authorization_url) == (False, True)
        fails_to_prove(by, secret, "challenge", "wrong", password=PASSWORD)

        def returned_parameters(user: str) -> dict[str, Any]:
            question = by.BeginProof()
            back = provider.signs_in(question.authorization_url, user)
            answer = pb.ProviderAnswer(
                state=back["state"], code=back["code"], issuer=back.get("iss", "")
            )
            return {"challenge": question.challenge, "provider": answer}

        fails_to_prove(by, secret, "challenge", **returned_parameters("eva"))
        assert refusal(lambda: make_key(by)) == STEP_UP
        prove(by, secret, **returned_parameters("ana"))
        make_key(by)
    finally:
        provider.stop()


def test_a4_while_the_workers_ministry_does_not_answer_nothing_is_proved_and_the_reason_is_given(
    scene: Scene,
) -> None:
    ministry = scene.organization("Ministerio")
    provider = Provider(
        f"{SITE}/sign-in/return",
        {"ana": Person("ana-1", OFFICIAL)},
        now=lambda: scene.clock.now().timestamp(),
    )
    scene.worker(ministry, Role.MANAGER, email=OFFICIAL)
    try:
        set_up(scene, ministry, provider)
        secret = sign_in_through(scene, ministry, provider).session_secret
        by = of_session(scene, secret)
        scene.advance(minutes=11)
        question = by.BeginProof()
        back = provider.signs_in(question.authorization_url, "ana")
        answer = pb.ProviderAnswer(
            state=back["state"], code=back["code"], issuer=back.get("iss", "")
        )
        provider.hangs.set()
        assert refusal(
            lambda: prove(by, secret, challenge=question.challenge, provider=answer)
        ) == ("UNAVAILABLE", "provider_unavailable")
        assert refusal(lambda: make_key(by)) == STEP_UP
        # without an address that may be called, no proof can be started
        scene.rows("UPDATE sign_in_providers SET issuer = 'https://10.0.0.1' RETURNING id")
        assert refusal(by.BeginProof) == ("UNAVAILABLE", "provider_unavailable")
    finally:
        provider.stop()


def test_a4_wrong_proofs_have_a_budget_like_that_of_the_sign_in_and_keep_nobody_from_signing_in(
    scene: Scene, manager: Worker
) -> None:
    app = with_app(scene, manager)
    secret = finish(scene, sign_in(scene).challenge, app.code()).session_secret
    by = of_session(scene, secret)
    scene.advance(minutes=11)
    for _ in range(10):
        fails_to_prove(by, secret, "code", code="000000" if app.code() != "000000" else "000001")
    assert refusal_with_delay(lambda: prove(by, secret, code=app.code())) == (
        "RESOURCE_EXHAUSTED",
        "too_many_attempts",
        timedelta(minutes=5),
    )
    assert finish(scene, sign_in(scene).challenge, app.code()).session_secret


def test_a4_guesses_of_the_password_are_counted_too(scene: Scene, manager: Worker) -> None:
    secret = sign_in(scene).session_secret
    by = of_session(scene, secret)
    for _ in range(10):
        fails_to_prove(by, secret, "password", password="una que no es")
    assert refusal(lambda: prove(by, secret, password=PASSWORD)) == (
        "RESOURCE_EXHAUSTED",
        "too_many_attempts",
    )


def test_a4_the_proof_of_one_session_does_not_count_for_another(
    scene: Scene, manager: Worker, own: Organization
) -> None:
    own_secret, stolen_secret = sign_in(scene).session_secret, sign_in(scene).session_secret
    scene.advance(minutes=11)
    prove(of_session(scene, own_secret), own_secret, password=PASSWORD)
    make_key(of_session(scene, own_secret))
    assert refusal(lambda: make_key(of_session(scene, stolen_secret))) == STEP_UP
    colleague = scene.as_worker(scene.worker(own, Role.MANAGER))
    fails_to_prove(colleague, stolen_secret, "session_secret", password=PASSWORD)
    scene.advance(minutes=16)
    fails_to_prove(scene.as_worker(manager), stolen_secret, "session_secret", password=PASSWORD)


def test_a4_a_key_proves_nothing(scene: Scene, own: Organization, manager: Worker) -> None:
    key, secret = scene.by_key(own, "directory.read"), sign_in(scene).session_secret
    assert refusal(lambda: prove(key, secret, password=PASSWORD)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    created = make_key(scene.as_worker(manager)).secret
    fails_to_prove(scene.as_worker(manager), created, "session_secret", password=PASSWORD)


# --- the story, and who is notified


def test_a4_a_stolen_manager_session_makes_nothing_that_outlasts_it(
    scene: Scene, own: Organization, manager: Worker
) -> None:
    app = with_app(scene, manager)
    secret = finish(scene, sign_in(scene).challenge, app.code()).session_secret
    scene.advance(minutes=11)
    thief = of_session(scene, secret)
    assert refusal(lambda: make_key(thief)) == STEP_UP
    assert refusal(lambda: invite(thief, "ladron@correo.example")) == STEP_UP
    assert refusal(lambda: thief.EndSecondFactor(password=PASSWORD)) == STEP_UP
    fails_to_prove(thief, secret, "code", "required", password=PASSWORD)
    assert (scene.rows("SELECT FROM api_keys"), scene.rows("SELECT FROM invitations")) == ([], [])
    elsewhere = finish(scene, sign_in(scene).challenge, app.code(30)).session_secret
    change(of_session(scene, elsewhere), elsewhere)
    assert refusal(lambda: token_of(scene, secret)) == ("UNAUTHENTICATED", "session_ended")


def test_a4_a_worker_and_her_managers_are_notified_of_a_key_and_of_an_invitation_by_email(
    scene: Scene, own: Organization, manager: Worker
) -> None:
    other, worker = (
        scene.worker(own, Role.MANAGER, email="otra@puentes.org"),
        scene.worker(own, Role.WORKER),
    )
    make_key(scene.as_worker(manager))
    assert sorted(
        (fact.worker_id, letter.email) for fact, letter in facts_with_letters(scene, "key_made")
    ) == sorted([(manager.id, EMAIL), (other.id, "otra@puentes.org")])
    invite(scene.as_worker(manager), "nueva@puentes.org", contract_pb2.ROLE_WORKER)
    assert recipients_of(scene, "person_invited") == {manager.id, other.id}
    me = scene.as_worker(worker)
    app = App(scene, me.BeginSecondFactor(password=PASSWORD).secret)
    assert recipients_of(scene, "sign_in_changed") == set(), "the code is not in use yet"
    me.ConfirmSecondFactor(code=app.code())
    assert recipients_of(scene, "sign_in_changed") == {worker.id, manager.id, other.id}


def test_a4_the_facts_contain_no_name_and_a_repeated_request_publishes_once(
    scene: Scene, manager: Worker
) -> None:
    by = scene.as_worker(manager)
    request = m.CreateApiKeyRequest(
        label="sistema", scopes=[contract_pb2.SCOPE_DIRECTORY_READ], request_id="one"
    )
    by.CreateApiKey(request)
    by.CreateApiKey(request)
    [row] = scene.rows("SELECT payload FROM outbox WHERE type = 'enlace.account.key_made.v1'")
    assert not [
        word for word in ("Xiomara", EMAIL, "sistema") if word.encode() in bytes(row["payload"])
    ]


def test_a4_the_coordinators_are_notified_of_a_network_role(scene: Scene) -> None:
    first, elsewhere = scene.worker(scene.coalition, Role.COORDINATOR), scene.organization("Otra")
    second = scene.worker(elsewhere, Role.COORDINATOR)
    created = invite(
        scene.as_worker(first), "tercera@coalicion.example", contract_pb2.ROLE_COORDINATOR
    )
    coordinators = {
        row["id"] for row in scene.rows("SELECT id FROM workers WHERE 'COORDINATOR' = ANY (roles)")
    }
    assert coordinators == recipients_of(scene, "role_given") >= {first.id, second.id}
    scene.as_worker(second).ConfirmInvitation(id=created.id)
    assert len(facts_with_letters(scene, "role_given")) == 2 * len(coordinators)


def test_a4_the_managers_are_notified_that_their_provider_was_ended(scene: Scene) -> None:
    shelter = scene.organization("Casa Luna")
    account, coordinator = (
        scene.worker(shelter, Role.MANAGER),
        scene.worker(scene.coalition, Role.COORDINATOR),
    )
    proposed = propose(scene.as_worker(coordinator), shelter, "https://sso.example")
    assert recipients_of(scene, "provider_changed") == {coordinator.id}, (
        "managers get another notice of a proposal, with the way to object"
    )
    scene.as_worker(coordinator).EndSignInProvider(organization_id=shelter.id, etag=proposed.etag)
    assert recipients_of(scene, "provider_changed") == {coordinator.id, account.id}


def test_a4_changing_the_password_proves_the_continued_session_where_the_password_is_the_only_proof(
    scene: Scene, manager: Worker
) -> None:
    secret = sign_in(scene).session_secret
    by = of_session(scene, secret)
    scene.advance(minutes=11)
    change(by, secret)
    make_key(by)


def test_a4_changing_the_password_proves_nothing_where_a_code_is_asked_for(
    scene: Scene, manager: Worker
) -> None:
    app = with_app(scene, manager)
    secret = finish(scene, sign_in(scene).challenge, app.code()).session_secret
    by = of_session(scene, secret)
    scene.advance(minutes=11)
    change(by, secret)
    assert refusal(lambda: make_key(by)) == STEP_UP
