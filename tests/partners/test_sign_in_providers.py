"""An official of a ministry signs in through the ministry's own provider.

The provider is trusted only about its own workers, and only with proof.
"""

import base64
import hmac
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chassis.tokens import SYSTEM
from keys.rotation import rewrap
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2 as m
from services.partners.__main__ import SEALED
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.sign_in.protocols import oidc
from services.partners.sign_in.store import sign_in_providers
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.providers import (
    OFFICIAL,
    begin,
    confirm,
    finish,
    propose,
    propose_long_ago,
    set_up,
    sign_in_at_provider,
    sign_in_through,
)
from tests.partners.scene import (
    ILLEGAL,
    NOTHING_TO_CONFIRM,
    SECOND_PERSON,
    SIGN_IN_FAILED,
    SITE,
    STALE_ETAG,
    UNAVAILABLE,
    Scene,
    Stubs,
)
from tests.partners.test_invitations import answer
from tests.parts.provider import Person, Provider, rsa_key

NONE, HS256 = b'{"alg":"none"}', b'{"alg":"HS256","kid":"first"}'


def assert_fails(scene: Scene, organization: Organization, provider: Provider) -> None:
    """Checks that a sign-in through the provider is refused and opens no session."""
    assert refusal(lambda: sign_in_through(scene, organization, provider)) == SIGN_IN_FAILED
    assert not scene.rows("SELECT * FROM sessions")


