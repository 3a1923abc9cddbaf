"""A passkey (WebAuthn): a key in a person's device. Only its public half is stored here.

A passkey is used after the password, or alone.
"""

from dataclasses import dataclass
from datetime import datetime

from chassis.errors import Conflict

# the maximum number of passkeys of an account: enough for all devices in use and a few former ones
MAX_PASSKEYS = 10


@dataclass
class Passkey:
    """An account's passkey.

    `sign_count`: the number of signatures that the passkey last reported; 0 if the passkey does not
    count its signatures.
    """

    id: str
    worker_id: str
    label: str
    create_time: datetime
    credential_id: bytes
    credential: bytes
    sign_count: int = 0
    last_use_time: datetime | None = None

    def use(self, sign_count: int, now: datetime) -> None:
        """Records a use of the passkey, at sign-in or to prove a session."""
        self.sign_count, self.last_use_time = sign_count, now


def check_count(count: int) -> None:
    """Raises Conflict if an account with `count` passkeys can have no more."""
    if count >= MAX_PASSKEYS:
        raise Conflict("too_many_passkeys")
