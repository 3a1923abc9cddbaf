"""Invitations: the organisation's desk hears of each, without a name; the link goes sealed to one mailbox, once, and is nowhere afterwards."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from chassis.ids import new_id
from chassis.outbox import Fact
from chassis.tokens import SYSTEM
from protos.partners.v1 import facts_pb2, letters_pb2
from services.notifications import subscriptions
from services.notifications.domain.texts import INVITATION_BODIES, INVITATION_SUBJECTS, LANGUAGES, TEXTS
from services.notifications.usecases.sending import sweep
from tests.notifications.conftest import COALITION, OTHER, PUBLIC_URL, RECEIVER, House
from tests.notifications.test_mail import Post, emails, post, smtp
from tests.notifications.test_texts import TELLING

TOKEN = "kW3-dZ1b_6wYpQ2rT8vXcN0mLsA9fHgJ4uEiOyRtKxB"
EMAIL = "directora@casa.example"
__all__ = ["post"]


def fact(house: House, verb: str = "created", invitation: str = "", *, language: str = "es", email: str = EMAIL, **more: Any) -> Fact:
    """What partners says, with the letter as partners seals it."""
    id = invitation or new_id()
    body = facts_pb2.InvitationFact(invitation_id=id, organization_id=RECEIVER, first_manager=True, **more)
    body.expire_time.FromDatetime(house.clock.now() + timedelta(hours=72))
    if verb == "created":
        letter = letters_pb2.InvitationLetter(email=email, token=TOKEN, language=language)
        body.sealed_letter = house.letter_key.seal_bytes(letter.SerializeToString(), f"invitations/{id}/letter")
    return Fact(id, 1 if verb == "created" else 2, f"enlace.invitation.{verb}.v1", body.SerializeToString(), house.clock.now())


def hear(house: House, told: Fact, *, by_email: bool = True) -> Fact:
    with house.database.transaction(SYSTEM) as tx:
        subscriptions.partners(house.clock, by_email=by_email)(tx, told)
    return told


def kinds(house: House, organization: str = RECEIVER) -> list[str]:
    return [message.kind for message in house.as_(organization, "MANAGER").ListMessages().messages]


def test_the_link_goes_to_the_invited_mailbox_and_to_nobody_else(house: House, post: Post) -> None:
    house.desk(RECEIVER, "mesa@casa.example")
    hear(house, fact(house))
    assert house.send_mails(smtp(house, post)) == 2
    sent = {envelope.rcpt_tos[0]: number for number, envelope in enumerate(post.got)}
    assert sent.keys() == {"mesa@casa.example", EMAIL}
    invitation = message_from_bytes(post.text(sent[EMAIL]).encode(), policy=default).get_content()
    notice = post.text(sent["mesa@casa.example"])
    assert f"{PUBLIC_URL}/invitation?lang=es#{TOKEN}" in invitation.splitlines(), "behind the #: a browser sends it to no server"
    assert TOKEN not in notice
    assert EMAIL not in notice
    assert f"{PUBLIC_URL}/inbox\r\n" in notice


def test_the_desk_hears_that_a_first_manager_was_invited_and_that_the_account_is_there(house: House) -> None:
    created = hear(house, fact(house))
    house.advance(hours=1)
    hear(house, fact(house, "accepted", created.subject))
    assert kinds(house) == ["account_opened", "manager_invited"]
    assert kinds(house, OTHER) == []
    assert kinds(house, COALITION) == []
    for row in house.rows("SELECT * FROM messages"):
        assert TOKEN not in str(row)
        assert EMAIL not in str(row)


def test_the_own_invitations_of_an_organisation_have_words_of_their_own(house: House) -> None:
    told = fact(house)
    body = facts_pb2.InvitationFact.FromString(told.payload)
    body.first_manager = False
    hear(house, Fact(told.subject, 1, told.type, body.SerializeToString(), told.time))
    assert kinds(house) == ["worker_invited"]


def test_a_system_of_the_organisation_hears_of_it_without_a_name(house: House) -> None:
    receiver = house.receiver()
    house.webhook(RECEIVER, receiver.url)
    told = hear(house, fact(house))
    house.send_webhooks()
    [got] = receiver.got
    assert told.subject in got.body
    assert TOKEN not in got.body
    assert EMAIL not in got.body


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_letter_says_in_her_language_no_more_than_that_there_is_an_account_to_open(house: House, post: Post, language: str) -> None:
    hear(house, fact(house, language=language))
    house.send_mails(smtp(house, post))
    text = post.text()
    assert f"Content-Language: {language}\r\n" in text
    assert not TELLING.search(INVITATION_SUBJECTS[language])
    assert not TELLING.search(re.sub("una persona|that person", "", INVITATION_BODIES[language]))
    assert RECEIVER not in text


def test_a_fact_that_is_told_again_sends_nothing_twice(house: House, post: Post) -> None:
    told = hear(house, fact(house))
    hear(house, told)
    assert house.send_mails(smtp(house, post)) == 1
    for _ in range(2):  # the broker lost everything, or the inbox did: beside the inbox, the ids are derived from what is told
        hear(house, told)
        house.advance(hours=1)
        assert house.send_mails(smtp(house, post)) == 0
    assert len(post.got) == 1
    assert kinds(house) == ["manager_invited"]


def test_a_fact_that_is_told_again_before_the_letter_left_does_not_hold_it_up(house: House, post: Post) -> None:
    told = hear(house, fact(house))
    post.rcpt.append("451 come back later")
    house.send_mails(smtp(house, post))
    hear(house, told)
    house.advance(minutes=5)
    assert house.send_mails(smtp(house, post)) == 1
    assert len(post.got) == 1


def test_after_the_store_was_lost_the_mailbox_sees_the_same_message_id(house: House, post: Post) -> None:
    told = hear(house, fact(house))
    house.send_mails(smtp(house, post))
    house.clear()
    hear(house, told)
    house.send_mails(smtp(house, post))
    first, second = (re.search(r"Message-ID: (\S+)", post.text(number)) for number in (0, 1))
    assert first
    assert second
    assert first[1] == second[1]


@pytest.mark.parametrize("verb", ["accepted", "replaced", "revoked"])
def test_a_letter_that_nobody_needs_any_more_is_not_sent(house: House, post: Post, verb: str) -> None:
    told = hear(house, fact(house))
    hear(house, fact(house, verb, told.subject))
    assert house.send_mails(smtp(house, post)) == 0
    assert house.rows("SELECT FROM letters") == []
    assert [mail["status"] for mail in emails(house)] == ["DISCARDED"]


def test_a_letter_that_is_too_old_is_not_sent(house: House, post: Post) -> None:
    hear(house, fact(house))
    house.advance(hours=72)
    house.send_mails(smtp(house, post))
    assert post.got == []
    assert [mail["status"] for mail in emails(house)] == ["DISCARDED"]


def test_history_invites_nobody(house: House, post: Post) -> None:
    told = fact(house)
    house.advance(hours=73)
    hear(house, told)
    assert kinds(house) == ["manager_invited"], "the desk hears of it even so"
    assert house.send_mails(smtp(house, post)) == 0
    old = fact(house)
    house.advance(days=8)
    hear(house, old)
    assert kinds(house) == ["manager_invited"]


def test_to_a_suspended_organisation_nobody_is_invited(house: House, post: Post) -> None:
    house.suspend(RECEIVER)
    hear(house, fact(house))
    assert house.send_mails(smtp(house, post)) == 0
    house.suspend(RECEIVER, "APPROVED")
    hear(house, fact(house))
    house.suspend(RECEIVER)
    assert house.send_mails(smtp(house, post)) == 0


def test_the_coordination_hears_of_a_letter_that_does_not_arrive_without_learning_to_whom(house: House, post: Post) -> None:
    hear(house, fact(house))
    post.rcpt.append("550 no such mailbox")
    house.send_mails(smtp(house, post))
    [message] = house.as_(COALITION, "COORDINATOR").ListMessages().messages
    assert message.kind == "message_undeliverable"
    assert EMAIL not in str(message)


def test_the_letter_lies_sealed_and_is_taken_away_when_it_is_done_with(house: House, post: Post) -> None:
    hear(house, fact(house))
    tables = [row["t"] for row in house.rows("SELECT tablename AS t FROM pg_tables WHERE schemaname = 'public'")]

    def holding(secret: str) -> set[str]:
        return {
            table
            for table in tables
            for row in house.rows(f"SELECT * FROM {table}")
            if secret in str(row) or secret.encode().hex() in str(row)
        }

    assert len(house.rows("SELECT FROM letters")) == 1
    house.send_mails(smtp(house, post))
    with house.database.transaction(SYSTEM) as tx:
        sweep(tx, house.clock.now())
    assert house.rows("SELECT FROM letters") == []
    assert holding(TOKEN) == holding(EMAIL) == set()


@pytest.mark.parametrize("role", ["MANAGER", "COORDINATOR", "AUDITOR", "WORKER"])
def test_no_caller_sees_a_letter_in_the_database_whatever_the_statement(house: House, role: str) -> None:
    hear(house, fact(house))
    caller = house.as_(RECEIVER, role).caller
    with house.database.transaction(caller) as tx:
        assert tx.execute("SELECT FROM letters").fetchall() == []


def test_a_house_without_a_mail_server_keeps_no_letter(house: House) -> None:
    hear(house, fact(house), by_email=False)
    assert house.rows("SELECT FROM letters") == house.rows("SELECT FROM deliveries") == []
    assert kinds(house) == ["manager_invited"]


def test_a_letter_to_what_is_no_address_goes_nowhere(house: House, post: Post) -> None:
    hear(house, fact(house, email="a@b.example, c@d.example"))
    house.send_mails(smtp(house, post))
    assert post.got == []
    assert [mail["status"] for mail in emails(house)] == ["DISCARDED"]


def test_in_development_the_link_can_be_looked_at(house: House) -> None:
    hear(house, fact(house))
    house.send_mails()
    [mail] = house.as_(OTHER, "WORKER").ListDevelopmentMails().mails
    assert (mail.recipient, f"#{TOKEN}" in mail.body) == (EMAIL, True)


def test_no_notice_has_a_place_for_a_name() -> None:
    for kind in ("manager_invited", "worker_invited", "account_opened"):
        assert not [said for said in TEXTS[kind].values() if "{" in said]
