"""The rules of invitations, accounts and API keys: roles and rights, agreements, and validity.

These tests use no database.
"""

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from chassis.errors import Conflict, NotAllowed
from chassis.second import NONE, Kin, mark_of
from services.partners.members.domain.api_key import (
    ApiKey,
    ApiKeyEntry,
    Manager,
    full_key,
    split_key,
)
from services.partners.members.domain.invitation import (
    Invitation,
    InvitationEntry,
    InvitationStatus,
)
from services.partners.members.domain.worker import (
    Role,
    Worker,
    WorkerEntry,
    WorkerStatus,
    check_password,
    normalized_email,
    normalized_password,
    session_lives,
)
from tests.builders import NOON, Person, conflict_of, violations_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATER = NOON + HOUR


# Invitations

WORKER_INVITATION = InvitationEntry("ana@luz.test", (Role.WORKER,))
COORDINATOR_INVITATION = InvitationEntry("ana@luz.test", (Role.COORDINATOR,))


def invitation(entry: InvitationEntry = WORKER_INVITATION, recent: int = 0) -> Invitation:
    return Invitation.create(
        "invitation",
        "ngo",
        entry,
        NOON,
        first_manager=False,
        worker_id="first",
        recent_count=recent,
    )


def test_a_new_invitation_is_open_for_three_days() -> None:
    created = invitation()
    assert created == Invitation(
        id="invitation",
        create_time=NOON,
        update_time=NOON,
        version=1,
        organization_id="ngo",
        entry=WORKER_INVITATION,
        first_manager=False,
        invited_by_worker_id="first",
        expire_time=NOON + 72 * HOUR,
        status=InvitationStatus.OPEN,
    )
    assert (created.facts, created.waits(NOON)) == (["created"], False)
    assert (created.is_open(NOON + 71 * HOUR), created.is_open(NOON + 72 * HOUR)) == (True, False)


def test_an_organisation_may_have_at_most_twenty_invitations_at_a_time() -> None:
    invitation(recent=19)
    assert conflict_of(lambda: invitation(recent=20)) == "too_many_invitations"


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.AUDITOR])
def test_an_invitation_to_a_network_role_waits_for_a_second_coordinator(role: Role) -> None:
    created = invitation(replace(WORKER_INVITATION, roles=(Role.WORKER, role)))
    assert (created.status, created.facts, created.is_open(NOON)) == (
        InvitationStatus.WAITING,
        [],
        False,
    )
    assert (created.waits(NOON + 71 * HOUR), created.waits(NOON + 72 * HOUR)) == (True, False)
    created.confirm(Person("second"), "ministry", LATER)
    assert (created.status, created.expire_time) == (InvitationStatus.OPEN, LATER + 72 * HOUR)
    assert (created.facts, created.is_open(LATER)) == (["created"], True)


@pytest.mark.parametrize(
    ("second", "organization", "time", "reason", "names"),
    [
        (Person("first"), "ministry", LATER, "second_person_required", ()),
        (Person("second"), "ngo", LATER, "not_independent", ("organization",)),
        (
            Person("second", Kin(frozenset({mark_of("first")}), "")),
            "ministry",
            LATER,
            "not_independent",
            ("kin",),
        ),
        (Person("second", Kin()), "ministry", LATER, "not_independent", ("unknown",)),
        (Person("second"), "ministry", NOON + 72 * HOUR, "nothing_to_confirm", ()),
    ],
)
def test_an_invitation_cannot_be_confirmed_by_its_maker_or_her_kin_or_a_colleague_or_too_late(
    second: Person, organization: str, time: Any, reason: str, names: tuple[str, ...]
) -> None:
    created = invitation(COORDINATOR_INVITATION)
    with pytest.raises(Conflict, match=f"^{reason}$") as refused:
        created.confirm(second, organization, time)
    assert refused.value.about == names
    assert created == invitation(COORDINATOR_INVITATION)


def test_an_invitation_that_waits_for_nobody_cannot_be_confirmed() -> None:
    confirm = partial(invitation().confirm, Person("second"), "ministry", LATER)
    assert conflict_of(confirm) == "nothing_to_confirm"


ENDS: dict[str, tuple[Callable[[Invitation], None], InvitationStatus]] = {
    "accepted": (lambda invitation_: invitation_.accept(LATER), InvitationStatus.ACCEPTED),
    "replaced": (lambda invitation_: invitation_.replace(LATER), InvitationStatus.REPLACED),
    "revoked": (lambda invitation_: invitation_.revoke(LATER), InvitationStatus.REVOKED),
}


