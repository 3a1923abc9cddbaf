"""What a worker is told of her own account."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from services.partners.members.domain.worker import Worker
from services.partners.network.domain.subject import Subject

NOTICE_LIFE = timedelta(days=7)
"""For so long a letter about what was done waits for a mail server."""


@dataclass
class AccountNotice(Subject):
    """What she is told. The secret of a link is nowhere here."""

    worker_id: str
    organization_id: str
    expire_time: datetime
    by_role: str = ""  # who did it, where it was not herself

    @classmethod
    def of(
        cls,
        id: str,
        worker: Worker,
        fact: str,
        now: datetime,
        life: timedelta = NOTICE_LIFE,
        by_role: str = "",
    ) -> Self:
        """That this has become true of her account."""
        notice = cls(
            id=id,
            create_time=now,
            update_time=now,
            worker_id=worker.id,
            organization_id=worker.organization_id,
            expire_time=now + life,
            by_role=by_role,
        )
        notice.note(fact, now)
        return notice
