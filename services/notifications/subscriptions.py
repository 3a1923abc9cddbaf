"""What this service hears, and what it does about it. Facts without a reaction are taken in all the same: their subject's versions must not have gaps."""

from collections.abc import Callable

from chassis.clock import Clock
from chassis.db import Transaction
from chassis.outbox import Fact
from services.notifications import wire
from services.notifications.usecases import hear

REFERRALS = "enlace.referrals.v1"
PARTNERS = "enlace.partners.v1"
TOPIC = "enlace.notifications.v1"

Handler = Callable[[Transaction, Fact], None]


def referrals(clock: Clock, *, public_url: str, by_email: bool) -> Handler:
    """Tells of referrals; contacts and receipts are nobody's message."""

    def handle(tx: Transaction, fact: Fact) -> None:
        if wire.verb_of(fact, "referral"):
            hear.referral(tx, fact, clock.now(), public_url=public_url, by_email=by_email)

    return handle


def partners(tx: Transaction, fact: Fact) -> None:
    """Remembers who is in good standing; what members offer does not matter here."""
    if wire.verb_of(fact, "organization"):
        hear.organization(tx, fact)
    elif wire.verb_of(fact, "worker"):
        hear.worker(tx, fact)
    elif wire.verb_of(fact, "api_key"):
        hear.api_key(tx, fact)
