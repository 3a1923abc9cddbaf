"""What members ask of the ways in which their workers sign in.

A way to sign in knows the worker, and a worker knows none: `sign_in` stands above this capability
and keeps this promise. The caller of each method has locked the account.
"""

from datetime import datetime
from typing import Protocol

from chassis.db import Transaction


class Credentials(Protocol):
    """The ways to sign in to each account, beside its password."""

    def end_all(self, tx: Transaction, worker_id: str, now: datetime) -> None:
        """Ends all of them, and the sessions of the account."""

    def end_second_factors(self, tx: Transaction, worker_id: str, now: datetime) -> bool:
        """Ends the codes and passkeys of an account, its sessions and its link for another
        password; returns False, and does nothing, if it has neither code nor passkey.
        """

    def end_link(self, tx: Transaction, worker_id: str, now: datetime) -> None:
        """Ends the link by which a worker would choose another password, if there is one."""
