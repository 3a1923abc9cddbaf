"""Checks that the sealing keys belong to the database, before anything is sealed or opened, and
every minute after that.

With wrong keys, existing data would not open, and data sealed now would not open with the right
keys. So the process logs the problem and ends.
"""

from chassis import log
from chassis.db import LOST, Database, Transaction
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from keys.sealing import CannotOpen, Keyring

WRONG, MISSING = "sealing_key_wrong", "sealing_key_missing"
"""WRONG: a key does not open the value that is stored for its number, or the fingerprint differs
from the stored fingerprint. MISSING: the process has no key, or no secret for fingerprints, or the
database knows a newer key.
"""
_TEXT = "these are the keys"
_FINGERPRINT = -1  # the number under which the fingerprint of the text is stored
_EVERY = 60.0  # seconds between two checks
# Seconds between two checks while there is a problem: as often as the process reads `problem`.
_RETRY_WRONG = 0.2


class KeyCheck:
    """Runs the check in a loop of the service's process.

    The keyring is blocked until the keys are found to be right. The loop waits for an unavailable
    key service.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._confirmed = False
        self.problem = ""
        keyring.block()

    @property
    def confirmed(self) -> bool:
        """True once the keys were found to be right."""
        return self._confirmed

    def loop(self) -> Loop:
        """Returns the loop that runs the check."""
        return Loop("keys", self._work, waits_for=LOST, limit=3 * _EVERY)

    def _work(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            while loop.turn():
                self.turn(connection)
                loop.wait(_EVERY if not self.problem else _RETRY_WRONG)

    def turn(self, connection: Transaction | None = None) -> str:
        """Checks the keys now; returns the problem, or ""."""
        if connection is None:
            with self._database.transaction(SYSTEM) as tx:
                return self.turn(tx)
        problem = find_problem(connection, self._keyring)
        if problem:
            log.get().error(problem)
        if problem == MISSING and self._confirmed:
            # while a new key is being distributed, another process may have the key a moment
            # earlier
            return problem
        self.problem = problem
        if problem:
            self._keyring.block()
        else:
            self._confirmed = True
            self._keyring.release()
        return problem


def find_problem(tx: Transaction, keyring: Keyring, *, read_only: bool = False) -> str:
    """Returns the problem with the keys, or "".

    If all keys are right, stores the check values of new keys, unless `read_only` is True.
    """
    numbers = keyring.numbers
    stored_values = {
        row["number"]: bytes(row["value"])
        for row in tx.execute("SELECT number, value FROM sealing_checks")
    }
    if not numbers or any(number > max(numbers) for number in stored_values):
        return MISSING
    try:
        fingerprint = keyring.fingerprint(_TEXT.encode(), "sealing_checks")
    except FileNotFoundError:
        return MISSING
    if stored_values.get(_FINGERPRINT, fingerprint) != fingerprint:
        return WRONG
    new_values = {
        number: keyring.seal_check(number, _TEXT, _context(number))
        for number in numbers
        if number not in stored_values
    }
    # New keys are checked too: a key that can't open what it sealed must not be used.
    if not all(_opens(keyring, (stored_values | new_values)[number], number) for number in numbers):
        return WRONG
    for number, value in ({_FINGERPRINT: fingerprint} | new_values).items():
        if number not in stored_values and not read_only:
            tx.execute(
                "INSERT INTO sealing_checks (number, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (number, value),
            )
    return ""


def _opens(keyring: Keyring, value: bytes, number: int) -> bool:
    try:
        return keyring.open_check(value, _context(number)) == _TEXT
    except CannotOpen:
        return False


def _context(number: int) -> str:
    return f"sealing_checks/{number}/value"
