"""A code of an app beside the password: by time (TOTP, RFC 6238), each good once, and ten others
for the day on which the app is gone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WINDOW = 1
"""How many steps earlier or later a phone's clock may be."""
RECOVERY_CODES = 10
CHALLENGE_LIFE = timedelta(minutes=5)
"""In which the code follows the password, or what a passkey signs follows the question."""


class Purpose(StrEnum):
    """What a challenge is for; it is good for nothing else."""

    SIGN_IN = "SIGN_IN"  # the password was right
    SET_UP = "SET_UP"  # the password was right, and a first code is to be taken into use
    PASSKEY_SIGN_IN = "PASSKEY_SIGN_IN"  # nobody is known yet
    PASSKEY = "PASSKEY"  # one is to be made
    PROOF = "PROOF"  # whoever is signed in proves again who she is


@dataclass
class SecondFactor:
    """Of one account.

    `last_step`: that of the last code that was taken; `recovery_hashes`: of the codes that are
    left.
    """

    worker_id: str
    confirm_time: datetime | None = None
    last_step: int = 0
    recovery_hashes: tuple[bytes, ...] = ()

    def steps(self, present: int) -> list[int]:
        """The steps whose codes are good in the present one: none is that was taken already, or is
        before one that was.
        """
        return [
            step for step in range(present - WINDOW, present + WINDOW + 1) if step > self.last_step
        ]
