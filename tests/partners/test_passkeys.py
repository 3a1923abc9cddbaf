"""Passkeys.

Whoever knows the password can make a passkey for this site, and each signature is valid once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import pytest

from chassis.tokens import Caller
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1 import members_pb2 as m
from services.partners.members.domain.worker import Role
from services.partners.sign_in.protocols.passkeys import Site
from tests.builders import refusal, wrong_fields
from tests.partners.scene import PASSWORD, SITE, Scene, Stubs
from tests.partners.test_second_factors import FAILED, finish, turn_on_code
from tests.partners.test_sessions import EMAIL, sign_in
from tests.parts.authenticator import Authenticator


@pytest.fixture
def member(scene: Scene) -> Scene:
    scene.worker(scene.organization("Puentes"), Role.WORKER, email=EMAIL)
    return scene


def begin(me: Stubs) -> pb.BeginPasskeyResponse:
    answer: pb.BeginPasskeyResponse = me.BeginPasskey(password=PASSWORD)
    return answer


def create(
    me: Stubs, challenge: pb.BeginPasskeyResponse, credential: str, label: str = "Mi teléfono"
) -> pb.SecondFactor:
    answer: pb.SecondFactor = me.CreatePasskey(
        challenge=challenge.challenge, credential=credential, label=label
    )
    return answer


def herself(scene: Scene) -> Stubs:
    """Returns a worker's stubs, which get a fresh token for each call."""
    [row] = scene.rows("SELECT id, organization_id FROM workers WHERE email = %s", EMAIL)
    return scene.with_token(
        Caller(row["id"], "worker", row["organization_id"], frozenset({"WORKER"}))
    )


def with_passkey(scene: Scene, *, counts: bool = True) -> tuple[Stubs, Authenticator]:
    """Returns a signed-in worker, and the device whose passkey her account has."""
    me = herself(scene)
    phone = Authenticator(SITE, counts=counts)
    challenge = begin(me)
    create(me, challenge, phone.make(challenge.options))
    return me, phone


def by_passkey(scene: Scene, challenge: str, passkey: str) -> m.SignInResponse:
    answer: m.SignInResponse = scene.nobody.FinishSignIn(challenge=challenge, passkey=passkey)
    return answer


def fails(ask: Callable[[], object]) -> None:
    assert refusal(ask) == FAILED


def wrong(path: str, ask: Callable[[], object]) -> None:
    assert wrong_fields(ask) == [(path, "wrong")]


def begin_without_password(scene: Scene) -> m.BeginPasskeySignInResponse:
    answer: m.BeginPasskeySignInResponse = scene.nobody.BeginPasskeySignIn()
    return answer


def test_after_the_password_a_passkey_opens_the_session_and_its_last_use_is_shown(
    member: Scene,
) -> None:
    me, phone = with_passkey(member)
    sign_in_response = sign_in(member)
    assert (
        sign_in_response.session_secret,
        sign_in_response.asks_code,
        bool(sign_in_response.challenge),
    ) == ("", False, True)
    member.advance(minutes=1)
    signed = by_passkey(
        member, sign_in_response.challenge, phone.sign(sign_in_response.passkey_options)
    )
    assert signed.worker.email == EMAIL
    [passkey] = me.GetSecondFactor().passkeys
    assert (passkey.label, passkey.last_use_time.ToSeconds()) == (
        "Mi teléfono",
        int(member.clock.now().timestamp()),
    )


def test_a_passkey_alone_signs_in_if_the_device_verified_its_user(member: Scene) -> None:
    _me, phone = with_passkey(member)
    sign_in_response = begin_without_password(member)
    assert "allowCredentials" not in json.loads(sign_in_response.passkey_options), (
        "nothing is revealed about any account"
    )
    phone.verifies = False
    fails(
        lambda: by_passkey(
            member, sign_in_response.challenge, phone.sign(sign_in_response.passkey_options)
        )
    )
    phone.verifies = True
    assert by_passkey(
        member, sign_in_response.challenge, phone.sign(sign_in_response.passkey_options)
    ).session_secret


def test_a_code_is_accepted_instead_of_a_passkey_and_never_without_the_password(
    member: Scene,
) -> None:
    app, _spare = turn_on_code(member)
    with_passkey(member)
    sign_in_response = sign_in(member)
    assert (sign_in_response.asks_code, bool(sign_in_response.passkey_options)) == (True, True)
    assert finish(member, sign_in_response.challenge, app.code()).session_secret
    member.advance(seconds=60)
    fails(lambda: finish(member, begin_without_password(member).challenge, app.code()))


