"""Whether the sealing keys are those of this database: looked at before anything is sealed or
opened, and then every minute.

With another key nothing of before would open, and what is new would open with no other: so the
process says which and ends.
"""

from chassis import log
from chassis.db import LOST, Database, Transaction
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from keys.sealing import CannotOpen, Keyring

WRONG, MISSING = "sealing_key_wrong", "sealing_key_missing"
"""A key does not open what it should; something may be sealed by a newer one than there is here."""
_TEXT = "these are the keys"
_MARKS = -1  # in place of a number: what fingerprints are made with
_EVERY = 60.0
_TAKING_TURNS = 0.2  # seconds: as often as a process looks how its loops stand


class KeyCheck:
    """One loop a service process.

    The keyring is held until it has agreed; a key service that is away is waited for.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._agreed = False
        self.wrong = ""
        keyring.hold()

    @property
    def agreed(self) -> bool:
        """Whether they were found to be the right ones."""
        return self._agreed

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
            problem = wrong(tx, self._keyring)
        if problem:
            log.get().error(problem)
        if problem == MISSING and self._agreed:
            # while a newer one is shared out, another process has it a moment earlier
            return problem
        self.wrong = problem
        if problem:
            self._keyring.hold()
        else:
            self._agreed = True
            self._keyring.release()
        return problem


def wrong(tx: Transaction, keyring: Keyring) -> str:
    """What is wrong with the keys, or nothing.

    Notes those that are new, if all others are right.
    """
    numbers = keyring.numbers
    kept = {
        row["number"]: bytes(row["value"])
        for row in tx.execute("SELECT number, value FROM sealing_checks")
    }
    if not numbers or any(number > max(numbers) for number in kept):
        return MISSING
    try:
        mark = keyring.fingerprint(_TEXT.encode(), "sealing_checks")
    except FileNotFoundError:
        return MISSING
    if kept.get(_MARKS, mark) != mark:
        return WRONG
    new = {
        number: keyring.checked(number, _TEXT, _context(number))
        for number in numbers
        if number not in kept
    }
    # A new one too: what can't open what it has just sealed must seal nothing.
    if not all(_opens(keyring, (kept | new)[number], number) for number in numbers):
        return WRONG
    for number, value in ({_MARKS: mark} | new).items():
        if number not in kept:
            tx.execute(
                "INSERT INTO sealing_checks (number, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (number, value),
            )
    return ""


def _opens(keyring: Keyring, value: bytes, number: int) -> bool:
    try:
        return keyring.opens(value, _context(number)) == _TEXT
    except CannotOpen:
        return False


def _context(number: int) -> str:
    return f"sealing_checks/{number}/value"
