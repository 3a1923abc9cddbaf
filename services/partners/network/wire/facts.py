"""The facts that a change to a subject recorded, in their published form."""

from facts.outbox import Fact
from services.partners.network.domain.subject import Subject


def facts_of(subject: Subject, kind: str, body: bytes) -> list[Fact]:
    """Returns the facts of one change. All have the same body: the state after the change."""
    first_version = subject.version - len(subject.facts) + 1
    return [
        Fact(
            subject.id, first_version + index, f"enlace.{kind}.{word}.v1", body, subject.update_time
        )
        for index, word in enumerate(subject.facts)
    ]