def test_a_signature_is_valid_once_and_for_one_challenge(member: Scene) -> None:
    _me, phone = with_passkey(member, counts=False)
    first, second = sign_in(member), sign_in(member)
    signed = phone.sign(first.passkey_options)
    fails(lambda: by_passkey(member, second.challenge, signed))
    by_passkey(member, first.challenge, signed)
    fails(lambda: by_passkey(member, first.challenge, signed))
    member.advance(minutes=5)
    fails(lambda: by_passkey(member, second.challenge, phone.sign(second.passkey_options)))


def test_a_signature_that_is_sent_several_times_at_once_opens_one_session(member: Scene) -> None:
    _me, phone = with_passkey(member, counts=False)
    sign_in_response = sign_in(member)
    signed = phone.sign(sign_in_response.passkey_options)

    def goes(_: int) -> bool:
        try:
            return bool(by_passkey(member, sign_in_response.challenge, signed).session_secret)
        except grpc.RpcError:
            return False

    with ThreadPoolExecutor(4) as several:
        assert sum(several.map(goes, range(4))) == 1


def test_a_signature_made_on_a_false_page_is_refused(member: Scene) -> None:
    _me, phone = with_passkey(member)
    sign_in_response = sign_in(member)
    for origin in (
        "https://enlace.example.evil.example",
        "http://enlace.example",
        "https://enlace.example:8443",
        "https://sub.enlace.example",
    ):
        fails(
            lambda origin=origin: by_passkey(  # type: ignore[misc]
                member,
                sign_in_response.challenge,
                phone.sign(sign_in_response.passkey_options, origin=origin),
            )
        )
    fails(
        lambda: by_passkey(
            member,
            sign_in_response.challenge,
            phone.sign(sign_in_response.passkey_options, type="webauthn.create"),
        )
    )
    of_another = json.dumps(json.loads(sign_in_response.passkey_options) | {"rpId": "evil.example"})
    fails(lambda: by_passkey(member, sign_in_response.challenge, phone.sign(of_another)))
    assert by_passkey(
        member, sign_in_response.challenge, phone.sign(sign_in_response.passkey_options)
    ).session_secret


def test_a_copy_of_a_device_is_detected_by_its_counter(member: Scene) -> None:
    _me, phone = with_passkey(member)
    first, second = sign_in(member), sign_in(member)
    copy = Authenticator(SITE, id=phone.id, key=phone.key, account=phone.account)
    by_passkey(member, first.challenge, phone.sign(first.passkey_options))
    fails(lambda: by_passkey(member, second.challenge, copy.sign(second.passkey_options)))


def test_another_key_another_account_and_another_id_sign_nobody_in(member: Scene) -> None:
    _me, phone = with_passkey(member)
    sign_in_response = sign_in(member)
    thief = Authenticator(SITE, id=phone.id, account=phone.account)
    fails(
        lambda: by_passkey(
            member, sign_in_response.challenge, thief.sign(sign_in_response.passkey_options)
        )
    )
    stranger = member.worker(member.organization("Otra"), Role.WORKER)
    other_worker, other_device = member.as_worker(stranger), Authenticator(SITE)
    challenge = begin(other_worker)
    create(other_worker, challenge, other_device.make(challenge.options))
    fails(
        lambda: by_passkey(
            member, sign_in_response.challenge, other_device.sign(sign_in_response.passkey_options)
        )
    )
    begun_alone = begin_without_password(member)
    other_device.account = phone.account
    fails(
        lambda: by_passkey(
            member, begun_alone.challenge, other_device.sign(begun_alone.passkey_options)
        )
    )


def test_a_malformed_passkey_gets_the_same_answer_as_a_wrong_one(member: Scene) -> None:
    me, phone = with_passkey(member)
    good = json.loads(phone.sign(sign_in(member).passkey_options))
    broken = [
        good | {"id": 7},
        good | {"response": {}},
        good | {"rawId": "!"},
        [],
        None,
        1,
        "x",
        {},
        good | {"response": None},
    ]
    for each in [json.dumps(each) for each in broken] + ["{", "[" * 3000, "\u0000", "9" * 7999]:
        fails(lambda each=each: by_passkey(member, begin_without_password(member).challenge, each))  # type: ignore[misc]
        wrong("credential", lambda each=each: create(me, begin(me), each))  # type: ignore[misc]


