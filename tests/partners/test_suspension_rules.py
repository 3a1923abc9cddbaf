"""Rules of the end of a member's access: suspensions, holds, reinstatements, leaving."""

from copy import deepcopy
from functools import partial

import pytest

from services.partners.members.domain.organization import Organization
from services.partners.members.domain.suspension import (
    Coordinator,
    FirstCoordinator,
    Suspension,
    SuspensionReason,
)
from tests.builders import NOON, conflict_of, violations_of
from tests.partners.test_member_rules import (
    ALONE,
    COLLEAGUE,
    DAY,
    FIRST,
    HOUR,
    LATER,
    SECOND,
    TODAY,
    S,
    agreement,
    member,
)


@pytest.fixture
def organization() -> Organization:
    """An approved member."""
    return member()


def test_one_coordinator_proposes_a_suspension_and_one_of_another_member_confirms_it(
    organization: Organization,
) -> None:
    organization.suspend(FIRST, SuspensionReason.HARM, LATER)
    first = FirstCoordinator("first", "coalition", LATER)
    assert organization.suspension == Suspension(SuspensionReason.HARM, first, LATER + 7 * DAY)
    assert (organization.status, organization.stop, organization.facts) == (
        S.APPROVED,
        "",
        ["suspension_proposed"],
    )
    organization.suspend(SECOND, None, LATER + HOUR)
    assert organization.suspension == Suspension(SuspensionReason.HARM, first, None, "second")
    assert (organization.status, organization.stop, organization.facts[1:]) == (
        S.SUSPENDED,
        "suspended",
        ["suspended"],
    )


@pytest.mark.parametrize(
    ("confirmer", "reason"), [(FIRST, "second_person_required"), (COLLEAGUE, "not_independent")]
)
def test_a_proposal_cannot_be_confirmed_by_its_maker_or_a_colleague(
    confirmer: Coordinator, reason: str, organization: Organization
) -> None:
    organization.suspend(FIRST, SuspensionReason.HARM, LATER)
    before = deepcopy(organization)
    assert conflict_of(lambda: organization.suspend(confirmer, None, LATER + HOUR)) == reason
    assert organization == before


def test_a_suspension_needs_a_reason_and_cannot_be_proposed_where_nobody_could_agree() -> None:
    assert violations_of(lambda: member().suspend(FIRST, None, LATER)) == [("reason", "required")]
    propose_alone = partial(member().suspend, ALONE, SuspensionReason.HARM, LATER)
    assert conflict_of(propose_alone) == "no_second_coordinator"


def test_agreeing_to_an_expired_proposal_makes_a_new_proposal(organization: Organization) -> None:
    organization.suspend(FIRST, SuspensionReason.HARM, NOON)
    organization.suspend(SECOND, None, NOON + 7 * DAY)  # a new proposal, for the same reason
    first = FirstCoordinator("second", "ministry", NOON + 7 * DAY)
    assert organization.suspension == Suspension(SuspensionReason.HARM, first, NOON + 14 * DAY)
    assert organization.status is S.APPROVED


def test_one_coordinator_alone_can_suspend_a_member_for_a_day(organization: Organization) -> None:
    organization.suspend(ALONE, SuspensionReason.FRONT, NOON, hold=True)
    suspension = Suspension(
        SuspensionReason.FRONT, FirstCoordinator("first", "coalition", NOON), NOON + DAY
    )
    assert (organization.status, organization.suspension, organization.stop) == (
        S.SUSPENDED,
        suspension,
        "held",
    )
    organization.end_expired_proposals(NOON + DAY - HOUR, TODAY)
    assert organization.facts == ["held"]
    organization.end_expired_proposals(NOON + DAY, TODAY)
    assert (organization.status, organization.suspension, organization.last_hold) == (
        S.APPROVED,
        None,
        suspension.first,
    )
    assert organization.facts == ["held", "hold_ended"]


def test_a_second_coordinator_turns_a_hold_into_a_suspension_within_a_day(
    organization: Organization,
) -> None:
    organization.suspend(FIRST, SuspensionReason.FRONT, NOON, hold=True)
    copy = deepcopy(organization)
    organization.suspend(SECOND, None, NOON + DAY - HOUR)
    assert (organization.stop, organization.last_hold, organization.facts[1:]) == (
        "suspended",
        None,
        ["suspension_confirmed"],
    )
    assert conflict_of(lambda: copy.suspend(SECOND, None, NOON + DAY)) == "illegal_transition"


def test_a_hold_by_a_second_coordinator_confirms_the_proposed_suspension(
    organization: Organization,
) -> None:
    organization.suspend(FIRST, SuspensionReason.FRONT, NOON)
    organization.suspend(SECOND, None, NOON + HOUR, hold=True)
    assert (organization.stop, organization.facts[1:]) == ("suspended", ["suspended"])


