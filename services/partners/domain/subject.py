"""What organisations, services, workers and keys have in common: an id, a version that counts what was told of them, and an etag made of it."""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime

from chassis.errors import Invalid, Stale


@dataclass(kw_only=True)
class Subject:
    """Something of which facts are told. `facts` are those that its supervisor has still to write, in order."""

    id: str
    create_time: datetime
    update_time: datetime
    version: int = 0
    facts: list[str] = field(default_factory=list, compare=False)

    @property
    def etag(self) -> str:
        """Another one whenever what a reader sees has changed."""
        return hashlib.sha256("/".join([self.id, str(self.version), *self.seen_besides()]).encode()).hexdigest()[:24]

    def seen_besides(self) -> tuple[str, ...]:
        """What a reader sees with it though it belongs to another subject."""
        return ()

    def check_etag(self, etag: str, path: str = "etag", *, required: bool = True) -> None:
        """Refuses a change that is based on another version."""
        if not etag:
            if required:
                raise Invalid((path, "required"))
        elif not hmac.compare_digest(etag.encode(), self.etag.encode()):
            raise Stale

    def note(self, fact: str, now: datetime) -> None:
        """Counts a fact; it is told when the subject is kept."""
        self.version += 1
        self.update_time = now
        self.facts.append(fact)
