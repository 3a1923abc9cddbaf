"""One's own account: its password, and where it is signed in."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from chassis.db import Transaction
from chassis.guesses import Guesses, Origin
from chassis.tokens import Caller
from keys.sealing import Keyring
from services.partners.domain.worker import session_lives
from services.partners.store import second_factors, workers
from services.partners.usecases.password_resets import end_link, tell_her
from services.partners.usecases.passwords import check_new, hashed, mark_of, own, prove
from services.partners.usecases.proofs import ways_of


@dataclass(frozen=True)
class Session:
    """One that has not ended. `current`: it is the one that asks."""

    id: str
    create_time: datetime
    last_use_time: datetime
    current: bool


def change_password(
    tx: Transaction,
    mail: Keyring,
    guesses: Guesses,
    caller: Caller,
    now: datetime,
    password: str,
    new_password: str,
    secret: str,
    origin: Origin,
) -> None:
    """Hers becomes another one, and only the session `secret` goes on: whoever sits at an open screen has to know the one before."""
    worker, password_hash = own(tx, caller)
    check_new(new_password, (worker.entry.name, worker.entry.email), "new_password")
    prove(guesses, worker, password_hash, password, now, origin)
    workers.set_password(tx, worker.id, hashed(new_password))
    second_factors.drop_challenges(tx, worker.id)  # before sessions, as in reset_password
    workers.end_sessions_of(tx, worker_id=worker.id, but=mark_of(secret))
    if ways_of(tx, caller).password:  # which she has just proved
        workers.prove_session(tx, mark_of(secret), worker.id, now)
    end_link(tx, worker.id, now)
    tell_her(tx, mail, worker, "password_changed", now)


def list_sessions(tx: Transaction, caller: Caller, now: datetime, secret: str) -> list[Session]:
    """Hers that have not ended, the one that was used last first."""
    mine = mark_of(secret)
    return [
        Session(_id(mark), create_time, last_use_time, mark == mine)
        for mark, create_time, last_use_time in workers.sessions_of(tx, caller.id)
        if session_lives(create_time, last_use_time, now)
    ]


def end_sessions(tx: Transaction, caller: Caller, identifier: str, secret: str) -> int:
    """Ends one of hers, or all but the one that asks; returns how many."""
    mine = mark_of(secret)
    marks = [mark for mark, *_ in workers.sessions_of(tx, caller.id) if (_id(mark) == identifier if identifier else mark != mine)]
    for mark in marks:
        workers.end_session(tx, mark)
    return len(marks)


def _id(mark: bytes) -> str:
    """What names a session, and is good for nothing: of the hash that is kept, not of the secret."""
    return hashlib.sha256(b"session " + mark).hexdigest()[:32]
