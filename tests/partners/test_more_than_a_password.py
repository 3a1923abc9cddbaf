"""A network may require a second factor.

Operators, coordinators and auditors then cannot sign in with only a password: they set up a code
first, and get no session before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from chassis.server import Server
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2 as m
from services.partners.__main__ import servicers
from services.partners.directory.store.directory_index import DirectoryIndex
from services.partners.members.domain.worker import Role
from services.partners.sign_in.protocols.passkeys import Site
from services.partners.sign_in.store import second_factors
from services.partners.sign_in.usecases.sign_in_providers import SignInProviders
from tests.partners.scene import PASSWORD, SITE, Scene, Stubs
from tests.partners.test_passkeys import begin, create, fails
from tests.partners.test_second_factors import App, turn_on_code
from tests.partners.test_sessions import EMAIL
from tests.partners.test_sign_in_providers import set_up, sign_in_through
from tests.parts.authenticator import Authenticator
from tests.parts.provider import Person, Provider


@pytest.fixture
def strict(scene: Scene) -> Iterator[Stubs]:
    """Stubs of the scene's service, set to require a second factor."""
    parts = (
        scene.database,
        scene.issuer,
        scene.verifier,
        Keyring(scene.sealing_key),
        scene.mail,
        scene.clock,
        DirectoryIndex(),
        Site(SITE),
        SignInProviders(
            scene.database, Keyring(scene.sealing_key), scene.mail, SITE, development=True
        ),
    )
    server = Server(
        "127.0.0.1:0", servicers(*parts, strict=True), threads=2, reflect=False, caller_rate=100_000
    )
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    yield Stubs(channel)
    channel.close()
    server.stop(0)


def sign_in(strict: Stubs, email: str = EMAIL) -> m.SignInResponse:
    answer: m.SignInResponse = strict.SignIn(email=email, password=PASSWORD)
    return answer


def finish(strict: Stubs, challenge: str, code: str) -> m.SignInResponse:
    answer: m.SignInResponse = strict.FinishSignIn(challenge=challenge, code=code)
    return answer


def wrong_code_of(app: App) -> str:
    return "000000" if app.code() != "000000" else "000001"


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.COORDINATOR, Role.AUDITOR])
def test_a_worker_who_needs_a_second_factor_sets_up_a_code_before_there_is_a_session(
    scene: Scene, strict: Stubs, role: Role
) -> None:
    scene.worker(scene.organization("Puentes"), Role.WORKER, role, email=EMAIL)
    sign_in_response = sign_in(strict)
    assert {field.name for field, _ in sign_in_response.ListFields()} == {
        "challenge",
        "asks_code",
        "set_up_secret",
        "set_up_uri",
    }
    app = App(scene, sign_in_response.set_up_secret)
    fails(lambda: finish(strict, sign_in_response.challenge, wrong_code_of(app)))
    assert scene.rows("SELECT * FROM sessions") == []
    code = app.code()
    entered = finish(strict, sign_in_response.challenge, code)
    assert (entered.worker.email, len(entered.recovery_codes)) == (EMAIL, 10)
    fails(lambda: finish(strict, sign_in_response.challenge, app.code(30)))
    again = sign_in(strict)
    assert (again.asks_code, again.set_up_secret) == (True, "")
    fails(lambda: finish(strict, again.challenge, code))
    response = finish(strict, again.challenge, entered.recovery_codes[0])
    assert (bool(response.session_secret), list(response.recovery_codes)) == (True, [])


def test_other_roles_need_no_second_factor_and_without_the_setting_nobody_does(
    scene: Scene, strict: Stubs
) -> None:
    scene.worker(scene.organization("Puentes"), Role.WORKER, Role.MANAGER, email=EMAIL)
    assert sign_in(strict).session_secret
    scene.worker(scene.organization("Otra"), Role.OPERATOR, email="operadora@ejemplo.org")
    assert sign_in(scene.nobody, "operadora@ejemplo.org").session_secret


def test_a_passkey_is_enough(scene: Scene, strict: Stubs) -> None:
    worker = scene.worker(scene.organization("Puentes"), Role.OPERATOR, email=EMAIL)
    me, phone = scene.as_worker(worker), Authenticator(SITE)
    challenge = begin(me)
    create(me, challenge, phone.make(challenge.options))
    sign_in_response = sign_in(strict)
    assert (sign_in_response.asks_code, sign_in_response.set_up_secret) == (False, "")
    signed = phone.sign(sign_in_response.passkey_options)
    assert strict.FinishSignIn(challenge=sign_in_response.challenge, passkey=signed).session_secret