@pytest.mark.parametrize("fact", ENDS)
def test_an_invitation_ends_once_and_its_end_is_published_if_its_creation_was(fact: str) -> None:
    end, status = ENDS[fact]
    published, silent = invitation(), invitation(COORDINATOR_INVITATION)
    end(published)
    assert (published.status, published.facts, published.update_time) == (
        status,
        ["created", fact],
        LATER,
    )
    end(silent)
    assert (silent.status, silent.facts) == (status, [])
    expired_invitation = invitation()
    expired_invitation.expire_time = LATER
    for ended_invitation in (published, silent, expired_invitation):
        assert conflict_of(partial(end, ended_invitation)) == "illegal_transition"


@pytest.mark.parametrize(
    ("roles", "by", "is_own_organization", "is_allowed"),
    [
        ("WORKER", "MANAGER", True, True),
        ("WORKER EMERGENCY", "MANAGER", True, True),
        ("COORDINATOR", "MANAGER", True, False),
        ("WORKER AUDITOR", "MANAGER", True, False),
        ("COORDINATOR", "MANAGER COORDINATOR", True, True),
        ("MANAGER", "COORDINATOR", False, True),
        ("MANAGER WORKER OPERATOR", "COORDINATOR", False, True),
        ("WORKER", "COORDINATOR", False, False),
        ("MANAGER EMERGENCY", "COORDINATOR", False, False),
        ("MANAGER COORDINATOR", "COORDINATOR", False, False),
    ],
)
def test_the_givers_own_roles_decide_which_roles_an_invitation_may_give(
    roles: str, by: str, is_own_organization: bool, is_allowed: bool
) -> None:
    entry = replace(WORKER_INVITATION, roles=tuple(Role(role) for role in roles.split()))
    with nullcontext() if is_allowed else pytest.raises(NotAllowed, match=r"^right_missing$"):
        entry.check_given_by(frozenset(by.split()), for_own_organization=is_own_organization)


@pytest.mark.parametrize(
    ("on_paper", "by_email", "reason"),
    [
        (False, True, ""),
        (True, False, ""),
        (True, True, "illegal_transition"),
        (False, False, "no_mail"),
    ],
)
def test_an_invitation_goes_on_paper_if_and_only_if_there_is_no_email(
    on_paper: bool, by_email: bool, reason: str
) -> None:
    with pytest.raises(Conflict, match=f"^{reason}$") if reason else nullcontext():
        replace(WORKER_INVITATION, on_paper=on_paper).check_delivery(by_email=by_email)


@pytest.mark.parametrize("kind", [InvitationEntry, WorkerEntry])
@pytest.mark.parametrize(
    ("email", "roles", "expected"),
    [
        ("", (Role.WORKER,), ("email", "required")),
        ("ana", (Role.WORKER,), ("email", "malformed")),
        ("ana@luz", (Role.WORKER,), ("email", "malformed")),
        ("a" * 65 + "@luz.test", (Role.WORKER,), ("email", "malformed")),
        (f"ana@{'l.' * 124}test", (Role.WORKER,), ("email", "malformed")),
        ("ana@luz.test\n", (Role.WORKER,), ("email", "malformed")),
        ("ana@luz.test", (Role.WORKER, Role.WORKER), ("roles", "malformed")),
    ],
)
def test_an_invalid_entry_is_refused_with_its_field(
    kind: Any, email: str, roles: tuple[Role, ...], expected: tuple[str, str]
) -> None:
    entry = kind("Ana", email, roles) if kind is WorkerEntry else kind(email, roles)
    prefix = "worker" if kind is WorkerEntry else "invitation"
    assert violations_of(entry.check) == [(f"{prefix}.{expected[0]}", expected[1])]


# Accounts

ANA = WorkerEntry("Ana", "ana@luz.test", (Role.WORKER,))


