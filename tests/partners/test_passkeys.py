"""Passkeys.

Somebody who knows the password can make a passkey for this site. Each signature is valid once.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chassis.tokens import Caller
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1 import members_pb2 as m
from services.partners.sign_in.protocols.passkeys import Site
from tests.builders import refusal, wrong_fields
from tests.partners.scene import (
    EMAIL,
    PASSWORD,
    SIGN_IN_FAILED,
    SITE,
    TOO_MANY_ATTEMPTS,
    Scene,
    Stubs,
)
from tests.partners.test_invitations import answer
from tests.partners.test_second_factors import finish, turn_on_own_codes
from tests.partners.test_sessions import sign_in
from tests.parts.authenticator import Authenticator

TOO_MANY_PASSKEYS = ("FAILED_PRECONDITION", "too_many_passkeys")


def begin(me: Stubs) -> pb.BeginPasskeyResponse:
    return me.BeginPasskey(password=PASSWORD)  # type: ignore[no-any-return]


def create(
    me: Stubs, attempt: pb.BeginPasskeyResponse, credential: str, label: str = "Mi teléfono"
) -> pb.SecondFactor:
    return me.CreatePasskey(  # type: ignore[no-any-return]
        challenge=attempt.challenge, credential=credential, label=label
    )


def add_passkey(me: Stubs, device: Authenticator | None = None) -> Authenticator:
    """Adds a passkey of a device to a worker's account; returns the device."""
    device, attempt = device or Authenticator(SITE), begin(me)
    create(me, attempt, device.make(attempt.options))
    return device


def stubs_of_worker(scene: Scene) -> Stubs:
    """Returns a worker's stubs, which get a fresh token for each call."""
    [row] = scene.rows("SELECT id, organization_id FROM workers WHERE email = %s", EMAIL)
    return scene.with_token(
        Caller(row["id"], "worker", row["organization_id"], frozenset({"WORKER"}))
    )


def with_passkey(scene: Scene, *, counts_signatures: bool = True) -> tuple[Stubs, Authenticator]:
    """Returns a signed-in worker, and the device whose passkey her account has."""
    me = stubs_of_worker(scene)
    return me, add_passkey(me, Authenticator(SITE, counts_signatures=counts_signatures))


Attempt = m.SignInResponse | m.BeginPasskeySignInResponse


def finish_by_passkey(scene: Scene, attempt: Attempt, passkey: str) -> m.SignInResponse:
    return scene.nobody.FinishSignIn(  # type: ignore[no-any-return]
        challenge=attempt.challenge, passkey=passkey
    )


def finish_by_device(scene: Scene, attempt: Attempt, device: Authenticator) -> m.SignInResponse:
    """Finishes a sign-in with a signature that the device makes for it."""
    return finish_by_passkey(scene, attempt, device.sign(attempt.passkey_options))


def assert_fails(call: Callable[[], object]) -> None:
    assert refusal(call) == SIGN_IN_FAILED


def assert_wrong(path: str, call: Callable[[], object]) -> None:
    assert wrong_fields(call) == [(path, "wrong")]


def begin_without_password(scene: Scene) -> m.BeginPasskeySignInResponse:
    return scene.nobody.BeginPasskeySignIn()  # type: ignore[no-any-return]


def test_after_the_password_a_passkey_opens_the_session_and_its_last_use_is_shown(
    network: Scene,
) -> None:
    me, phone = with_passkey(network)
    attempt = sign_in(network)
    assert (attempt.session_secret, attempt.asks_code, bool(attempt.challenge)) == ("", False, True)
    network.advance(minutes=1)
    assert finish_by_device(network, attempt, phone).worker.email == EMAIL
    [passkey] = me.GetSecondFactor().passkeys
    assert (passkey.label, passkey.last_use_time.ToSeconds()) == (
        "Mi teléfono",
        int(network.clock.now().timestamp()),
    )


def test_a_passkey_alone_signs_in_if_the_device_verified_its_user(network: Scene) -> None:
    _me, phone = with_passkey(network)
    attempt = begin_without_password(network)
    assert "allowCredentials" not in json.loads(attempt.passkey_options), (
        "nothing is revealed about any account"
    )
    phone.verifies_user = False
    assert_fails(lambda: finish_by_device(network, attempt, phone))
    phone.verifies_user = True
    assert finish_by_device(network, attempt, phone).session_secret


