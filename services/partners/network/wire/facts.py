"""The facts that a change of a subject noted, as they are told."""

from chassis.outbox import Fact
from services.partners.network.domain.subject import Subject


def facts_of(subject: Subject, kind: str, body: bytes) -> list[Fact]:
    """All facts that one change notes say how things are after it."""
    first = subject.version - len(subject.facts) + 1
    return [
        Fact(subject.id, first + number, f"enlace.{kind}.{word}.v1", body, subject.update_time)
        for number, word in enumerate(subject.facts)
    ]
