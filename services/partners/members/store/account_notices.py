"""Notices to a worker about her own account. No row is stored, only the fact to publish."""

from chassis.db import Transaction
from facts import outbox
from services.partners.members.domain.account_notice import AccountNotice
from services.partners.members.wire import facts


def publish(tx: Transaction, notice: AccountNotice, sealed_letter: bytes = b"") -> None:
    """Publishes a notice to the worker, with its sealed e-mail."""
    outbox.save(tx, facts.account_facts(notice, sealed_letter))
    notice.facts.clear()
