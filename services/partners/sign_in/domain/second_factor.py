"""The code of an app beside the password.

Codes go by time (TOTP, RFC 6238), and each is valid once. Ten recovery codes serve if the app is
lost.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WINDOW = 1
"""The number of steps by which a phone's clock may be wrong, either way."""
RECOVERY_CODES = 10
CHALLENGE_LIFE = timedelta(minutes=5)
"""The time in which the code follows the password, or a passkey's signature its challenge."""


class Purpose(StrEnum):
    """The purpose of a challenge; it is valid for no other."""

    SIGN_IN = "SIGN_IN"  # the password was right
    SET_UP = "SET_UP"  # the password was right, and a first code is to be taken into use
    PASSKEY_SIGN_IN = "PASSKEY_SIGN_IN"  # the user is not known yet
    PASSKEY = "PASSKEY"  # a passkey is to be created
    PROOF = "PROOF"  # a signed-in worker proves again who she is


@dataclass
class SecondFactor:
    """The app of one account.

    `last_step`: the step of the last code that was used; `recovery_hashes`: hashes of the codes
    that are left.
    """

    worker_id: str
    confirm_time: datetime | None = None
    last_step: int = 0
    recovery_hashes: tuple[bytes, ...] = ()

    def steps(self, present: int) -> list[int]:
        """Returns the steps whose codes are valid in the present step.

        Steps up to the last used one are not among them.
        """
        return [
            step for step in range(present - WINDOW, present + WINDOW + 1) if step > self.last_step
        ]
