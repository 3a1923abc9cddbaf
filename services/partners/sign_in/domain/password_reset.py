"""The link with which a worker sets a new password: for one account, once, within an hour."""

from datetime import datetime, timedelta
from typing import Self

from services.partners.members.domain.account_notice import NOTICE_LIFE, AccountNotice
from services.partners.members.domain.worker import Worker

LINK_LIFE = timedelta(hours=1)


class PasswordReset(AccountNotice):
    """A requested link."""

    @classmethod
    def create(cls, id: str, worker: Worker, now: datetime) -> Self:
        """Returns a new link, which is open."""
        return cls.of(id, worker, "reset_asked", now, LINK_LIFE)

    def is_open(self, now: datetime) -> bool:
        """Returns whether the link is valid.

        A link whose expiry lies too far in the future is not valid, because a clock was wrong.
        """
        return now < self.expire_time < now + 2 * LINK_LIFE

    def end(self, now: datetime) -> None:
        """Ends the link; its e-mail need no longer be sent."""
        self.note("reset_ended", now)

    def use(self, now: datetime) -> None:
        """Records that the link was used to change the password.

        The notice of the change is kept for NOTICE_LIFE, longer than the link.
        """
        self.expire_time = now + NOTICE_LIFE
        self.note("password_changed", now)
