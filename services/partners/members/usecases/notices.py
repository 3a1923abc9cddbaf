"""Notices to a worker about her account or her organisation, each with a sealed e-mail."""

from datetime import datetime

from chassis.db import Transaction
from chassis.ids import new_id
from keys.sealing import Keyring
from services.partners.members.domain.account_notice import AccountNotice
from services.partners.members.domain.worker import Worker
from services.partners.members.store import workers
from services.partners.members.store.account_notices import publish
from services.partners.members.wire import messages


def notify_worker(
    tx: Transaction, mail: Keyring, worker: Worker, fact: str, now: datetime, *, by_role: str = ""
) -> None:
    """Notifies a worker of a change to her account, in Enlace and by e-mail."""
    notice = AccountNotice.of(new_id(), worker, fact, now, by_role=by_role)
    publish(tx, notice, sealed_letter(mail, notice, worker))


def notify_all_managers(
    tx: Transaction, mail: Keyring, organization_id: str, fact: str, now: datetime
) -> None:
    """Notifies each manager of an organisation with an active account."""
    for manager in workers.all_managers(tx, organization_id):
        notify_worker(tx, mail, manager, fact, now)


def sealed_letter(mail: Keyring, notice: AccountNotice, worker: Worker, token: str = "") -> bytes:
    """Returns a notice's sealed e-mail. `token`: the secret of its link; "" if it has no link."""
    return mail.seal_bytes(messages.account_letter(worker, token), f"accounts/{notice.id}/letter")
