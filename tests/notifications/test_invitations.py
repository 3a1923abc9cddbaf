"""Invitations.

The organisation's desk is notified of each invitation; the notice names nobody. test_letters.py
tests the e-mail with the link.
"""

from __future__ import annotations

import re

import pytest

from chassis.languages import LANGUAGES
from services.notifications.domain.texts import INVITATION
from services.notifications.words import WORDS
from tests.notifications.conftest import COALITION, OTHER, RECEIVER, Service, smtp
from tests.notifications.letters import EMAIL, TOKEN, invitation
from tests.notifications.mail_server import Post
from tests.notifications.test_texts import REVEALING_WORDS


def desk_kinds(service: Service) -> list[str]:
    """Returns the kinds of the messages that the desk of RECEIVER reads."""
    return service.as_(RECEIVER, "MANAGER").kinds()


def test_the_desk_is_notified_of_the_invitation_and_of_the_opened_account(service: Service) -> None:
    created = service.apply_partners_fact(invitation(service))
    service.advance(hours=1)
    service.apply_partners_fact(invitation(service, "accepted", created.subject))
    assert desk_kinds(service) == ["account_opened", "manager_invited"]
    assert service.as_(OTHER, "MANAGER").kinds() == []
    assert service.as_(COALITION, "MANAGER").kinds() == []
    for row in service.rows("SELECT * FROM messages"):
        assert TOKEN not in str(row)
        assert EMAIL not in str(row)


def test_an_invitation_by_the_organisation_itself_has_a_notice_of_its_own(service: Service) -> None:
    service.apply_partners_fact(invitation(service, first_manager=False))
    assert desk_kinds(service) == ["worker_invited"]


def test_a_webhook_reports_an_invitation_but_not_who_is_invited(service: Service) -> None:
    receiver = service.receiver()
    service.webhook(RECEIVER, receiver.url)
    created = service.apply_partners_fact(invitation(service))
    service.send_webhooks()
    [request] = receiver.requests
    assert created.subject in request.body
    assert TOKEN not in request.body
    assert EMAIL not in request.body


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_invitation_is_in_the_chosen_language_and_does_not_reveal_what_the_network_is_about(
    service: Service, post: Post, language: str
) -> None:
    service.apply_partners_fact(invitation(service, language=language))
    service.send_mails(smtp(service, post))
    sent = post.text()
    assert f"Content-Language: {language}\r\n" in sent
    assert not REVEALING_WORDS.search(WORDS.text(language, INVITATION.subject))
    body = WORDS.text(language, INVITATION.body)
    assert not REVEALING_WORDS.search(re.sub("una persona|that person", "", body))
    assert RECEIVER not in sent


def test_a_repeated_fact_does_not_delay_an_email_that_has_not_left(
    service: Service, post: Post
) -> None:
    created = service.apply_partners_fact(invitation(service))
    post.rcpt.append("451 come back later")
    service.send_mails(smtp(service, post))
    service.apply_partners_fact(created)
    service.advance(minutes=5)
    assert service.send_mails(smtp(service, post)) == 1
    assert len(post.envelopes) == 1


def test_after_a_lost_database_the_email_has_the_same_message_id(
    service: Service, post: Post
) -> None:
    created = service.apply_partners_fact(invitation(service))
    service.send_mails(smtp(service, post))
    service.clear()
    service.apply_partners_fact(created)
    service.send_mails(smtp(service, post))
    assert post.message_id(0) == post.message_id(1) != "None"


@pytest.mark.parametrize("verb", ["accepted", "replaced", "revoked"])
def test_an_invitation_no_longer_needed_is_not_sent(
    service: Service, post: Post, verb: str
) -> None:
    created = service.apply_partners_fact(invitation(service))
    service.apply_partners_fact(invitation(service, verb, created.subject))
    assert service.send_mails(smtp(service, post)) == 0
    assert service.rows("SELECT FROM letters") == []
    assert service.emails("status") == [("DISCARDED",)]


def test_the_desk_is_notified_after_an_invitation_expired_but_not_after_a_week(
    service: Service, post: Post
) -> None:
    expired_invitation = invitation(service)
    service.advance(hours=73)
    service.apply_partners_fact(expired_invitation)
    assert desk_kinds(service) == ["manager_invited"]
    assert service.send_mails(smtp(service, post)) == 0
    old_invitation = invitation(service)
    service.advance(days=8)
    service.apply_partners_fact(old_invitation)
    assert desk_kinds(service) == ["manager_invited"]


@pytest.mark.parametrize("desk_is_reached", [False, True])
def test_the_coordinators_are_notified_of_an_undeliverable_invitation_but_not_of_its_address(
    service: Service, post: Post, desk_is_reached: bool
) -> None:
    if desk_is_reached:
        service.webhook(RECEIVER, service.receiver().url)
    service.apply_partners_fact(invitation(service))
    post.rcpt.append("550 no such mailbox")
    assert service.send_webhooks() == desk_is_reached
    service.send_mails(smtp(service, post))
    [message] = service.as_(COALITION, "COORDINATOR").ListMessages().messages
    assert (message.kind, message.organization_id) == ("message_undeliverable", RECEIVER)
    assert EMAIL not in str(message)


def test_without_a_mail_server_the_desk_is_still_notified(service: Service) -> None:
    service.apply_partners_fact(invitation(service), by_email=False)
    assert service.rows("SELECT FROM deliveries") == []
    assert desk_kinds(service) == ["manager_invited"]


def test_the_link_can_be_viewed_in_development(service: Service) -> None:
    service.apply_partners_fact(invitation(service))
    service.send_mails()
    [mail] = service.as_(OTHER, "WORKER").ListDevelopmentMails().mails
    assert (mail.recipient, f"#{TOKEN}" in mail.body) == (EMAIL, True)
