"""Invitations.

The organisation's desk is notified of each invitation, without a name. The link is stored sealed,
sent once to one mailbox, and then deleted.
"""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from chassis.ids import new_id
from chassis.languages import LANGUAGES
from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2, letters_pb2
from services.notifications import subscriptions
from services.notifications.domain.texts import INVITATION
from services.notifications.usecases.sending import sweep
from services.notifications.words import WORDS, text
from tests.notifications.conftest import COALITION, OTHER, PUBLIC_URL, RECEIVER, Service
from tests.notifications.test_mail import Post, emails, post, smtp
from tests.notifications.test_texts import TELLING

TOKEN = "kW3-dZ1b_6wYpQ2rT8vXcN0mLsA9fHgJ4uEiOyRtKxB"
EMAIL = "directora@casa.example"
__all__ = ["post"]


def fact(
    service: Service,
    verb: str = "created",
    invitation: str = "",
    *,
    language: str = "es",
    email: str = EMAIL,
    **more: Any,
) -> Fact:
    """Returns a fact of partners, with the e-mail as partners seals it."""
    id = invitation or new_id()
    body = facts_pb2.InvitationFact(
        invitation_id=id, organization_id=RECEIVER, first_manager=True, **more
    )
    body.expire_time.FromDatetime(service.clock.now() + timedelta(hours=72))
    if verb == "created":
        letter = letters_pb2.InvitationLetter(email=email, token=TOKEN, language=language)
        body.sealed_letter = service.letter_key.seal_bytes(
            letter.SerializeToString(), f"invitations/{id}/letter"
        )
    return Fact(
        id,
        1 if verb == "created" else 2,
        f"enlace.invitation.{verb}.v1",
        body.SerializeToString(),
        service.clock.now(),
    )


def hear(service: Service, fact_to_apply: Fact, *, by_email: bool = True) -> Fact:
    with service.database.transaction(SYSTEM) as tx:
        subscriptions.partners(service.clock, by_email=by_email)(tx, fact_to_apply)
    return fact_to_apply


def kinds(service: Service, organization: str = RECEIVER) -> list[str]:
    return [
        message.kind for message in service.as_(organization, "MANAGER").ListMessages().messages
    ]


