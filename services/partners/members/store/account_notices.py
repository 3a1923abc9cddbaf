"""Notices to a worker of her own account: no row, only the fact that is still to be told."""

from chassis import outbox
from chassis.db import Transaction
from services.partners.members.domain.account_notice import AccountNotice
from services.partners.members.wire import facts


def tell(tx: Transaction, notice: AccountNotice, sealed_letter: bytes = b"") -> None:
    """Has her told."""
    outbox.keep(tx, facts.account_facts(notice, sealed_letter))
    notice.facts.clear()
