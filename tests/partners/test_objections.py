"""Changes of a sign-in provider, which two people decide.

The people affected are notified at once, on another channel, and have time to object.
"""

from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import refusal
from tests.partners.providers import confirm, propose, sign_in_through
from tests.partners.scene import ILLEGAL, NOTHING_TO_CONFIRM, Scene, Stubs
from tests.partners.test_membership import apply
from tests.partners.test_password_resets import facts_with_letters
from tests.parts.provider import Provider


def test_managers_are_notified_of_a_proposed_provider_at_once_and_have_three_days_to_object(
    scene: Scene, second_of_coalition: Stubs
) -> None:
    shelter = scene.organization("Casa Luna")
    managers = [
        scene.worker(shelter, Role.MANAGER, email=f"{name}@casa.example") for name in ("ana", "eva")
    ]
    scene.worker(shelter, Role.WORKER)
    scene.as_worker(managers[0]).SuspendWorker(id=scene.worker(shelter, Role.MANAGER).id)
    proposed = propose(scene.coordinator, shelter, "https://sso.example")
    letters = facts_with_letters(scene, "provider_proposed")
    assert sorted((fact.worker_id, letter.email) for fact, letter in letters) == sorted(
        (manager.id, manager.entry.email) for manager in managers
    )
    scene.advance(days=3, seconds=-1)
    assert refusal(lambda: confirm(second_of_coalition, proposed)) == (
        "FAILED_PRECONDITION",
        "objection_time",
    )
    scene.as_worker(managers[1]).ObjectToSignInProvider()
    scene.advance(seconds=1)
    dropped = second_of_coalition.GetSignInProvider(organization_id=shelter.id)
    assert (dropped.HasField("proposal"), dropped.issuer) == (False, "")
    assert refusal(lambda: confirm(second_of_coalition, dropped)) == NOTHING_TO_CONFIRM
    assert refusal(scene.as_worker(managers[0]).ObjectToSignInProvider) == NOTHING_TO_CONFIRM


def test_no_provider_is_proposed_or_confirmed_while_nobody_of_the_organisation_could_object(
    scene: Scene,
) -> None:
    shelter, second = scene.organization("Casa Luna"), scene.by(scene.coalition, Role.COORDINATOR)
    proposed = propose(scene.coordinator, shelter, "https://sso.example")
    scene.advance(days=3)
    scene.suspend(shelter.id)
    applicant = scene.stored(apply(scene).id)
    for call in (
        lambda: confirm(second, proposed),
        lambda: propose(scene.coordinator, shelter, "https://other.example"),
        lambda: propose(scene.coordinator, applicant, "https://sso.example"),
    ):
        assert refusal(call) == ILLEGAL
    scene.reinstate(shelter.id)
    assert confirm(second, proposed).issuer == "https://sso.example"


def test_a_manager_objects_for_her_own_organisation_only_and_ends_nothing_that_is_in_use(
    scene: Scene, ministry: Organization, provider: Provider, stranger: Stubs
) -> None:
    propose(scene.coordinator, ministry, "https://new.example")
    assert refusal(stranger.ObjectToSignInProvider) == NOTHING_TO_CONFIRM
    scene.by(ministry, Role.MANAGER).ObjectToSignInProvider()
    assert sign_in_through(scene, ministry, provider).session_secret