def test_the_link_goes_to_the_invited_mailbox_and_to_nobody_else(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@casa.example")
    hear(service, fact(service))
    assert service.send_mails(smtp(service, post)) == 2
    sent = {envelope.rcpt_tos[0]: number for number, envelope in enumerate(post.got)}
    assert sent.keys() == {"mesa@casa.example", EMAIL}
    invitation = message_from_bytes(post.text(sent[EMAIL]).encode(), policy=default).get_content()
    notice = post.text(sent["mesa@casa.example"])
    assert f"{PUBLIC_URL}/invitation?lang=es#{TOKEN}" in invitation.splitlines(), (
        "behind the #: a browser sends it to no server"
    )
    assert TOKEN not in notice
    assert EMAIL not in notice
    assert f"{PUBLIC_URL}/inbox\r\n" in notice


def test_the_desk_is_notified_of_the_invitation_and_of_the_opened_account(
    service: Service,
) -> None:
    created = hear(service, fact(service))
    service.advance(hours=1)
    hear(service, fact(service, "accepted", created.subject))
    assert kinds(service) == ["account_opened", "manager_invited"]
    assert kinds(service, OTHER) == []
    assert kinds(service, COALITION) == []
    for row in service.rows("SELECT * FROM messages"):
        assert TOKEN not in str(row)
        assert EMAIL not in str(row)


def test_an_invitation_by_the_organisation_itself_has_a_notice_of_its_own(service: Service) -> None:
    received_fact = fact(service)
    body = facts_pb2.InvitationFact.FromString(received_fact.payload)
    body.first_manager = False
    hear(
        service,
        Fact(
            received_fact.subject,
            1,
            received_fact.type,
            body.SerializeToString(),
            received_fact.time,
        ),
    )
    assert kinds(service) == ["worker_invited"]


def test_a_webhook_reports_an_invitation_without_a_name(service: Service) -> None:
    receiver = service.receiver()
    service.webhook(RECEIVER, receiver.url)
    received_fact = hear(service, fact(service))
    service.send_webhooks()
    [envelope] = receiver.got
    assert received_fact.subject in envelope.body
    assert TOKEN not in envelope.body
    assert EMAIL not in envelope.body


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_invitation_says_only_in_the_chosen_language_that_there_is_an_account_to_open(
    service: Service, post: Post, language: str
) -> None:
    hear(service, fact(service, language=language))
    service.send_mails(smtp(service, post))
    sent = post.text()
    assert f"Content-Language: {language}\r\n" in sent
    assert not TELLING.search(WORDS.text(language, INVITATION.subject))
    body = WORDS.text(language, INVITATION.body)
    assert not TELLING.search(re.sub("una persona|that person", "", body))
    assert RECEIVER not in sent


def test_a_repeated_fact_sends_no_second_email(service: Service, post: Post) -> None:
    received_fact = hear(service, fact(service))
    hear(service, received_fact)
    assert service.send_mails(smtp(service, post)) == 1
    # if the broker or the inbox lost everything, the derived ids prevent a second message
    for _ in range(2):
        hear(service, received_fact)
        service.advance(hours=1)
        assert service.send_mails(smtp(service, post)) == 0
    assert len(post.got) == 1
    assert kinds(service) == ["manager_invited"]


def test_a_repeated_fact_does_not_delay_an_email_that_has_not_left(
    service: Service, post: Post
) -> None:
    received_fact = hear(service, fact(service))
    post.rcpt.append("451 come back later")
    service.send_mails(smtp(service, post))
    hear(service, received_fact)
    service.advance(minutes=5)
    assert service.send_mails(smtp(service, post)) == 1
    assert len(post.got) == 1


def test_after_a_lost_database_the_email_has_the_same_message_id(
    service: Service, post: Post
) -> None:
    received_fact = hear(service, fact(service))
    service.send_mails(smtp(service, post))
    service.clear()
    hear(service, received_fact)
    service.send_mails(smtp(service, post))
    first, second = (re.search(r"Message-ID: (\S+)", post.text(number)) for number in (0, 1))
    assert first
    assert second
    assert first[1] == second[1]


@pytest.mark.parametrize("verb", ["accepted", "replaced", "revoked"])
def test_an_invitation_no_longer_needed_is_not_sent(
    service: Service, post: Post, verb: str
) -> None:
    received_fact = hear(service, fact(service))
    hear(service, fact(service, verb, received_fact.subject))
    assert service.send_mails(smtp(service, post)) == 0
    assert service.rows("SELECT FROM letters") == []
    assert [mail["status"] for mail in emails(service)] == ["DISCARDED"]


def test_an_expired_invitation_is_not_sent(service: Service, post: Post) -> None:
    hear(service, fact(service))
    service.advance(hours=72)
    service.send_mails(smtp(service, post))
    assert post.got == []
    assert [mail["status"] for mail in emails(service)] == ["DISCARDED"]


def test_an_old_fact_invites_nobody(service: Service, post: Post) -> None:
    received_fact = fact(service)
    service.advance(hours=73)
    hear(service, received_fact)
    assert kinds(service) == ["manager_invited"], "the desk is notified even so"
    assert service.send_mails(smtp(service, post)) == 0
    old = fact(service)
    service.advance(days=8)
    hear(service, old)
    assert kinds(service) == ["manager_invited"]


def test_nobody_is_invited_to_a_suspended_organisation(service: Service, post: Post) -> None:
    service.suspend(RECEIVER)
    hear(service, fact(service))
    assert service.send_mails(smtp(service, post)) == 0
    service.suspend(RECEIVER, "APPROVED")
    hear(service, fact(service))
    service.suspend(RECEIVER)
    assert service.send_mails(smtp(service, post)) == 0


def test_the_coordinators_are_notified_of_an_undeliverable_invitation_without_its_address(
    service: Service, post: Post
) -> None:
    hear(service, fact(service))
    post.rcpt.append("550 no such mailbox")
    service.send_mails(smtp(service, post))
    [message] = service.as_(COALITION, "COORDINATOR").ListMessages().messages
    assert message.kind == "message_undeliverable"
    assert EMAIL not in str(message)


def test_an_email_is_stored_sealed_and_deleted_when_it_is_no_longer_needed(
    service: Service, post: Post
) -> None:
    hear(service, fact(service))
    tables = [
        row["t"]
        for row in service.rows("SELECT tablename AS t FROM pg_tables WHERE schemaname = 'public'")
    ]

    def holding(secret: str) -> set[str]:
        return {
            table
            for table in tables
            for row in service.rows(f"SELECT * FROM {table}")
            if secret in str(row) or secret.encode().hex() in str(row)
        }

    assert len(service.rows("SELECT FROM letters")) == 1
    service.send_mails(smtp(service, post))
    with service.database.transaction(SYSTEM) as tx:
        sweep(tx, service.clock.now())
    assert service.rows("SELECT FROM letters") == []
    assert holding(TOKEN) == holding(EMAIL) == set()


@pytest.mark.parametrize("role", ["MANAGER", "COORDINATOR", "AUDITOR", "WORKER"])
def test_no_caller_can_read_stored_emails_in_the_database(service: Service, role: str) -> None:
    hear(service, fact(service))
    caller = service.as_(RECEIVER, role).caller
    with service.database.transaction(caller) as tx:
        assert tx.execute("SELECT FROM letters").fetchall() == []


def test_a_network_without_a_mail_server_stores_no_email(service: Service) -> None:
    hear(service, fact(service), by_email=False)
    assert service.rows("SELECT FROM letters") == service.rows("SELECT FROM deliveries") == []
    assert kinds(service) == ["manager_invited"]


def test_an_email_to_an_invalid_address_is_discarded(service: Service, post: Post) -> None:
    hear(service, fact(service, email="a@b.example, c@d.example"))
    service.send_mails(smtp(service, post))
    assert post.got == []
    assert [mail["status"] for mail in emails(service)] == ["DISCARDED"]


def test_the_link_can_be_viewed_in_development(service: Service) -> None:
    hear(service, fact(service))
    service.send_mails()
    [mail] = service.as_(OTHER, "WORKER").ListDevelopmentMails().mails
    assert (mail.recipient, f"#{TOKEN}" in mail.body) == (EMAIL, True)


def test_no_notice_has_a_placeholder_for_a_name() -> None:
    for kind in ("manager_invited", "worker_invited", "account_opened"):
        assert not [language for language in LANGUAGES if "{" in text(kind, language)]
