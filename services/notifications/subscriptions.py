"""The topics that this service consumes, and the handler of each fact.

A fact that needs neither a notice nor a record is accepted and ignored; a fact whose kind is newer
than this service is held.
"""

from collections.abc import Callable
from datetime import datetime

from chassis.clock import Clock
from chassis.contract import words_of
from chassis.db import Transaction
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.referrals.v1 import facts_pb2 as referrals_pb2
from services.notifications import wire
from services.notifications.usecases import consume

REFERRALS = "enlace.referrals.v1"
PARTNERS = "enlace.partners.v1"
ERASURES, ERASED = "enlace.erasures.v1", "enlace.erasure.done.v1"
"""The topic and type of the facts that this service witnesses.

It stores these facts as the referrals service signed them.
"""
TOPIC = "enlace.notifications.v1"

_SUBJECT_KINDS = {
    topic: [words_of(message).removesuffix("_fact") for message in file.message_types_by_name]
    for topic, file in ((REFERRALS, referrals_pb2.DESCRIPTOR), (PARTNERS, partners_pb2.DESCRIPTOR))
}
"""The kinds of subjects that the facts of a topic are about, as the contract names them."""

Handler = Callable[[Transaction, Fact], None]


def _handle_other_subject(
    tx: Transaction, fact: Fact, topic: str, now: datetime, *, by_email: bool
) -> None:
    """Handles a fact about a subject without a handler of its own.

    Writes the messages if the subject and the verb have a notice. Raises NewerKind for a kind of
    subject that the contract does not name.
    """
    kind = next((kind for kind in _SUBJECT_KINDS[topic] if wire.verb_of(fact, kind)), "")
    if not kind:
        raise NewerKind
    consume.subject(tx, fact, kind, now, by_email=by_email)


def referrals(clock: Clock, *, public_url: str, by_email: bool) -> Handler:
    """Returns the handler of the facts of the referrals service.

    The handler writes the messages about referrals, enquiries and every other subject that has a
    notice.
    """

    def handle(tx: Transaction, fact: Fact) -> None:
        if wire.verb_of(fact, "referral"):
            consume.referral(tx, fact, clock.now(), public_url=public_url, by_email=by_email)
        elif wire.verb_of(fact, "enquiry"):
            consume.enquiry(tx, fact, clock.now(), public_url=public_url, by_email=by_email)
        else:
            _handle_other_subject(tx, fact, REFERRALS, clock.now(), by_email=by_email)

    return handle


def partners(clock: Clock, *, by_email: bool) -> Handler:
    """Returns the handler of the facts of the partners service.

    The handler records which members are in good standing, and writes the messages about
    invitations, applications, organisations, a worker's own account, and every other subject that
    has a notice.
    """

    def handle(tx: Transaction, fact: Fact) -> None:
        if wire.verb_of(fact, "organization"):
            consume.organization(tx, fact)
        elif wire.verb_of(fact, "worker"):
            consume.worker(tx, fact)
        elif wire.verb_of(fact, "api_key"):
            consume.api_key(tx, fact)
        if wire.verb_of(fact, "invitation"):
            consume.invitation(tx, fact, clock.now(), by_email=by_email)
        elif wire.verb_of(fact, "application"):
            consume.application(tx, fact, clock.now(), by_email=by_email)
        elif wire.verb_of(fact, "account"):
            consume.account(tx, fact, clock.now(), by_email=by_email)
        else:
            _handle_other_subject(tx, fact, PARTNERS, clock.now(), by_email=by_email)

    return handle
