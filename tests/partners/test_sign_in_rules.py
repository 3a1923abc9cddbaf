"""The rules of an organisation's own sign-in, and of the e-mails to a worker about her account.

These tests use no database.
"""

from datetime import timedelta
from functools import partial

import pytest

from services.partners.members.domain.account_notice import AccountNotice
from services.partners.members.domain.worker import Role, Worker, WorkerEntry
from services.partners.sign_in.domain.password_reset import PasswordReset
from services.partners.sign_in.domain.sign_in_provider import (
    ProposedProvider,
    ProviderEntry,
    SignInProvider,
)
from tests.builders import NOON, Person, conflict_of, violations_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATER = NOON + HOUR
ENTRY = ProviderEntry("https://id.luz.test/realms/luz", "enlace")
OTHER_ENTRY = ProviderEntry("https://id.sol.test", "enlace")


def wrong_fields(
    issuer: str, client: str = "enlace", secret: str = "s", *, development: bool = False
) -> list[tuple[str, str]]:
    """Returns (field, reason) of each wrong field of an entry."""
    return [
        (path.removeprefix("provider."), reason)
        for path, reason in violations_of(
            lambda: ProviderEntry(issuer, client).check(secret, development=development)
        )
    ]


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("", "required"),
        ("https://" + "a" * 193, "too_long"),
        ("https://id.lúz.test", "malformed"),
        ("https://id.luz.test/\n", "malformed"),
        ("https://id.luz.test/a b", "malformed"),
        ("https:///luz", "malformed"),
        ("https://[::1", "malformed"),
        ("https://id.luz.test:99999", "malformed"),
        ("https://id.luz.test:0", "malformed"),
        ("https://me@id.luz.test", "malformed"),
        ("https://id.luz.test\\x", "malformed"),
        ("https://id.luz.test/?x=1", "malformed"),
        ("https://id.luz.test/#x", "malformed"),
        ("http://id.luz.test", "out_of_range"),
        ("http://127.0.0.1:8080", "out_of_range"),
        ("https://login.microsoftonline.com/common/v2.0", "shared_issuer"),
        ("https://login.microsoftonline.com/Organizations/v2.0", "shared_issuer"),
        ("https://login.microsoftonline.com/consumers", "shared_issuer"),
    ],
)
def test_a_url_that_cannot_be_a_provider_is_refused(issuer: str, reason: str) -> None:
    assert wrong_fields(issuer) == [("issuer", reason)]


@pytest.mark.parametrize(
    ("issuer", "development"),
    [
        ("https://id.luz.test/realms/luz", False),
        ("https://id.luz.test:8443", False),
        ("https://" + "a" * 187 + ".test", False),
        ("https://login.microsoftonline.com/72f988bf/v2.0", False),
        ("https://login.microsoftonline.com", False),
        ("https://id.luz.test/common", False),
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080", True),
    ],
)
def test_a_url_that_can_be_a_provider_is_accepted(issuer: str, development: bool) -> None:
    ProviderEntry(issuer, "enlace").check("a secret with spaces", development=development)


def test_development_allows_http_on_this_machine_but_no_other_host_or_scheme() -> None:
    for issuer in ("http://id.luz.test", "ftp://127.0.0.1"):
        assert wrong_fields(issuer, development=True) == [("issuer", "out_of_range")]


def test_all_errors_of_an_entry_are_reported_at_once() -> None:
    assert wrong_fields("", "", "") == [
        ("issuer", "required"),
        ("client_id", "required"),
        ("client_secret", "required"),
    ]
    assert wrong_fields(ENTRY.issuer, "an id", "é") == [
        ("client_id", "malformed"),
        ("client_secret", "malformed"),
    ]
    assert wrong_fields(ENTRY.issuer, "x" * 201, "x" * 201) == [
        ("client_id", "too_long"),
        ("client_secret", "too_long"),
    ]
    ProviderEntry(ENTRY.issuer, "x" * 200).check("x" * 200, development=False)


