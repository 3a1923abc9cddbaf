"""Sends e-mails: by SMTP, or into a folder in development (store/mail_folder.py).

E-mails are sent at least once. The Message-ID contains the id of the delivery, so that a mailbox
can recognise a repeat. A server's answer to an e-mail concerns that e-mail only; a failure before
the answer (connection, greeting, TLS, sign-in) says nothing about the e-mail, which is tried again.
"""

import smtplib
import ssl
import time
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Protocol

from chassis import log, metrics, trace
from chassis.announcements import READ_AGAIN, listen, wait_for_notification
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction
from chassis.errors import Exhausted, Late, Unavailable
from chassis.supervisor import Loop
from services.notifications.channels.waiting import create_counts, wait_until_due
from services.notifications.domain.delivery import Channel, EmailClaim, Outcome
from services.notifications.domain.mail_server import MailServer
from services.notifications.domain.texts import Mail
from services.notifications.usecases.sending import EMAILS, DeliveryQueue

TIMEOUT = 15.0  # seconds within which the server must give each answer
# After this many seconds without a notification, the loop looks up when the next e-mail is due.
_PAUSE = 1.0
_BATCH = 20  # maximum number of e-mails sent over one connection
# Seconds between two batches: e-mails that are written meanwhile share a connection.
_BATCH_INTERVAL = 0.25
# Seconds that one e-mail may take before the loop counts as stuck: a server may take up to TIMEOUT
# for each of up to nine answers.
_LIMIT = 180.0


class Mailbox(Protocol):
    """A place that accepts e-mails."""

    def put(self, mail: Mail) -> Outcome:
        """Makes one attempt and returns its result."""

    def close(self) -> None:
        """Ends a batch."""


class Smtp:
    """Hands e-mails to a server, in one connection for each batch.

    Certificates are checked against the system's authorities, or against `trust` if that is given.
    """

    def __init__(
        self,
        server: MailServer,
        sender: str,
        clock: Clock,
        *,
        trust: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._server = server
        self._sender = sender
        self._clock = clock
        self._trust = trust or ssl.create_default_context()
        self._timeout = timeout
        self._connection: smtplib.SMTP | None = None
        self._broken = False

    def put(self, mail: Mail) -> Outcome:
        """Makes one attempt and returns its result.

        If a connection that served earlier e-mails breaks before the timeout, a fresh connection is
        tried once. If a connection can't be opened, or breaks in any other way, the rest of the
        batch fails without an attempt, since each e-mail would wait for the same timeout.
        """
        start_time = time.perf_counter()
        was_open = self._connection is not None
        error, code, is_permanent = self._try(mail)
        if was_open and self._broken and time.perf_counter() - start_time < self._timeout:
            # Many servers end a connection after some e-mails: try a fresh one. If the e-mail
            # arrives twice, the mailbox recognises it by its id.
            self._broken = False
            error, code, is_permanent = self._try(mail)
        return Outcome(error, code, int((time.perf_counter() - start_time) * 1000), is_permanent)

    def close(self) -> None:
        """Ends the connection with QUIT, if there is one."""
        connection, self._connection, self._broken = self._connection, None, False
        if connection is not None:
            try:
                connection.quit()
            except (smtplib.SMTPException, OSError):
                connection.close()

    def _try(self, mail: Mail) -> tuple[str, int, bool]:
        if self._broken:
            return "connection", 0, False
        try:
            connection = self._connection or self._open()
        except smtplib.SMTPResponseException as refusal:
            # The e-mail is not at fault; the operator has to correct e.g. a wrong password.
            self._broken = True
            return "smtp", refusal.smtp_code, False
        except (smtplib.SMTPException, OSError):
            self._broken = True
            return "connection", 0, False
        self._connection = connection
        try:
            error, code, is_permanent = self._hand_over(connection, mail)
        except (smtplib.SMTPException, OSError):
            connection.close()
            error, code, is_permanent = "connection", 0, False
        if connection.sock is None:  # closed above, or by smtplib, e.g. after the reply 421
            self._connection, self._broken = None, code in (0, 421)
        return error, code, is_permanent

    def _hand_over(self, connection: smtplib.SMTP, mail: Mail) -> tuple[str, int, bool]:
        try:
            connection.send_message(
                compose(mail, self._sender, self._clock), self._sender, [mail.recipient]
            )
        except smtplib.SMTPRecipientsRefused as refusal:
            code = next(iter(refusal.recipients.values()))[0]
            return "smtp", code, code >= 500
        except smtplib.SMTPSenderRefused as refusal:
            # The server refuses Enlace's own address, which the operator has to correct.
            return "smtp", refusal.smtp_code, False
        except smtplib.SMTPResponseException as refusal:
            # smtplib does not end the transaction if the server refuses the command DATA.
            with suppress(smtplib.SMTPException):
                connection.rset()
            return "smtp", refusal.smtp_code, refusal.smtp_code >= 500
        return "", 250, False

    def _open(self) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host,
                server.port,
                local_hostname="enlace",
                timeout=self._timeout,
                context=self._trust,
            )
        else:
            connection = smtplib.SMTP(
                server.host, server.port, local_hostname="enlace", timeout=self._timeout
            )
        try:
            if server.security == "starttls":
                connection.starttls(context=self._trust)
            connection.ehlo_or_helo_if_needed()  # otherwise a refusal would count for the e-mail
            if server.user:
                connection.login(server.user, server.password)
        except BaseException:
            connection.close()
            raise
        return connection


