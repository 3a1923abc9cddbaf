"""What somebody is told of her own account, and the link by which she chooses another password: for
one account, once, and for an hour.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from services.partners.domain.subject import Subject
from services.partners.domain.worker import Worker

LINK_LIFE = timedelta(hours=1)
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


class PasswordReset(AccountNotice):
    """A link that was asked for."""

    @classmethod
    def ask(cls, id: str, worker: Worker, now: datetime) -> Self:
        """A new one is open."""
        return cls.of(id, worker, "reset_asked", now, LINK_LIFE)

    def is_open(self, now: datetime) -> bool:
        """Whether it is still good; one of a clock that was ahead by more than its life is not."""
        return now < self.expire_time < now + 2 * LINK_LIFE

    def end(self, now: datetime) -> None:
        """It is good for nothing any more, and its letter need not arrive."""
        self.note("reset_ended", now)

    def use(self, now: datetime) -> None:
        """The password is another one; that is told for longer than the link was good."""
        self.expire_time = now + NOTICE_LIFE
        self.note("password_changed", now)
