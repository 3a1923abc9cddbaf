"""Facts about contacts and callbacks."""

from chassis.wire import timestamp
from facts.outbox import Fact
from protos.referrals.v1 import facts_pb2
from services.referrals.line.domain.callback import Callback
from services.referrals.line.domain.contact import Contact
from services.referrals.network.wire.messages import URGENCIES


def contact_fact(contact: Contact, verb: str) -> Fact:
    """Returns the fact about a contact.

    `verb` is "recorded", "changed", "told", "waiting" or "escalated".
    """
    message = facts_pb2.ContactFact(
        contact_id=contact.id,
        organization_id=contact.organization_id,
        line_country_code=contact.line_country,
        kind_code=contact.kind_code,
        urgency=URGENCIES.number(contact.triage.urgency()),
    )
    return Fact(
        contact.id,
        contact.version,
        f"enlace.contact.{verb}.v1",
        message.SerializeToString(),
        contact.update_time,
    )


def callback_fact(callback: Callback, verb: str) -> Fact:
    """Returns the fact about a callback.

    `verb` is "asked", "changed", "waiting", "escalated" or "settled".
    """
    message = facts_pb2.CallbackFact(
        callback_id=callback.id,
        organization_id=callback.organization_id,
        due_time=timestamp(callback.clock.due_time),
        outcome_code=callback.outcome_code,
    )
    return Fact(
        callback.id,
        callback.version,
        f"enlace.callback.{verb}.v1",
        message.SerializeToString(),
        callback.update_time,
    )
