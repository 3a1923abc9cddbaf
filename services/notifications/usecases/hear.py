"""What is done about a fact that was heard. Called in the transaction of its inbox row: applied once, or not at all."""

from datetime import datetime

from chassis.db import Transaction
from chassis.envelope import NewerKind
from chassis.outbox import Fact
from services.notifications import wire
from services.notifications.domain.member import OUT
from services.notifications.domain.message import messages_of
from services.notifications.domain.rules import VERBS, told_of
from services.notifications.store import deliveries, members, messages


def referral(tx: Transaction, fact: Fact, now: datetime, *, public_url: str, by_email: bool) -> None:
    """Tells whom the rules name; a verb that no rule knows was said by a later version, which may want somebody told."""
    body = wire.referral_fact(fact)
    happening = wire.happening(fact, body)
    if happening.verb not in VERBS:
        raise NewerKind
    told = messages_of(happening, told_of(happening, now))
    messages.keep(tx, told, wire.webhook_body(fact, body, public_url), now, by_email=by_email)


def organization(tx: Transaction, fact: Fact) -> None:
    """Remembers how an organisation stands; to one that is out, nothing more is sent."""
    body = wire.organization_fact(fact)
    members.keep_organization(tx, body.organization_id, body.status_code)
    if body.status_code in OUT:
        deliveries.discard_of_organization(tx, body.organization_id)


def worker(tx: Transaction, fact: Fact) -> None:
    """Remembers how a worker stands."""
    body = wire.worker_fact(fact)
    members.keep_worker(tx, body.worker_id, body.organization_id, body.role_codes, body.status_code)


def api_key(tx: Transaction, fact: Fact) -> None:
    """Remembers whether a key is live."""
    body = wire.api_key_fact(fact)
    members.keep_api_key(tx, body.api_key_id, body.live)
