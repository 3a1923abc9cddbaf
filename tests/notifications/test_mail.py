"""E-mails with neutral texts, which a real SMTP server in this process receives.

A temporary failure is retried, and the coordinators are notified if nobody was reached.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chassis import metrics
from chassis.db import Transaction
from chassis.supervisor import Loop
from protos.notifications.v1 import facts_pb2
from protos.notifications.v1 import notifications_pb2 as pb
from services.notifications.channels.mail import MailSender, Smtp
from services.notifications.domain.mail_server import MailServer
from services.notifications.domain.texts import Mail
from services.notifications.store import mail_folder
from services.notifications.usecases.sending import EMAIL_LEASE
from tests.builders import refusal
from tests.notifications.conftest import (
    COALITION,
    FROM_ADDRESS,
    OTHER,
    PUBLIC_URL,
    RECEIVER,
    SENDER,
    Service,
    smtp,
)
from tests.notifications.mail_server import Post
from tests.parts.loops import NEVER, OFTEN, eventually, running


def test_the_desk_gets_one_neutral_email_with_one_link(service: Service, post: Post) -> None:
    fact = service.queue_emails()
    assert service.send_mails(smtp(service, post)) == 1
    [envelope] = post.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == (FROM_ADDRESS, ["mesa@ong.example"])
    text = post.text()
    assert "Subject: Tiene una tarea en Enlace\r\n" in text
    assert text.count("http") == text.count(f"{PUBLIC_URL}/referrals/{fact.subject}\r\n") == 1
    assert not [word for word in ("HOU", SENDER, RECEIVER) if word in text]
    assert service.emails("status", "attempts", "last_code") == [("DELIVERED", 1, 250)]
    assert service.send_mails(smtp(service, post)) == 0


def test_an_email_is_in_the_language_of_the_desk(service: Service, post: Post) -> None:
    service.desk(RECEIVER, "mesa@ong.example", "fr")
    service.hear("sent")
    service.send_mails(smtp(service, post))
    assert "Content-Language: fr\r\n" in post.text()


def test_a_message_to_desk_and_worker_makes_one_email(service: Service, post: Post) -> None:
    service.desk(SENDER, "mesa@ong.example")
    service.hear("accepted", sender_worker_id="f" * 32)
    assert service.send_mails(smtp(service, post)) == 1


def test_a_repeated_note_makes_one_email_an_hour_until_its_message_is_read(
    service: Service,
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    manager = service.as_(RECEIVER, "MANAGER")

    def emails_after_note(**step: float) -> int:
        service.advance(**step)
        service.hear("note_added", "a" * 32)
        return len(service.emails("id"))

    assert [emails_after_note(minutes=20) for _ in range(5)] == [1, 1, 1, 2, 2]
    manager.MarkAllMessagesRead(until_time=service.clock.now())
    assert emails_after_note(minutes=1) == 3
    service.hear("note_added", "b" * 32)
    assert len(service.emails("id")) == 4


def test_an_email_to_the_coordinators_goes_to_the_desks_of_active_coordinators(
    service: Service, post: Post
) -> None:
    service.coordinator_desk(COALITION, "coordinacion@coalicion.example")
    service.desk(OTHER, "otra@ong.example")
    service.hear("sent", override_used=True)
    service.send_mails(smtp(service, post))
    assert post.recipients() == [["coordinacion@coalicion.example"]]


def test_a_batch_is_sent_in_one_smtp_session(service: Service, post: Post) -> None:
    service.queue_emails(5)
    assert service.send_mails(smtp(service, post)) == 5
    assert (len(post.envelopes), len({id(session) for session in post.sessions})) == (5, 1)


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_server_that_limits_the_emails_of_a_connection_gets_all_of_a_batch(
    service: Service, post: Post, hangs_up: bool
) -> None:
    post.maximum, post.hangs_up = 2, hangs_up
    service.queue_emails(5)
    assert service.send_mails(smtp(service, post)) == 5
    assert service.emails("status", "attempts") == [("DELIVERED", 1)] * 5
    assert (len(post.envelopes), len({id(session) for session in post.sessions})) == (5, 3)


def test_a_server_that_accepts_no_email_at_all_is_asked_once_for_each_batch(
    service: Service, post: Post
) -> None:
    post.maximum = 0
    service.queue_emails(3)
    service.send_mails(smtp(service, post))
    assert sorted(service.emails("last_code", "status")) == [
        (0, "RETRYING"),
        (0, "RETRYING"),
        (421, "RETRYING"),
    ]
    assert len(post.sessions) == 1


def test_an_email_is_not_given_up_because_the_server_refuses_the_greeting(
    service: Service, post: Post
) -> None:
    post.greeting = "550 not from this address"
    service.queue_emails()
    service.send_mails(smtp(service, post))
    assert service.emails("status", "last_code") == [("RETRYING", 550)]


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_refusal_before_the_text_does_not_affect_the_next_email(
    service: Service, post: Post, hangs_up: bool
) -> None:
    post.hangs_up = hangs_up
    service.queue_emails(2)
    post.before_data.append("451 greylisted, come back later")
    service.send_mails(smtp(service, post))
    assert service.emails("status", "last_code") == [("RETRYING", 451), ("DELIVERED", 250)]


def test_the_loop_sends_retries_when_due_and_emails_whose_announcement_was_lost(
    service: Service, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, next_email_time = list[datetime | None](), service.sending.next_email_time

    def next_time(connection: Transaction) -> datetime | None:
        pauses.append(next_email_time(connection))
        return pauses[-1]

    monkeypatch.setattr(service.sending, "next_email_time", next_time)

    def sender(read_again: float) -> Loop:
        return MailSender(
            service.database,
            service.sending,
            smtp(service, post),
            service.clock,
            read_again=read_again,
        ).loop()

    service.desk(RECEIVER, "mesa@ong.example")
    post.data.append("451 come back later")
    with running(sender(NEVER)):
        service.hear("sent")
        assert eventually(lambda: service.emails("status") == [("RETRYING",)])
        assert eventually(lambda: service.emails("next_attempt_time")[0][0] in pauses)
        service.advance(seconds=80)
        post.wait_for(1)
    pauses.clear()
    with running(sender(OFTEN)):
        assert eventually(lambda: bool(pauses))
        service.rows("UPDATE deliveries SET next_attempt_time = create_time RETURNING id")
        post.wait_for(2)


@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_a_temporary_refusal_is_retried_with_the_same_message_id(
    service: Service, post: Post, stage: str
) -> None:
    service.queue_emails()
    getattr(post, stage).append("451 greylisted, come back later")
    service.send_mails(smtp(service, post))
    assert service.emails("status", "last_code", "last_error") == [("RETRYING", 451, "smtp")]
    [(next_attempt_time,)] = service.emails("next_attempt_time")
    assert 45 <= (next_attempt_time - service.clock.now()).total_seconds() <= 75
    assert service.send_mails(smtp(service, post)) == 0
    service.advance(seconds=80)
    assert service.send_mails(smtp(service, post)) == 1
    assert service.emails("status") == [("DELIVERED",)]
    assert service.emails("id") == [(post.message_id(0)[1:-1].split("@")[0],)]


@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_a_final_refusal_is_given_up_at_once_and_does_not_stop_the_others(
    service: Service, post: Post, stage: str
) -> None:
    service.desk(RECEIVER, "nadie@ong.example")
    service.desk(OTHER, "mesa@ong.example")
    service.hear("sent")
    service.advance(seconds=1)
    service.hear("sent", receiver_organization_id=OTHER)
    getattr(post, stage).append("550 no such mailbox")
    service.send_mails(smtp(service, post))
    assert service.emails("status", "last_code")[:2] == [("DEAD", 550), ("DELIVERED", 250)]


def test_a_message_that_reached_nobody_is_published_and_notified_to_the_coordinators(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "nadie@ong.example")
    service.coordinator_desk(COALITION, "coordinacion@coalicion.example")
    fact = service.hear("sent")
    # The e-mail about the failure reaches nobody, too. No third message reports that.
    post.rcpt += ["550 no such mailbox"] * 2
    assert service.send_mails(smtp(service, post)) == 2
    assert service.send_mails(smtp(service, post)) == 0
    [row] = service.rows("SELECT subject, version, type, payload FROM outbox")
    body = facts_pb2.MessageFact.FromString(row["payload"])
    assert (row["version"], row["type"]) == (1, "enlace.message.undeliverable.v1")
    assert body == facts_pb2.MessageFact(
        message_id=row["subject"],
        referral_id=fact.subject,
        organization_id=RECEIVER,
        kind_code="referral_sent",
        reason_code="smtp",
    )
    [message] = service.as_(COALITION, "COORDINATOR").ListMessages().messages
    assert (message.kind, message.referral_id) == ("message_undeliverable", fact.subject)
    assert message.organization_id == RECEIVER, "the coordinators are told whom to phone"


def test_no_failure_is_reported_while_another_channel_is_open(service: Service, post: Post) -> None:
    service.desk(RECEIVER, "nadie@ong.example")
    system = service.receiver(answers=[500])
    service.webhook(RECEIVER, system.url)
    service.hear("sent")
    post.rcpt.append("550 no such mailbox")
    service.send_mails(smtp(service, post))
    service.send_webhooks()
    assert service.rows("SELECT FROM outbox") == []


def mailbox_without_server(service: Service) -> Smtp:
    """Returns the mailbox of a port where no server listens."""
    return Smtp(MailServer("127.0.0.1", 9), FROM_ADDRESS, service.clock, timeout=1)


def test_without_a_mail_server_connection_every_email_of_the_batch_is_retried(
    service: Service,
) -> None:
    service.queue_emails(3)
    assert service.send_mails(mailbox_without_server(service)) == 3
    assert service.emails("status", "last_error", "attempts") == [("RETRYING", "connection", 1)] * 3


def test_an_email_is_given_up_after_a_day(service: Service) -> None:
    service.queue_emails()
    mailbox = mailbox_without_server(service)
    for _ in range(6 * 26):
        service.send_mails(mailbox)
        service.advance(minutes=10)
    assert service.emails("status", "next_attempt_time") == [("DEAD", None)]
    assert 5 < service.emails("attempts")[0][0] < 20


def test_an_email_of_a_sender_that_died_is_sent_again_with_the_same_message_id(
    service: Service, post: Post
) -> None:
    service.queue_emails()
    with service.database.dedicated() as connection:
        claim = service.sending.next_email(connection, service.clock.now())
    assert claim is not None
    mail = service.sending.mail_of(claim)
    assert mail is not None
    smtp(service, post).put(mail)  # then the sender dies
    assert service.send_mails(smtp(service, post)) == 0
    service.clock.advance(EMAIL_LEASE)
    assert service.send_mails(smtp(service, post)) == 1
    assert post.message_id(0) == post.message_id(1) != "None"


def test_a_stopped_sender_leaves_the_remaining_emails_to_the_next_one(
    service: Service, post: Post
) -> None:
    service.queue_emails(3)
    loop = Loop("mail", lambda _: None)
    post.on_arrival = loop.stop
    assert service.send_mails(smtp(service, post), loop) == 1
    assert service.send_mails(smtp(service, post)) == 2


def test_a_sender_that_died_delays_only_the_email_that_it_had_claimed(
    service: Service, post: Post
) -> None:
    service.queue_emails(3)
    with service.database.dedicated() as connection:
        assert service.sending.next_email(connection, service.clock.now())
    assert service.send_mails(smtp(service, post)) == 2
    service.clock.advance(EMAIL_LEASE)
    assert service.send_mails(smtp(service, post)) == 1


def set_sealed_address(service: Service, organization: str, sealed: bytes) -> None:
    """Replaces the sealed e-mail address of a desk."""
    statement = "UPDATE desks SET email = %s WHERE organization_id = %s RETURNING organization_id"
    service.rows(statement, sealed, organization)


def test_an_unreadable_address_does_not_delay_others_and_is_retried_after_its_lease(
    service: Service, post: Post, capsys: pytest.CaptureFixture[str]
) -> None:
    put_aside_count = metrics.ROWS_PUT_ASIDE.labels("mail")._value
    before = put_aside_count.get()
    service.desk(OTHER, "otra@ong.example")
    service.desk(RECEIVER, "mesa@ong.example")
    [desk] = service.rows("SELECT email FROM desks WHERE organization_id = %s", OTHER)
    set_sealed_address(service, OTHER, b"nonsense")
    service.hear("sent", receiver_organization_id=OTHER)
    service.hear("sent")
    assert service.send_mails(smtp(service, post)) == 2
    assert post.recipients() == [["mesa@ong.example"]]
    assert put_aside_count.get() == before + 1
    [delivery] = service.rows(
        "SELECT id FROM deliveries WHERE channel = 'email' AND organization_id = %s", OTHER
    )
    assert delivery["id"] in capsys.readouterr().out
    assert service.send_mails(smtp(service, post)) == 0  # not in a tight loop
    set_sealed_address(service, OTHER, desk["email"])  # repaired
    service.clock.advance(EMAIL_LEASE)
    assert service.send_mails(smtp(service, post)) == 1
    assert post.recipients()[1:] == [["otra@ong.example"]]


def test_a_desk_that_has_removed_its_address_gets_no_more_emails(
    service: Service, post: Post
) -> None:
    service.queue_emails()
    service.desk(RECEIVER, "")
    service.send_mails(smtp(service, post))
    assert post.envelopes == []
    assert service.emails("status") == [("DISCARDED",)]


def test_emails_are_stored_for_viewing_in_development(service: Service) -> None:
    service.desk(RECEIVER, "mesa@ong.example", "en")
    fact = service.hear("sent")
    service.send_mails()
    [mail] = service.as_(OTHER, "AUDITOR").ListDevelopmentMails().mails
    assert (mail.recipient, mail.subject) == ("mesa@ong.example", "You have a task in Enlace")
    assert f"{PUBLIC_URL}/referrals/{fact.subject}" in mail.body
    assert mail.create_time.ToDatetime(UTC) == service.clock.now()


def test_the_development_mail_folder_keeps_the_latest_emails_and_each_only_once(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_folder, "MAX_MAILS", 2)
    monkeypatch.setattr(mail_folder, "_SPARE", 1)
    folder = mail_folder.MailFolder(tmp_path / "mail", service.clock)
    assert folder.mails() == []
    for id in ("a", "b", "b", "c"):
        service.advance(minutes=1)
        assert folder.put(Mail(id, "mesa@ong.example", "¡Año!", f"{id}\n", "es")).arrived
    assert [(mail.id, mail.subject, mail.body) for mail, _ in folder.mails()] == [
        ("c", "¡Año!", "c\n"),
        ("b", "¡Año!", "b\n"),
    ]
    assert folder.mails()[0][1] == service.clock.now()
    for number in range(20):
        folder.put(Mail(f"more-{number}", "mesa@ong.example", "", "", "es"))
    assert len(list((tmp_path / "mail").iterdir())) <= 2 + 2, "old files are deleted"


@pytest.mark.parametrize("read", ["stat", "read_text"])
def test_an_email_that_a_sender_deletes_while_the_page_lists_it_is_left_out(
    read: str, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mail_folder.MailFolder(tmp_path / "mail", service.clock)
    for id in ("a", "b"):
        folder.put(Mail(id, "mesa@ong.example", "¡Año!", "", "es"))

    with monkeypatch.context() as patch:
        original = getattr(Path, read)

        def delete_then_read(file: Path, **options: Any) -> Any:
            if file.suffix == ".json":  # the folder itself has been listed
                (tmp_path / "mail" / "a.json").unlink(missing_ok=True)
            return original(file, **options)

        patch.setattr(Path, read, delete_then_read)
        assert [mail.id for mail, _ in folder.mails()] == ["b"]


def test_outside_development_no_email_can_be_viewed_and_no_internal_webhook_created(
    production: Service,
) -> None:
    assert refusal(production.as_(OTHER, "MANAGER").ListDevelopmentMails) == (
        "FAILED_PRECONDITION",
        "not_in_development",
    )
    webhook = pb.Webhook(url="http://127.0.0.1:9/")
    assert refusal(lambda: production.as_(OTHER, "MANAGER").CreateWebhook(webhook=webhook)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
    )


def test_the_commit_of_a_fact_wakes_the_sender_and_one_broken_email_does_not_stop_it(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.desk(OTHER, "otra@ong.example")
    set_sealed_address(service, OTHER, hashlib.sha256(b"x").digest())
    sender = MailSender(service.database, service.sending, smtp(service, post), service.clock)
    with running(sender.loop()):
        service.hear("sent", receiver_organization_id=OTHER)
        for count in (1, 2):
            service.hear("sent")
            post.wait_for(count)
    assert post.recipients() == [["mesa@ong.example"]] * 2


def test_an_email_dated_by_a_fast_clock_is_not_delayed_once_the_clock_is_right(
    service: Service, post: Post
) -> None:
    service.desk(RECEIVER, "mesa@ong.example")
    service.advance(days=1)
    assert service.send_mails(smtp(service, post)) == 0
    service.hear("sent")
    service.advance(days=-1)
    assert service.send_mails(smtp(service, post)) == 1
