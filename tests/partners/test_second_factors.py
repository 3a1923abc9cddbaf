"""A code from an app in addition to the password.

Each code is valid once, ten guesses are allowed, and spare codes serve when the phone is lost.
"""

import base64
from functools import partial

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from chassis.tokens import SYSTEM
from keys.rotation import DEAD_LETTERS, count_older, rewrap
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2
from services.partners.__main__ import SEALED
from services.partners.sign_in.domain.second_factor import SecondFactor
from services.partners.sign_in.store import second_factors
from tests.builders import refusal, wrong_fields
from tests.partners.scene import (
    EMAIL,
    ILLEGAL,
    PASSWORD,
    SESSION_ENDED,
    SIGN_IN_FAILED,
    TOO_MANY_ATTEMPTS,
    Scene,
    Stubs,
)
from tests.partners.test_accounts import session_of
from tests.partners.test_sessions import sign_in, token_of


class App:
    """The app on the worker's phone, which shows codes according to the scene's clock."""

    def __init__(self, scene: Scene, secret: str) -> None:
        self._scene = scene
        self._codes = TOTP(base64.b32decode(secret), 6, SHA1(), 30)

    def code(self, seconds: int = 0) -> str:
        """Returns the code that is shown `seconds` from now."""
        return self._codes.generate(int(self._scene.clock.now().timestamp()) + seconds).decode()

    def wrong_code(self) -> str:
        return "000000" if self.code() != "000000" else "000001"


def begin_set_up(scene: Scene) -> tuple[Stubs, App]:
    me, _secret = session_of(scene)
    return me, App(scene, me.BeginSecondFactor(password=PASSWORD).secret)


def turn_on_codes(scene: Scene, me: Stubs) -> tuple[App, list[str]]:
    """Turns codes on; returns the app and spare codes, usable from the next time step on."""
    app = App(scene, me.BeginSecondFactor(password=PASSWORD).secret)
    spare = me.ConfirmSecondFactor(code=app.code()).recovery_codes
    scene.advance(seconds=60)
    return app, list(spare)


def turn_on_own_codes(scene: Scene) -> tuple[App, list[str]]:
    """Turns codes on for the worker whose e-mail address is EMAIL."""
    return turn_on_codes(scene, session_of(scene)[0])


def finish(scene: Scene, challenge: str, code: str) -> members_pb2.SignInResponse:
    return scene.nobody.FinishSignIn(  # type: ignore[no-any-return]
        challenge=challenge, code=code
    )


@pytest.fixture
def app(network: Scene) -> App:
    """The app on the phone of a worker who has to enter a code."""
    return turn_on_own_codes(network)[0]


def test_a_code_is_valid_one_step_early_or_late_and_never_twice() -> None:
    assert SecondFactor("w").steps(100) == [99, 100, 101]
    assert SecondFactor("w", last_step=100).steps(100) == [101]


def test_no_code_is_asked_for_until_a_first_code_has_been_confirmed(network: Scene) -> None:
    me, app = begin_set_up(network)
    assert sign_in(network).session_secret
    assert wrong_fields(lambda: me.ConfirmSecondFactor(code=app.wrong_code())) == [
        ("code", "wrong")
    ]
    assert not me.GetSecondFactor().HasField("confirm_time")
    assert sign_in(network).session_secret


def test_the_password_alone_opens_no_session_and_reveals_nothing(network: Scene, app: App) -> None:
    answer = sign_in(network)
    assert [field.name for field, _ in answer.ListFields()] == ["challenge", "asks_code"]
    assert refusal(lambda: token_of(network, answer.challenge)) == SESSION_ENDED
    session = finish(network, answer.challenge, app.code())
    assert (session.worker.email, token_of(network, session.session_secret).worker.email) == (
        EMAIL,
        EMAIL,
    )


def test_somebody_at_an_unlocked_screen_cannot_lock_its_owner_out(network: Scene) -> None:
    me, _secret = session_of(network)
    assert wrong_fields(lambda: me.BeginSecondFactor(password="otra clave larga")) == [
        ("password", "wrong")
    ]
    assert network.rows("SELECT * FROM second_factors") == []


def test_a_wrong_password_gets_the_same_answer_whether_or_not_the_account_requires_a_code(
    network: Scene,
) -> None:
    turn_on_own_codes(network)
    assert refusal(lambda: sign_in(network, password="otra clave larga")) == SIGN_IN_FAILED


def test_a_code_a_challenge_and_a_spare_code_are_valid_once(network: Scene) -> None:
    app, spare = turn_on_own_codes(network)
    first, second = sign_in(network).challenge, sign_in(network).challenge
    code = app.code()
    finish(network, first, code)
    assert refusal(lambda: finish(network, second, code)) == SIGN_IN_FAILED
    assert refusal(lambda: finish(network, first, app.code(30))) == SIGN_IN_FAILED
    assert finish(network, second, spare[0]).session_secret
    third = sign_in(network).challenge
    assert refusal(lambda: finish(network, third, spare[0])) == SIGN_IN_FAILED
    assert finish(network, third, spare[1].upper().replace("-", " ")).session_secret