def test_an_older_challenge_puts_no_code_into_use(scene: Scene, strict: Stubs) -> None:
    worker = scene.worker(scene.organization("Puentes"), Role.AUDITOR, email=EMAIL)
    first, second = sign_in(strict), sign_in(strict)
    fails(lambda: finish(strict, first.challenge, App(scene, first.set_up_secret).code()))
    finish(strict, second.challenge, App(scene, second.set_up_secret).code())
    scene.advance(seconds=60)
    fails(lambda: finish(strict, first.challenge, App(scene, second.set_up_secret).code()))
    scene.as_worker(worker).EndSecondFactor(password=PASSWORD)
    third, me, phone = sign_in(strict), scene.as_worker(worker), Authenticator(SITE)
    challenge = begin(me)
    create(me, challenge, phone.make(challenge.options))
    fails(lambda: finish(strict, third.challenge, App(scene, third.set_up_secret).code()))


def test_a_sign_in_at_the_moment_in_which_an_app_is_activated_replaces_no_secret(
    scene: Scene, strict: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise somebody with only the password would get the secret of the app that is in use."""
    scene.worker(scene.organization("Puentes"), Role.OPERATOR, email=EMAIL)
    first, get = sign_in(strict), second_factors.get
    app = App(scene, first.set_up_secret)

    def read_before_the_activation(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(second_factors, "get", get)
        factor = get(*args, **more)
        assert finish(strict, first.challenge, app.code()).session_secret
        return factor

    monkeypatch.setattr(second_factors, "get", read_before_the_activation)
    second = sign_in(strict)
    scene.advance(seconds=60)
    third = sign_in(strict)
    fails(lambda: finish(strict, third.challenge, App(scene, second.set_up_secret).code()))
    assert finish(strict, third.challenge, app.code()).session_secret


def test_a_worker_who_is_suspended_meanwhile_sets_up_no_code(scene: Scene, strict: Stubs) -> None:
    scene.worker(scene.organization("Puentes"), Role.OPERATOR, email=EMAIL)
    sign_in_response = sign_in(strict)
    scene.rows("UPDATE workers SET status = 'SUSPENDED' WHERE email = %s RETURNING id", EMAIL)
    fails(
        lambda: finish(
            strict, sign_in_response.challenge, App(scene, sign_in_response.set_up_secret).code()
        )
    )
    assert scene.rows("SELECT * FROM second_factors WHERE confirm_time IS NOT NULL") == []


@pytest.mark.parametrize(
    ("methods", "needs_code"), [(("pwd",), True), (("pwd", "otp", "mfa"), False)]
)
def test_a_provider_that_required_a_second_factor_is_trusted_and_another_is_not_enough(
    scene: Scene, strict: Stubs, methods: tuple[str, ...], needs_code: bool
) -> None:
    scene.worker(scene.coalition, Role.COORDINATOR, email=EMAIL)
    provider = Provider(
        f"{SITE}/sign-in/return",
        {"ana": Person("ana-1", EMAIL, ways=methods)},
        now=lambda: scene.clock.now().timestamp(),
    )
    id = set_up(scene, scene.coalition, provider).provider_id
    challenge = strict.BeginProviderSignIn(provider_id=id)
    back = provider.signs_in(challenge.authorization_url, "ana")
    response: m.SignInResponse = strict.FinishProviderSignIn(
        challenge=challenge.challenge, state=back["state"], code=back["code"]
    )
    provider.stop()
    assert (bool(response.set_up_secret), bool(response.session_secret)) == (
        needs_code,
        not needs_code,
    )


def test_a_worker_with_a_code_is_asked_for_it_whatever_her_provider_required(scene: Scene) -> None:
    scene.worker(scene.coalition, Role.WORKER, email=EMAIL)
    app, _spare = turn_on_code(scene)
    people = {"ana": Person("ana-1", EMAIL, ways=("mfa",))}
    provider = Provider(f"{SITE}/sign-in/return", people, now=lambda: scene.clock.now().timestamp())
    set_up(scene, scene.coalition, provider)
    response = sign_in_through(scene, scene.coalition, provider)
    provider.stop()
    assert (response.session_secret, response.asks_code) == ("", True)
    assert scene.nobody.FinishSignIn(challenge=response.challenge, code=app.code()).session_secret
