"""The kinds of messages that are for people's inboxes alone: no webhook receives them."""

from services.notifications.domain.notices import NOTICES
from services.notifications.domain.notices.notice import Party
from services.notifications.domain.texts import ACCOUNT

_PEOPLE = {Party.COORDINATION_ALONE, Party.COORDINATION_PER_FACT, Party.MANAGERS, Party.AUDITORS}
FOR_PEOPLE_ALONE = {notice.kind for notice in NOTICES if _PEOPLE & {*notice.parties}} | {
    "message_undeliverable",
    "sending_changed",
    *ACCOUNT,
}
