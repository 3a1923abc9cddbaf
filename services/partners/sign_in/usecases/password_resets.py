"""Forgotten passwords: a link is requested, sent to the account's mailbox, and used once.

A request is counted, and its address is stored sealed, before anything looks for an account. A
moment later, a loop of this service checks whether the account exists. So neither the response nor
its duration reveals whether anybody has an account.
"""

import secrets
from datetime import datetime, timedelta

from chassis import audit
from chassis.announcements import READ_AGAIN, work_when_due
from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction
from chassis.errors import Exhausted, Invalid, Unauthenticated
from chassis.guesses import Budget, Guesses
from chassis.ids import new_id
from chassis.rpc import Call
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from keys.sealing import Keyring
from protos.partners.v1 import accounts_pb2 as pb
from services.partners.members.domain.worker import Worker, normalized_email
from services.partners.members.store import organizations, workers
from services.partners.members.usecases.notices import sealed_letter
from services.partners.members.usecases.passwords import check_new_password, hash_of, mark_of
from services.partners.network.domain.check import MAX_EMAIL
from services.partners.sign_in.domain.password_reset import LINK_LIFE, PasswordReset
from services.partners.sign_in.store import password_resets, second_factors, sign_in_providers

# Three e-mails at once, then one an hour: at most 26 unwanted e-mails reach a mailbox in a day.
# Each e-mail's link replaces the previous link, so the newest e-mail works.
MAILBOX_BUDGET = Budget(3, timedelta(hours=1), timedelta(0))
# A whole office, or all customers of a phone company, may share one IP address.
ADDRESS_BUDGET = Budget(30, timedelta(minutes=2), timedelta(0))
_BATCH_SIZE = 20


class PasswordResets:
    """Handles the rpcs for links with which workers set a new password."""

    def __init__(self, keyring: Keyring, mail: Keyring, guesses: Guesses) -> None:
        """Sets up the handlers; `mail` seals e-mails, `guesses` counts requests for a link."""
        self._keyring = keyring
        self._mail = mail
        self._guesses = guesses

    def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, call: Call
    ) -> pb.RequestPasswordResetResponse:
        """Stores the request.

        If there were too many requests for this mailbox or from this IP address, does nothing but
        returns the same response.
        """
        email, now = request.email.strip(), call.clock.now()
        if not request.email:
            raise Invalid(("email", "required"))
        # checked because anything that a stranger sends is stored for a moment
        if len(request.email) > MAX_EMAIL:
            raise Invalid(("email", "too_long"))
        try:
            self._guesses.count(normalized_email(email), call.origin, now)
        except Exhausted:
            return pb.RequestPasswordResetResponse()
        password_resets.add_request(call.tx, self._keyring, email, now)
        return pb.RequestPasswordResetResponse()

    def ResetPassword(
        self, request: pb.ResetPasswordRequest, call: Call
    ) -> pb.ResetPasswordResponse:
        """Changes the password of the link's account.

        Ends the account's sessions, and its sign-ins that wait for a code. A caller without a valid
        link learns only that the link is not valid.
        """
        if not request.token:
            raise Invalid(("token", "required"))
        tx, now, mark = call.tx, call.clock.now(), mark_of(request.token)
        unlocked_reset = password_resets.by_token(tx, mark)
        account = workers.with_hash(tx, unlocked_reset.worker_id) if unlocked_reset else None
        reset = password_resets.by_token(tx, mark)  # fetched again, now that nobody else can use it
        organization = organizations.fetch(tx, account[0].organization_id) if account else None
        if (
            account is None
            or organization is None
            or reset is None
            or not reset.is_open(now)
            or not _may_reset(tx, account[0])
        ):
            raise Unauthenticated("reset_not_valid")
        worker = account[0]
        check_new_password(
            request.password, (worker.entry.name, worker.entry.email, organization.entry.name)
        )
        workers.set_password(tx, worker.id, hash_of(request.password))
        # Challenges are deleted first: the deletion waits for a sign-in that is just being
        # completed, and the session of that sign-in is then ended with the other sessions.
        second_factors.drop_challenges(tx, worker.id)
        workers.end_sessions_of(tx, worker_id=worker.id)
        reset.use(now)
        password_resets.end(tx, reset, sealed_letter(self._mail, reset, worker))
        call.trail.append(Entry("password_reset", worker.id))
        return pb.ResetPasswordResponse()


def send_links(tx: Transaction, keyring: Keyring, mail: Keyring, now: datetime) -> int:
    """Sends a link for each request whose account is active and may use a password.

    Returns the number of requests, including those that get no link.
    """
    requests, trail = password_resets.take_requests(tx, keyring, _BATCH_SIZE), []
    # Accounts are locked in a fixed order, so that two processes can't deadlock.
    for email, create_time in sorted(requests, key=lambda request: normalized_email(request[0])):
        account = (
            workers.by_email(tx, email, lock=True)
            if "\x00" not in email and now - create_time < LINK_LIFE
            else None
        )
        if account is None or not _may_reset(tx, account[0]):
            continue
        worker = account[0]
        end_link(tx, worker.id, now)
        reset, token = PasswordReset.create(new_id(), worker, now), secrets.token_urlsafe(32)
        password_resets.add(tx, reset, mark_of(token), sealed_letter(mail, reset, worker, token))
        trail.append(Entry("password_reset_ask", worker.id))
    if trail:
        audit.record(tx, SYSTEM, now, trail)
    return len(requests)


def sending_links(
    database: Database,
    keyring: Keyring,
    mail: Keyring,
    clock: Clock,
    *,
    read_again: float = READ_AGAIN,
) -> Loop:
    """Returns the loop that sends links for stored requests."""

    def send() -> None:
        with database.transaction(SYSTEM, timeout=30) as tx:
            send_links(tx, keyring, mail, clock.now())

    def work(loop: Loop) -> None:
        work_when_due(
            loop,
            database,
            clock,
            password_resets.REQUESTS,
            password_resets.next_time,
            send,
            read_again=read_again,
        )

    return Loop("password-resets", work, waits_for=LOST)


def end_link(tx: Transaction, worker_id: str, now: datetime) -> None:
    """Ends an account's link, if there is one. The caller must have locked the account."""
    if reset := password_resets.by_worker(tx, worker_id):
        reset.end(now)
        password_resets.end(tx, reset)


def _may_reset(tx: Transaction, worker: Worker) -> bool:
    """Returns whether an e-mail to the mailbox may open the account.

    It may not if the account is suspended, or if the worker signs in through her organisation's
    provider.
    """
    return workers.is_in_good_standing(
        tx, worker.id, worker.organization_id
    ) and not sign_in_providers.has_account(tx, worker.id)