def test_a_code_is_accepted_instead_of_a_passkey_and_never_without_the_password(
    network: Scene,
) -> None:
    app, _spare = turn_on_own_codes(network)
    with_passkey(network)
    attempt = sign_in(network)
    assert (attempt.asks_code, bool(attempt.passkey_options)) == (True, True)
    assert finish(network, attempt.challenge, app.code()).session_secret
    network.advance(seconds=60)
    assert_fails(lambda: finish(network, begin_without_password(network).challenge, app.code()))


def test_a_signature_is_valid_once_and_for_one_challenge(network: Scene) -> None:
    _me, phone = with_passkey(network, counts_signatures=False)
    first, second = sign_in(network), sign_in(network)
    signature = phone.sign(first.passkey_options)
    assert_fails(lambda: finish_by_passkey(network, second, signature))
    finish_by_passkey(network, first, signature)
    assert_fails(lambda: finish_by_passkey(network, first, signature))
    network.advance(minutes=5)
    assert_fails(lambda: finish_by_device(network, second, phone))


def test_a_signature_that_is_sent_several_times_at_once_opens_one_session(network: Scene) -> None:
    _me, phone = with_passkey(network, counts_signatures=False)
    attempt = sign_in(network)
    call = partial(finish_by_passkey, network, attempt, phone.sign(attempt.passkey_options))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, [call] * 4)).count("OK") == 1
    assert len(network.rows("SELECT FROM sessions")) == 1


def test_a_signature_made_on_a_false_page_is_refused(network: Scene) -> None:
    _me, phone = with_passkey(network)
    attempt = sign_in(network)
    options = attempt.passkey_options
    for signature in (
        phone.sign(options, origin="https://enlace.example.evil.example"),
        phone.sign(options, origin="http://enlace.example"),
        phone.sign(options, origin="https://enlace.example:8443"),
        phone.sign(options, origin="https://sub.enlace.example"),
        phone.sign(options, type="webauthn.create"),
        phone.sign(json.dumps(json.loads(options) | {"rpId": "evil.example"})),
    ):
        assert_fails(partial(finish_by_passkey, network, attempt, signature))
    assert finish_by_device(network, attempt, phone).session_secret


def test_a_copy_of_a_device_is_detected_by_its_counter(network: Scene) -> None:
    _me, phone = with_passkey(network)
    first, second = sign_in(network), sign_in(network)
    copy = Authenticator(SITE, id=phone.id, key=phone.key, account=phone.account)
    finish_by_device(network, first, phone)
    assert_fails(lambda: finish_by_device(network, second, copy))


def test_another_key_another_account_and_another_id_sign_nobody_in(network: Scene) -> None:
    _me, phone = with_passkey(network)
    attempt = sign_in(network)
    thief = Authenticator(SITE, id=phone.id, account=phone.account)
    assert_fails(lambda: finish_by_device(network, attempt, thief))
    other_device = add_passkey(network.by(network.organization("Otra")))
    assert_fails(lambda: finish_by_device(network, attempt, other_device))
    other_device.account = phone.account
    assert_fails(lambda: finish_by_device(network, begin_without_password(network), other_device))


def test_a_malformed_passkey_gets_the_same_answer_as_a_wrong_one(network: Scene) -> None:
    me, phone = with_passkey(network)
    valid_passkey = json.loads(phone.sign(sign_in(network).passkey_options))
    broken = [
        valid_passkey | {"id": 7},
        valid_passkey | {"response": {}},
        valid_passkey | {"rawId": "!"},
        [],
        None,
        1,
        "x",
        {},
        valid_passkey | {"response": None},
    ]
    for passkey in [*map(json.dumps, broken), "{", "[" * 3000, "\u0000", "9" * 7999]:
        assert_fails(partial(finish_by_passkey, network, begin_without_password(network), passkey))
        assert_wrong("credential", partial(create, me, begin(me), passkey))


def test_a_challenge_is_valid_only_for_its_own_purpose(network: Scene) -> None:
    me, phone = with_passkey(network)
    sign_in_attempt, attempt = sign_in(network), begin(me)
    device = Authenticator(SITE)
    creation_options = json.dumps(
        {
            "rp": {"id": "enlace.example"},
            "user": {"id": ""},
            "challenge": json.loads(sign_in_attempt.passkey_options)["challenge"],
        }
    )
    mixed_creation = pb.BeginPasskeyResponse(challenge=sign_in_attempt.challenge)
    assert_wrong("challenge", lambda: create(me, mixed_creation, device.make(creation_options)))
    signing_options = json.dumps(
        {"rpId": "enlace.example", "challenge": json.loads(attempt.options)["challenge"]}
    )
    mixed_sign_in = m.SignInResponse(challenge=attempt.challenge)
    assert_fails(lambda: finish_by_passkey(network, mixed_sign_in, phone.sign(signing_options)))
    assert_fails(lambda: finish(network, attempt.challenge, "123456"))
    stranger = network.by(network.organization("Otra"))
    assert_wrong("challenge", lambda: create(stranger, attempt, device.make(attempt.options)))
    create(me, attempt, device.make(attempt.options))
    assert_wrong(
        "challenge", lambda: create(me, attempt, Authenticator(SITE).make(attempt.options))
    )
    expired_challenge = begin(me)
    network.advance(minutes=5)
    assert_wrong(
        "challenge",
        lambda: create(me, expired_challenge, Authenticator(SITE).make(expired_challenge.options)),
    )


