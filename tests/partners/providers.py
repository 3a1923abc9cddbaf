"""Sign-in providers of organisations: their set-up by two coordinators, and the sign-in there."""

from collections.abc import Iterator
from contextlib import contextmanager

from protos.partners.v1 import members_pb2 as m
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.partners.scene import SITE, Scene, Stubs
from tests.parts.provider import Person, Provider

OFFICIAL = "oficial@ministerio.example"


@contextmanager
def running_provider(scene: Scene, *, spread: bool = False) -> Iterator[Provider]:
    """Runs a provider that knows Ana, with the address OFFICIAL, and Eva.

    With `spread`, its endpoints are on several hosts.
    """
    people = {"ana": Person("ana-1", OFFICIAL), "eva": Person("eva-9", "eva@ministerio.example")}
    provider = Provider(
        f"{SITE}/sign-in/return",
        people,
        now=lambda: scene.clock.now().timestamp(),
        spread=spread,
    )
    try:
        yield provider
    finally:
        provider.stop()


def propose(
    by: Stubs, organization: Organization, issuer: str, client_id: str = "enlace", secret: str = "s"
) -> m.SignInProvider:
    return by.ProposeSignInProvider(  # type: ignore[no-any-return]
        organization_id=organization.id,
        etag=by.GetSignInProvider(organization_id=organization.id).etag,
        provider=m.SignInProvider(issuer=issuer, client_id=client_id),
        client_secret=secret,
    )


def confirm(by: Stubs, provider: m.SignInProvider) -> m.SignInProvider:
    return by.ConfirmSignInProvider(  # type: ignore[no-any-return]
        organization_id=provider.organization_id, etag=provider.etag
    )


def propose_long_ago(scene: Scene, organization: Organization, *fields: str) -> m.SignInProvider:
    """Proposes a provider so long ago that the organisation's time to object is over."""
    scene.advance(days=-3)
    try:
        return propose(scene.coordinator, organization, *fields)
    finally:
        scene.advance(days=3)


def set_up(scene: Scene, organization: Organization, provider: Provider) -> m.SignInProvider:
    """Gives an organisation a provider to which two coordinators agreed."""
    proposed = propose_long_ago(
        scene, organization, provider.issuer, provider.client.id, provider.client.secret
    )
    return confirm(scene.by(scene.coalition, Role.COORDINATOR), proposed)


def begin(scene: Scene, organization: Organization) -> m.BeginProviderSignInResponse:
    id = scene.coordinator.GetSignInProvider(organization_id=organization.id).provider_id
    return scene.nobody.BeginProviderSignIn(provider_id=id)  # type: ignore[no-any-return]


def sign_in_at_provider(
    scene: Scene, organization: Organization, provider: Provider, user: str = "ana"
) -> tuple[str, dict[str, str]]:
    """Signs in at the provider; returns the challenge, and the parameters of the callback."""
    attempt = begin(scene, organization)
    return attempt.challenge, provider.signs_in(attempt.authorization_url, user)


def finish(scene: Scene, challenge: str, callback: dict[str, str]) -> m.SignInResponse:
    return scene.nobody.FinishProviderSignIn(  # type: ignore[no-any-return]
        challenge=challenge,
        state=callback.get("state", ""),
        code=callback.get("code", ""),
        issuer=callback.get("iss", ""),
    )


def sign_in_through(
    scene: Scene, organization: Organization, provider: Provider, user: str = "ana"
) -> m.SignInResponse:
    return finish(scene, *sign_in_at_provider(scene, organization, provider, user))