def test_an_official_signs_in_through_the_ministry(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    session = sign_in_through(scene, ministry, provider)
    assert (session.worker.email, session.organization.id) == (OFFICIAL, ministry.id)
    issued = scene.nobody.IssueToken(session_secret=session.session_secret)
    assert issued.worker.id == session.worker.id


def test_after_the_first_sign_in_an_official_is_known_by_her_id_at_the_provider_not_her_email(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    first = sign_in_through(scene, ministry, provider)
    provider.people["ana"] = Person("ana-1", "otra@ministerio.example", email_verified=False)
    assert sign_in_through(scene, ministry, provider).worker.id == first.worker.id
    # her address now belongs to somebody else
    provider.people["nueva"] = Person("nueva-2", OFFICIAL)
    assert refusal(lambda: sign_in_through(scene, ministry, provider, "nueva")) == SIGN_IN_FAILED


@pytest.mark.parametrize(
    "person",
    [
        Person("x", OFFICIAL, email_verified=False),
        Person("x", "nadie@ministerio.example"),
        Person("x", ""),
        Person("x", OFFICIAL.replace("s", "ſ")),  # equal to hers once normalised
    ],
)
def test_an_official_without_an_email_that_is_verified_and_known_is_not_signed_in(
    scene: Scene, ministry: Organization, provider: Provider, person: Person
) -> None:
    provider.people["ana"] = person
    assert_fails(scene, ministry, provider)


def test_a_provider_signs_in_no_worker_of_another_organisation(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    coordinator = scene.worker(scene.coalition, Role.COORDINATOR, email="jefa@coalicion.example")
    provider.people["ana"] = Person("ana-1", coordinator.entry.email)
    assert_fails(scene, ministry, provider)
    other_ministry = scene.organization("Otro ministerio")
    set_up(scene, other_ministry, provider)
    provider.people["ana"] = Person("ana-1", OFFICIAL)
    assert_fails(scene, other_ministry, provider)
    assert sign_in_through(scene, ministry, provider).worker.email == OFFICIAL


def test_a_worker_who_is_suspended_here_is_not_signed_in_by_her_ministry(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    sign_in_through(scene, ministry, provider)
    scene.rows("DELETE FROM sessions RETURNING 1")
    of_official = "WHERE email = %s RETURNING id"
    scene.rows(f"UPDATE workers SET status = 'SUSPENDED' {of_official}", OFFICIAL)
    assert_fails(scene, ministry, provider)
    scene.rows(f"UPDATE workers SET status = 'ACTIVE' {of_official}", OFFICIAL)
    challenge_and_callback = sign_in_at_provider(scene, ministry, provider)
    scene.rows(
        "UPDATE organizations SET status = 'SUSPENDED' WHERE id = %s RETURNING id", ministry.id
    )
    assert refusal(lambda: finish(scene, *challenge_and_callback)) == SIGN_IN_FAILED
    assert refusal(lambda: begin(scene, ministry)) == NOT_FOUND


def test_a_state_is_used_up_even_by_a_wrong_answer(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge, callback = sign_in_at_provider(scene, ministry, provider)
    assert refusal(lambda: finish(scene, challenge, callback | {"code": "otro"})) == SIGN_IN_FAILED
    assert refusal(lambda: finish(scene, challenge, callback)) == SIGN_IN_FAILED
    challenge_and_callback = sign_in_at_provider(scene, ministry, provider)
    finish(scene, *challenge_and_callback)
    assert refusal(lambda: finish(scene, *challenge_and_callback)) == SIGN_IN_FAILED


def test_a_sign_in_that_the_provider_refused_fails(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge, callback = sign_in_at_provider(scene, ministry, provider)
    refused_callback = {"state": callback["state"], "error": "access_denied"}
    assert refusal(lambda: finish(scene, challenge, refused_callback)) == SIGN_IN_FAILED


def test_a_callback_is_accepted_only_with_the_challenge_of_its_own_sign_in(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge, callback = sign_in_at_provider(scene, ministry, provider)
    other_challenge = begin(scene, ministry).challenge
    for state in (callback["state"], "", "0" * 64, "ñ"):
        assert (
            refusal(partial(finish, scene, other_challenge, callback | {"state": state}))
            == SIGN_IN_FAILED
        )
    assert finish(scene, challenge, callback).session_secret


def test_a_code_of_another_sign_in_is_refused(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge, callback = sign_in_at_provider(scene, ministry, provider)
    _, other_callback = sign_in_at_provider(scene, ministry, provider)
    # the provider asks for its verifier
    assert (
        refusal(lambda: finish(scene, challenge, callback | {"code": other_callback["code"]}))
        == SIGN_IN_FAILED
    )


def test_a_sign_in_has_to_be_finished_within_ten_minutes_and_is_then_deleted(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge_and_callback = sign_in_at_provider(scene, ministry, provider)
    scene.advance(minutes=10)
    assert refusal(lambda: finish(scene, *challenge_and_callback)) == SIGN_IN_FAILED
    begin(scene, ministry)
    scene.sweep(minutes=11)
    assert not scene.rows("SELECT * FROM provider_questions")


def test_a_provider_is_asked_to_send_people_back_to_our_own_address(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    attempt = begin(scene, ministry)
    query = parse_qs(urlsplit(attempt.authorization_url).query)
    assert [query[name] for name in ("redirect_uri", "code_challenge_method", "response_type")] == [
        [f"{SITE}/sign-in/return"],
        ["S256"],
        ["code"],
    ]
    assert attempt.challenge not in attempt.authorization_url
    forged_url = attempt.authorization_url.replace("enlace.example", "evil.example")
    answer = requests.post(
        forged_url, data={"user": "ana", "password": "x"}, allow_redirects=False, timeout=5
    )
    assert "Location" not in answer.headers, "the provider accepts no other return address"


Forge = Callable[[Provider, dict[str, Any]], str]


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _by_public_key(provider: Provider, claims: dict[str, Any]) -> str:
    pem = provider.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed_part = f"{_part(HS256)}.{_part(json.dumps(claims).encode())}"
    return f"{signed_part}.{_part(hmac.digest(pem, signed_part.encode(), 'sha256'))}"


def _claims(**changed: Any) -> Forge:
    """Returns a function that signs a token with changed claims; None removes a claim."""

    def forge(provider: Provider, claims: dict[str, Any]) -> str:
        now = provider.now()
        values = {name: value(now) if callable(value) else value for name, value in changed.items()}
        return provider.sign(
            {name: value for name, value in (claims | values).items() if value is not None}
        )

    return forge


FORGERIES: dict[str, Forge] = {
    "no signature": lambda _, claims: f"{_part(NONE)}.{_part(json.dumps(claims).encode())}.",
    "the public key as a secret": _by_public_key,
    "another key": lambda provider, claims: provider.sign(claims, key=rsa_key("another")),
    "the id of an unknown key": lambda provider, claims: provider.sign(claims, kid="second"),
    "another issuer": _claims(iss="https://other.example"),
    "another client": _claims(aud=["other"]),
    "two clients without the authorised one": _claims(aud=["enlace", "other"]),
    "another authorised client": _claims(azp="other"),
    "another nonce": _claims(nonce="other"),
    "no nonce": _claims(nonce=None),
    "expired": _claims(exp=lambda now: now - 61),
    "without an expiry": _claims(exp=None),
    "issued tomorrow": _claims(iat=lambda now: now + 86400),
    "a sign-in an hour ago": _claims(auth_time=lambda now: now - 3600),
    "a sign-in in two minutes": _claims(auth_time=lambda now: now + 120),
    "a sign-in in a year that no clock knows": _claims(auth_time=10**17),
    "a sign-in at an unknown time": _claims(auth_time=None),
    "a sign-in at a time that is not a number": _claims(auth_time=math.nan),
    "no subject": _claims(sub=None),
    "an empty subject": _claims(sub=""),
    "a number as subject": _claims(sub=7),
    "a subject that is too long": _claims(sub="x" * 256),
    "a text instead of verified": _claims(email_verified="true"),
    "no token": lambda _provider, _claims: "x",
    "a token that is too long": lambda _provider, _claims: "x" * 20000,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_token_that_proves_no_identity_opens_no_session(
    scene: Scene, ministry: Organization, provider: Provider, forge: Forge
) -> None:
    provider.cheat = partial(forge, provider)
    assert_fails(scene, ministry, provider)
    provider.cheat = None
    assert sign_in_through(scene, ministry, provider).session_secret


def test_the_answer_of_another_issuer_is_refused(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge, callback = sign_in_at_provider(scene, ministry, provider)
    forged_callback = callback | {"iss": "https://other.example"}
    assert refusal(lambda: finish(scene, challenge, forged_callback)) == SIGN_IN_FAILED
    challenge, callback = sign_in_at_provider(scene, ministry, provider)
    assert finish(scene, challenge, callback | {"iss": provider.issuer}).session_secret


def test_a_provider_that_hangs_delays_nobody_for_long(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge_and_callback = sign_in_at_provider(scene, ministry, provider)
    provider.hangs.set()
    started = time.monotonic()
    assert refusal(lambda: finish(scene, *challenge_and_callback)) == UNAVAILABLE
    assert time.monotonic() - started < 4.5
    assert refusal(lambda: scene.nobody.BeginProviderSignIn(provider_id="f" * 32)) == NOT_FOUND


def test_a_new_key_of_a_provider_is_trusted_but_not_read_right_after_the_last_reading(
    scene: Scene, ministry: Organization, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in_through(scene, ministry, provider)
    provider.key = rsa_key("second")
    # The provider's keys were read a moment ago; strangers must not be able to cause endless reads.
    assert refusal(lambda: sign_in_through(scene, ministry, provider)) == SIGN_IN_FAILED
    monkeypatch.setattr(oidc, "_RETRY_AFTER", 0.0)  # as if the last reading were long ago
    assert sign_in_through(scene, ministry, provider).session_secret


def test_one_coordinator_alone_sets_up_no_provider(
    scene: Scene, provider: Provider, second_of_coalition: Stubs
) -> None:
    ministry = scene.organization("Ministerio")
    scene.worker(ministry, Role.WORKER, email=OFFICIAL)
    proposed = propose(scene.coordinator, ministry, provider.issuer, secret=provider.client.secret)
    assert (proposed.issuer, proposed.sign_in_url) == ("", "")
    assert proposed.proposal.issuer == provider.issuer
    assert refusal(lambda: confirm(scene.coordinator, proposed)) == SECOND_PERSON
    assert refusal(lambda: begin(scene, ministry)) == NOT_FOUND
    newer_proposal = propose_long_ago(
        scene, ministry, provider.issuer, "otro", provider.client.secret
    )
    # she agrees to the version that she saw
    assert refusal(lambda: confirm(second_of_coalition, proposed)) == STALE_ETAG
    confirmed = confirm(second_of_coalition, newer_proposal)
    assert (confirmed.client_id, confirmed.sign_in_url) == (
        "otro",
        f"{SITE}/sign-in/with/{confirmed.provider_id}",
    )
    assert refusal(lambda: confirm(second_of_coalition, confirmed)) == NOTHING_TO_CONFIRM


def test_a_provider_works_until_a_new_one_is_confirmed_and_the_new_one_knows_nobody_yet(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    sign_in_through(scene, ministry, provider)
    proposed = propose_long_ago(scene, ministry, "https://new.example")
    assert sign_in_through(scene, ministry, provider).session_secret
    challenge_and_callback = sign_in_at_provider(scene, ministry, provider)
    scene.advance(seconds=1)
    confirmed = confirm(scene.by(scene.coalition, Role.COORDINATOR), proposed)
    assert confirmed.provider_id == proposed.provider_id
    assert refusal(lambda: finish(scene, *challenge_and_callback)) == SIGN_IN_FAILED
    assert scene.rows("SELECT * FROM provider_accounts") == []
    [last, _] = scene.rows(
        "SELECT new_value FROM field_changes WHERE field = 'sign_in_provider' ORDER BY id DESC"
    )
    assert last["new_value"] == "https://new.example"


def test_officials_sign_in_after_their_ministry_registered_enlace_anew_at_its_provider(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    """Some providers give each client other ids for the same people."""
    first = sign_in_through(scene, ministry, provider)
    provider.client = replace(provider.client, id="enlace-2")
    provider.people["ana"] = Person("ana-2", OFFICIAL)
    set_up(scene, ministry, provider)
    assert sign_in_through(scene, ministry, provider).worker.id == first.worker.id


def test_an_ended_provider_signs_nobody_in(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge_and_callback = sign_in_at_provider(scene, ministry, provider)
    stored = scene.coordinator.GetSignInProvider(organization_id=ministry.id)
    ended = scene.coordinator.EndSignInProvider(organization_id=ministry.id, etag=stored.etag)
    assert (ended.issuer, ended.provider_id) == ("", stored.provider_id)
    assert refusal(lambda: finish(scene, *challenge_and_callback)) == SIGN_IN_FAILED
    assert refusal(lambda: begin(scene, ministry)) == NOT_FOUND
    repeated_request = m.EndSignInProviderRequest(organization_id=ministry.id, etag=ended.etag)
    assert refusal(lambda: scene.coordinator.EndSignInProvider(repeated_request)) == ILLEGAL
    assert not scene.rows(
        "SELECT 1 FROM sign_in_providers WHERE secret IS NOT NULL OR proposed_secret IS NOT NULL"
    )


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("http://10.0.0.1", "out_of_range"),
        ("https://a@sso.example", "malformed"),
        ("", "required"),
        ("https://login.microsoftonline.com/common/v2.0", "shared_issuer"),
    ],
)
def test_an_issuer_has_to_be_a_public_address(scene: Scene, issuer: str, reason: str) -> None:
    assert wrong_fields(lambda: propose(scene.coordinator, scene.coalition, issuer)) == [
        ("provider.issuer", reason)
    ]


def test_an_issuer_inside_our_network_is_never_called(scene: Scene) -> None:
    second_coordinator, ministry = (
        scene.by(scene.coalition, Role.COORDINATOR),
        scene.organization("Ministerio"),
    )
    confirm(second_coordinator, propose_long_ago(scene, ministry, "https://10.0.0.1"))
    assert refusal(lambda: begin(scene, ministry)) == UNAVAILABLE


def test_an_organisation_that_does_not_exist_has_no_provider(scene: Scene) -> None:
    id, etag = "f" * 32, "v0"
    provider = m.SignInProvider(issuer="https://sso.example", client_id="enlace")
    for rpc, request in (
        ("GetSignInProvider", m.GetSignInProviderRequest(organization_id=id)),
        (
            "ProposeSignInProvider",
            m.ProposeSignInProviderRequest(
                organization_id=id, etag=etag, provider=provider, client_secret="s"
            ),
        ),
        ("ConfirmSignInProvider", m.ConfirmSignInProviderRequest(organization_id=id, etag=etag)),
        ("EndSignInProvider", m.EndSignInProviderRequest(organization_id=id, etag=etag)),
    ):
        assert refusal(partial(getattr(scene.coordinator, rpc), request)) == NOT_FOUND


def test_two_coordinators_who_confirm_at_once_confirm_only_once(
    scene: Scene, provider: Provider
) -> None:
    ministry = scene.organization("Ministerio")
    proposed = propose_long_ago(scene, ministry, provider.issuer, "enlace", provider.client.secret)
    calls = [
        partial(confirm, scene.by(scene.coalition, Role.COORDINATOR), proposed) for _ in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(answer, calls)).count("OK") == 1


def test_a_return_that_is_sent_twice_at_once_opens_one_session(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    call = partial(finish, scene, *sign_in_at_provider(scene, ministry, provider))
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(answer, [call] * 3)).count("OK") == 1
    assert len(scene.rows("SELECT FROM sessions")) == 1


def test_providers_that_hang_do_not_take_all_the_threads(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    """At most four of six threads wait for a provider.

    The other threads keep answering, and further sign-ins are refused at once.
    """
    sign_ins = [sign_in_at_provider(scene, ministry, provider) for _ in range(5)]
    provider.hangs.set()

    def duration(challenge_and_callback: tuple[str, dict[str, str]]) -> float:
        started = time.monotonic()
        assert refusal(lambda: finish(scene, *challenge_and_callback)) == UNAVAILABLE
        return time.monotonic() - started

    with ThreadPoolExecutor(5) as pool:
        futures = [
            pool.submit(duration, challenge_and_callback) for challenge_and_callback in sign_ins
        ]
        time.sleep(0.5)
        started = time.monotonic()
        scene.nobody.EndSession(session_secret="x")
        assert time.monotonic() - started < 1
        durations = sorted(future.result() for future in futures)
    assert durations[0] < 1.5 < durations[-1] < 5


def test_the_secret_is_sealed_and_shown_to_nobody(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    [row] = scene.rows("SELECT secret FROM sign_in_providers")
    assert provider.client.secret.encode() not in bytes(row["secret"])
    stored = scene.coordinator.GetSignInProvider(organization_id=ministry.id)
    assert provider.client.secret not in str(stored)


def test_a_providers_secrets_are_rewrapped_with_all_others_and_still_open(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    propose(scene.coordinator, ministry, "https://new.example", secret="wanted")
    newer_keyring = Keyring(scene.sealing_key, lambda: {0: scene.sealing_key, 1: b"1" * 32})
    places = [place for place in SEALED if place.table == "sign_in_providers"]
    assert rewrap(scene.database, newer_keyring, places) == (2, 0)
    with scene.database.transaction(SYSTEM) as tx:
        stored_provider = sign_in_providers.fetch(tx, organization_id=ministry.id)
        assert stored_provider
        assert (
            sign_in_providers.secret(tx, newer_keyring, stored_provider) == provider.client.secret
        )
        sign_in_providers.take_proposed_secret(tx, newer_keyring, stored_provider)
        assert sign_in_providers.secret(tx, newer_keyring, stored_provider) == "wanted"


def test_an_account_that_was_released_is_bound_again_at_its_next_sign_in(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    sign_in_through(scene, ministry, provider)
    [row] = scene.rows("SELECT id FROM workers WHERE email = %s", OFFICIAL)
    with scene.database.transaction(SYSTEM) as tx:
        sign_in_providers.forget_account(tx, row["id"])
    provider.people["ana"] = Person("ana-2", OFFICIAL)
    assert sign_in_through(scene, ministry, provider).worker.email == OFFICIAL