def test_a_proposed_provider_takes_effect_when_a_second_person_has_agreed() -> None:
    provider, second = SignInProvider("provider", "ngo"), Person("second")
    assert conflict_of(lambda: provider.confirm(second, NOON)) == "nothing_to_confirm"
    provider.propose(ENTRY, "first", NOON)
    assert provider == SignInProvider(
        "provider", "ngo", 1, proposal=ProposedProvider(ENTRY, "first", NOON)
    )
    for person, time, reason in (
        (Person("first"), NOON + 365 * DAY, "second_person_required"),
        (second, NOON + 3 * DAY - HOUR, "objection_time"),
    ):
        assert conflict_of(partial(provider.confirm, person, time)) == reason
    provider.confirm(second, NOON + 3 * DAY)
    assert provider == SignInProvider("provider", "ngo", 2, ENTRY, NOON + 3 * DAY)


def test_a_newer_proposal_replaces_an_older_one_and_the_provider_in_use_stays() -> None:
    provider = SignInProvider("provider", "ngo", 2, ENTRY, NOON)
    provider.propose(OTHER_ENTRY, "first", LATER)
    provider.propose(OTHER_ENTRY, "third", LATER + HOUR)
    assert provider.proposal == ProposedProvider(OTHER_ENTRY, "third", LATER + HOUR)
    assert (provider.entry, provider.version) == (ENTRY, 4)
    provider.object()
    assert provider == SignInProvider("provider", "ngo", 5, ENTRY, NOON)
    assert conflict_of(provider.object) == "nothing_to_confirm"


@pytest.mark.parametrize(
    "provider",
    [
        SignInProvider("provider", "ngo", 4, ENTRY, NOON),
        SignInProvider(
            "provider", "ngo", 4, None, None, ProposedProvider(OTHER_ENTRY, "first", NOON)
        ),
    ],
)
def test_a_provider_ends_only_once_and_its_proposal_ends_with_it(
    provider: SignInProvider,
) -> None:
    provider.end()
    assert provider == SignInProvider("provider", "ngo", 5)
    assert conflict_of(provider.end) == "illegal_transition"


# Notices about the account

ANA = Worker(
    id="worker",
    create_time=NOON,
    update_time=NOON,
    organization_id="ngo",
    entry=WorkerEntry("Ana", "ana@luz.test", (Role.WORKER,)),
)


def test_an_email_about_an_account_waits_a_week_for_a_mail_server() -> None:
    notice = AccountNotice.of("notice", ANA, "password_changed", LATER, by_role="MANAGER")
    assert notice == AccountNotice(
        id="notice",
        create_time=LATER,
        update_time=LATER,
        version=1,
        worker_id="worker",
        organization_id="ngo",
        expire_time=LATER + 7 * DAY,
        by_role="MANAGER",
    )
    assert notice.facts == ["password_changed"]
    assert AccountNotice.of("notice", ANA, "x", NOON).by_role == ""


def test_a_reset_link_is_valid_for_an_hour() -> None:
    reset, second = PasswordReset.create("reset", ANA, NOON), timedelta(seconds=1)
    assert (reset.facts, reset.expire_time, reset.by_role) == (["reset_asked"], NOON + HOUR, "")
    for time, is_open in (
        (NOON + HOUR - second, True),
        (NOON + HOUR, False),
        # as if the reset had been made by a clock that was ahead
        (NOON - HOUR + second, True),
        (NOON - HOUR, False),
    ):
        assert reset.is_open(time) is is_open, time
    reset.use(LATER)
    assert (reset.expire_time, reset.update_time) == (LATER + 7 * DAY, LATER)
    reset.end(LATER + HOUR)
    assert (reset.facts, reset.update_time) == (
        ["reset_asked", "password_changed", "reset_ended"],
        LATER + HOUR,
    )