def test_a_passkey_belongs_to_one_account_only_and_is_made_at_this_site(network: Scene) -> None:
    _me, phone = with_passkey(network)
    other = network.by(network.organization("Otra"))
    attempt = begin(other)
    for device in (phone, Authenticator("https://evil.example")):
        assert_wrong("credential", partial(create, other, attempt, device.make(attempt.options)))
    assert len(network.rows("SELECT id FROM passkeys")) == 1


def test_an_account_has_at_most_ten_passkeys(network: Scene) -> None:
    me, _phone = with_passkey(network)
    attempt = begin(me)
    for _ in range(9):
        add_passkey(me)
    assert refusal(lambda: begin(me)) == TOO_MANY_PASSKEYS
    assert (
        refusal(lambda: create(me, attempt, Authenticator(SITE).make(attempt.options)))
        == TOO_MANY_PASSKEYS
    )


def test_somebody_at_an_unlocked_screen_can_neither_add_nor_remove_a_passkey(
    network: Scene,
) -> None:
    me, _phone = with_passkey(network)
    [passkey] = me.GetSecondFactor().passkeys
    for _ in range(5):
        assert_wrong("password", lambda: me.BeginPasskey(password="otra clave larga"))
        assert_wrong("password", lambda: me.EndPasskey(id=passkey.id, password="otra clave larga"))
    for call in (lambda: begin(me), lambda: me.EndPasskey(id=passkey.id, password=PASSWORD)):
        assert refusal(call) == TOO_MANY_ATTEMPTS


def test_a_removed_passkey_no_longer_signs_in_and_only_its_owner_removes_it(network: Scene) -> None:
    me, phone = with_passkey(network)
    [passkey] = me.GetSecondFactor().passkeys
    network.by(network.organization("Otra")).EndPasskey(id=passkey.id, password=PASSWORD)
    attempt = sign_in(network)
    assert attempt.passkey_options
    assert not me.EndPasskey(id=passkey.id, password=PASSWORD).passkeys
    assert_fails(lambda: finish_by_device(network, attempt, phone))
    assert sign_in(network).session_secret, "the password alone suffices, as before"


def test_a_suspended_account_cannot_be_entered_with_a_passkey(network: Scene) -> None:
    _me, phone = with_passkey(network)
    attempt = begin_without_password(network)
    network.rows("UPDATE workers SET status = 'SUSPENDED' WHERE email = %s RETURNING id", EMAIL)
    assert_fails(lambda: finish_by_device(network, attempt, phone))


def test_a_site_without_a_host_name_has_no_passkeys_except_localhost() -> None:
    urls = ("http://10.0.0.7:8080", "http://[::1]:8080", "", "http://127.0.0.1:8080")
    assert [Site(url).supports_passkeys for url in urls] == [False, False, False, True]
    options = json.loads(Site("http://127.0.0.1:8080").signing_options(b"1" * 32, []))
    assert options["rpId"] == "localhost"


@pytest.mark.parametrize(
    ("public_url", "origin"),
    [
        ("https://enlace.example:443", "https://enlace.example"),
        ("http://localhost:80", "http://localhost"),
        ("https://enlace.example:8443", "https://enlace.example:8443"),
    ],
)
def test_a_passkey_is_created_although_browsers_omit_the_usual_port_of_the_public_url(
    public_url: str, origin: str
) -> None:
    site, challenge = Site(public_url), b"1" * 32
    options = site.creation_options(challenge, "1", EMAIL, "Ana", [])
    assert site.created_credential(challenge, Authenticator(origin).make(options)).id


def test_a_site_that_supports_no_passkeys_refuses_them_with_that_reason(
    network: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = stubs_of_worker(network)
    monkeypatch.setattr(Site, "supports_passkeys", False)
    for call in (lambda: begin(me), lambda: begin_without_password(network)):
        assert refusal(call) == ("FAILED_PRECONDITION", "passkeys_unavailable")