def test_the_proposer_of_a_suspension_may_hold_the_member_for_the_same_reason(
    organization: Organization,
) -> None:
    organization.suspend(FIRST, SuspensionReason.FRONT, NOON)
    organization.suspend(FIRST, None, NOON + HOUR, hold=True)
    assert (organization.stop, organization.suspension) == (
        "held",
        Suspension(
            SuspensionReason.FRONT,
            FirstCoordinator("first", "coalition", NOON + HOUR),
            NOON + HOUR + DAY,
        ),
    )


def test_nobody_can_hold_a_member_day_after_day() -> None:
    organization = member(last_hold=FirstCoordinator("first", "coalition", NOON))
    for coordinator in (FIRST, COLLEAGUE):
        try_to_hold = partial(
            organization.suspend,
            coordinator,
            SuspensionReason.HARM,
            NOON + 30 * DAY - HOUR,
            hold=True,
        )
        assert conflict_of(try_to_hold) == "held_lately"
    deepcopy(organization).suspend(SECOND, SuspensionReason.HARM, NOON + DAY, hold=True)
    organization.suspend(FIRST, SuspensionReason.HARM, NOON + 30 * DAY, hold=True)
    assert organization.stop == "held"


def test_two_coordinators_reinstate_a_member(organization: Organization) -> None:
    organization.suspend(FIRST, SuspensionReason.HARM, NOON)
    organization.suspend(SECOND, None, NOON)
    organization.reinstate(FIRST, LATER, TODAY)
    assert (organization.status, organization.reinstatement) == (
        S.SUSPENDED,
        FirstCoordinator("first", "coalition", LATER),
    )
    reinstate_as_colleague = partial(organization.reinstate, COLLEAGUE, LATER, TODAY)
    assert conflict_of(reinstate_as_colleague) == "not_independent"
    organization.reinstate(SECOND, LATER, TODAY)
    assert (
        organization.status,
        organization.reinstatement,
        organization.suspension,
        organization.last_hold,
        organization.facts[2:],
    ) == (S.APPROVED, None, None, None, ["reinstatement_proposed", "reinstated"])


def test_the_author_of_a_hold_that_was_ended_early_is_remembered(
    organization: Organization,
) -> None:
    organization.suspend(FIRST, SuspensionReason.HARM, NOON, hold=True)
    organization.reinstate(FIRST, NOON, TODAY)
    organization.reinstate(SECOND, NOON, TODAY)
    assert organization.last_hold == FirstCoordinator("first", "coalition", NOON)


def test_a_member_that_comes_back_after_the_end_of_its_agreement_is_on_probation() -> None:
    organization = member(evidence=agreement(-1))
    organization.suspend(FIRST, SuspensionReason.HARM, NOON, hold=True)
    copy = deepcopy(organization)
    organization.end_expired_proposals(NOON + DAY, TODAY)
    assert (organization.status, organization.facts[-1]) == (S.PROBATION, "agreement_expired")
    copy.reinstate(FIRST, NOON, TODAY)
    copy.reinstate(SECOND, NOON, TODAY)
    assert (copy.status, copy.facts[1:]) == (
        S.PROBATION,
        ["reinstatement_proposed", "reinstated", "agreement_expired"],
    )


def test_a_proposal_to_which_nobody_agreed_in_time_is_dropped(organization: Organization) -> None:
    organization.suspend(FIRST, SuspensionReason.HARM, NOON)
    organization.end_expired_proposals(NOON + 7 * DAY - HOUR, TODAY)
    assert organization.facts == ["suspension_proposed"]
    organization.end_expired_proposals(NOON + 7 * DAY, TODAY)
    assert (organization.suspension, organization.last_hold, organization.facts) == (
        None,
        None,
        ["suspension_proposed", "suspension_dropped"],
    )


def test_a_suspension_by_two_coordinators_does_not_end_by_itself(
    organization: Organization,
) -> None:
    organization.suspend(FIRST, SuspensionReason.HARM, NOON)
    organization.suspend(SECOND, None, NOON)
    organization.end_expired_proposals(NOON + 365 * DAY, TODAY)
    assert organization.stop == "suspended"


def test_one_manager_can_end_her_organisations_membership_and_its_proposals_are_dropped() -> None:
    organization = member(
        approval_proposed_by_worker_id="first", reinstatement=FirstCoordinator("x", "y", NOON)
    )
    organization.propose({"hotline_number": "133"}, "first", NOON)
    organization.suspend(FIRST, SuspensionReason.HARM, NOON)
    organization.leave(LATER)
    assert organization == member(S.LEFT, version=3, update_time=LATER)


def test_it_takes_two_coordinators_to_end_a_membership(organization: Organization) -> None:
    organization.leave(LATER, FIRST)
    assert (organization.status, organization.leaving) == (
        S.APPROVED,
        FirstCoordinator("first", "coalition", LATER),
    )
    assert conflict_of(lambda: organization.leave(LATER, COLLEAGUE)) == "not_independent"
    organization.leave(LATER, SECOND)
    assert (organization.status, organization.leaving, organization.facts) == (
        S.LEFT,
        None,
        ["leaving_proposed", "left"],
    )
