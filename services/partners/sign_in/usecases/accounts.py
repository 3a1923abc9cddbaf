"""The caller's own account: its password, and the sessions that are signed in to it."""

import hashlib

from chassis.audit import Entry
from chassis.guesses import Guesses
from chassis.rpc import Call
from chassis.wire import timestamp
from keys.sealing import Keyring
from protos.partners.v1 import accounts_pb2 as pb
from services.partners.members.domain.worker import session_lives
from services.partners.members.store import workers
from services.partners.members.usecases.notices import notify_worker
from services.partners.members.usecases.passwords import (
    check_new_password,
    check_own_password,
    hash_of,
    mark_of,
    own_account,
)
from services.partners.sign_in.store import second_factors
from services.partners.sign_in.usecases.password_resets import end_link
from services.partners.sign_in.usecases.proofs import ways_of


class Accounts:
    """Handles the rpcs for the caller's password and sessions."""

    def __init__(self, mail: Keyring, guesses: Guesses) -> None:
        """Sets up the handlers; `mail` seals e-mails, `guesses` counts wrong passwords."""
        self._mail = mail
        self._guesses = guesses

    def ChangePassword(
        self, request: pb.ChangePasswordRequest, call: Call
    ) -> pb.ChangePasswordResponse:
        """Changes the password and ends all sessions except the caller's.

        Needs the present password, so that an unattended screen is not enough.
        """
        tx, now = call.tx, call.clock.now()
        call.trail.append(Entry("password_change", call.caller.id))
        worker, password_hash = own_account(tx, call.caller)
        check_new_password(
            request.new_password, (worker.entry.name, worker.entry.email), "new_password"
        )
        check_own_password(self._guesses, worker, password_hash, request.password, now, call.origin)
        workers.set_password(tx, worker.id, hash_of(request.new_password))
        # This must come before the sessions end, as in ResetPassword.
        second_factors.drop_challenges(tx, worker.id)
        mark = mark_of(request.session_secret)
        workers.end_sessions_of(tx, worker_id=worker.id, except_secret_hash=mark)
        # If the password is the only way to prove a session, this request has proved it.
        if ways_of(tx, call.caller).only_password:
            workers.prove_session(tx, mark, worker.id, now)
        end_link(tx, worker.id, now)
        notify_worker(tx, self._mail, worker, "password_changed", now)
        return pb.ChangePasswordResponse()

    def ListSessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        """Lists the sessions that have not ended, the most recently used first.

        `current` marks the session that the request comes from.
        """
        now, current_mark = call.clock.now(), mark_of(request.session_secret)
        return pb.ListSessionsResponse(
            sessions=[
                pb.Session(
                    id=_id(mark),
                    create_time=timestamp(create_time),
                    last_use_time=timestamp(last_use_time),
                    current=mark == current_mark,
                )
                for mark, create_time, last_use_time in workers.sessions_of(call.tx, call.caller.id)
                if session_lives(create_time, last_use_time, now)
            ]
        )

    def EndSessions(self, request: pb.EndSessionsRequest, call: Call) -> pb.EndSessionsResponse:
        """Ends the session with this id, or all sessions except the caller's; returns how many."""
        call.trail.append(Entry("sessions_end", call.caller.id))
        current_mark = mark_of(request.session_secret)
        sessions = workers.sessions_of(call.tx, call.caller.id)
        marks = [
            mark
            for mark, *_ in sessions
            if (_id(mark) == request.id if request.id else mark != current_mark)
        ]
        for mark in marks:
            workers.end_session(call.tx, mark)
        return pb.EndSessionsResponse(ended=len(marks))


def _id(mark: bytes) -> str:
    """Returns the public id of a session.

    The id gives no access: it is derived from the stored hash, not from the secret.
    """
    return hashlib.sha256(b"session " + mark).hexdigest()[:32]
