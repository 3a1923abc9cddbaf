"""Notices to a worker of her own account: no row, only the fact to publish."""

from chassis import outbox
from chassis.db import Transaction
from services.partners.members.domain.account_notice import AccountNotice
from services.partners.members.wire import facts


def tell(tx: Transaction, notice: AccountNotice, sealed_letter: bytes = b"") -> None:
    """Publishes a notice to the worker, with its sealed letter."""
    outbox.keep(tx, facts.account_facts(notice, sealed_letter))
    notice.facts.clear()
