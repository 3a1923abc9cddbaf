"""Notices to a worker about changes to her own account, such as a new password."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from services.partners.members.domain.worker import Worker
from services.partners.network.domain.subject import Subject

NOTICE_LIFE = timedelta(days=7)
"""The longest time that the e-mail of a notice may wait for a mail server."""


@dataclass
class AccountNotice(Subject):
    """A notice about an account. It never contains the secret of a link."""

    worker_id: str
    organization_id: str
    expire_time: datetime
    by_role: str = ""  # the role of the person who took the step; "" for the worker herself

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
        """Returns a new notice of this fact about the worker's account; it expires after `life`."""
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
