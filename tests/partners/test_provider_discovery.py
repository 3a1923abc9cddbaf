"""The discovery document of a provider: where it signs people in, exchanges codes and has its keys.

These addresses may be on any hosts; the tests also check which documents are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from services.partners.members.domain.organization import Organization, OrganizationType
from services.partners.members.domain.worker import Role
from tests.builders import refusal
from tests.partners.scene import SITE, Scene
from tests.partners.test_sign_in_providers import (
    EMAIL,
    FAILED,
    begin,
    fails,
    finish,
    ministry,
    provider,
    provider_id,
    set_up,
    sign_in_through,
)
from tests.parts.provider import Person, Provider

__all__ = ["ministry", "provider"]

UNAVAILABLE = ("UNAVAILABLE", "provider_unavailable")


@pytest.mark.parametrize(
    ("expected", "reason"),
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
        "long",
    ],
)
def test_a_provider_with_an_impossible_discovery_document_is_not_used(
    scene: Scene, ministry: Organization, provider: Provider, expected: dict[str, Any], reason: str
) -> None:
    provider.discovery = expected
    with capture_logs() as lines:
        assert refusal(lambda: begin(scene, ministry)) == UNAVAILABLE
    assert unusable(lines) == [(reason, provider_id(scene, ministry))]
    count_before = len(provider.asked)
    assert refusal(lambda: begin(scene, ministry)) == UNAVAILABLE
    assert len(provider.asked) == count_before, "the provider is not called again at once"


@pytest.fixture
def spread(scene: Scene) -> Iterator[Provider]:
    """A provider whose addresses are on several hosts, as Google's are."""
    created = Provider(
        f"{SITE}/sign-in/return",
        {"ana": Person("ana-1", EMAIL)},
        now=lambda: scene.clock.now().timestamp(),
        spread=True,
    )
    yield created
    created.stop()


def test_an_official_signs_in_through_a_provider_on_several_hosts(
    scene: Scene, spread: Provider
) -> None:
    ministry = scene.organization(
        "Ministerio de la Mujer", type=OrganizationType.CENTRAL_GOVERNMENT
    )
    scene.worker(ministry, Role.WORKER, email=EMAIL)
    set_up(scene, ministry, spread)
    hosts = {
        urlsplit(each).netloc
        for each in (spread.issuer, spread.authorization, spread.tokens, spread.keys)
    }
    assert len(hosts) == 4
    challenge = begin(scene, ministry)
    assert challenge.authorization_url.startswith(f"{spread.authorization}/authorize?")
    assert (
        finish(scene, challenge, spread.signs_in(challenge.authorization_url, "ana")).worker.email
        == EMAIL
    )


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
def test_a_providers_address_inside_our_network_is_never_called(
    scene: Scene, ministry: Organization, provider: Provider, name: str
) -> None:
    provider.discovery = {name: "https://10.0.0.1/x"}
    challenge = begin(scene, ministry)
    back = provider.signs_in(challenge.authorization_url, "ana")
    with capture_logs() as lines:
        assert refusal(lambda: finish(scene, challenge, back)) == UNAVAILABLE
    assert unusable(lines) == [("refused_address", provider_id(scene, ministry))]


def unusable(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Returns, from the log, the reason and the id of each provider that could not be used."""
    return [
        (line["reason"], line["provider_id"])
        for line in lines
        if line["event"] == "sign_in_provider_unusable"
    ]


def test_a_document_that_was_read_for_one_provider_is_not_used_for_another(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    own = scene.organization("Otro ministerio")
    others = Provider(provider.redirect_uri, {"ana": Person("ana-1", EMAIL)}, now=provider.now)
    try:
        set_up(scene, own, others)
        others.discovery = {"jwks_uri": f"{provider.issuer}/.well-known/openid-configuration"}
        challenge = begin(scene, own)
        assert (
            refusal(
                lambda: finish(
                    scene, challenge, others.signs_in(challenge.authorization_url, "ana")
                )
            )
            == UNAVAILABLE
        )
        assert sign_in_through(scene, ministry, provider).session_secret
    finally:
        others.stop()


def test_a_provider_that_declares_that_it_returns_its_issuer_has_to_return_it(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    provider.discovery = {"authorization_response_iss_parameter_supported": True}
    challenge = begin(scene, ministry)
    assert (
        refusal(
            lambda: finish(scene, challenge, provider.signs_in(challenge.authorization_url, "ana"))
        )
        == FAILED
    )
    challenge = begin(scene, ministry)
    assert finish(
        scene,
        challenge,
        provider.signs_in(challenge.authorization_url, "ana") | {"iss": provider.issuer},
    ).session_secret


@pytest.mark.parametrize(
    ("expected", "comes"),
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
    scene: Scene, ministry: Organization, provider: Provider, expected: object, comes: bool
) -> None:
    provider.cheat = lambda claims: provider.sign(
        {
            name: value
            for name, value in (claims | {"email_verified": None, "xms_edov": expected}).items()
            if value is not None
        }
    )
    if comes:
        assert sign_in_through(scene, ministry, provider).worker.email == EMAIL
    else:
        fails(scene, ministry, provider)


def test_a_provider_is_explicitly_asked_for_the_time_of_the_sign_in(
    scene: Scene, ministry: Organization
) -> None:
    query = parse_qs(urlsplit(begin(scene, ministry).authorization_url).query)
    assert json.loads(query["claims"][0]) == {"id_token": {"auth_time": {"essential": True}}}
