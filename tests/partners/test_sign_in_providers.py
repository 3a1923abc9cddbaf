"""An official of a ministry signs in through the ministry's own provider.

The provider is trusted only about its own workers, and only with proof.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
import pytest
import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chassis.tokens import SYSTEM
from keys.rotation import rewrap
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2 as m
from services.partners.__main__ import SEALED
from services.partners.directory.usecases.housekeeping import sweep
from services.partners.members.domain.organization import Organization, OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.sign_in.store import sign_in_providers
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import SITE, Scene, Stubs
from tests.parts.provider import Person, Provider, made_key

FAILED = ("UNAUTHENTICATED", "sign_in_failed")
NONE, HS256 = b'{"alg":"none"}', b'{"alg":"HS256","kid":"first"}'
EMAIL = "oficial@ministerio.example"


@pytest.fixture
def provider(scene: Scene) -> Iterator[Provider]:
    people = {"ana": Person("ana-1", EMAIL), "eva": Person("eva-9", "eva@ministerio.example")}
    created = Provider(f"{SITE}/sign-in/return", people, now=lambda: scene.clock.now().timestamp())
    yield created
    created.stop()


@pytest.fixture
def ministry(scene: Scene, provider: Provider) -> Organization:
    """A ministry with a provider to which two coordinators agreed, and with one official."""
    ministry = scene.organization(
        "Ministerio de la Mujer", type=OrganizationType.CENTRAL_GOVERNMENT
    )
    scene.worker(ministry, Role.WORKER, email=EMAIL)
    set_up(scene, ministry, provider)
    return ministry


def propose(
    by: Stubs,
    organization: Organization,
    issuer: str,
    client_id: str = "enlace",
    secret: str = "s",
    tag: str = "",
) -> m.SignInProvider:
    tag = tag or by.GetSignInProvider(organization_id=organization.id).etag
    provider = m.SignInProvider(issuer=issuer, client_id=client_id)
    answer: m.SignInProvider = by.ProposeSignInProvider(
        organization_id=organization.id, etag=tag, provider=provider, client_secret=secret
    )
    return answer


def confirm(by: Stubs, provider: m.SignInProvider) -> m.SignInProvider:
    answer: m.SignInProvider = by.ConfirmSignInProvider(
        organization_id=provider.organization_id, etag=provider.etag
    )
    return answer


def propose_long_ago(scene: Scene, organization: Organization, *fields: str) -> m.SignInProvider:
    """Proposes a provider so long ago that the organisation's time to object is over."""
    scene.advance(days=-3)
    try:
        return propose(scene.coordinator, organization, *fields)
    finally:
        scene.advance(days=3)


def set_up(scene: Scene, organization: Organization, provider: Provider) -> m.SignInProvider:
    proposed = propose_long_ago(
        scene, organization, provider.issuer, provider.client.id, provider.client.secret
    )
    return confirm(scene.by(scene.coalition, Role.COORDINATOR), proposed)


def provider_id(scene: Scene, organization: Organization) -> str:
    return str(scene.coordinator.GetSignInProvider(organization_id=organization.id).provider_id)


def begin(scene: Scene, organization: Organization) -> m.BeginProviderSignInResponse:
    answer: m.BeginProviderSignInResponse = scene.nobody.BeginProviderSignIn(
        provider_id=provider_id(scene, organization)
    )
    return answer


def finish(
    scene: Scene, challenge: m.BeginProviderSignInResponse, back: dict[str, str]
) -> m.SignInResponse:
    answer: m.SignInResponse = scene.nobody.FinishProviderSignIn(
        challenge=challenge.challenge,
        state=back.get("state", ""),
        code=back.get("code", ""),
        issuer=back.get("iss", ""),
    )
    return answer


def sign_in_through(
    scene: Scene, organization: Organization, provider: Provider, user: str = "ana"
) -> m.SignInResponse:
    challenge = begin(scene, organization)
    return finish(scene, challenge, provider.signs_in(challenge.authorization_url, user))


def fails(scene: Scene, organization: Organization, provider: Provider, user: str = "ana") -> None:
    assert refusal(lambda: sign_in_through(scene, organization, provider, user)) == FAILED
    assert not scene.rows("SELECT * FROM sessions")


