"""The discovery document of a provider: where it signs people in, exchanges codes and has its keys.

These addresses may be on any hosts; the tests also check which documents are refused.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import refusal
from tests.partners.providers import (
    OFFICIAL,
    begin,
    finish,
    running_provider,
    set_up,
    sign_in_at_provider,
    sign_in_through,
)
from tests.partners.scene import SIGN_IN_FAILED, UNAVAILABLE, Scene
from tests.partners.test_sign_in_providers import assert_fails
from tests.parts.provider import Provider


def unusable(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Returns, from the log, the reason and the id of each provider that could not be used."""
    return [
        (line["reason"], line["provider_id"])
        for line in lines
        if line["event"] == "sign_in_provider_unusable"
    ]


@pytest.mark.parametrize(
    ("discovery", "reason"),
    [
        ({"issuer": "https://other.example"}, "issuer_differs"),
        ({"issuer": "https://login.example/{tenantid}/v2.0"}, "issuer_of_many_tenants"),
        ({"issuer": None}, "issuer_differs"),
        ({"token_endpoint": "http://sso.example/token"}, "endpoint_unusable"),
        ({"jwks_uri": "http://169.254.169.254/keys"}, "endpoint_unusable"),
        ({"authorization_endpoint": "javascript:alert(1)//"}, "endpoint_unusable"),
        ({"authorization_endpoint": "https://a@sso.example/authorize"}, "endpoint_unusable"),
        ({"authorization_endpoint": "https://sso.example/authorize#x"}, "endpoint_unusable"),
        ({"authorization_endpoint": None}, "endpoint_unusable"),
        ({"jwks_uri": ["x"]}, "endpoint_unusable"),
        ({"jwks_uri": "https://[x"}, "endpoint_unusable"),
        ({"authorization_endpoint": "https://sso.example:0/authorize"}, "endpoint_unusable"),
        ({"token_endpoint": "https://sso.example:65536/token"}, "endpoint_unusable"),
        ({"long": "x" * 300_000}, "too_long"),
    ],
    ids=[
        "issuer",
        "template",
        "no issuer",
        "token",
        "keys",
        "script",
        "user",
        "fragment",
        "none",
        "list",
        "broken",
        "port 0",
        "no such port",
        "long",
    ],
)
def test_a_provider_with_an_impossible_discovery_document_is_not_used(
    scene: Scene, ministry: Organization, provider: Provider, discovery: dict[str, Any], reason: str
) -> None:
    provider.discovery = discovery
    with capture_logs() as lines:
        assert refusal(lambda: begin(scene, ministry)) == UNAVAILABLE
    stored = scene.coordinator.GetSignInProvider(organization_id=ministry.id)
    assert unusable(lines) == [(reason, stored.provider_id)]
    count_before = len(provider.paths)
    assert refusal(lambda: begin(scene, ministry)) == UNAVAILABLE
    assert len(provider.paths) == count_before, "the provider is not called again at once"


def test_an_official_signs_in_through_a_provider_on_several_hosts_such_as_google(
    scene: Scene,
) -> None:
    ministry = scene.organization("Ministerio de la Mujer")
    scene.worker(ministry, Role.WORKER, email=OFFICIAL)
    with running_provider(scene, spread=True) as spread:
        set_up(scene, ministry, spread)
        urls = (spread.issuer, spread.authorization, spread.tokens, spread.keys)
        assert len({urlsplit(url).netloc for url in urls}) == 4
        attempt = begin(scene, ministry)
        assert attempt.authorization_url.startswith(f"{spread.authorization}/authorize?")
        callback = spread.signs_in(attempt.authorization_url, "ana")
        assert finish(scene, attempt.challenge, callback).worker.email == OFFICIAL


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
def test_a_providers_address_inside_our_network_is_never_called(
    scene: Scene, ministry: Organization, provider: Provider, name: str
) -> None:
    provider.discovery = {name: "https://10.0.0.1/x"}
    challenge_and_callback = sign_in_at_provider(scene, ministry, provider)
    with capture_logs() as lines:
        assert refusal(lambda: finish(scene, *challenge_and_callback)) == UNAVAILABLE
    stored = scene.coordinator.GetSignInProvider(organization_id=ministry.id)
    assert unusable(lines) == [("refused_address", stored.provider_id)]


def test_a_document_that_was_read_for_one_provider_is_not_used_for_another(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    other_ministry = scene.organization("Otro ministerio")
    with running_provider(scene) as other:
        set_up(scene, other_ministry, other)
        other.discovery = {"jwks_uri": f"{provider.issuer}/.well-known/openid-configuration"}
        assert refusal(lambda: sign_in_through(scene, other_ministry, other)) == UNAVAILABLE
        assert sign_in_through(scene, ministry, provider).session_secret


def test_a_key_that_a_provider_publishes_with_its_private_part_proves_nothing(
    scene: Scene, ministry: Organization, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    published_key = provider.key.as_dict(private=True)
    monkeypatch.setattr(provider.key, "as_dict", lambda private: published_key)
    assert_fails(scene, ministry, provider)


def test_a_provider_that_declares_that_it_returns_its_issuer_has_to_return_it(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    provider.discovery = {"authorization_response_iss_parameter_supported": True}
    assert refusal(lambda: sign_in_through(scene, ministry, provider)) == SIGN_IN_FAILED
    challenge, callback = sign_in_at_provider(scene, ministry, provider)
    assert finish(scene, challenge, callback | {"iss": provider.issuer}).session_secret


@pytest.mark.parametrize(
    ("claim", "verified"),
    [
        (True, True),
        ("1", True),
        (1, True),
        ("true", True),
        (False, False),
        ("0", False),
        (None, False),
    ],
)
def test_microsofts_own_claim_decides_whether_an_email_is_verified(
    scene: Scene, ministry: Organization, provider: Provider, claim: object, verified: bool
) -> None:
    provider.cheat = lambda claims: provider.sign(
        {
            name: value
            for name, value in (claims | {"email_verified": None, "xms_edov": claim}).items()
            if value is not None
        }
    )
    if verified:
        assert sign_in_through(scene, ministry, provider).worker.email == OFFICIAL
    else:
        assert_fails(scene, ministry, provider)


def test_a_provider_is_explicitly_asked_for_the_time_of_the_sign_in(
    scene: Scene, ministry: Organization
) -> None:
    query = parse_qs(urlsplit(begin(scene, ministry).authorization_url).query)
    assert json.loads(query["claims"][0]) == {"id_token": {"auth_time": {"essential": True}}}
