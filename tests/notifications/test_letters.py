"""The e-mails that the partners service seals: invitation, notice about an account, application.

Each is stored sealed, sent once to one mailbox, and then deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from chassis.languages import LANGUAGES
from facts.envelope import NewerKind
from facts.outbox import Fact
from services.notifications.domain.texts import APPLICATION
from services.notifications.words import WORDS
from tests.notifications.conftest import COALITION, PUBLIC_URL, RECEIVER, Service, smtp
from tests.notifications.letters import EMAIL, TOKEN, account, application, invitation
from tests.notifications.mail_server import Post

LETTERS = pytest.mark.parametrize("fact", [invitation, account, application])
Builder = Callable[..., Fact]


def tables_with(service: Service, text: str) -> set[str]:
    """Returns the tables of the database that contain the text."""
    tables = [
        row["tablename"]
        for row in service.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ]
    return {
        table
        for table in tables
        for row in service.rows(f"SELECT * FROM {table}")
        if text in str(row) or text.encode().hex() in str(row)
    }


@pytest.mark.parametrize(
    ("fact", "path"),
    [(invitation, "invitation"), (account, "reset"), (application, "join/confirm")],
)
def test_the_link_goes_to_the_mailbox_and_to_nobody_else(
    service: Service, post: Post, fact: Builder, path: str
) -> None:
    service.desk(RECEIVER, "mesa@casa.example")
    service.coordinator_desk(COALITION, "coordinacion@coalicion.example")
    service.apply_partners_fact(fact(service))
    service.send_mails(smtp(service, post))
    numbers = {address: number for number, [address] in enumerate(post.recipients())}
    # the token is behind the #, so a browser sends it to no server
    assert f"{PUBLIC_URL}/{path}?lang=es#{TOKEN}" in post.lines(numbers.pop(EMAIL))
    # the desk is notified of an invitation, without a link or a name
    assert numbers.keys() == ({"mesa@casa.example"} if fact is invitation else set())
    for number in numbers.values():
        assert f"{PUBLIC_URL}/inbox" in post.lines(number)
        assert TOKEN not in post.text(number)
        assert EMAIL not in post.text(number)
    assert service.as_(COALITION, "COORDINATOR").kinds() == []
    for row in service.rows("SELECT * FROM messages"):
        assert TOKEN not in str(row)
        assert EMAIL not in str(row)


@LETTERS
def test_an_email_is_stored_sealed_and_deleted_when_it_is_no_longer_needed(
    service: Service, post: Post, fact: Builder
) -> None:
    service.apply_partners_fact(fact(service))
    assert len(service.rows("SELECT FROM letters")) == 1
    assert tables_with(service, TOKEN) == tables_with(service, EMAIL) == set()
    assert service.send_mails(smtp(service, post)) == 1
    service.sweep()
    assert service.rows("SELECT FROM letters") == []
    assert tables_with(service, TOKEN) == tables_with(service, EMAIL) == set()


@LETTERS
def test_an_email_is_stored_no_longer_than_its_link_is_valid(
    service: Service, fact: Builder
) -> None:
    service.apply_partners_fact(fact(service))
    service.advance(days=3)
    service.sweep()
    assert service.rows("SELECT FROM letters") == []


@LETTERS
@pytest.mark.parametrize("role", ["MANAGER", "COORDINATOR", "AUDITOR", "WORKER"])
def test_no_caller_can_read_stored_emails_in_the_database(
    service: Service, fact: Builder, role: str
) -> None:
    service.apply_partners_fact(fact(service))
    with service.database.transaction(service.as_(RECEIVER, role).caller) as tx:
        assert tx.execute("SELECT FROM letters").fetchall() == []


@LETTERS
def test_a_repeated_fact_sends_no_second_email(service: Service, post: Post, fact: Builder) -> None:
    received = service.apply_partners_fact(fact(service))
    service.apply_partners_fact(received)
    assert service.send_mails(smtp(service, post)) == 1
    messages = service.rows("SELECT id FROM messages")
    # if the broker or the inbox lost everything, the derived ids prevent a second message
    for _ in range(2):
        service.apply_partners_fact(received)
        service.advance(minutes=20)
        assert service.send_mails(smtp(service, post)) == 0
    assert service.rows("SELECT id FROM messages") == messages


@LETTERS
@pytest.mark.parametrize("by_email", [True, False])
def test_an_email_to_an_invalid_address_is_discarded_and_without_a_mail_server_none_is_stored(
    service: Service, post: Post, fact: Builder, by_email: bool
) -> None:
    invalid = fact(service, email="a@b.example, c@d.example")
    service.apply_partners_fact(invalid, by_email=by_email)
    assert bool(service.rows("SELECT FROM letters")) is by_email
    service.send_mails(smtp(service, post))
    assert post.envelopes == []
    assert service.emails("status") == [("DISCARDED",)] * by_email


@pytest.mark.parametrize("fact", [invitation, account])
def test_no_email_is_sent_for_a_suspended_organisation(
    service: Service, post: Post, fact: Builder
) -> None:
    service.suspend(RECEIVER)
    service.apply_partners_fact(fact(service))
    assert service.send_mails(smtp(service, post)) == 0
    service.suspend(RECEIVER, "APPROVED")
    service.apply_partners_fact(fact(service))
    service.suspend(RECEIVER)
    assert service.send_mails(smtp(service, post)) == 0


@pytest.mark.parametrize(("fact", "hours"), [(invitation, 72), (account, 1), (application, 72)])
def test_an_expired_link_is_not_sent(
    service: Service, post: Post, fact: Builder, hours: int
) -> None:
    service.apply_partners_fact(fact(service))
    late_fact = fact(service)
    service.advance(hours=hours)
    service.apply_partners_fact(late_fact)
    assert len(service.rows("SELECT FROM letters")) == 1, (
        "only the fact that arrived in time stored one"
    )
    service.send_mails(smtp(service, post))
    assert post.envelopes == []


@LETTERS
def test_a_fact_of_an_unknown_kind_is_held(service: Service, fact: Builder) -> None:
    with pytest.raises(NewerKind):
        service.apply_partners_fact(fact(service, "something_new"))
    assert service.rows("SELECT FROM messages") == service.rows("SELECT FROM letters") == []


def test_an_unreachable_applicant_causes_no_notice_to_the_coordinators(
    service: Service, post: Post
) -> None:
    post.rcpt.append("550 no such mailbox")
    service.apply_partners_fact(application(service))
    service.send_mails(smtp(service, post))
    assert service.emails("status") == [("DEAD",)]
    assert service.as_(COALITION, "COORDINATOR").kinds() == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_email_to_an_applicant_holds_nothing_that_was_entered_in_the_form(
    language: str,
) -> None:
    assert re.findall(r"{(\w+)}", WORDS.text(language, APPLICATION.body)) == ["link", "code"]
    assert WORDS.text(language, APPLICATION.subject)
