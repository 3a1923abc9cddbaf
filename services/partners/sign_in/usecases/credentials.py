"""Ends accounts' sign-in methods, for the steps in `members` that need this."""

from datetime import datetime

from chassis.db import Transaction
from services.partners.members.store import workers
from services.partners.sign_in.store import passkeys, second_factors, sign_in_providers
from services.partners.sign_in.usecases.password_resets import end_link


class SignInCredentials:
    """Implements the protocol in services.partners.members.usecases.credentials."""

    def end_all(self, tx: Transaction, worker_id: str, now: datetime) -> None:
        """Ends the sessions of an account, and all sign-in methods except its password."""
        end_link(tx, worker_id, now)
        second_factors.end(tx, worker_id)  # she may have lost her phone
        passkeys.delete(tx, worker_id)
        workers.end_sessions_of(tx, worker_id=worker_id)
        sign_in_providers.forget_account(tx, worker_id)

    def end_second_factors(self, tx: Transaction, worker_id: str, now: datetime) -> bool:
        """Ends an account's codes, passkeys, sessions and password link.

        Returns False, and does nothing, if the account has neither code nor passkey.
        """
        factor = second_factors.get(tx, worker_id, lock=True)
        if not (passkeys.by_worker(tx, worker_id) or (factor and factor.confirm_time)):
            return False
        second_factors.end(tx, worker_id)
        passkeys.delete(tx, worker_id)
        workers.end_sessions_of(tx, worker_id=worker_id)
        # a link that was requested while a second factor was needed must not open the account now
        end_link(tx, worker_id, now)
        return True

    def end_link(self, tx: Transaction, worker_id: str, now: datetime) -> None:
        """Ends the link for setting a new password, if there is one."""
        end_link(tx, worker_id, now)

    def drop_provider_proposals(self, tx: Transaction, worker_id: str) -> None:
        """Drops the sign-in providers that the account proposed."""
        for provider in sign_in_providers.proposed_by(tx, worker_id, lock=True):
            provider.object()
            sign_in_providers.save(tx, provider)
