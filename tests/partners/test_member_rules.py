"""The rules of a membership: its steps, their facts, and the steps that take two people.

These tests use no database.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from chassis.errors import Conflict
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
from services.partners.members.domain.suspension import Coordinator, SuspensionReason
from tests.builders import NOON, Person, conflict_of, violations_of

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


FIRST = Coordinator(Person("first"), "coalition", has_second=True)
SECOND = Coordinator(Person("second"), "ministry", has_second=True)
COLLEAGUE = Coordinator(Person("colleague"), "coalition", has_second=True)
ALONE = replace(FIRST, has_second=False)


def member(status: OrganizationStatus = S.APPROVED, **more: Any) -> Organization:
    fields = {"create_time": NOON, "update_time": NOON, "entry": ENTRY, **more}
    return Organization(id="member", status=status, **fields)


def evidence_of(kind: EvidenceKind, reference: str = "1", days: int | None = None) -> Evidence:
    end = None if days is None else TODAY + days * DAY
    return Evidence(kind, reference, TODAY, end, "worker", NOON)


def agreement(days: int) -> tuple[Evidence, ...]:
    return (evidence_of(EvidenceKind.AGREEMENT, days=days),)


ALL_EVIDENCE = (
    evidence_of(EvidenceKind.REGISTRATION),
    evidence_of(EvidenceKind.REFERENCES, "1"),
    evidence_of(EvidenceKind.REFERENCES, "2"),
    evidence_of(EvidenceKind.SAFEGUARDING_POLICY),
    *agreement(365),
)


@pytest.fixture
def organization() -> Organization:
    """An approved member."""
    return member()


def test_an_application_and_a_registration_are_published_with_the_entry() -> None:
    applied = Organization.apply("member", ENTRY, NOON)
    assert (applied, applied.facts) == (member(S.APPLIED, version=1), ["applied"])
    registered = Organization.register("member", ENTRY, NOON, "first")
    assert (registered, registered.facts) == (
        member(S.PROBATION, version=1, registered_by_worker_id="first"),
        ["registered"],
    )
    assert Organization.register("member", ENTRY, NOON).registered_by_worker_id == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"department": "GT-01"}, ("department", "unknown_code")),
        ({"phone": "22334455"}, ("phone", "malformed")),
        ({"languages": ("es", "es")}, ("languages", "malformed")),
    ],
)
def test_an_invalid_entry_is_refused_with_its_field(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    entry, (path, reason) = replace(ENTRY, **changes), expected
    assert violations_of(lambda: Organization.register("member", entry, NOON)) == [
        (f"organization.{path}", reason)
    ]
    assert violations_of(lambda: Organization.apply("member", entry, NOON)) == [(path, reason)]


STEPS: dict[str, tuple[Callable[[Organization], None], set[OrganizationStatus]]] = {
    "admit": (lambda organization: organization.admit(LATER, "first"), {S.APPLIED}),
    "reject": (
        lambda organization: organization.reject(RejectionReason.DUPLICATE, LATER),
        {S.APPLIED},
    ),
    "approve": (lambda organization: organization.approve(LATER, TODAY), {S.PROBATION}),
    "record": (
        lambda organization: organization.record(
            evidence_of(EvidenceKind.REGISTRATION), LATER, TODAY
        ),
        {S.PROBATION, S.APPROVED},
    ),
    "propose to suspend": (
        lambda organization: organization.suspend(FIRST, SuspensionReason.HARM, LATER),
        {S.APPROVED},
    ),
    "hold": (
        lambda organization: organization.suspend(FIRST, SuspensionReason.HARM, LATER, hold=True),
        {S.APPROVED},
    ),
    "reinstate": (lambda organization: organization.reinstate(FIRST, LATER, TODAY), {S.SUSPENDED}),
    "leave": (
        lambda organization: organization.leave(LATER),
        {S.PROBATION, S.APPROVED, S.SUSPENDED},
    ),
}


@pytest.mark.parametrize("status", S)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_possible_only_from_its_states_and_otherwise_changes_nothing(
    step: str, status: OrganizationStatus
) -> None:
    take, states = STEPS[step]
    organization = member(status)
    if status in states:
        take(organization)
        assert (organization.version, organization.update_time, len(organization.facts)) == (
            1,
            LATER,
            1,
        )
    else:
        assert conflict_of(lambda: take(organization)) == "illegal_transition"
        assert organization == member(status)


def test_an_admitted_member_is_on_probation_and_records_who_admitted_it() -> None:
    organization = member(S.APPLIED)
    organization.admit(LATER, "first")
    assert (organization.status, organization.registered_by_worker_id, organization.facts) == (
        S.PROBATION,
        "first",
        ["admitted"],
    )


def test_only_the_identifying_data_of_a_rejected_applicant_are_kept() -> None:
    organization = member(S.APPLIED)
    organization.reject(RejectionReason.DUPLICATE, LATER)
    assert organization.entry == replace(ENTRY, phone="", url="", description="")
    assert (organization.status, organization.rejection_reason, organization.facts) == (
        S.REJECTED,
        RejectionReason.DUPLICATE,
        ["rejected"],
    )


# The member's own entry


def test_a_change_is_published_once_and_a_change_without_effect_is_not(
    organization: Organization,
) -> None:
    organization.change({"name": "Casa Sol"}, LATER)
    assert (organization.entry, organization.facts) == (
        replace(ENTRY, name="Casa Sol"),
        ["renamed"],
    )
    organization.change({"name": "Casa Sol"}, LATER)
    assert organization.facts == ["renamed"]


@pytest.mark.parametrize(
    ("changes", "expected"),
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
    changes: dict[str, Any], expected: list[tuple[str, str]], organization: Organization
) -> None:
    assert violations_of(lambda: organization.change(changes, LATER)) == expected
    assert organization == member()


@pytest.mark.parametrize(
    "changes",
    [
        {"type": OrganizationType.NGO},
        {"country": "GT", "department": ""},
        {"hotline_number": "133"},
    ],
)
def test_fields_that_others_depend_on_are_not_changed_by_one_person(
    changes: dict[str, Any], organization: Organization
) -> None:
    act = partial(organization.change, {"name": "x", **changes}, LATER)
    assert conflict_of(act) == "two_people_required"
    assert organization == member()


def test_a_change_that_others_depend_on_is_proposed_by_one_person_and_confirmed_by_another(
    organization: Organization,
) -> None:
    organization.propose({"country": "GT", "hotline_number": "133"}, "first", LATER)
    assert organization.proposal == Proposal(OrganizationType.SHELTER, "GT", "133", "first", LATER)
    assert (organization.entry, organization.facts) == (ENTRY, ["change_proposed"])
    by_the_same_person = partial(organization.confirm_change, Person("first"), LATER)
    assert conflict_of(by_the_same_person) == "second_person_required"
    organization.confirm_change(Person("second"), LATER)
    # A department of the former country is no department of the new country.
    assert organization.entry == replace(ENTRY, country="GT", hotline_number="133", department="")
    assert organization.proposal is None
    assert organization.facts == ["change_proposed", "changed"]


@pytest.mark.parametrize(
    ("status", "changes", "verb"),
    [
        (S.APPROVED, {"name": "Casa Sol"}, "renamed"),
        (S.PROBATION, {"name": "Casa Sol", "phone": "+50522220000"}, "renamed"),
        (S.APPLIED, {"name": "Casa Sol"}, "changed"),
        (S.APPROVED, {"phone": "+50522220000"}, "changed"),
    ],
)
def test_the_new_name_of_a_member_has_a_fact_of_its_own(
    status: OrganizationStatus, changes: dict[str, Any], verb: str
) -> None:
    organization = member(status)
    organization.change(changes, LATER)
    assert organization.facts == [verb]


def test_a_department_is_kept_while_the_country_stays(organization: Organization) -> None:
    organization.propose({"type": OrganizationType.NGO}, "first", LATER)
    organization.confirm_change(Person("second"), LATER)
    assert organization.entry == replace(ENTRY, type=OrganizationType.NGO)


def test_the_type_of_a_member_decides_with_whom_it_shares() -> None:
    assert shares_with(OrganizationType.LAW_ENFORCEMENT) is SharesWith.POLICE
    assert shares_with(OrganizationType.PROSECUTION) is SharesWith.POLICE
    assert shares_with(OrganizationType.CONSULATE) is SharesWith.MIGRATION
    assert shares_with(OrganizationType.SHELTER) is None
    assert shares_with(None) is None


def test_a_proposal_names_at_least_one_field_and_only_fields_that_others_depend_on() -> None:
    assert violations_of(lambda: member().propose({}, "first", LATER)) == [
        ("update_mask", "required")
    ]
    assert violations_of(
        lambda: member().propose(
            {"type": OrganizationType.NGO, "phone": "", "name": ""}, "first", LATER
        )
    ) == [
        ("organization.name", "unknown_code"),
        ("organization.phone", "unknown_code"),
    ]


@pytest.mark.parametrize(
    "act",
    [
        lambda organization: organization.confirm_change(Person("second"), LATER),
        lambda organization: organization.drop_change(LATER),
    ],
)
def test_nothing_can_be_confirmed_or_dropped_without_a_proposal(
    act: Callable[[Organization], None],
) -> None:
    assert conflict_of(lambda: act(member())) == "nothing_to_confirm"


def test_a_proposal_that_is_dropped_is_gone(organization: Organization) -> None:
    organization.propose({"hotline_number": "133"}, "first", LATER)
    organization.drop_change(LATER)
    assert (organization.proposal, organization.entry, organization.facts[1:]) == (
        None,
        ENTRY,
        ["change_dropped"],
    )


# Evidence


@pytest.mark.parametrize(
    ("evidence", "missing"),
    [
        ((), ["REGISTRATION", "REFERENCES", "SAFEGUARDING_POLICY", "AGREEMENT"]),
        (ALL_EVIDENCE, []),
        (ALL_EVIDENCE[:1] + ALL_EVIDENCE[2:], ["REFERENCES"]),
        ((*ALL_EVIDENCE[:4], *agreement(0)), []),
        ((*ALL_EVIDENCE[:4], *agreement(-1)), ["AGREEMENT"]),
    ],
)
def test_evidence_that_nobody_has_seen_or_that_has_expired_is_missing(
    evidence: tuple[Evidence, ...], missing: list[str]
) -> None:
    organization = member(S.PROBATION, evidence=evidence)
    assert [kind.value for kind in organization.missing_evidence(TODAY)] == missing
    if missing:
        with pytest.raises(Conflict, match=r"^evidence_missing$") as refused:
            organization.approve(LATER, TODAY, Person("first"))
        assert refused.value.about == tuple(name.lower() for name in missing)


def test_only_the_newest_evidence_of_each_kind_and_the_two_newest_references_are_kept() -> None:
    organization = member(
        evidence=ALL_EVIDENCE, warned_days=30, approval_proposed_by_worker_id="first"
    )
    third = evidence_of(EvidenceKind.REFERENCES, "3")
    organization.record(third, LATER, TODAY)
    assert set(organization.evidence) == {*ALL_EVIDENCE, third} - {ALL_EVIDENCE[1]}
    again = evidence_of(EvidenceKind.REFERENCES, "3")
    organization.record(again, LATER, TODAY)
    assert set(organization.evidence) == {*ALL_EVIDENCE, again} - {ALL_EVIDENCE[1]}
    newer = evidence_of(EvidenceKind.REGISTRATION, "2")
    organization.record(newer, LATER, TODAY)
    assert set(organization.evidence) == {*ALL_EVIDENCE, again, newer} - {
        ALL_EVIDENCE[0],
        ALL_EVIDENCE[1],
    }
    assert (organization.warned_days, organization.approval_proposed_by_worker_id) == (30, "")
    organization.record(evidence_of(EvidenceKind.AGREEMENT, "2", days=90), LATER, TODAY)
    assert (organization.warned_days, organization.agreement_days(TODAY)) == (None, 90)
    assert organization.facts == ["evidence_recorded"] * 4


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (evidence_of(EvidenceKind.REGISTRATION, ""), ("reference", "required")),
        (
            replace(evidence_of(EvidenceKind.REGISTRATION), seen_date=TODAY + DAY),
            ("seen_date", "out_of_range"),
        ),
        (evidence_of(EvidenceKind.REGISTRATION, days=9), ("expire_date", "out_of_range")),
        (evidence_of(EvidenceKind.AGREEMENT), ("expire_date", "required")),
        (evidence_of(EvidenceKind.AGREEMENT, days=-1), ("expire_date", "out_of_range")),
        (evidence_of(EvidenceKind.AGREEMENT, days=5 * 366 + 1), ("expire_date", "out_of_range")),
    ],
)
def test_evidence_that_cannot_have_been_seen_is_refused(
    evidence: Evidence, expected: tuple[str, str], organization: Organization
) -> None:
    assert violations_of(lambda: organization.record(evidence, LATER, TODAY)) == [
        (f"evidence.{expected[0]}", expected[1])
    ]
    assert organization == member()


@pytest.mark.parametrize("days", [0, 5 * 366])
def test_an_agreement_may_end_today_or_in_five_years(days: int) -> None:
    evidence_of(EvidenceKind.AGREEMENT, days=days).check(TODAY, TODAY)


@pytest.mark.parametrize(
    ("status", "recorded_days", "days", "is_recorded"),
    [
        (S.APPROVED, 365, 59, False),
        (S.APPROVED, 365, 60, True),
        (S.APPROVED, None, 59, False),
        (S.APPROVED, 30, 29, False),
        (S.APPROVED, 30, 30, True),
        (S.PROBATION, 365, 0, True),
    ],
)
def test_nobody_alone_puts_an_approved_member_on_probation_by_a_shorter_agreement(
    status: OrganizationStatus, recorded_days: int | None, days: int, is_recorded: bool
) -> None:
    evidence = () if recorded_days is None else agreement(recorded_days)
    organization, shorter = member(status, evidence=evidence), agreement(days)
    record = partial(organization.record, shorter[0], LATER, TODAY)
    if is_recorded:
        record()
    else:
        assert violations_of(record) == [("evidence.expire_date", "out_of_range")]
    assert organization.evidence == (shorter if is_recorded else evidence)


def test_a_member_is_approved_by_two_people_who_have_seen_the_same_evidence() -> None:
    organization = member(S.PROBATION, evidence=ALL_EVIDENCE)
    organization.approve(LATER, TODAY, Person("first"))
    assert (organization.status, organization.approval_proposed_by_worker_id) == (
        S.PROBATION,
        "first",
    )
    by_the_same_person = partial(organization.approve, LATER, TODAY, Person("first"))
    assert conflict_of(by_the_same_person) == "second_person_required"
    organization.approve(LATER, TODAY, Person("second"))
    assert (organization.status, organization.approval_proposed_by_worker_id) == (S.APPROVED, "")
    assert organization.facts == ["approval_proposed", "approved"]


def test_the_registrar_of_a_member_does_not_invite_its_first_manager_before_its_approval() -> None:
    registered = member(S.PROBATION, registered_by_worker_id="first")
    by_the_same_person = partial(registered.check_inviter, Person("first"))
    assert conflict_of(by_the_same_person) == "second_person_required"
    registered.check_inviter(Person("second"))
    member(S.APPROVED, registered_by_worker_id="first").check_inviter(Person("first"))
    member(S.PROBATION).check_inviter(Person(""))


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
        (20, None, 30),  # after a pause in which nobody was warned
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
    organization = member(evidence=agreement(days), warned_days=warned)
    organization.warn_or_restart_probation(LATER, TODAY)
    assert organization.warned_days == (due or warned)
    assert organization.facts == (["agreement_ending"] if due else [])


def test_an_expired_agreement_leads_back_to_probation_but_a_missing_agreement_does_not() -> None:
    with_expired_agreement = member(evidence=agreement(-1))
    with_expired_agreement.warn_or_restart_probation(LATER, TODAY)
    assert (with_expired_agreement.status, with_expired_agreement.facts) == (
        S.PROBATION,
        ["agreement_expired"],
    )
    without_agreement = member(evidence=ALL_EVIDENCE[:1])
    without_agreement.warn_or_restart_probation(LATER, TODAY)
    assert (without_agreement.status, without_agreement.facts) == (S.APPROVED, [])
    assert (without_agreement.agreement_expire_date, without_agreement.agreement_days(TODAY)) == (
        None,
        None,
    )
    assert with_expired_agreement.agreement_expire_date == TODAY - DAY


@pytest.mark.parametrize("status", [status for status in S if status is not S.APPROVED])
def test_only_the_agreement_of_an_approved_member_is_watched(status: OrganizationStatus) -> None:
    organization = member(status, evidence=agreement(-1))
    organization.warn_or_restart_probation(LATER, TODAY)
    assert (organization.status, organization.facts) == (status, [])
