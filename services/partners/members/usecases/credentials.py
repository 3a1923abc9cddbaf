"""The operations on sign-in methods that `members` needs.

`sign_in` depends on `members`, not the other way round, and implements this protocol. The caller of
each method must have locked the account.
"""

from datetime import datetime
from typing import Protocol

from chassis.db import Transaction


class Credentials(Protocol):
    """The sign-in methods of each account besides its password."""

    def end_all(self, tx: Transaction, worker_id: str, now: datetime) -> None:
        """Ends the sessions of an account, and all sign-in methods except its password."""

    def end_second_factors(self, tx: Transaction, worker_id: str, now: datetime) -> bool:
        """Ends an account's codes, passkeys, sessions and password link.

        Returns False, and does nothing, if the account has neither code nor passkey.
        """

    def end_link(self, tx: Transaction, worker_id: str, now: datetime) -> None:
        """Ends the link for setting a new password, if there is one."""

    def drop_provider_proposals(self, tx: Transaction, worker_id: str) -> None:
        """Drops the sign-in providers that the account proposed."""