def test_an_account_becomes_active_suspended_and_renewed_and_each_step_is_published() -> None:
    worker = Worker.register("worker", "ngo", ANA, NOON)
    assert worker == Worker(
        id="worker",
        create_time=NOON,
        update_time=NOON,
        version=1,
        organization_id="ngo",
        entry=ANA,
        status=WorkerStatus.ACTIVE,
    )
    worker.propose_suspension("first", LATER)
    assert (worker.suspension_proposed_by_worker_id, worker.update_time, worker.version) == (
        "first",
        LATER,
        1,
    )
    worker.suspend(LATER)
    assert (worker.status, worker.suspension_proposed_by_worker_id) == (WorkerStatus.SUSPENDED, "")
    for act in (partial(worker.suspend, LATER), partial(worker.propose_suspension, "x", LATER)):
        assert conflict_of(act) == "illegal_transition"
    worker.suspension_proposed_by_worker_id = "first"
    as_manager = replace(ANA, roles=(Role.MANAGER,))
    worker.renew(as_manager, LATER)
    assert (worker.entry, worker.status, worker.suspension_proposed_by_worker_id) == (
        as_manager,
        WorkerStatus.ACTIVE,
        "",
    )
    assert (worker.facts, worker.update_time) == (["registered", "suspended", "renewed"], LATER)
    assert violations_of(lambda: worker.renew(replace(ANA, email=""), LATER)) == [
        ("worker.email", "required")
    ]


@pytest.mark.parametrize(
    ("normalized", "text", "expected"),
    [
        (normalized_email, " Ana@Luz.TEST ", "ana@luz.test"),
        (normalized_email, "ana@luz.test", "ana@luz.test"),
        (normalized_email, "ANA@STRAẞE.test", "ana@strasse.test"),
        (normalized_email, "ﬁna@luz.test", "fina@luz.test"),
        (normalized_password, "contrasen\u0303a", "contraseña"),
        (normalized_password, "Contraseña ", "Contraseña "),
    ],
)
def test_emails_and_passwords_that_look_the_same_are_the_same(
    normalized: Callable[[str], str], text: str, expected: str
) -> None:
    assert normalized(text) == expected


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "required"),
        ("a" * 11, "too_short"),
        ("n\u0303" * 6, "too_short"),  # twelve characters that look like six
        ("a" * 12, ""),
        ("a" * 200, ""),
        ("a" * 201, "too_long"),
    ],
)
@pytest.mark.parametrize("path", ["password", "new_password"])
def test_a_password_that_is_missing_too_short_or_too_long_is_refused(
    password: str, reason: str, path: str
) -> None:
    if reason:
        assert violations_of(lambda: check_password(password, path)) == [(path, reason)]
    else:
        check_password(password, path)


def test_a_refused_password_is_reported_as_the_field_password_by_default() -> None:
    assert violations_of(lambda: check_password("")) == [("password", "required")]


MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("age", "idle", "is_valid"),
    [
        (0 * MINUTE, 0 * MINUTE, True),
        (HOUR, 15 * MINUTE - SECOND, True),
        (HOUR, 15 * MINUTE, False),
        (12 * HOUR - SECOND, MINUTE, True),
        (12 * HOUR, MINUTE, False),
        # Times recorded by a clock that was ahead.
        (-15 * MINUTE + SECOND, -15 * MINUTE + SECOND, True),
        (-15 * MINUTE, MINUTE, False),
        (HOUR, -15 * MINUTE, False),
    ],
)
def test_a_session_ends_when_it_is_idle_or_old(
    age: timedelta, idle: timedelta, is_valid: bool
) -> None:
    assert session_lives(NOON - age, NOON - idle, NOON) is is_valid


# Keys

SCOPES = ("directory.read", "referrals.write")
KEY = ApiKeyEntry("our system", SCOPES, NOON + 365 * DAY)
MANAGER = Manager("first", NONE, frozenset({*SCOPES, "referrals.read"}))
LESSER_MANAGER = replace(MANAGER, scopes=frozenset({"directory.read"}))
OTHER_MANAGER = Manager("second", NONE, frozenset(SCOPES))


def key(maker: Manager | None = MANAGER, live: int = 0) -> ApiKey:
    return ApiKey.create("key", "ngo", KEY, live, NOON, maker)


def test_a_new_key_records_who_made_it() -> None:
    created = key()
    assert created == ApiKey(
        id="key",
        create_time=NOON,
        update_time=NOON,
        version=1,
        organization_id="ngo",
        entry=KEY,
        made_by_worker_id="first",
        worker_id="first",
    )
    end = NOON + 365 * DAY
    assert (created.facts, created.is_live(end - HOUR), created.is_live(end)) == (
        ["created"],
        True,
        False,
    )
    founding_key = key(None)
    assert (founding_key.worker_id, founding_key.made_by_worker_id, founding_key.in_force) == (
        "",
        "",
        True,
    )


