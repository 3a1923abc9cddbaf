"""The link by which a worker chooses another password: for one account, once, and for an hour."""

from datetime import datetime, timedelta
from typing import Self

from services.partners.members.domain.account_notice import NOTICE_LIFE, AccountNotice
from services.partners.members.domain.worker import Worker

LINK_LIFE = timedelta(hours=1)


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
