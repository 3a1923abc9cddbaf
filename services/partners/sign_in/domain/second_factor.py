"""A second factor in addition to a password: the codes of an app.

Codes depend on the time (TOTP, RFC 6238), and each is valid once. Ten recovery codes replace the
app if it is lost.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WINDOW = 1
"""How many time steps a phone's clock may be fast or slow."""
RECOVERY_CODES = 10
CHALLENGE_LIFE = timedelta(minutes=5)
"""How long a challenge can be answered with a code or a passkey's signature."""


class Purpose(StrEnum):
    """The purpose of a challenge, which is valid for no other purpose."""

    SIGN_IN = "SIGN_IN"  # the password or the provider's proof was right
    SET_UP = "SET_UP"  # the first proof was right, but an app must first be set up
    PASSKEY_SIGN_IN = "PASSKEY_SIGN_IN"  # the user is not known yet
    PASSKEY = "PASSKEY"  # a passkey is to be created
    PROOF = "PROOF"  # a signed-in worker proves again who she is


@dataclass
class SecondFactor:
    """The app of one account.

    `last_step`: the time step of the last used code; `recovery_hashes`: the hashes of the unused
    recovery codes.
    """

    worker_id: str
    confirm_time: datetime | None = None
    last_step: int = 0
    recovery_hashes: tuple[bytes, ...] = ()

    def steps(self, present_step: int) -> list[int]:
        """Returns the time steps whose codes are valid in the present step.

        Steps up to the last used step are left out.
        """
        return [
            step
            for step in range(present_step - WINDOW, present_step + WINDOW + 1)
            if step > self.last_step
        ]
