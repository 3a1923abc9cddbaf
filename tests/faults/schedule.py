"""The list of faults of a fault run, which follows from a seed.

The seed determines the faults, their order and the length of each pause. The time of each fault
depends on the progress of the load (injector.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

KILL, PAUSE, REPLAY, DUPLICATES = "kill", "pause", "replay", "duplicates"
COPY, RESTORE = "copy", "restore"  # of the database of partners; a copy is followed by its restore

# Shares of 200 faults. A kill of PostgreSQL or referrals stops all transitions for four to ten
# seconds on two busy cores; a kill of notifications or the broker stops consumers for as long (a
# new member of a group waits up to nine seconds for its partitions); a kill of any other part costs
# only two seconds of processor time. Most faults are pauses, because a pause costs no more than its
# own length.
MIX: dict[tuple[str, str], int] = {
    (KILL, "referrals"): 14,
    (KILL, "notifications"): 10,
    (KILL, "partners"): 11,
    (KILL, "gateway"): 10,
    (KILL, "broker"): 7,
    (KILL, "postgres"): 7,
    (PAUSE, "referrals"): 26,
    (PAUSE, "notifications"): 18,
    (PAUSE, "partners"): 22,
    (PAUSE, "gateway"): 16,
    (PAUSE, "broker"): 16,
    (PAUSE, "postgres"): 16,
    (REPLAY, "referrals"): 3,
    (REPLAY, "partners"): 6,
    (DUPLICATES, "referrals"): 10,
    (DUPLICATES, "partners"): 8,
}
# (share of all pauses, shortest and longest in seconds). Most pauses are short, as on a slow disk
# or a busy machine. The probe of a database tolerates 1.5 s, and the session of a consumer 6 s.
LENGTHS = ((0.80, 0.2, 1.0), (0.15, 1.0, 3.0), (0.05, 3.0, 8.0))


@dataclass(frozen=True)
class Fault:
    """A fault of one part; `seconds` is the length of a pause."""

    kind: str
    part: str
    seconds: float = 0.0


def schedule(count: int, seed: int) -> list[Fault]:
    """Returns `count` faults in an order that the seed determines, and one copy.

    The copy comes after three tenths of the faults, its restore after six tenths.
    """
    rng = random.Random(seed)
    kinds = [
        kind for kind, share in MIX.items() for _ in range(round(share * count / sum(MIX.values())))
    ]
    # the faults that rounding left out; one place is for the restore
    kinds += [(PAUSE, "notifications")] * (count - 1 - len(kinds))
    kinds = kinds[: count - 1]
    rng.shuffle(kinds)
    faults = [Fault(kind, part, _length(rng) if kind == PAUSE else 0.0) for kind, part in kinds]
    faults.insert(count * 3 // 10, Fault(COPY, "partners"))
    faults.insert(count * 6 // 10, Fault(RESTORE, "partners"))
    return faults


def _length(rng: random.Random) -> float:
    shares, shortest, longest = zip(*LENGTHS, strict=True)
    n = rng.choices(range(len(LENGTHS)), shares)[0]
    return round(rng.uniform(shortest[n], longest[n]), 2)