def compose(mail: Mail, sender: str, clock: Clock) -> EmailMessage:
    """Returns the e-mail as it is transmitted.

    Among the e-mails to desks in one language, only the link, the Message-ID, the date and the
    recipient differ.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = f"Enlace <{sender}>"
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.body)
    # last, because the line above removes all Content-… headers
    message["Content-Language"] = mail.language
    return message


class MailSender:
    """Claims e-mails one after another, hands each to the mailbox, and records the result."""

    def __init__(
        self,
        database: Database,
        queue: DeliveryQueue,
        mailbox: Mailbox,
        clock: Clock,
        *,
        read_again: float = READ_AGAIN,
    ) -> None:
        """Creates the sender.

        `read_again` is the longest time, in seconds, between two checks for e-mails that were not
        announced.
        """
        self._read_again = read_again
        self._database = database
        self._queue = queue
        self._mailbox = mailbox
        self._clock = clock
        create_counts(Channel.EMAIL)

    def loop(self) -> Loop:
        """Returns the loop, which runs until it is stopped.

        While the database is unavailable, the loop waits for it.
        """
        return Loop("mail", self._work, waits_for=LOST, limit=_LIMIT)

    def _work(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            listen(connection, EMAILS)
            # Commits without waiting for the disk. If a crash of the database server loses a claim
            # or a result, the e-mail is sent again, which is allowed.
            connection.execute("SET synchronous_commit = off")
            while loop.turn():
                count = self.send_batch(connection, loop)
                if count:
                    loop.wait(_BATCH_INTERVAL)
                # After a batch that was not full, any e-mail due now has been announced meanwhile.
                if count < _BATCH:
                    self._wait(loop, connection)

    def _wait(self, loop: Loop, connection: Transaction) -> None:
        """Waits until an e-mail may be due."""
        if not wait_for_notification(connection, _PAUSE):
            wait_until_due(
                loop,
                connection,
                self._clock,
                self._queue,
                Channel.EMAIL,
                lambda: self._queue.next_email_time(connection),
                self._read_again,
            )

    def send_batch(self, connection: Transaction, loop: Loop | None = None) -> int:
        """Sends the e-mails due now, at most `_BATCH`; returns how many it claimed.

        The e-mails are sent one after another. Each e-mail is a turn of the loop, so that the loop
        can be stopped between two e-mails.
        """
        count = 0
        try:
            while count < _BATCH and (loop is None or loop.turn()):
                claim = self._queue.next_email(connection, self._clock.now())
                if claim is None:
                    break
                with trace.under(claim.trace):
                    self._send(connection, claim)
                count += 1
        finally:
            self._mailbox.close()
        return count

    def _send(self, connection: Transaction, claim: EmailClaim) -> None:
        try:
            mail = self._queue.mail_of(claim)
            if mail is None:
                self._queue.discard(claim)
                return
            outcome = self._mailbox.put(mail)
            now = self._clock.now()
            if outcome.arrived:
                status = self._queue.finish_sent_email(connection, claim, outcome, now)
            else:
                status = self._queue.finish(Channel.EMAIL, claim, outcome, now)
        except (*LOST, Unavailable, Exhausted, Late):
            raise
        except Exception as error:
            # A fault in one e-mail does not stop the others. This e-mail is due again when its
            # lease is over.
            metrics.ROWS_PUT_ASIDE.labels("mail").inc()
            log.get().error(
                "delivery_put_aside", channel="email", delivery_id=claim.id, fault=log.fault(error)
            )
            return
        metrics.DELIVERIES.labels(Channel.EMAIL.value, status.value).inc()
        if outcome.arrived:
            log.get().info(
                "delivered", channel="email", delivery_id=claim.id, attempt=claim.tries + 1
            )
        else:
            log.get().info(
                "not_delivered", channel="email", delivery_id=claim.id, reason=outcome.error,
                code=str(outcome.code),
                attempt=claim.tries + 1, status=status.value,
            )  # fmt: skip
