"""Whether the sealing keys are those of this database: looked at before anything is sealed or opened, and then every minute.

With another key nothing of before would open, and what is new would open with no other: so the process says which and ends.
"""

from chassis import log
from chassis.db import LOST, Database, Transaction
from chassis.sealing import CannotOpen, Keyring
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM

WRONG, MISSING = "sealing_key_wrong", "sealing_key_missing"
"""A key does not open what it should; something may be sealed by a newer one than there is here."""
_TEXT = "these are the keys"
_EVERY = 60.0
_TAKING_TURNS = 0.2  # seconds: as often as a process looks how its loops stand


class KeyCheck:
    """One loop a service process. The keyring is held until it has agreed."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._agreed = False
        self.wrong = ""
        keyring.hold()

    def loop(self) -> Loop:
        """The loop that turns it."""
        return Loop("keys", self._work, waits_for=LOST, limit=3 * _EVERY)

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            self.turn()
            loop.wait(_EVERY if not self.wrong else _TAKING_TURNS)

    def turn(self) -> str:
        """Looks once; returns what is wrong, or nothing."""
        with self._database.transaction(SYSTEM) as tx:
            found = wrong(tx, self._keyring)
        if found:
            log.get().error(found)
        if found == MISSING and self._agreed:
            return found  # while a newer one is shared out, another process has it a moment earlier
        self.wrong = found
        if found:
            self._keyring.hold()
        else:
            self._agreed = True
            self._keyring.release()
        return found


def wrong(tx: Transaction, keyring: Keyring) -> str:
    """What is wrong with the keys, or nothing. Notes those that are new."""
    numbers = keyring.numbers
    kept = {row["number"]: bytes(row["value"]) for row in tx.execute("SELECT number, value FROM sealing_checks")}
    if any(number > max(numbers) for number in kept):
        return MISSING
    for number in numbers:
        if number not in kept:
            tx.execute(
                "INSERT INTO sealing_checks (number, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (number, keyring.checked(number, _TEXT, _context(number))),
            )
        elif not _opens(keyring, kept[number], number):
            return WRONG
    return ""


def _opens(keyring: Keyring, value: bytes, number: int) -> bool:
    try:
        return keyring.opens(value, _context(number)) == _TEXT
    except CannotOpen:
        return False


def _context(number: int) -> str:
    return f"sealing_checks/{number}/value"