def test_a_challenge_expires_after_five_minutes_and_a_mistyped_code_does_not_end_it(
    network: Scene, app: App
) -> None:
    challenge = sign_in(network).challenge
    assert refusal(lambda: finish(network, challenge, "1")) == SIGN_IN_FAILED
    network.advance(minutes=4)
    assert finish(network, challenge, app.code()).session_secret
    late_challenge = sign_in(network).challenge
    network.advance(minutes=5)
    assert refusal(lambda: finish(network, late_challenge, app.code())) == SIGN_IN_FAILED


def test_somebody_who_knows_the_password_may_guess_ten_codes_and_then_has_to_wait(
    network: Scene, app: App
) -> None:
    challenge = sign_in(network).challenge
    for guess in range(10):
        assert refusal(partial(finish, network, challenge, f"x{guess}")) == SIGN_IN_FAILED
    assert refusal(lambda: finish(network, challenge, app.code())) == TOO_MANY_ATTEMPTS
    network.advance(minutes=5)
    assert finish(network, sign_in(network).challenge, app.code()).session_secret


def test_only_somebody_who_knows_the_password_turns_the_code_off_and_then_no_code_is_asked_for(
    network: Scene,
) -> None:
    me, app = begin_set_up(network)
    me.ConfirmSecondFactor(code=app.code())
    for call in (
        lambda: me.BeginSecondFactor(password=PASSWORD),
        lambda: me.ConfirmSecondFactor(code=app.code()),
    ):
        assert refusal(call) == ILLEGAL
    assert wrong_fields(lambda: me.EndSecondFactor(password="otra clave larga")) == [
        ("password", "wrong")
    ]
    assert me.GetSecondFactor().recovery_codes_left == 10
    challenge = sign_in(network).challenge
    assert not me.EndSecondFactor(password=PASSWORD).HasField("confirm_time")
    network.advance(seconds=60)
    assert refusal(lambda: finish(network, challenge, app.code())) == SIGN_IN_FAILED
    assert sign_in(network).session_secret


def test_no_secret_and_no_code_is_stored_or_published_in_clear(network: Scene) -> None:
    me, _secret = session_of(network)
    created = me.BeginSecondFactor(password=PASSWORD, request_id="one")
    spare = me.ConfirmSecondFactor(
        code=App(network, created.secret).code(), request_id="two"
    ).recovery_codes
    tables = ("second_factors", "challenges", "audit", "outbox", "requests", "guesses")
    stored = str([network.rows(f"SELECT * FROM {table}") for table in tables])
    secrets = [
        created.secret,
        str(base64.b32decode(created.secret))[2:-1],
        *spare,
        *(code.replace("-", "") for code in spare),
    ]
    assert not [word for word in secrets if word in stored]
    assert EMAIL.replace("@", "%40") in created.uri


def test_a_worker_suspended_before_giving_the_code_cannot_sign_in(network: Scene, app: App) -> None:
    challenge = sign_in(network).challenge
    network.rows("UPDATE workers SET status = 'SUSPENDED' WHERE email = %s RETURNING id", EMAIL)
    assert refusal(lambda: finish(network, challenge, app.code())) == SIGN_IN_FAILED


def test_the_secret_of_a_code_is_rewrapped_with_the_next_key_and_opens_as_before(
    network: Scene,
) -> None:
    me, _secret = session_of(network)
    created = me.BeginSecondFactor(password=PASSWORD)
    [row] = network.rows("SELECT worker_id FROM second_factors")
    both_keys = Keyring(
        network.sealing_key, lambda: {0: AESGCM(network.sealing_key), 1: AESGCM(b"1" * 32)}
    )
    assert rewrap(network.database, both_keys, [DEAD_LETTERS, *SEALED]) == (1, 0)
    with network.database.transaction(SYSTEM) as tx:
        assert count_older(tx, both_keys, SEALED) == 0
        assert second_factors.secret(tx, both_keys, row["worker_id"]) == base64.b32decode(
            created.secret
        )


def test_a_password_and_a_first_code_can_be_guessed_ten_times_at_an_unlocked_screen(
    network: Scene,
) -> None:
    me, app = begin_set_up(network)
    for _ in range(10):
        assert wrong_fields(lambda: me.ConfirmSecondFactor(code="x")) == [("code", "wrong")]
        assert wrong_fields(lambda: me.BeginSecondFactor(password="otra clave larga")) == [
            ("password", "wrong")
        ]
    for call in (
        lambda: me.ConfirmSecondFactor(code=app.code()),
        lambda: me.BeginSecondFactor(password=PASSWORD),
        lambda: me.EndSecondFactor(password=PASSWORD),
    ):
        assert refusal(call) == TOO_MANY_ATTEMPTS
