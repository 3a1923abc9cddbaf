"""The common part of organisations, services, workers and all other subjects.

Each subject has an id, and a version that counts its facts.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(kw_only=True)
class Subject:
    """A subject about which facts are published.

    `facts` are the facts that the store has not written yet, in order.
    """

    id: str
    create_time: datetime
    update_time: datetime
    version: int = 0
    facts: list[str] = field(default_factory=list, compare=False)

    def data_outside_version(self) -> tuple[str, ...]:
        """Returns the data that is shown with the subject but is not covered by its version."""
        return ()

    def note(self, fact: str, now: datetime) -> None:
        """Records a fact, to be published when the subject is stored, and raises the version."""
        self.version += 1
        self.update_time = now
        self.facts.append(fact)