def test_an_official_signs_in_through_the_ministry(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    signed = sign_in_through(scene, ministry, provider)
    assert (signed.worker.email, signed.organization.id) == (EMAIL, ministry.id)
    assert (
        scene.nobody.IssueToken(session_secret=signed.session_secret).worker.id == signed.worker.id
    )


def test_after_the_first_sign_in_an_official_is_known_by_her_id_there_whatever_her_email(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    first = sign_in_through(scene, ministry, provider)
    provider.people["ana"] = Person("ana-1", "otra@ministerio.example", verified=False)
    assert sign_in_through(scene, ministry, provider).worker.id == first.worker.id
    provider.people["nueva"] = Person("nueva-2", EMAIL)  # her address now belongs to somebody else
    assert refusal(lambda: sign_in_through(scene, ministry, provider, "nueva")) == FAILED


@pytest.mark.parametrize(
    "person",
    [Person("x", EMAIL, verified=False), Person("x", "nadie@ministerio.example"), Person("x", "")],
)
def test_an_official_without_an_email_that_is_verified_and_known_is_not_signed_in(
    scene: Scene, ministry: Organization, provider: Provider, person: Person
) -> None:
    provider.people["ana"] = person
    fails(scene, ministry, provider)


def test_a_provider_signs_in_no_worker_of_another_organisation(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    coordinator = scene.worker(scene.coalition, Role.COORDINATOR, email="jefa@coalicion.example")
    provider.people["ana"] = Person("ana-1", coordinator.entry.email)
    fails(scene, ministry, provider)
    own = scene.organization("Otro ministerio")
    set_up(scene, own, provider)
    provider.people["ana"] = Person("ana-1", EMAIL)
    fails(scene, own, provider)
    assert sign_in_through(scene, ministry, provider).worker.email == EMAIL


def _official(scene: Scene) -> str:
    return str(scene.rows("SELECT id FROM workers WHERE email = %s", EMAIL)[0]["id"])


def test_a_worker_who_is_suspended_here_is_not_signed_in_by_her_ministry(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    sign_in_through(scene, ministry, provider)
    scene.rows("DELETE FROM sessions RETURNING 1")
    scene.rows(
        "UPDATE workers SET status = 'SUSPENDED' WHERE id = %s RETURNING id", _official(scene)
    )
    fails(scene, ministry, provider)
    scene.rows("UPDATE workers SET status = 'ACTIVE' WHERE id = %s RETURNING id", _official(scene))
    challenge = begin(scene, ministry)
    scene.rows(
        "UPDATE organizations SET status = 'SUSPENDED' WHERE id = %s RETURNING id", ministry.id
    )
    assert (
        refusal(
            lambda: finish(scene, challenge, provider.signs_in(challenge.authorization_url, "ana"))
        )
        == FAILED
    )
    assert refusal(lambda: begin(scene, ministry)) == NOT_FOUND


def test_a_state_is_used_up_even_by_a_wrong_answer(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")
    assert refusal(lambda: finish(scene, challenge, back | {"code": "otro"})) == FAILED
    assert refusal(lambda: finish(scene, challenge, back)) == FAILED
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")
    finish(scene, challenge, back)
    assert refusal(lambda: finish(scene, challenge, back)) == FAILED
    challenge = begin(scene, ministry)
    assert (
        refusal(
            lambda: finish(
                scene,
                challenge,
                {
                    "state": parse_qs(urlsplit(challenge.authorization_url).query)["state"][0],
                    "error": "access_denied",
                },
            )
        )
        == FAILED
    )


def test_nobody_is_led_into_the_account_of_whoever_sent_a_link(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    own_challenge, other_challenge = begin(scene, ministry), begin(scene, ministry)
    back = provider.signs_in(own_challenge.authorization_url, "ana")
    for state in (back["state"], "", "0" * 64, "ñ"):
        assert refusal(partial(finish, scene, other_challenge, back | {"state": state})) == FAILED
    assert finish(scene, own_challenge, back).session_secret


def test_a_code_of_another_sign_in_is_refused(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    one, other = begin(scene, ministry), begin(scene, ministry)
    back = provider.signs_in(one.authorization_url, "ana")
    returned = provider.signs_in(other.authorization_url, "ana")
    # the provider asks for its verifier
    assert refusal(lambda: finish(scene, one, back | {"code": returned["code"]})) == FAILED


def test_a_sign_in_has_to_be_finished_within_ten_minutes(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")
    scene.advance(minutes=10)
    assert refusal(lambda: finish(scene, challenge, back)) == FAILED


def test_a_provider_is_asked_to_send_people_back_to_our_own_address(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge = begin(scene, ministry)
    by_name = {
        name: values[0]
        for name, values in parse_qs(urlsplit(challenge.authorization_url).query).items()
    }
    assert (
        by_name["redirect_uri"],
        by_name["code_challenge_method"],
        by_name["response_type"],
    ) == (
        f"{SITE}/sign-in/return",
        "S256",
        "code",
    )
    assert challenge.challenge not in challenge.authorization_url
    elsewhere = challenge.authorization_url.replace("enlace.example", "evil.example")
    answer = requests.post(
        elsewhere, data={"user": "ana", "password": "x"}, allow_redirects=False, timeout=5
    )
    assert "Location" not in answer.headers, "the provider accepts no other return address"


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _none(provider: Provider) -> Callable[[dict[str, Any]], str]:
    return lambda claims: f"{_part(NONE)}.{_part(json.dumps(claims).encode())}."


def _by_public_key(provider: Provider) -> Callable[[dict[str, Any]], str]:
    pem = provider.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def cheat(claims: dict[str, Any]) -> str:
        signed_part = f"{_part(HS256)}.{_part(json.dumps(claims).encode())}"
        return f"{signed_part}.{_part(hmac.digest(pem, signed_part.encode(), 'sha256'))}"

    return cheat


def _says(**changed: Any) -> Callable[[Provider], Callable[[dict[str, Any]], str]]:
    def cheat(provider: Provider) -> Callable[[dict[str, Any]], str]:
        now = provider.now()
        values = {name: value(now) if callable(value) else value for name, value in changed.items()}
        return lambda claims: provider.sign(
            {name: value for name, value in (claims | values).items() if value is not None}
        )

    return cheat


CHEATS = {
    "no signature": _none,
    "the public key as a secret": _by_public_key,
    "another key": lambda provider: lambda claims: provider.sign(claims, key=made_key("another")),
    "a key that nobody has": lambda provider: lambda claims: provider.sign(claims, kid="second"),
    "another issuer": _says(iss="https://other.example"),
    "another client": _says(aud=["other"]),
    "for another client too, and not for us": _says(aud=["enlace", "other"]),
    "given to another": _says(azp="other"),
    "another question": _says(nonce="other"),
    "no question": _says(nonce=None),
    "out of date": _says(exp=lambda now: now - 61),
    "without an end": _says(exp=None),
    "made tomorrow": _says(iat=lambda now: now + 86400),
    "a sign-in of this morning": _says(auth_time=lambda now: now - 3600),
    "a sign-in of nobody knows when": _says(auth_time=None),
    "nobody": _says(sub=None),
    "nobody at all": _says(sub=""),
    "a number": _says(sub=7),
    "an endless name": _says(sub="x" * 256),
    "maybe verified": _says(email_verified="true"),
    "no token": lambda provider: lambda claims: "x",
    "too much": lambda provider: lambda claims: "x" * 20000,
}


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
def test_a_token_that_proves_no_identity_opens_no_session(
    scene: Scene,
    ministry: Organization,
    provider: Provider,
    cheat: Callable[[Provider], Callable[[dict[str, Any]], str]],
) -> None:
    provider.cheat = cheat(provider)
    fails(scene, ministry, provider)
    provider.cheat = None
    assert sign_in_through(scene, ministry, provider).session_secret


def test_the_answer_of_another_issuer_is_refused(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")
    assert (
        refusal(lambda: finish(scene, challenge, back | {"iss": "https://other.example"})) == FAILED
    )
    challenge = begin(scene, ministry)
    assert finish(
        scene,
        challenge,
        provider.signs_in(challenge.authorization_url, "ana") | {"iss": provider.issuer},
    ).session_secret


def test_a_provider_that_hangs_delays_nobody_for_long(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")
    provider.hangs.set()
    started = time.monotonic()
    assert refusal(lambda: finish(scene, challenge, back)) == (
        "UNAVAILABLE",
        "provider_unavailable",
    )
    assert time.monotonic() - started < 4.5
    assert refusal(lambda: scene.nobody.BeginProviderSignIn(provider_id="f" * 32)) == NOT_FOUND


def test_a_provider_that_changes_its_key_is_trusted_with_the_new_one(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    sign_in_through(scene, ministry, provider)
    provider.key = made_key("second")
    # The provider's keys were read a moment ago; strangers must not be able to cause endless reads.
    assert refusal(lambda: sign_in_through(scene, ministry, provider)) == FAILED


def test_one_coordinator_alone_sets_up_nothing(scene: Scene, provider: Provider) -> None:
    ministry = scene.organization("Ministerio")
    scene.worker(ministry, Role.WORKER, email=EMAIL)
    proposed = propose(scene.coordinator, ministry, provider.issuer, secret=provider.client.secret)
    assert (proposed.issuer, proposed.sign_in_url, proposed.proposal.issuer) == (
        "",
        "",
        provider.issuer,
    )
    assert refusal(lambda: confirm(scene.coordinator, proposed)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    )
    assert refusal(lambda: begin(scene, ministry)) == NOT_FOUND
    second = scene.by(scene.coalition, Role.COORDINATOR)
    again = propose_long_ago(scene, ministry, provider.issuer, "otro", provider.client.secret)
    # she agrees to the version that she saw
    assert refusal(lambda: confirm(second, proposed)) == ("ABORTED", "stale_etag")
    confirmed = confirm(second, again)
    assert (confirmed.client_id, confirmed.sign_in_url) == (
        "otro",
        f"{SITE}/sign-in/with/{confirmed.provider_id}",
    )
    assert refusal(lambda: confirm(second, confirmed)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )


def test_a_provider_works_until_a_new_one_is_confirmed_and_the_new_one_knows_nobody_yet(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    sign_in_through(scene, ministry, provider)
    before = provider_id(scene, ministry)
    proposed = propose_long_ago(scene, ministry, "https://new.example")
    assert sign_in_through(scene, ministry, provider).session_secret
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")
    scene.advance(seconds=1)
    confirm(scene.by(scene.coalition, Role.COORDINATOR), proposed)
    assert refusal(lambda: finish(scene, challenge, back)) == FAILED
    assert (provider_id(scene, ministry), scene.rows("SELECT * FROM provider_accounts")) == (
        before,
        [],
    )
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
    provider.people["ana"] = Person("ana-2", EMAIL)
    set_up(scene, ministry, provider)
    assert sign_in_through(scene, ministry, provider).worker.id == first.worker.id


def test_an_ended_provider_signs_nobody_in(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")
    link = provider_id(scene, ministry)
    stored = scene.coordinator.GetSignInProvider(organization_id=ministry.id)
    ended = scene.coordinator.EndSignInProvider(organization_id=ministry.id, etag=stored.etag)
    assert (ended.issuer, ended.provider_id) == ("", link)
    assert refusal(lambda: finish(scene, challenge, back)) == FAILED
    assert refusal(lambda: begin(scene, ministry)) == NOT_FOUND
    assert refusal(
        lambda: scene.coordinator.EndSignInProvider(organization_id=ministry.id, etag=ended.etag)
    ) == ("FAILED_PRECONDITION", "illegal_transition")
    assert not scene.rows(
        "SELECT 1 FROM sign_in_providers WHERE secret IS NOT NULL OR proposed_secret IS NOT NULL"
    )


@pytest.mark.parametrize(
    ("issuer", "wrong"),
    [
        ("http://sso.example", "out_of_range"),
        ("http://10.0.0.1", "out_of_range"),
        ("ftp://sso.example", "out_of_range"),
        ("https://a@sso.example", "malformed"),
        ("https://sso.example?x", "malformed"),
        ("https://sso.example#x", "malformed"),
        ("https://", "malformed"),
        ("https://[x", "malformed"),
        ("https://sso.example:x", "malformed"),
        ("https://sso .example", "malformed"),
        ("https://ñ.example", "malformed"),
        ("", "required"),
        ("https://sso.example/" + "x" * 200, "too_long"),
        ("https://login.microsoftonline.com/common/v2.0", "shared_issuer"),
        ("https://login.microsoftonline.com/Organizations/v2.0", "shared_issuer"),
    ],
)
def test_an_issuer_has_to_be_a_public_address(scene: Scene, issuer: str, wrong: str) -> None:
    assert wrong_fields(lambda: propose(scene.coordinator, scene.coalition, issuer)) == [
        ("provider.issuer", wrong)
    ]


def test_an_issuer_inside_our_network_is_never_called(scene: Scene) -> None:
    second, ministry = scene.by(scene.coalition, Role.COORDINATOR), scene.organization("Ministerio")
    confirm(second, propose_long_ago(scene, ministry, "https://10.0.0.1"))
    assert refusal(lambda: begin(scene, ministry)) == ("UNAVAILABLE", "provider_unavailable")


def test_an_organisation_that_does_not_exist_has_no_provider(scene: Scene) -> None:
    by, id, etag = scene.coordinator, "f" * 32, "v0"
    provider = m.SignInProvider(issuer="https://sso.example", client_id="enlace")
    for rpc, question in (
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
        assert refusal(partial(getattr(by, rpc), question)) == NOT_FOUND


def test_two_coordinators_who_confirm_at_once_confirm_only_once(
    scene: Scene, provider: Provider
) -> None:
    ministry = scene.organization("Ministerio")
    proposed = propose_long_ago(scene, ministry, provider.issuer, "enlace", provider.client.secret)
    others = [scene.by(scene.coalition, Role.COORDINATOR) for _ in range(2)]

    def goes(by: Stubs) -> bool:
        try:
            return bool(confirm(by, proposed).issuer)
        except grpc.RpcError:
            return False

    with ThreadPoolExecutor(2) as several:
        assert sorted(several.map(goes, others)) == [False, True]


def test_a_return_that_is_sent_twice_at_once_opens_one_session(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")

    def goes(_: int) -> bool:
        try:
            return bool(finish(scene, challenge, back).session_secret)
        except grpc.RpcError:
            return False

    with ThreadPoolExecutor(3) as several:
        assert sum(several.map(goes, range(3))) == 1


def test_providers_that_hang_do_not_take_all_the_threads(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    """At most four of six threads wait for a provider.

    The other threads keep answering, and further sign-ins are refused at once.
    """
    questions = [begin(scene, ministry) for _ in range(5)]
    returns = [provider.signs_in(question.authorization_url, "ana") for question in questions]
    provider.hangs.set()

    def takes(number: int) -> float:
        started = time.monotonic()
        assert refusal(lambda: finish(scene, questions[number], returns[number])) == (
            "UNAVAILABLE",
            "provider_unavailable",
        )
        return time.monotonic() - started

    with ThreadPoolExecutor(5) as several:
        waited = [several.submit(takes, number) for number in range(5)]
        time.sleep(0.5)
        started = time.monotonic()
        scene.nobody.EndSession(session_secret="x")
        assert time.monotonic() - started < 1
        durations = sorted(each.result() for each in waited)
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
    newer = Keyring(scene.sealing_key, lambda: {0: scene.sealing_key, 1: b"1" * 32})
    places = [place for place in SEALED if place.table == "sign_in_providers"]
    assert rewrap(scene.database, newer, places) == (2, 0)
    with scene.database.transaction(SYSTEM) as tx:
        known = sign_in_providers.fetch(tx, organization_id=ministry.id)
        assert known
        assert sign_in_providers.secret(tx, newer, known) == provider.client.secret
        sign_in_providers.take_proposed_secret(tx, newer, known)
        assert sign_in_providers.secret(tx, newer, known) == "wanted"


def test_an_account_that_was_released_is_bound_again_at_its_next_sign_in(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    sign_in_through(scene, ministry, provider)
    with scene.database.transaction(SYSTEM) as tx:
        sign_in_providers.forget_account(tx, _official(scene))
    provider.people["ana"] = Person("ana-2", EMAIL)
    assert sign_in_through(scene, ministry, provider).worker.email == EMAIL


def test_sign_ins_that_nobody_finished_are_deleted(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    begin(scene, ministry)
    scene.advance(minutes=11)
    with scene.database.transaction(SYSTEM) as tx:
        sweep(tx, scene.clock.now())
    assert not scene.rows("SELECT * FROM provider_questions")
