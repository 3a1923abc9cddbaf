"""The rules of a member's life: which step leads where, which facts are published, and which steps
take two people. No database.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import pytest

from chassis.errors import Conflict, Invalid
from chassis.second import NONE, Kin
from services.partners.members.domain.evidence import Evidence, EvidenceKind, due_warning
from services.partners.members.domain.organization import (
    Organization,
    OrganizationEntry,
    OrganizationStatus,
    OrganizationType,
    Proposal,
    RejectionReason,
)
from services.partners.members.domain.shares_with import SharesWith, shares_with
from services.partners.members.domain.suspension import (
    Coordinator,
    FirstCoordinator,
    Suspension,
    SuspensionReason,
)
from tests.builders import NOON

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TODAY = NOON.date()
LATER = NOON + HOUR
ENTRY = OrganizationEntry(
    "Casa Luz",
    OrganizationType.SHELTER,
    "NI",
    "NI-CI",
    "+50522334455",
    "https://luz.test",
    ("es",),
    "Beds for women.",
)
S = OrganizationStatus


@dataclass(frozen=True)
class Person:
    id: str
    kin: Kin = NONE


FIRST = Coordinator(Person("first"), "coalition", has_second=True)
SECOND = Coordinator(Person("second"), "ministry", has_second=True)
COLLEAGUE = Coordinator(Person("colleague"), "coalition", has_second=True)
ALONE = replace(FIRST, has_second=False)


def member(status: OrganizationStatus = S.APPROVED, **more: Any) -> Organization:
    given = {"create_time": NOON, "update_time": NOON, "entry": ENTRY, **more}
    return Organization(id="member", status=status, **given)


def seen(kind: EvidenceKind, reference: str = "1", days: int | None = None) -> Evidence:
    end = None if days is None else TODAY + days * DAY
    return Evidence(kind, reference, TODAY, end, "worker", NOON)


def agreed(days: int) -> tuple[Evidence, ...]:
    return (seen(EvidenceKind.AGREEMENT, days=days),)


ALL_SEEN = (
    seen(EvidenceKind.REGISTRATION),
    seen(EvidenceKind.REFERENCES, "1"),
    seen(EvidenceKind.REFERENCES, "2"),
    seen(EvidenceKind.SAFEGUARDING_POLICY),
    *agreed(365),
)


def test_an_application_and_a_registration_are_published_with_the_entry() -> None:
    applied = Organization.apply("member", ENTRY, NOON)
    assert (applied, applied.facts) == (member(S.APPLIED, version=1), ["applied"])
    registered = Organization.register("member", ENTRY, NOON, "first")
    assert registered == member(S.PROBATION, version=1, registered_by_worker_id="first")
    assert registered.facts == ["registered"]
    assert Organization.register("member", ENTRY, NOON).registered_by_worker_id == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"department": "GT-01"}, ("department", "unknown_code")),
        ({"phone": "22334455"}, ("phone", "malformed")),
        ({"languages": ("es", "es")}, ("languages", "malformed")),
    ],
)
def test_an_invalid_entry_is_refused_with_its_field(
    wrong: dict[str, Any], said: tuple[str, str]
) -> None:
    entry, (path, reason) = replace(ENTRY, **wrong), said
    with pytest.raises(Invalid) as refused:
        Organization.register("member", entry, NOON)
    assert refused.value.violations == [(f"organization.{path}", reason)]
    with pytest.raises(Invalid) as refused:
        Organization.apply("member", entry, NOON)
    assert refused.value.violations == [(path, reason)]


STEPS: dict[str, tuple[Callable[[Organization], None], set[OrganizationStatus]]] = {
    "admit": (lambda it: it.admit(LATER, "first"), {S.APPLIED}),
    "reject": (lambda it: it.reject(RejectionReason.DUPLICATE, LATER), {S.APPLIED}),
    "approve": (lambda it: it.approve(LATER, TODAY), {S.PROBATION}),
    "record": (
        lambda it: it.record(seen(EvidenceKind.REGISTRATION), LATER, TODAY),
        {S.PROBATION, S.APPROVED},
    ),
    "propose to suspend": (
        lambda it: it.suspend(FIRST, SuspensionReason.HARM, LATER),
        {S.APPROVED},
    ),
    "hold": (
        lambda it: it.suspend(FIRST, SuspensionReason.HARM, LATER, hold=True),
        {S.APPROVED},
    ),
    "reinstate": (lambda it: it.reinstate(FIRST, LATER, TODAY), {S.SUSPENDED}),
    "leave": (lambda it: it.leave(LATER), {S.PROBATION, S.APPROVED, S.SUSPENDED}),
}


@pytest.mark.parametrize("status", S)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_possible_only_from_its_states_and_otherwise_changes_nothing(
    step: str, status: OrganizationStatus
) -> None:
    take, states = STEPS[step]
    it = member(status)
    if status in states:
        take(it)
        assert (it.version, it.update_time, len(it.facts)) == (1, LATER, 1)
    else:
        with pytest.raises(Conflict, match=r"^illegal_transition$"):
            take(it)
        assert it == member(status)


def test_an_admitted_member_is_on_probation_and_records_who_admitted_it() -> None:
    it = member(S.APPLIED)
    it.admit(LATER, "first")
    assert (it.status, it.registered_by_worker_id, it.facts) == (S.PROBATION, "first", ["admitted"])


def test_of_a_rejected_applicant_only_what_identifies_it_is_kept() -> None:
    it = member(S.APPLIED)
    it.reject(RejectionReason.DUPLICATE, LATER)
    assert it.entry == replace(ENTRY, phone="", url="", description="")
    assert (it.status, it.rejection_reason) == (S.REJECTED, RejectionReason.DUPLICATE)
    assert it.facts == ["rejected"]


# The member's own entry


def test_a_change_is_published_once_and_a_change_without_effect_is_not() -> None:
    it = member()
    it.change({"name": "Casa Sol"}, LATER)
    assert (it.entry, it.facts) == (replace(ENTRY, name="Casa Sol"), ["changed"])
    it.change({"name": "Casa Sol"}, LATER)
    assert it.facts == ["changed"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, [("update_mask", "required")]),
        (
            {"status": 1, "name": "x", "id": 2},
            [("organization.id", "unknown_code"), ("organization.status", "unknown_code")],
        ),
        ({"phone": "1"}, [("organization.phone", "malformed")]),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(
    changes: dict[str, Any], said: list[tuple[str, str]]
) -> None:
    it = member()
    with pytest.raises(Invalid) as refused:
        it.change(changes, LATER)
    assert refused.value.violations == said
    assert it == member()


@pytest.mark.parametrize(
    "changes",
    [
        {"type": OrganizationType.NGO},
        {"country": "GT", "department": ""},
        {"hotline_number": "133"},
    ],
)
def test_fields_that_others_depend_on_are_not_changed_by_one_person(
    changes: dict[str, Any],
) -> None:
    it = member()
    with pytest.raises(Conflict, match=r"^two_people_required$"):
        it.change({"name": "x", **changes}, LATER)
    assert it == member()


def test_a_change_that_others_depend_on_is_proposed_by_one_person_and_confirmed_by_another() -> (
    None
):
    it = member()
    it.propose({"country": "GT", "hotline_number": "133"}, "first", LATER)
    assert it.proposal == Proposal(OrganizationType.SHELTER, "GT", "133", "first", LATER)
    assert (it.entry, it.facts) == (ENTRY, ["change_proposed"])
    with pytest.raises(Conflict, match=r"^second_person_required$"):
        it.confirm_change(Person("first"), LATER)
    it.confirm_change(Person("second"), LATER)
    # A department of the former country is no department of the new country.
    assert it.entry == replace(ENTRY, country="GT", hotline_number="133", department="")
    assert it.proposal is None
    assert it.facts == ["change_proposed", "changed"]


def test_a_department_is_kept_while_the_country_stays() -> None:
    it = member()
    it.propose({"type": OrganizationType.NGO}, "first", LATER)
    it.confirm_change(Person("second"), LATER)
    assert it.entry == replace(ENTRY, type=OrganizationType.NGO)


def test_a_proposal_that_changes_nothing_at_all_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        member().propose({}, "first", LATER)
    assert refused.value.violations == [("update_mask", "required")]


def test_with_whom_a_member_shares_follows_from_its_type() -> None:
    assert shares_with(OrganizationType.PROSECUTION) is SharesWith.POLICE
    assert shares_with(OrganizationType.CONSULATE) is SharesWith.MIGRATION
    assert shares_with(OrganizationType.SHELTER) is shares_with(None) is None


def test_only_fields_that_others_depend_on_can_be_proposed() -> None:
    with pytest.raises(Invalid) as refused:
        member().propose({"type": OrganizationType.NGO, "phone": "", "name": ""}, "first", LATER)
    assert refused.value.violations == [
        ("organization.name", "unknown_code"),
        ("organization.phone", "unknown_code"),
    ]


@pytest.mark.parametrize(
    "act", [lambda it: it.confirm_change(Person("second"), LATER), lambda it: it.drop_change(LATER)]
)
def test_where_nothing_was_proposed_nothing_can_be_confirmed_or_dropped(
    act: Callable[[Organization], None],
) -> None:
    it = member()
    with pytest.raises(Conflict, match=r"^nothing_to_confirm$"):
        act(it)


def test_a_proposal_that_is_dropped_is_gone() -> None:
    it = member()
    it.propose({"hotline_number": "133"}, "first", LATER)
    it.drop_change(LATER)
    assert (it.proposal, it.entry, it.facts[1:]) == (None, ENTRY, ["change_dropped"])


# Evidence


@pytest.mark.parametrize(
    ("evidence", "missing"),
    [
        ((), ["REGISTRATION", "REFERENCES", "SAFEGUARDING_POLICY", "AGREEMENT"]),
        (ALL_SEEN, []),
        (ALL_SEEN[:1] + ALL_SEEN[2:], ["REFERENCES"]),
        ((*ALL_SEEN[:4], *agreed(0)), []),
        ((*ALL_SEEN[:4], *agreed(-1)), ["AGREEMENT"]),
    ],
)
def test_evidence_that_nobody_has_seen_or_that_has_expired_is_missing(
    evidence: tuple[Evidence, ...], missing: list[str]
) -> None:
    it = member(S.PROBATION, evidence=evidence)
    assert [kind.value for kind in it.missing_evidence(TODAY)] == missing
    if missing:
        with pytest.raises(Conflict, match=r"^evidence_missing$") as refused:
            it.approve(LATER, TODAY, Person("first"))
        assert refused.value.about == tuple(name.lower() for name in missing)


def test_the_newest_evidence_of_each_kind_counts_and_the_two_newest_references_do() -> None:
    it = member(evidence=ALL_SEEN, warned_days=30, approval_proposed_by_worker_id="first")
    third = seen(EvidenceKind.REFERENCES, "3")
    it.record(third, LATER, TODAY)
    assert set(it.evidence) == {*ALL_SEEN, third} - {ALL_SEEN[1]}
    again = seen(EvidenceKind.REFERENCES, "3")
    it.record(again, LATER, TODAY)
    assert set(it.evidence) == {*ALL_SEEN, again} - {ALL_SEEN[1]}
    newer = seen(EvidenceKind.REGISTRATION, "2")
    it.record(newer, LATER, TODAY)
    assert [one for one in it.evidence if one.kind is EvidenceKind.REGISTRATION] == [newer]
    assert (it.warned_days, it.approval_proposed_by_worker_id) == (30, "")
    it.record(seen(EvidenceKind.AGREEMENT, "2", days=90), LATER, TODAY)
    assert (it.warned_days, it.agreement_days(TODAY)) == (None, 90)
    assert it.facts == ["evidence_recorded"] * 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (seen(EvidenceKind.REGISTRATION, ""), ("reference", "required")),
        (
            replace(seen(EvidenceKind.REGISTRATION), seen_date=TODAY + DAY),
            ("seen_date", "out_of_range"),
        ),
        (seen(EvidenceKind.REGISTRATION, days=9), ("expire_date", "out_of_range")),
        (seen(EvidenceKind.AGREEMENT), ("expire_date", "required")),
        (seen(EvidenceKind.AGREEMENT, days=-1), ("expire_date", "out_of_range")),
        (seen(EvidenceKind.AGREEMENT, days=5 * 366 + 1), ("expire_date", "out_of_range")),
    ],
)
def test_evidence_that_cannot_have_been_seen_is_refused(
    wrong: Evidence, said: tuple[str, str]
) -> None:
    it = member()
    with pytest.raises(Invalid) as refused:
        it.record(wrong, LATER, TODAY)
    assert refused.value.violations == [(f"evidence.{said[0]}", said[1])]
    assert it == member()


@pytest.mark.parametrize("days", [0, 5 * 366])
def test_an_agreement_may_end_today_or_in_five_years(days: int) -> None:
    seen(EvidenceKind.AGREEMENT, days=days).check(TODAY)


def test_a_member_is_approved_by_two_people_who_have_seen_the_same_evidence() -> None:
    it = member(S.PROBATION, evidence=ALL_SEEN)
    it.approve(LATER, TODAY, Person("first"))
    assert (it.status, it.approval_proposed_by_worker_id) == (S.PROBATION, "first")
    with pytest.raises(Conflict, match=r"^second_person_required$"):
        it.approve(LATER, TODAY, Person("first"))
    it.approve(LATER, TODAY, Person("second"))
    assert (it.status, it.approval_proposed_by_worker_id) == (S.APPROVED, "")
    assert it.facts == ["approval_proposed", "approved"]


def test_the_registrar_of_a_member_does_not_invite_its_first_manager_before_its_approval() -> None:
    registered = member(S.PROBATION, registered_by_worker_id="first")
    with pytest.raises(Conflict, match=r"^second_person_required$"):
        registered.check_invited_by(Person("first"))
    registered.check_invited_by(Person("second"))
    member(S.APPROVED, registered_by_worker_id="first").check_invited_by(Person("first"))
    member(S.PROBATION).check_invited_by(Person(""))


# The end of its access


def test_one_coordinator_proposes_a_suspension_and_one_of_another_member_confirms_it() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.HARM, LATER)
    first = FirstCoordinator("first", "coalition", LATER)
    assert it.suspension == Suspension(SuspensionReason.HARM, first, LATER + 7 * DAY)
    assert (it.status, it.stop, it.facts) == (S.APPROVED, "", ["suspension_proposed"])
    it.suspend(SECOND, None, LATER + HOUR)
    assert it.suspension == Suspension(SuspensionReason.HARM, first, None, "second")
    assert (it.status, it.stop, it.facts[1:]) == (S.SUSPENDED, "suspended", ["suspended"])


@pytest.mark.parametrize("who", [FIRST, COLLEAGUE])
def test_a_proposal_cannot_be_confirmed_by_its_maker_or_a_colleague(who: Coordinator) -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.HARM, LATER)
    before = deepcopy(it)
    with pytest.raises(Conflict):
        it.suspend(who, None, LATER + HOUR)
    assert it == before


def test_a_suspension_needs_a_reason_and_cannot_be_proposed_where_nobody_could_agree() -> None:
    with pytest.raises(Invalid) as refused:
        member().suspend(FIRST, None, LATER)
    assert refused.value.violations == [("reason", "required")]
    with pytest.raises(Conflict, match=r"^no_second_coordinator$"):
        member().suspend(ALONE, SuspensionReason.HARM, LATER)


def test_agreeing_to_an_expired_proposal_makes_a_new_proposal() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.HARM, NOON)
    it.suspend(SECOND, None, NOON + 7 * DAY)  # a new proposal, for the same reason
    first = FirstCoordinator("second", "ministry", NOON + 7 * DAY)
    assert it.suspension == Suspension(SuspensionReason.HARM, first, NOON + 14 * DAY)
    assert it.status is S.APPROVED


def test_one_coordinator_alone_can_suspend_a_member_for_a_day() -> None:
    it = member()
    it.suspend(ALONE, SuspensionReason.FRONT, NOON, hold=True)
    held = Suspension(
        SuspensionReason.FRONT, FirstCoordinator("first", "coalition", NOON), NOON + DAY
    )
    assert (it.status, it.suspension, it.stop) == (S.SUSPENDED, held, "held")
    it.watch_proposals(NOON + DAY - HOUR, TODAY)
    assert it.facts == ["held"]
    it.watch_proposals(NOON + DAY, TODAY)
    assert (it.status, it.suspension, it.last_hold) == (S.APPROVED, None, held.first)
    assert it.facts == ["held", "hold_ended"]


def test_a_second_coordinator_turns_a_hold_into_a_suspension_within_its_day() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.FRONT, NOON, hold=True)
    late = deepcopy(it)
    it.suspend(SECOND, None, NOON + DAY - HOUR)
    assert (it.stop, it.last_hold, it.facts[1:]) == ("suspended", None, ["suspension_confirmed"])
    with pytest.raises(Conflict, match=r"^illegal_transition$"):
        late.suspend(SECOND, None, NOON + DAY)


def test_a_hold_by_a_second_coordinator_confirms_the_proposed_suspension() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.FRONT, NOON)
    it.suspend(SECOND, None, NOON + HOUR, hold=True)
    assert (it.stop, it.facts[1:]) == ("suspended", ["suspended"])


def test_the_proposer_of_a_suspension_may_hold_the_member_for_the_same_reason() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.FRONT, NOON)
    it.suspend(FIRST, None, NOON + HOUR, hold=True)
    assert it.stop == "held"
    assert it.suspension is not None
    assert it.suspension.reason is SuspensionReason.FRONT


def test_nobody_can_hold_a_member_day_after_day() -> None:
    it = member(last_hold=FirstCoordinator("first", "coalition", NOON))
    for who in (FIRST, COLLEAGUE):
        with pytest.raises(Conflict, match=r"^held_lately$"):
            deepcopy(it).suspend(who, SuspensionReason.HARM, NOON + 30 * DAY - HOUR, hold=True)
    deepcopy(it).suspend(SECOND, SuspensionReason.HARM, NOON + DAY, hold=True)
    it.suspend(FIRST, SuspensionReason.HARM, NOON + 30 * DAY, hold=True)
    assert it.stop == "held"


def test_two_coordinators_reinstate_a_member() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.HARM, NOON)
    it.suspend(SECOND, None, NOON)
    it.reinstate(FIRST, LATER, TODAY)
    assert (it.status, it.reinstatement) == (
        S.SUSPENDED,
        FirstCoordinator("first", "coalition", LATER),
    )
    with pytest.raises(Conflict):
        it.reinstate(COLLEAGUE, LATER, TODAY)
    it.reinstate(SECOND, LATER, TODAY)
    assert (it.status, it.reinstatement, it.suspension) == (S.APPROVED, None, None)
    assert (it.last_hold, it.facts[2:]) == (None, ["reinstatement_proposed", "reinstated"])


def test_the_author_of_a_hold_that_was_ended_early_is_remembered() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.HARM, NOON, hold=True)
    it.reinstate(FIRST, NOON, TODAY)
    it.reinstate(SECOND, NOON, TODAY)
    assert it.last_hold == FirstCoordinator("first", "coalition", NOON)


def test_a_member_that_comes_back_after_the_end_of_its_agreement_is_on_probation() -> None:
    it = member(evidence=agreed(-1))
    it.suspend(FIRST, SuspensionReason.HARM, NOON, hold=True)
    other = deepcopy(it)
    it.watch_proposals(NOON + DAY, TODAY)
    assert (it.status, it.facts[-1]) == (S.PROBATION, "agreement_expired")
    other.reinstate(FIRST, NOON, TODAY)
    other.reinstate(SECOND, NOON, TODAY)
    assert other.status is S.PROBATION


def test_a_proposal_to_which_nobody_agreed_in_time_is_dropped() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.HARM, NOON)
    it.watch_proposals(NOON + 7 * DAY - HOUR, TODAY)
    assert it.suspension is not None
    it.watch_proposals(NOON + 7 * DAY, TODAY)
    assert it.suspension is None
    assert it.last_hold is None
    assert it.facts == ["suspension_proposed", "suspension_dropped"]


def test_a_suspension_that_two_agreed_to_never_ends_by_itself() -> None:
    it = member()
    it.suspend(FIRST, SuspensionReason.HARM, NOON)
    it.suspend(SECOND, None, NOON)
    it.watch_proposals(NOON + 365 * DAY, TODAY)
    assert it.stop == "suspended"


def test_a_manager_alone_ends_her_organisations_membership_and_all_its_proposals_are_dropped() -> (
    None
):
    it = member(
        approval_proposed_by_worker_id="first", reinstatement=FirstCoordinator("x", "y", NOON)
    )
    it.propose({"hotline_number": "133"}, "first", NOON)
    it.suspend(FIRST, SuspensionReason.HARM, NOON)
    it.leave(LATER)
    assert it == member(S.LEFT, version=3, update_time=LATER)


def test_it_takes_two_coordinators_to_end_a_membership() -> None:
    it = member()
    it.leave(LATER, FIRST)
    assert (it.status, it.leaving) == (S.APPROVED, FirstCoordinator("first", "coalition", LATER))
    with pytest.raises(Conflict):
        it.leave(LATER, COLLEAGUE)
    it.leave(LATER, SECOND)
    assert (it.status, it.leaving, it.facts) == (S.LEFT, None, ["leaving_proposed", "left"])


# The end of its agreement


@pytest.mark.parametrize(
    ("days", "warned", "due"),
    [
        (61, None, None),
        (60, None, 60),
        (59, 60, None),
        (31, 60, None),
        (30, 60, 30),
        (30, None, 30),
        (8, 30, None),
        (7, 30, 7),
        (0, 7, None),
        (0, None, 7),
    ],
)
def test_a_warning_is_given_once_each_sixty_thirty_and_seven_days_before_the_end(
    days: int, warned: int | None, due: int | None
) -> None:
    assert due_warning(days, warned) == due
    it = member(evidence=agreed(days), warned_days=warned)
    it.watch_agreement(LATER, TODAY)
    assert it.warned_days == (due or warned)
    assert it.facts == (["agreement_ending"] if due else [])


def test_an_expired_agreement_leads_back_to_probation_and_a_member_without_one_stays_approved() -> (
    None
):
    ended = member(evidence=agreed(-1))
    ended.watch_agreement(LATER, TODAY)
    assert (ended.status, ended.facts) == (S.PROBATION, ["agreement_expired"])
    without = member(evidence=ALL_SEEN[:1])
    without.watch_agreement(LATER, TODAY)
    assert (without.status, without.facts) == (S.APPROVED, [])
    assert (without.agreement_expire_date, without.agreement_days(TODAY)) == (None, None)
    assert ended.agreement_expire_date == date.fromordinal(TODAY.toordinal() - 1)


@pytest.mark.parametrize("status", [status for status in S if status is not S.APPROVED])
def test_only_the_agreement_of_a_full_member_is_watched(status: OrganizationStatus) -> None:
    it = member(status, evidence=agreed(-1))
    it.watch_agreement(LATER, TODAY)
    assert (it.status, it.facts) == (status, [])
