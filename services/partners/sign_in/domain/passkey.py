"""A passkey (WebAuthn): a key in somebody's device, of which only the public half is known here.

It signs in beside the password, or alone.
"""

from dataclasses import dataclass
from datetime import datetime

from chassis.errors import Conflict

MOST = 10  # of an account: what somebody has in use, and a few devices that she had before


@dataclass
class Passkey:
    """One of an account.

    `sign_count`: how often it says that it has signed; 0 if it does not count.
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
        """It signed in."""
        self.sign_count, self.last_use_time = sign_count, now


def check_room(known: int) -> None:
    """Refuses another beside `known` ones when there are enough."""
    if known >= MOST:
        raise Conflict("too_many_passkeys")
