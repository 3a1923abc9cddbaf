"""The table of notices.

Each row has the fact that causes the notice, its recipients, and its text in Spanish. The
catalogues (services/notifications/words) have the other languages.

The texts are constant and reviewed like code; nothing in them depends on a person, a place or a
need. They are shown in the inbox, behind a sign-in, so they may say what happened.
"""

from services.notifications.domain.notices import cases, members, referrals
from services.notifications.domain.notices.notice import Notice

NOTICES: tuple[Notice, ...] = (*referrals.NOTICES, *cases.NOTICES, *members.NOTICES)
BY_KIND = {notice.kind: notice for notice in NOTICES}
BY_VERB = {notice.verb: notice for notice in NOTICES if notice.verb}
BY_FACT = {notice.fact: notice for notice in NOTICES if notice.fact}
