"""The common part of organisations, services, workers and keys.

It has an id, and a version that counts the published facts.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(kw_only=True)
class Subject:
    """A subject about which facts are published.

    `facts` are the facts that its store has still to write, in order.
    """

    id: str
    create_time: datetime
    update_time: datetime
    version: int = 0
    facts: list[str] = field(default_factory=list, compare=False)

    def seen_besides(self) -> tuple[str, ...]:
        """Returns the data of other subjects that a reader sees with the subject."""
        return ()

    def note(self, fact: str, now: datetime) -> None:
        """Counts a fact, which is published when the subject is stored."""
        self.version += 1
        self.update_time = now
        self.facts.append(fact)