def test_a_challenge_is_valid_only_for_its_own_purpose(member: Scene) -> None:
    me, phone = with_passkey(member)
    challenge, begun = sign_in(member), begin(me)
    other = Authenticator(SITE)
    options = json.dumps(
        {
            "rp": {"id": "enlace.example"},
            "user": {"id": ""},
            "challenge": json.loads(challenge.passkey_options)["challenge"],
        }
    )
    wrong(
        "challenge",
        lambda: me.CreatePasskey(
            challenge=challenge.challenge, credential=other.make(options), label="x"
        ),
    )
    request = json.dumps(
        {"rpId": "enlace.example", "challenge": json.loads(begun.options)["challenge"]}
    )
    fails(lambda: by_passkey(member, begun.challenge, phone.sign(request)))
    fails(lambda: finish(member, begun.challenge, "123456"))
    colleague = member.as_worker(member.worker(member.organization("Otra"), Role.WORKER))
    wrong("challenge", lambda: create(colleague, begun, other.make(begun.options)))
    create(me, begun, other.make(begun.options))
    wrong("challenge", lambda: create(me, begun, Authenticator(SITE).make(begun.options)))
    late = begin(me)
    member.advance(minutes=5)
    wrong("challenge", lambda: create(me, late, Authenticator(SITE).make(late.options)))


def test_a_passkey_belongs_to_one_account_only_and_is_made_at_this_site(member: Scene) -> None:
    _me, phone = with_passkey(member)
    other = member.as_worker(member.worker(member.organization("Otra"), Role.WORKER))
    challenge = begin(other)
    wrong("credential", lambda: create(other, challenge, phone.make(challenge.options)))
    wrong(
        "credential",
        lambda: create(
            other, challenge, Authenticator("https://evil.example").make(challenge.options)
        ),
    )
    assert len(member.rows("SELECT id FROM passkeys")) == 1


def test_an_account_has_at_most_ten_passkeys(member: Scene) -> None:
    me, _phone = with_passkey(member)
    waiting = begin(me)
    for number in range(9):
        challenge = begin(me)
        create(me, challenge, Authenticator(SITE).make(challenge.options), f"número {number}")
    assert refusal(lambda: begin(me)) == ("FAILED_PRECONDITION", "too_many_passkeys")
    assert refusal(lambda: create(me, waiting, Authenticator(SITE).make(waiting.options))) == (
        "FAILED_PRECONDITION",
        "too_many_passkeys",
    )


def test_somebody_at_an_unlocked_screen_can_neither_add_nor_remove_a_passkey(
    member: Scene,
) -> None:
    me, _phone = with_passkey(member)
    [passkey] = me.GetSecondFactor().passkeys
    for _ in range(5):
        wrong("password", lambda: me.BeginPasskey(password="otra clave larga"))
        wrong(
            "password",
            lambda: me.EndPasskey(id=passkey.id, password="otra clave larga"),
        )
    assert refusal(lambda: begin(me)) == ("RESOURCE_EXHAUSTED", "too_many_attempts")
    assert refusal(lambda: me.EndPasskey(id=passkey.id, password=PASSWORD)) == (
        "RESOURCE_EXHAUSTED",
        "too_many_attempts",
    )


def test_a_removed_passkey_no_longer_signs_in_and_only_its_owner_removes_it(member: Scene) -> None:
    me, phone = with_passkey(member)
    [passkey] = me.GetSecondFactor().passkeys
    other = member.as_worker(member.worker(member.organization("Otra"), Role.WORKER))
    other.EndPasskey(id=passkey.id, password=PASSWORD)
    sign_in_response = sign_in(member)
    assert sign_in_response.passkey_options
    assert not me.EndPasskey(id=passkey.id, password=PASSWORD).passkeys
    fails(
        lambda: by_passkey(
            member, sign_in_response.challenge, phone.sign(sign_in_response.passkey_options)
        )
    )
    assert sign_in(member).session_secret, "the password alone suffices, as before"


def test_a_suspended_account_cannot_be_entered_with_a_passkey(member: Scene) -> None:
    _me, phone = with_passkey(member)
    sign_in_response = begin_without_password(member)
    member.rows("UPDATE workers SET status = 'SUSPENDED' WHERE email = %s RETURNING id", EMAIL)
    fails(
        lambda: by_passkey(
            member, sign_in_response.challenge, phone.sign(sign_in_response.passkey_options)
        )
    )


def test_a_site_without_a_host_name_has_no_passkeys_except_localhost(
    member: Scene,
) -> None:
    assert [
        Site(url).supports_passkeys
        for url in ("http://10.0.0.7:8080", "http://[::1]:8080", "", "http://127.0.0.1:8080")
    ] == [
        False,
        False,
        False,
        True,
    ]
    assert (
        json.loads(Site("http://127.0.0.1:8080").signing_options(b"1" * 32, []))["rpId"]
        == "localhost"
    )


@pytest.mark.parametrize("ask", ["BeginPasskey", "BeginPasskeySignIn"])
def test_the_refusal_says_that_passkeys_are_impossible(
    member: Scene, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    me = herself(member)
    monkeypatch.setattr(Site, "supports_passkeys", False)
    begins = (
        partial(begin, me) if ask == "BeginPasskey" else partial(begin_without_password, member)
    )
    assert refusal(begins) == ("FAILED_PRECONDITION", "passkeys_unavailable")
