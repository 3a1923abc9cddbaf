"""Notices to a worker about her own account.

A notice comes as an e-mail to her mailbox and as a message in her inbox; nobody else gets it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from chassis.ids import new_id
from chassis.languages import LANGUAGES
from chassis.tokens import SYSTEM
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2, letters_pb2
from services.notifications.domain.notices import BY_KIND
from services.notifications.domain.rules import LASTING_VERBS, LETTERS_WHILE_INACTIVE
from services.notifications.domain.texts import ACCOUNT
from services.notifications.usecases.sending import sweep
from services.notifications.words import WORDS, text
from tests.notifications.conftest import COALITION, PUBLIC_URL, RECEIVER, Service
from tests.notifications.test_invitations import hear
from tests.notifications.test_mail import Post, emails, post, smtp
from tests.notifications.test_texts import TELLING

TOKEN = "kW3-dZ1b_6wYpQ2rT8vXcN0mLsA9fHgJ4uEiOyRtKxB"
EMAIL = "trabajadora@casa.example"
SHE = new_id()
KINDS = {
    "password_reset_asked": ("reset_asked", ""),
    "password_changed": ("password_changed", ""),
    "second_factor_removed": ("second_factor_removed", "MANAGER"),
    "second_factor_removed_by_coordination": ("second_factor_removed", "COORDINATOR"),
    "provider_proposed": ("provider_proposed", ""),
    "entry_proposed": ("entry_proposed", ""),
    **{verb: (verb, "") for verb in sorted(LASTING_VERBS)},
    "member_held": ("member_held", ""),
    "member_suspended": ("member_suspended", ""),
    "member_reinstated": ("member_reinstated", ""),
}
PLACES = {
    "reset_asked": "reset",
    "provider_proposed": "sign-in-provider",
    "entry_proposed": "inbox",
    "key_made": "keys",
    "person_invited": "members",
    "role_given": "inbox",
    "provider_changed": "inbox",
    "sign_in_changed": "account",
    **dict.fromkeys(("member_held", "member_suspended", "member_reinstated"), ""),
}
__all__ = ["post"]


def fact(
    service: Service,
    verb: str = "reset_asked",
    notice: str = "",
    *,
    language: str = "es",
    email: str = EMAIL,
    **more: Any,
) -> Fact:
    """Returns a fact of partners, with the e-mail as partners seals it."""
    id = notice or new_id()
    body = facts_pb2.AccountFact(notice_id=id, worker_id=SHE, organization_id=RECEIVER, **more)
    body.expire_time.FromDatetime(
        service.clock.now() + timedelta(hours=1 if verb == "reset_asked" else 168)
    )
    if verb != "reset_ended":
        letter = letters_pb2.AccountLetter(
            email=email, token=TOKEN if verb == "reset_asked" else "", language=language
        )
        body.sealed_letter = service.letter_key.seal_bytes(
            letter.SerializeToString(), f"accounts/{id}/letter"
        )
    return Fact(
        id,
        2 if notice else 1,
        f"enlace.account.{verb}.v1",
        body.SerializeToString(),
        service.clock.now(),
    )


def own_messages(service: Service, id: str = SHE, *roles: str) -> list[str]:
    return [
        message.kind
        for message in service.as_(RECEIVER, *(roles or ("WORKER",)), id=id).ListMessages().messages
    ]


def test_the_link_goes_to_her_mailbox_and_to_nobody_else(service: Service, post: Post) -> None:
    service.desk(RECEIVER, "mesa@casa.example")
    service.coordinator_desk(COALITION, "coordinacion@coalicion.example")
    hear(service, fact(service))
    assert service.send_mails(smtp(service, post)) == 1
    [envelope] = post.got
    assert envelope.rcpt_tos == [EMAIL]
    assert f"{PUBLIC_URL}/reset?lang=es#{TOKEN}" in post.text().replace("=\r\n", "").replace(
        "=3D", "="
    )


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_worker_herself_sees_the_notice_in_her_inbox(service: Service, kind: str) -> None:
    verb, role = KINDS[kind]
    hear(service, fact(service, verb, by_role_code=role))
    assert own_messages(service) == [kind]
    assert own_messages(service, new_id(), "MANAGER") == []
    assert service.as_(COALITION, "COORDINATOR").ListMessages().messages == []


def test_no_webhook_of_her_organisation_receives_the_notice(service: Service) -> None:
    receiver = service.receiver()
    service.webhook(RECEIVER, receiver.url)
    for verb, role in KINDS.values():
        hear(service, fact(service, verb, by_role_code=role))
    service.send_webhooks()
    assert receiver.got == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_account_email_states_the_change_in_her_language_but_not_what_the_network_is_for(
    service: Service, post: Post, kind: str, language: str
) -> None:
    verb, role = KINDS[kind]
    hear(service, fact(service, verb, language=language, by_role_code=role))
    service.send_mails(smtp(service, post))
    sent = post.text()
    assert f"Content-Language: {language}\r\n" in sent
    assert f"/{PLACES.get(verb, 'forgot')}?lang" in sent
    assert not TELLING.search(WORDS.text(language, ACCOUNT[kind].subject))
    assert not TELLING.search(WORDS.text(language, ACCOUNT[kind].body))
    assert RECEIVER not in sent
    assert SHE not in sent


def test_every_kind_of_account_notice_has_an_email() -> None:
    assert ACCOUNT.keys() == KINDS.keys() <= BY_KIND.keys()


def test_a_link_revoked_before_the_email_left_is_not_sent(service: Service, post: Post) -> None:
    received_fact = hear(service, fact(service))
    hear(service, fact(service, "reset_ended", received_fact.subject))
    assert service.send_mails(smtp(service, post)) == 0
    assert [mail["status"] for mail in emails(service)] == ["DISCARDED"]
    assert own_messages(service) == ["password_reset_asked"]


def test_a_changed_password_is_notified_under_the_subject_of_its_reset(
    service: Service, post: Post
) -> None:
    received_fact = hear(service, fact(service))
    assert service.send_mails(smtp(service, post)) == 1
    service.advance(minutes=5)
    hear(service, fact(service, "password_changed", received_fact.subject))
    assert service.send_mails(smtp(service, post)) == 1
    assert own_messages(service) == ["password_changed", "password_reset_asked"]


def test_an_expired_link_is_not_sent(service: Service, post: Post) -> None:
    received_fact = fact(service)
    hear(service, received_fact)
    service.advance(hours=1)
    service.send_mails(smtp(service, post))
    assert post.got == []
    hear(service, fact(service, "password_changed"))
    service.advance(days=2)
    assert service.send_mails(smtp(service, post)) == 1, (
        "a change is notified even if the mail server was unavailable"
    )
    old = fact(service, "second_factor_removed")
    service.advance(days=8)
    hear(service, old)
    assert service.send_mails(smtp(service, post)) == 0


def test_a_repeated_fact_sends_no_second_email(service: Service, post: Post) -> None:
    received_fact = hear(service, fact(service))
    hear(service, received_fact)
    assert service.send_mails(smtp(service, post)) == 1
    hear(service, received_fact)
    assert service.send_mails(smtp(service, post)) == 0
    assert own_messages(service) == ["password_reset_asked"]


def test_an_email_is_stored_sealed_and_deleted_when_it_is_no_longer_needed(
    service: Service, post: Post
) -> None:
    hear(service, fact(service))
    [row] = service.rows("SELECT * FROM letters")
    assert not [secret for secret in (TOKEN, EMAIL) if secret.encode() in bytes(row["sealed"])]
    service.send_mails(smtp(service, post))
    with service.database.transaction(SYSTEM) as tx:
        sweep(tx, service.clock.now())
    assert service.rows("SELECT FROM letters") == []
    caller = service.as_(RECEIVER, "MANAGER").caller
    hear(service, fact(service))
    with service.database.transaction(caller) as tx:
        assert tx.execute("SELECT FROM letters").fetchall() == []


def test_nothing_is_sent_to_an_invalid_address_or_for_a_suspended_organisation(
    service: Service, post: Post
) -> None:
    hear(service, fact(service, email="a@b.example, c@d.example"))
    service.send_mails(smtp(service, post))
    service.suspend(RECEIVER)
    hear(service, fact(service))
    service.send_mails(smtp(service, post))
    assert post.got == []


@pytest.mark.parametrize("verb", sorted(LETTERS_WHILE_INACTIVE))
@pytest.mark.parametrize("first", ["letter", "suspension"])
def test_d24_a_worker_of_a_suspended_organisation_is_still_notified_of_it(
    verb: str, first: str, service: Service, post: Post
) -> None:
    """The order in which the two facts arrive does not matter.

    She is also notified of a proposal to which she can object.
    """
    other = fact(service)
    for step in (first, "suspension" if first == "letter" else "letter"):
        if step == "letter":
            hear(service, fact(service, verb))
            hear(service, other)
        else:
            body = facts_pb2.OrganizationFact(organization_id=RECEIVER, status_code="SUSPENDED")
            hear(
                service,
                Fact(
                    RECEIVER,
                    1,
                    "enlace.organization.held.v1",
                    body.SerializeToString(),
                    service.clock.now(),
                ),
            )
    assert service.send_mails(smtp(service, post)) == 1, "and nothing else is notified"
    assert re.search("24 horas|suspendi|[Pp]ropone", post.text())


def test_without_a_mail_server_the_worker_gets_only_the_notice_in_her_inbox(
    service: Service,
) -> None:
    hear(service, fact(service, "password_changed"), by_email=False)
    assert service.rows("SELECT FROM letters") == []
    assert own_messages(service) == ["password_changed"]


def test_an_email_of_an_unknown_kind_is_not_sent(service: Service, post: Post) -> None:
    with pytest.raises(NewerKind):
        hear(service, fact(service, "something_new"))
    hear(service, fact(service))
    service.rows("UPDATE letters SET kind = 'of_tomorrow' RETURNING delivery_id")
    service.send_mails(smtp(service, post))
    assert post.got == []


def test_no_notice_has_a_placeholder_for_a_name() -> None:
    assert not [
        kind for kind in KINDS for language in LANGUAGES if re.search("[{%]", text(kind, language))
    ]
