"""A network may require a second factor.

Operators, coordinators and auditors then cannot sign in with only a password: they set up a code
first, and get no session before that.
"""

from typing import Any

import pytest

from protos.partners.v1 import members_pb2 as m
from services.partners.members.domain.worker import Role
from services.partners.sign_in.store import second_factors
from tests.partners.providers import OFFICIAL, set_up, sign_in_through
from tests.partners.scene import EMAIL, PASSWORD, Scene, Stubs
from tests.partners.test_passkeys import add_passkey, assert_fails
from tests.partners.test_second_factors import App, turn_on_codes
from tests.parts.provider import Person, Provider


def sign_in(strict: Stubs, email: str = EMAIL) -> m.SignInResponse:
    return strict.SignIn(email=email, password=PASSWORD)  # type: ignore[no-any-return]


def finish(strict: Stubs, challenge: str, code: str) -> m.SignInResponse:
    return strict.FinishSignIn(challenge=challenge, code=code)  # type: ignore[no-any-return]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.COORDINATOR, Role.AUDITOR])
def test_a_worker_who_needs_a_second_factor_sets_up_a_code_before_there_is_a_session(
    scene: Scene, strict: Stubs, role: Role
) -> None:
    scene.worker(scene.organization("Puentes"), Role.WORKER, role, email=EMAIL)
    attempt = sign_in(strict)
    assert {field.name for field, _ in attempt.ListFields()} == {
        "challenge",
        "asks_code",
        "set_up_secret",
        "set_up_uri",
    }
    app = App(scene, attempt.set_up_secret)
    assert_fails(lambda: finish(strict, attempt.challenge, app.wrong_code()))
    assert scene.rows("SELECT * FROM sessions") == []
    code = app.code()
    session = finish(strict, attempt.challenge, code)
    assert (session.worker.email, len(session.recovery_codes)) == (EMAIL, 10)
    assert_fails(lambda: finish(strict, attempt.challenge, app.code(30)))
    second_sign_in = sign_in(strict)
    assert (second_sign_in.asks_code, second_sign_in.set_up_secret) == (True, "")
    assert_fails(lambda: finish(strict, second_sign_in.challenge, code))
    response = finish(strict, second_sign_in.challenge, session.recovery_codes[0])
    assert (bool(response.session_secret), list(response.recovery_codes)) == (True, [])


def test_other_roles_need_no_second_factor_and_without_the_setting_nobody_does(
    scene: Scene, strict: Stubs
) -> None:
    scene.worker(scene.organization("Puentes"), Role.WORKER, Role.MANAGER, email=EMAIL)
    assert sign_in(strict).session_secret
    scene.worker(scene.organization("Otra"), Role.OPERATOR, email="operadora@ejemplo.org")
    assert sign_in(scene.nobody, "operadora@ejemplo.org").session_secret


def test_a_passkey_counts_as_the_required_second_factor(scene: Scene, strict: Stubs) -> None:
    worker = scene.worker(scene.organization("Puentes"), Role.OPERATOR, email=EMAIL)
    phone = add_passkey(scene.as_worker(worker))
    attempt = sign_in(strict)
    assert (attempt.asks_code, attempt.set_up_secret) == (False, "")
    signature = phone.sign(attempt.passkey_options)
    assert strict.FinishSignIn(challenge=attempt.challenge, passkey=signature).session_secret


def test_an_older_challenge_puts_no_code_into_use(scene: Scene, strict: Stubs) -> None:
    me = scene.as_worker(scene.worker(scene.organization("Puentes"), Role.AUDITOR, email=EMAIL))
    first, second = sign_in(strict), sign_in(strict)
    assert_fails(lambda: finish(strict, first.challenge, App(scene, first.set_up_secret).code()))
    finish(strict, second.challenge, App(scene, second.set_up_secret).code())
    scene.advance(seconds=60)
    assert_fails(lambda: finish(strict, first.challenge, App(scene, second.set_up_secret).code()))
    me.EndSecondFactor(password=PASSWORD)
    third = sign_in(strict)
    add_passkey(me)
    assert_fails(lambda: finish(strict, third.challenge, App(scene, third.set_up_secret).code()))


def test_a_sign_in_at_the_moment_in_which_an_app_is_activated_replaces_no_secret(
    scene: Scene, strict: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks that somebody with only the password never gets the secret of an app in use."""
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
    assert_fails(lambda: finish(strict, third.challenge, App(scene, second.set_up_secret).code()))
    assert finish(strict, third.challenge, app.code()).session_secret


def test_a_worker_who_is_suspended_meanwhile_sets_up_no_code(scene: Scene, strict: Stubs) -> None:
    scene.worker(scene.organization("Puentes"), Role.OPERATOR, email=EMAIL)
    attempt = sign_in(strict)
    scene.rows("UPDATE workers SET status = 'SUSPENDED' WHERE email = %s RETURNING id", EMAIL)
    assert_fails(
        lambda: finish(strict, attempt.challenge, App(scene, attempt.set_up_secret).code())
    )
    assert scene.rows("SELECT * FROM second_factors WHERE confirm_time IS NOT NULL") == []


@pytest.mark.parametrize(
    ("methods", "needs_code"), [(("pwd",), True), (("pwd", "otp", "mfa"), False)]
)
def test_a_provider_that_required_a_second_factor_is_trusted_and_another_is_not_enough(
    scene: Scene, strict: Stubs, provider: Provider, methods: tuple[str, ...], needs_code: bool
) -> None:
    scene.worker(scene.coalition, Role.COORDINATOR, email=OFFICIAL)
    provider.people["ana"] = Person("ana-1", OFFICIAL, methods=methods)
    id = set_up(scene, scene.coalition, provider).provider_id
    attempt = strict.BeginProviderSignIn(provider_id=id)
    callback = provider.signs_in(attempt.authorization_url, "ana")
    answer = strict.FinishProviderSignIn(
        challenge=attempt.challenge, state=callback["state"], code=callback["code"]
    )
    assert (bool(answer.set_up_secret), bool(answer.session_secret)) == (
        needs_code,
        not needs_code,
    )


def test_a_worker_with_a_code_is_asked_for_it_whatever_her_provider_required(
    scene: Scene, provider: Provider
) -> None:
    me = scene.as_worker(scene.worker(scene.coalition, Role.WORKER, email=OFFICIAL))
    app, _spare = turn_on_codes(scene, me)
    provider.people["ana"] = Person("ana-1", OFFICIAL, methods=("mfa",))
    set_up(scene, scene.coalition, provider)
    attempt = sign_in_through(scene, scene.coalition, provider)
    assert (attempt.session_secret, attempt.asks_code) == ("", True)
    assert finish(scene.nobody, attempt.challenge, app.code()).session_secret
