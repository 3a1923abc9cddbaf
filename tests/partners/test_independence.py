"""A second account is not always a second person.

If one account invited another, or two accounts share a mailbox, a device or an account at a
provider, neither can act as the second person for the other.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from chassis.second import NONE, Kin, mark_of
from chassis.tokens import SYSTEM
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2
from protos.partners.v1 import members_pb2 as pb
from protos.stubs import PartnersStubs
from services.partners.members.domain import independence
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from services.partners.sign_in.store import sign_in_providers
from services.partners.sign_in.usecases.second_factors import token_kin
from tests.builders import refusal
from tests.partners.providers import confirm as confirm_provider
from tests.partners.providers import propose as propose_provider
from tests.partners.scene import NOT_INDEPENDENT, PASSWORD, SESSION_ENDED, Scene, Stubs
from tests.partners.test_agreements import record_agreement
from tests.partners.test_invitations import OWN_PASSWORD, acceptance, invite, letter
from tests.partners.test_members import make_key
from tests.partners.test_two_people import confirm as confirm_change
from tests.partners.test_two_people import propose as propose_change

COORDINATOR, MANAGER = contract_pb2.ROLE_COORDINATOR, contract_pb2.ROLE_MANAGER
ISSUER = "https://login.ministry.example"


def founder(
    scene: Scene,
    *roles: Role,
    email: str = "",
    device: str = "",
    organization: Organization | None = None,
) -> Stubs:
    """Makes an account that nobody invited, as when a network is set up, and signs in."""
    return scene.signed_in(
        scene.worker(
            organization or scene.coalition, *(roles or (Role.COORDINATOR,)), email=email
        ).entry.email,
        device=device,
    )


def invited(
    scene: Scene, by: Stubs, email: str, *roles: contract_pb2.Role.ValueType, device: str = ""
) -> Stubs:
    """Makes an account by an invitation that is accepted on this device, and signs in there."""
    created = invite(by, None, *roles, email=email)
    if created.unconfirmed:
        founder(scene, organization=scene.organization("Otra sede")).ConfirmInvitation(
            id=created.id
        )
    PartnersStubs(scene.channel).members.AcceptInvitation(
        acceptance(letter(scene, created).token), metadata=scene.origin(device=device)
    )
    return scene.signed_in(email, OWN_PASSWORD, device)


# Each of these functions performs the first person's step, and returns a function that performs
# the second person's step.


def start_provider(scene: Scene, first: Stubs) -> Callable[[Stubs], object]:
    proposed = propose_provider(first, scene.organization("Casa Luna"), ISSUER)
    with scene.owner.transaction(SYSTEM) as tx:  # as if the time to object were over
        tx.execute("UPDATE sign_in_providers SET propose_time = propose_time - interval '3 days'")
    return lambda second: confirm_provider(second, proposed)


def start_change(scene: Scene, first: Stubs) -> Callable[[Stubs], object]:
    proposed = propose_change(first, scene.organization("Propia", department=""), country="CR")
    return lambda second: confirm_change(second, proposed)


def start_approval(scene: Scene, first: Stubs) -> Callable[[Stubs], object]:
    front = scene.organization("Fachada", approved=False)
    request = directory_pb2.ApproveOrganizationRequest(
        id=front.id, etag=etag_of(scene.vet(front.id))
    )
    request.etag = first.ApproveOrganization(request).etag
    return lambda second: second.ApproveOrganization(request)


def start_agreement(scene: Scene, first: Stubs) -> Callable[[Stubs], object]:
    approved = scene.approve(scene.organization("Amiga", approved=False).id)
    recorded = record_agreement(first, approved, "2028-03-01")
    return lambda second: record_agreement(second, recorded, "2029-03-01")


def start_first_manager(scene: Scene, first: Stubs) -> Callable[[Stubs], object]:
    entry = directory_pb2.Organization(
        name="Fachada", type=directory_pb2.ORGANIZATION_TYPE_NGO, country="NI"
    )
    created = first.CreateOrganization(organization=entry)
    front = Organization(
        id=created.id,
        create_time=scene.clock.now(),
        update_time=scene.clock.now(),
        entry=None,  # type: ignore[arg-type]
    )
    return lambda second: invite(second, front, email="fachada@ejemplo.org")


FIRST_STEPS = [
    start_provider,
    start_change,
    start_approval,
    start_agreement,
    start_first_manager,
]


@pytest.mark.parametrize("start", FIRST_STEPS)
def test_an_account_that_a_coordinator_invited_cannot_act_as_her_second_person(
    start: Callable[[Scene, Stubs], Callable[[Stubs], object]], scene: Scene
) -> None:
    first, honest = founder(scene), founder(scene)
    second = invited(scene, first, "otra@ejemplo.org", COORDINATOR)
    third = invited(scene, second, "tercera@ejemplo.org", COORDINATOR)
    agree = start(scene, first)
    for coordinator in (second, third):
        assert refusal(partial(agree, coordinator)) == NOT_INDEPENDENT
    agree(honest)


def test_an_invitation_ties_inviter_and_invitee_and_all_invitees_of_one_inviter_to_each_other(
    scene: Scene,
) -> None:
    first = founder(scene)
    second, third = (
        invited(scene, first, f"{name}@ejemplo.org", COORDINATOR) for name in ("otra", "tercera")
    )
    for one, other in ((second, first), (second, third)):
        assert refusal(partial(start_change(scene, one), other)) == NOT_INDEPENDENT


def test_thirty_days_after_an_invitation_the_invited_account_is_a_second_person(
    scene: Scene,
) -> None:
    first = founder(scene)
    second = invited(scene, first, "otra@ejemplo.org", COORDINATOR)
    agree = start_change(scene, first)
    scene.advance(days=30, seconds=-1)
    assert (
        refusal(lambda: agree(scene.signed_in("otra@ejemplo.org", OWN_PASSWORD))) == NOT_INDEPENDENT
    )
    scene.advance(seconds=1)
    agree(scene.signed_in("otra@ejemplo.org", OWN_PASSWORD))
    # this account's session ended long ago
    assert refusal(lambda: start_change(scene, second)) == SESSION_ENDED


def test_an_account_that_is_invited_again_stays_tied_to_whoever_invited_it_before(
    scene: Scene,
) -> None:
    first, honest = founder(scene), founder(scene)
    invited(scene, first, "otra@ejemplo.org", COORDINATOR)
    again = invited(scene, honest, "otra@ejemplo.org", COORDINATOR)
    for inviter in (first, honest):
        assert refusal(partial(start_change(scene, inviter), again)) == NOT_INDEPENDENT


@pytest.mark.parametrize(
    ("email", "other_email", "is_same_person"),
    [
        ("ana@ejemplo.org", "ana+dos@ejemplo.org", True),
        ("ana@ejemplo.org", "ANA+2@Ejemplo.org", True),
        ("ana.luz@gmail.com", "analuz+x@googlemail.com", True),
        ("ana.luz@ejemplo.org", "analuz@ejemplo.org", False),
        ("ana@ejemplo.org", "ana@otro.org", False),
    ],
)
def test_accounts_with_the_same_mailbox_are_one_person_for_ever(
    email: str, other_email: str, is_same_person: bool, scene: Scene
) -> None:
    first, _ = founder(scene, email=email), founder(scene, email=other_email)
    agree = start_change(scene, first)
    scene.advance(days=90)
    if not is_same_person:
        agree(scene.signed_in(other_email))
        return
    assert refusal(lambda: agree(scene.signed_in(other_email))) == NOT_INDEPENDENT


def test_an_account_is_tied_to_the_accounts_used_earlier_on_its_first_device(
    scene: Scene,
) -> None:
    first, coordinator_at_home = (
        founder(scene, device="the office"),
        founder(scene, device="at home"),
    )
    second = founder(scene, device="the office")
    agree = start_change(scene, first)
    assert refusal(lambda: agree(second)) == NOT_INDEPENDENT
    agree(coordinator_at_home)
    visitor = scene.worker(scene.coalition, Role.COORDINATOR).entry.email
    scene.signed_in(visitor, device="her own")
    scene.advance(minutes=1)
    # not tied: her account was first used on another device, so this shared one does not count
    start_change(scene, first)(scene.signed_in(visitor, device="the office"))


def test_two_accounts_bound_to_one_account_at_a_provider_are_one_person(
    scene: Scene, member: Organization
) -> None:
    first_worker = scene.worker(scene.coalition, Role.COORDINATOR)
    second_worker = scene.worker(member, Role.COORDINATOR)
    with scene.database.transaction(SYSTEM) as tx:
        for worker in (first_worker, second_worker):
            sign_in_providers.bind(tx, worker.organization_id, ISSUER, b"ana", worker.id)
    agree = start_change(scene, scene.as_worker(first_worker))
    assert refusal(lambda: agree(scene.as_worker(second_worker))) == NOT_INDEPENDENT
    with scene.database.transaction(SYSTEM) as tx:
        sign_in_providers.forget_account(tx, first_worker.id)  # she was invited again
        sign_in_providers.forget_accounts_of(
            tx, second_worker.organization_id
        )  # her organisation's provider has a new client id
    assert refusal(lambda: agree(scene.as_worker(second_worker))) == NOT_INDEPENDENT


def test_a_manager_cannot_confirm_her_own_key_through_an_account_that_she_invited(
    scene: Scene, member: Organization
) -> None:
    maker, honest = (founder(scene, Role.MANAGER, organization=member) for _ in range(2))
    second_account = invited(scene, maker, "otra@ejemplo.org", MANAGER)
    request = pb.ConfirmApiKeyRequest(id=make_key(maker).api_key.id)
    assert refusal(lambda: second_account.ConfirmApiKey(request)) == NOT_INDEPENDENT
    assert not honest.ConfirmApiKey(request).unconfirmed
    assert not second_account.TransferApiKey(id=request.id).unconfirmed, (
        "an honest manager has agreed to it"
    )


def test_a_key_taken_over_needs_a_confirmation_by_somebody_independent_of_its_new_manager(
    scene: Scene, member: Organization
) -> None:
    maker, honest = (founder(scene, Role.MANAGER, organization=member) for _ in range(2))
    second_account = invited(scene, honest, "otra@ejemplo.org", MANAGER)
    id = make_key(maker).api_key.id
    assert not second_account.ConfirmApiKey(id=id).unconfirmed
    assert honest.TransferApiKey(id=id).unconfirmed


def test_a_token_names_the_keys_that_its_worker_made_even_if_a_colleague_took_them_over(
    scene: Scene, member: Organization
) -> None:
    worker = scene.worker(member, Role.MANAGER)
    id = make_key(scene.as_worker(worker), "referrals.read").api_key.id
    founder(scene, Role.MANAGER, organization=member).TransferApiKey(id=id)
    assert kin_at_sign_in(scene, worker.entry.email).includes(id)


def test_nobody_is_a_second_person_with_only_a_password_if_a_second_factor_is_required(
    scene: Scene,
) -> None:
    worker = scene.worker(scene.coalition, Role.COORDINATOR)
    with scene.database.transaction(SYSTEM) as tx:
        assert token_kin(tx, worker.id, scene.clock.now(), strict=True).alone == "second_factor"
        tx.execute(
            "INSERT INTO second_factors (worker_id, secret, confirm_time) VALUES (%s, '', %s)",
            (worker.id, scene.clock.now()),
        )
        assert token_kin(tx, worker.id, scene.clock.now(), strict=True) == NONE


def test_a_worker_whose_token_does_not_state_her_kin_cannot_act_as_a_second_person(
    scene: Scene,
) -> None:
    worker = scene.worker(scene.coalition, Role.COORDINATOR)
    with_unknown_kin = scene.with_kin(worker, Kin())
    assert refusal(lambda: start_change(scene, founder(scene))(with_unknown_kin)) == NOT_INDEPENDENT


def test_an_account_of_unknown_origin_cannot_act_as_a_second_person_for_thirty_days(
    scene: Scene,
) -> None:
    worker = scene.worker(scene.coalition, Role.COORDINATOR)
    scene.rows("DELETE FROM account_origins WHERE worker_id = %s RETURNING 1", worker.id)
    assert kin_at_sign_in(scene, worker.entry.email).alone == "unknown"
    scene.advance(days=30)
    assert kin_at_sign_in(scene, worker.entry.email).alone == ""


def test_a_worker_with_more_kin_than_a_token_carries_cannot_act_as_a_second_person(
    scene: Scene,
) -> None:
    related = [f"{number:032x}" for number in range(independence.MAX_RELATED + 1)]
    for ids, expected in (
        (related[1:], Kin(frozenset(map(mark_of, related[1:])), "")),
        (related, Kin(alone="too_many")),
    ):
        kin = independence.kin(ids, is_origin_known=True, meets_second_factor_rule=True)
        assert kin == expected


def test_devices_are_forgotten_but_not_who_invited_whom(scene: Scene) -> None:
    first = founder(scene, device="the office")
    invited(scene, first, "otra@ejemplo.org", COORDINATOR, device="hers")
    origins = scene.rows("SELECT * FROM account_origins")
    assert all(timedelta(0) <= scene.clock.now() - row["time"] for row in origins)
    scene.clock.advance(independence.DEVICE_LIFE)
    scene.sweep()
    assert (
        scene.rows("SELECT * FROM account_devices"),
        scene.rows("SELECT * FROM account_origins"),
    ) == ([], origins)


def kin_at_sign_in(scene: Scene, email: str) -> Kin:
    """Returns the kin in a token of a session that begins now."""
    session = scene.nobody.SignIn(email=email, password=PASSWORD)
    return scene.verifier.verify(session.tokens["enlace.partners"]).kin
