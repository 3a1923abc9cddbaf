"""The trail as the auditor looks at it: searched, and computed anew against what was witnessed of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chassis import audit
from chassis.audit import Finding, Head
from chassis.db import Transaction

_ROWS = 200_000  # computed anew in one call: two seconds' work


@dataclass(frozen=True)
class Verdict:
    """Up to which row it was looked at, where the trail ends, against how many witnessed heads of these rows, and what is wrong."""

    until: Head
    end: int
    witnesses: int
    findings: list[Finding]


class TrailBook:
    """Rows hold ids and codes only; there is nothing sealed in them."""

    def __init__(self, witnessed: Callable[[], Mapping[int, Iterable[bytes]]]) -> None:
        """`witnessed`: heads of this trail that were said, by their sequence (chassis.heads)."""
        self._witnessed = witnessed

    def search(self, tx: Transaction, limit: int, before: int | None, **wanted: Any) -> list[dict[str, Any]]:
        """Rows, newest first."""
        return audit.search(tx, limit=limit, before=before, **wanted)

    def verify(self, tx: Transaction, after: Head) -> Verdict:
        """The chain from the row after `after` on, as far as one call gets; at its end also what was witnessed beyond it."""
        witnessed = self._witnessed()  # before the head is read: what is said later is no longer than what there is by then
        end = audit.head(tx)
        until = min(end.sequence, after.sequence + _ROWS)
        last, findings = audit.verify(tx, after, until, witnessed, audit.marked_since(tx))
        if until == end.sequence:
            if last != end and not findings:
                findings.append(Finding(end.sequence, "altered"))
            findings += [Finding(sequence, "cut") for sequence in sorted(witnessed) if sequence > last.sequence]
            findings += audit.repeated(tx)
        seen = sum(after.sequence < sequence <= until for sequence in witnessed)
        return Verdict(Head(until, last.hash), end.sequence, seen, findings)
