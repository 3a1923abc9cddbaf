"""Changes of a sign-in provider, which two people decide.

The people affected are notified at once, on another channel, and have time to object.
"""

from __future__ import annotations

from services.partners.members.domain.worker import Role
from tests.builders import refusal
from tests.partners.scene import SITE, Scene
from tests.partners.test_membership import apply
from tests.partners.test_password_resets import facts_with_letters
from tests.partners.test_sign_in_providers import EMAIL, confirm, propose, set_up, sign_in_through
from tests.parts.provider import Person, Provider


def test_a1_managers_are_notified_of_a_proposed_provider_at_once_and_have_three_days_to_object(
    scene: Scene,
) -> None:
    shelter = scene.organization("Casa Luna")
    managers = [
        scene.worker(shelter, Role.MANAGER, email=f"{name}@casa.example") for name in ("ana", "eva")
    ]
    suspended_id, other = scene.worker(shelter, Role.MANAGER), scene.worker(shelter, Role.WORKER)
    scene.as_worker(managers[0]).SuspendWorker(id=suspended_id.id)
    second, proposed = (
        scene.by(scene.coalition, Role.COORDINATOR),
        propose(scene.coordinator, shelter, "https://sso.example"),
    )
    letters = facts_with_letters(scene, "provider_proposed")
    assert sorted((fact.worker_id, letter.email) for fact, letter in letters) == sorted(
        (manager.id, manager.entry.email) for manager in managers
    )
    assert other.id not in {fact.worker_id for fact, _ in letters}
    scene.advance(days=3, seconds=-1)
    assert refusal(lambda: confirm(second, proposed)) == ("FAILED_PRECONDITION", "objection_time")
    scene.as_worker(managers[1]).ObjectToSignInProvider()
    scene.advance(seconds=1)
    dropped = second.GetSignInProvider(organization_id=shelter.id)
    assert (dropped.HasField("proposal"), dropped.issuer) == (False, "")
    assert refusal(lambda: confirm(second, dropped)) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )
    assert refusal(scene.as_worker(managers[0]).ObjectToSignInProvider) == (
        "FAILED_PRECONDITION",
        "nothing_to_confirm",
    )


def test_no_provider_is_proposed_or_confirmed_while_nobody_of_the_organisation_could_object(
    scene: Scene,
) -> None:
    shelter, second = scene.organization("Casa Luna"), scene.by(scene.coalition, Role.COORDINATOR)
    proposed = propose(scene.coordinator, shelter, "https://sso.example")
    scene.advance(days=3)
    scene.suspend(shelter.id)
    assert refusal(lambda: confirm(second, proposed)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    assert refusal(lambda: propose(scene.coordinator, shelter, "https://other.example")) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    assert refusal(
        lambda: propose(scene.coordinator, scene.stored(apply(scene).id), "https://sso.example")
    ) == ("FAILED_PRECONDITION", "illegal_transition")
    scene.reinstate(shelter.id)
    assert confirm(second, proposed).issuer == "https://sso.example"


def test_a_manager_objects_for_her_own_organisation_only_and_ends_nothing_that_is_in_use(
    scene: Scene,
) -> None:
    ministry, provider = (
        scene.organization("Ministerio"),
        Provider(
            f"{SITE}/sign-in/return",
            {"ana": Person("ana-1", EMAIL)},
            now=lambda: scene.clock.now().timestamp(),
        ),
    )
    scene.worker(ministry, Role.WORKER, email=EMAIL)
    try:
        set_up(scene, ministry, provider)
        stranger, manager = (
            scene.by(scene.organization("Otra"), Role.MANAGER),
            scene.by(ministry, Role.MANAGER),
        )
        propose(scene.coordinator, ministry, "https://new.example")
        assert refusal(stranger.ObjectToSignInProvider) == (
            "FAILED_PRECONDITION",
            "nothing_to_confirm",
        )
        manager.ObjectToSignInProvider()
        assert sign_in_through(scene, ministry, provider).session_secret
    finally:
        provider.stop()
