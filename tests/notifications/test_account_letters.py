"""Notices to a worker about her own account.

A notice comes as an e-mail to her mailbox and as a message in her inbox; nobody else gets it.
"""

from __future__ import annotations

import re

import pytest

from chassis.languages import LANGUAGES
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from services.notifications.domain.notices import BY_KIND
from services.notifications.domain.rules import LASTING_VERBS, LETTERS_WHILE_INACTIVE
from services.notifications.domain.texts import ACCOUNT
from services.notifications.words import WORDS
from tests.notifications.conftest import COALITION, RECEIVER, Service, smtp
from tests.notifications.letters import WORKER, account
from tests.notifications.mail_server import Post
from tests.notifications.test_texts import REVEALING_WORDS

KINDS = {
    "password_reset_asked": ("reset_asked", ""),
    "password_changed": ("password_changed", ""),
    "second_factor_removed": ("second_factor_removed", "MANAGER"),
    "second_factor_removed_by_coordination": ("second_factor_removed", "COORDINATOR"),
    "provider_proposed": ("provider_proposed", ""),
    "entry_proposed": ("entry_proposed", ""),
    "entry_changed": ("entry_changed", ""),
    **{verb: (verb, "") for verb in sorted(LASTING_VERBS)},
    "member_held": ("member_held", ""),
    "member_suspended": ("member_suspended", ""),
    "member_reinstated": ("member_reinstated", ""),
    "member_left": ("member_left", ""),
}
PLACES = {
    "reset_asked": "reset",
    "provider_proposed": "sign-in-provider",
    "entry_changed": "entry",
    "key_made": "keys",
    "person_invited": "members",
    "role_given": "inbox",
    "provider_changed": "inbox",
    "sign_in_changed": "account",
    **dict.fromkeys(
        (
            "entry_proposed",
            "account_suspended",
            "member_held",
            "member_suspended",
            "member_reinstated",
            "member_left",
        ),
        "",
    ),
}


def own_kinds(service: Service) -> list[str]:
    """Returns the kinds of the messages that the worker herself reads."""
    return service.as_(RECEIVER, "WORKER", id=WORKER).kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_worker_herself_sees_the_notice_in_her_inbox(service: Service, kind: str) -> None:
    verb, role = KINDS[kind]
    service.apply_partners_fact(account(service, verb, by_role_code=role))
    assert own_kinds(service) == [kind]
    assert service.as_(RECEIVER, "MANAGER").kinds() == []
    assert service.as_(COALITION, "COORDINATOR").kinds() == []


def test_no_webhook_of_her_organisation_receives_the_notice(service: Service) -> None:
    receiver = service.receiver()
    service.webhook(RECEIVER, receiver.url)
    for verb, role in KINDS.values():
        service.apply_partners_fact(account(service, verb, by_role_code=role))
    service.send_webhooks()
    assert receiver.requests == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_account_email_states_the_change_in_her_language_but_not_what_the_network_is_for(
    service: Service, post: Post, kind: str, language: str
) -> None:
    verb, role = KINDS[kind]
    service.apply_partners_fact(account(service, verb, language=language, by_role_code=role))
    service.send_mails(smtp(service, post))
    sent = post.text()
    assert f"Content-Language: {language}\r\n" in sent
    assert f"/{PLACES.get(verb, 'forgot')}?lang" in sent
    assert not REVEALING_WORDS.search(WORDS.text(language, ACCOUNT[kind].subject))
    assert not REVEALING_WORDS.search(WORDS.text(language, ACCOUNT[kind].body))
    assert RECEIVER not in sent
    assert WORKER not in sent


def test_the_notice_of_a_changed_sign_in_names_the_account_that_acted() -> None:
    """A coordinator, too, removes the second factors of a manager, of another organisation."""
    texts = ACCOUNT["sign_in_changed"].body, BY_KIND["sign_in_changed"].text
    assert [text.split(" puso o quitó ")[0] for text in texts] == [
        "Una cuenta de Enlace de su organización",
        "Una cuenta de su organización",
    ]


def test_every_kind_of_account_notice_has_an_email() -> None:
    assert ACCOUNT.keys() == KINDS.keys() <= BY_KIND.keys()


def test_a_link_revoked_before_the_email_left_is_not_sent(service: Service, post: Post) -> None:
    reset = service.apply_partners_fact(account(service))
    service.apply_partners_fact(account(service, "reset_ended", reset.subject))
    assert service.send_mails(smtp(service, post)) == 0
    assert service.emails("status") == [("DISCARDED",)]
    assert own_kinds(service) == ["password_reset_asked"]


def test_a_changed_password_is_reported_under_the_subject_of_its_reset(
    service: Service, post: Post
) -> None:
    reset = service.apply_partners_fact(account(service))
    assert service.send_mails(smtp(service, post)) == 1
    service.advance(minutes=5)
    service.apply_partners_fact(account(service, "password_changed", reset.subject))
    assert service.send_mails(smtp(service, post)) == 1
    assert own_kinds(service) == ["password_changed", "password_reset_asked"]


def test_a_change_is_reported_even_if_the_mail_server_was_unavailable_but_not_after_a_week(
    service: Service, post: Post
) -> None:
    service.apply_partners_fact(account(service, "password_changed"))
    service.advance(days=2)
    assert service.send_mails(smtp(service, post)) == 1
    old_fact = account(service, "second_factor_removed")
    service.advance(days=8)
    service.apply_partners_fact(old_fact)
    assert service.send_mails(smtp(service, post)) == 0


@pytest.mark.parametrize(
    "kind", sorted(LETTERS_WHILE_INACTIVE | {"second_factor_removed_by_coordination"})
)
@pytest.mark.parametrize("first", ["letter", "suspension"])
def test_a_worker_of_a_suspended_organisation_is_still_notified_of_it(
    kind: str, first: str, service: Service, post: Post
) -> None:
    """She is also notified of a proposal to which she can object, and of a removed second factor.

    The order of the two facts does not matter.
    """
    body = facts_pb2.OrganizationFact(organization_id=RECEIVER, status_code="SUSPENDED")
    suspension = Fact(
        RECEIVER,
        1,
        "enlace.organization.held.v1",
        body.SerializeToString(),
        service.clock.now(),
    )
    verb, role = KINDS[kind]
    letters = [account(service, verb, by_role_code=role), account(service)]
    for fact in [*letters, suspension] if first == "letter" else [suspension, *letters]:
        service.apply_partners_fact(fact)
    assert service.send_mails(smtp(service, post)) == 1, "the e-mail about the reset is not sent"
    assert re.search("24 horas|suspendi|[Pp]ropone|entran otra vez|se retir|quit", post.text())


def test_an_email_stored_by_a_later_version_is_not_sent(service: Service, post: Post) -> None:
    service.apply_partners_fact(account(service))
    service.rows("UPDATE letters SET kind = 'of_tomorrow' RETURNING delivery_id")
    service.send_mails(smtp(service, post))
    assert post.envelopes == []


def test_without_a_mail_server_the_worker_gets_the_notice_in_her_inbox(service: Service) -> None:
    service.apply_partners_fact(account(service, "password_changed"), by_email=False)
    assert own_kinds(service) == ["password_changed"]
