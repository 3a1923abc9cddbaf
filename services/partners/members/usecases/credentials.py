"""The methods of signing in, as far as members need them.

A sign-in method knows its worker, and a worker knows no method: `sign_in` stands above this
capability and implements this protocol. The caller of each method has locked the account.
"""

from datetime import datetime
from typing import Protocol

from chassis.db import Transaction


class Credentials(Protocol):
    """The sign-in methods of each account, beside its password."""

    def end_all(self, tx: Transaction, worker_id: str, now: datetime) -> None:
        """Ends all sign-in methods, and the sessions of the account."""

    def end_second_factors(self, tx: Transaction, worker_id: str, now: datetime) -> bool:
        """Ends the codes and passkeys of an account, its sessions and its password link.

        Returns False, and does nothing, if the account has neither code nor passkey.
        """

    def end_link(self, tx: Transaction, worker_id: str, now: datetime) -> None:
        """Ends the link for another password, if there is one."""
