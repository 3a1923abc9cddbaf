"""What organisations, services, workers and keys have in common: an id, and a version that counts
what was told of them.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(kw_only=True)
class Subject:
    """Something of which facts are told.

    `facts` are those that its supervisor has still to write, in order.
    """

    id: str
    create_time: datetime
    update_time: datetime
    version: int = 0
    facts: list[str] = field(default_factory=list, compare=False)

    def seen_besides(self) -> tuple[str, ...]:
        """What a reader sees with it though it belongs to another subject."""
        return ()

    def note(self, fact: str, now: datetime) -> None:
        """Counts a fact; it is told when the subject is kept."""
        self.version += 1
        self.update_time = now
        self.facts.append(fact)
