"""The public form by which organisations apply.

Nobody can block it for others, and an application counts only after its mailbox has answered.
"""

from datetime import timedelta

import pytest

from protos.partners.v1.directory_pb2_grpc import DirectoryStub
from services.partners.members.domain.worker import Role, mailbox_of
from services.partners.members.usecases.membership import ADDRESS_BUDGET, MAILBOX_BUDGET
from tests.builders import NOT_FOUND, refusal, refusal_with_delay
from tests.partners.scene import TOO_MANY_ATTEMPTS, Scene
from tests.partners.test_membership import APPLIED, application, apply, confirm, letters


def apply_from(scene: Scene, address: str, email: str = "parroquia@ejemplo.example") -> None:
    """Applies as the gateway does for a stranger at this address."""
    DirectoryStub(scene.channel).ApplyForMembership(
        application(contact_email=email), metadata=scene.origin(address), timeout=10
    )


def applicants(scene: Scene) -> list[str]:
    """Returns the names of the organisations that wait for the coordinators."""
    listed = scene.coordinator.ListOrganizations(status=APPLIED).organizations
    return [organization.name for organization in listed]


def test_an_application_counts_only_after_its_mailbox_has_answered(scene: Scene) -> None:
    scene.nobody.ApplyForMembership(application())
    [letter] = letters(scene)
    assert (letter.email, letter.language) == ("parroquia@ejemplo.example", "fr")
    assert not applicants(scene), "nothing is listed before the mailbox has answered"
    assert not scene.rows("SELECT 1 FROM organizations WHERE status = 'APPLIED'")
    assert refusal(lambda: confirm(scene, "x" * 43)) == NOT_FOUND
    confirm(scene, letter.token)
    assert applicants(scene) == ["Parroquia San Lucas"]
    assert refusal(lambda: confirm(scene, letter.token)) == NOT_FOUND
    assert not scene.rows("SELECT 1 FROM application_requests")


def test_a_link_that_nobody_opens_is_valid_for_three_days_and_is_then_deleted(scene: Scene) -> None:
    scene.nobody.ApplyForMembership(application())
    scene.advance(days=3)
    assert refusal(lambda: confirm(scene, letters(scene)[0].token)) == NOT_FOUND
    scene.sweep()
    assert not scene.rows("SELECT 1 FROM application_requests")


def test_applications_from_many_addresses_leave_the_form_open_for_others(scene: Scene) -> None:
    # more than a hundred applications in all
    for number in range(25 * ADDRESS_BUDGET.burst):
        address = f"192.0.2.{number // ADDRESS_BUDGET.burst}"
        apply_from(scene, address, f"nadie{number}@ejemplo.example")
    apply_from(scene, "198.51.100.7")
    confirm(scene, letters(scene)[-1].token)
    assert applicants(scene) == ["Parroquia San Lucas"], (
        "the coordinators see no application without a confirmed mailbox"
    )


def test_many_waiting_applications_do_not_close_the_form(scene: Scene) -> None:
    apply(scene)
    copies = (
        "SELECT (o).* FROM (SELECT jsonb_populate_record(o, jsonb_build_object('id', md5(n::text)))"
        " AS o FROM organizations AS o, generate_series(1, 301) AS n"
    )
    scene.rows(
        f"INSERT INTO organizations {copies} WHERE o.status = 'APPLIED') AS copies RETURNING id"
    )
    assert apply(scene).name


def test_one_mailbox_gets_only_a_few_emails(scene: Scene) -> None:
    for number in range(MAILBOX_BUDGET.burst):
        apply_from(scene, f"192.0.2.{number}", "Ella@ejemplo.example")
    code, reason, delay = refusal_with_delay(
        lambda: apply_from(scene, "192.0.2.99", "ella@EJEMPLO.example")
    )
    assert (code, reason) == TOO_MANY_ATTEMPTS
    assert timedelta(0) < delay <= MAILBOX_BUDGET.interval
    assert len(letters(scene)) == MAILBOX_BUDGET.burst
    apply_from(scene, "192.0.2.99", "otra@ejemplo.example")


@pytest.mark.parametrize(
    ("email", "other_email"),
    [
        ("ella@ejemplo.example", "ella+{}@ejemplo.example"),
        ("e.lla@gmail.com", "el.la+{}@Gmail.com"),
    ],
)
def test_other_spellings_of_an_address_bring_its_mailbox_no_more_emails(
    scene: Scene, email: str, other_email: str
) -> None:
    for number in range(MAILBOX_BUDGET.burst):
        apply_from(scene, f"192.0.2.{number}", other_email.format(number))
    assert refusal(lambda: apply_from(scene, "192.0.2.99", email)) == TOO_MANY_ATTEMPTS
    assert len(letters(scene)) == MAILBOX_BUDGET.burst


@pytest.mark.parametrize(
    "email", ["Ana@ejemplo.org", "ana+dos@ejemplo.org", "A.na+2@GoogleMail.com", "a.na@ejemplo.org"]
)
def test_an_applicants_mailbox_is_recognised_like_a_workers(scene: Scene, email: str) -> None:
    scene.worker(scene.coalition, Role.WORKER, email=email)
    [row] = scene.rows("SELECT mailbox_key FROM workers WHERE email = %s", email)
    assert row["mailbox_key"] == mailbox_of(email)


def test_one_address_does_not_use_up_the_budget_of_others(scene: Scene) -> None:
    for number in range(ADDRESS_BUDGET.burst):
        apply_from(scene, "192.0.2.1", f"persona{number}@ejemplo.example")
    code, reason, delay = refusal_with_delay(
        lambda: apply_from(scene, "192.0.2.1", "otra@ejemplo.example")
    )
    assert (code, reason) == TOO_MANY_ATTEMPTS
    assert timedelta(0) < delay <= ADDRESS_BUDGET.interval
    apply_from(scene, "192.0.2.2", "otra@ejemplo.example")
    scene.advance(hours=1)
    apply_from(scene, "192.0.2.1", "mas@ejemplo.example")