def test_an_organisation_may_have_at_most_two_keys() -> None:
    key(live=1)
    assert conflict_of(lambda: key(live=2)) == "too_many_keys"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"scopes": ("a", "a")}, ("scopes", "malformed")),
        ({"expire_time": NOON}, ("expire_time", "out_of_range")),
        ({"expire_time": NOON + 731 * DAY}, ("expire_time", "out_of_range")),
    ],
)
def test_an_invalid_key_is_refused_with_its_field(
    values: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert violations_of(
        lambda: ApiKey.create("key", "ngo", replace(KEY, **values), 0, NOON, MANAGER)
    ) == [expected]


def test_a_key_lives_two_years_at_most() -> None:
    replace(KEY, expire_time=NOON + 730 * DAY).check(NOON)


def test_a_key_that_may_do_more_than_its_manager_waits_for_a_second_manager() -> None:
    created = key(LESSER_MANAGER)
    assert (created.unconfirmed, created.in_force, created.is_live(NOON)) == (True, False, False)
    assert conflict_of(lambda: created.confirm(MANAGER, LATER)) == "second_person_required"
    created.confirm(OTHER_MANAGER, LATER)
    assert (created.unconfirmed, created.confirmed_by_worker_id) == (False, "second")
    assert (created.is_live(NOON), created.facts) == (True, ["created", "confirmed"])
    assert conflict_of(lambda: created.confirm(OTHER_MANAGER, LATER)) == "nothing_to_confirm"


def test_a_revoked_key_cannot_be_confirmed_or_taken_over_and_stays_revoked() -> None:
    created = key(LESSER_MANAGER)
    created.revoke(LATER)
    created.revoke(LATER + HOUR)
    assert (created.revoke_time, created.facts, created.in_force) == (
        LATER,
        ["created", "revoked"],
        False,
    )
    before = deepcopy(created)
    assert conflict_of(lambda: created.confirm(OTHER_MANAGER, LATER)) == "nothing_to_confirm"
    assert conflict_of(lambda: created.transfer(OTHER_MANAGER, LATER)) == "illegal_transition"
    assert created == before
    confirmed = key()
    confirmed.revoke(LATER)
    assert not confirmed.in_force


def test_a_manager_who_takes_over_a_key_with_more_rights_than_hers_needs_a_second_manager() -> None:
    created = key()
    created.transfer(MANAGER, LATER)
    assert created == key()  # the key was hers already
    created.transfer(OTHER_MANAGER, LATER)
    assert (created.worker_id, created.unconfirmed, created.made_by_worker_id) == (
        "second",
        False,
        "first",
    )
    created.transfer(replace(LESSER_MANAGER, id="third"), LATER)
    assert (created.worker_id, created.unconfirmed, created.facts, created.update_time) == (
        "third",
        True,
        ["created", "transferred", "transferred"],
        LATER,
    )


@pytest.mark.parametrize(
    ("confirmed_by", "kin", "unconfirmed"),
    [
        ("second", NONE, False),
        ("third", NONE, True),
        ("second", Kin(frozenset({mark_of("second")}), alone=""), True),
        ("", NONE, True),
    ],
)
def test_the_manager_who_confirmed_a_key_may_be_the_second_person_for_its_next_manager_too(
    confirmed_by: str, kin: Kin, unconfirmed: bool
) -> None:
    created = key(LESSER_MANAGER)
    created.confirmed_by_worker_id = confirmed_by
    created.transfer(Manager("third", kin, LESSER_MANAGER.scopes), LATER)
    assert created.unconfirmed is unconfirmed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (full_key("a" * 32, "b" * 64), ("a" * 32, "b" * 64)),
        (full_key("a" * 32, "b" * 63), None),
        (full_key("g" * 32, "b" * 64), None),
        (full_key("a" * 32, "b" * 64) + "\n", None),
        ("x" + full_key("a" * 32, "b" * 64), None),
        ("", None),
    ],
)
def test_a_key_is_recognised_by_its_format(text: str, expected: tuple[str, str] | None) -> None:
    assert split_key(text) == expected
    assert full_key("1", "2") == "enl_1_2"
