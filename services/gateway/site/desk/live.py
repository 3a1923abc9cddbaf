"""The answer to live.js, which checks whether its page is out of date.

Most requests are answered before Flask handles them (services/gateway/site/shell/live.py).
"""

from flask import jsonify

from chassis.errors import Refusal
from protos.notifications.v1.notifications_pb2 import (
    BatchGetUnreadVersionsRequest,
    CountUnreadRequest,
)
from protos.referrals.v1.referrals_pb2 import BatchGetQueueVersionsRequest, GetQueueVersionRequest
from services.gateway.edge.clients import ServiceFault, clients
from services.gateway.site.shell import access, live, session

pages = access.Pages("live")


@pages.get(live.PATH, access.EVERYONE)
def version() -> access.Answer:
    """Returns the version of this reader's pages, and a ticket.

    With the ticket, the page can check again at little cost.
    """
    me = session.me()
    return jsonify(
        version=live.live().version(me, _fetch_versions, _fetch_versions_of_all),
        ticket=live.live().ticket(me),
    )


def _fetch_versions() -> live.Answer:
    queue = clients().referrals.GetQueueVersion(GetQueueVersionRequest(), timeout=2.0)
    try:
        unread = clients().notifications.CountUnread(CountUnreadRequest(), timeout=1.0)
    except (Refusal, ServiceFault):  # even without the unread count, the lists stay up to date
        return live.Answer(queue.version, "", ("", ""))
    return live.Answer(queue.version, unread.version, (queue.watch_token, unread.watch_token))


def _fetch_versions_of_all(tokens: list[tuple[str, str]]) -> list[live.Answer]:
    """Returns the versions for the tokens of several groups, with one call to each service."""
    queue_tokens, unread_tokens = zip(*tokens, strict=True)
    versions = (
        clients()
        .referrals.BatchGetQueueVersions(
            BatchGetQueueVersionsRequest(watch_tokens=queue_tokens), timeout=2.0
        )
        .versions
    )
    try:
        unread = list(
            clients()
            .notifications.BatchGetUnreadVersions(
                BatchGetUnreadVersionsRequest(watch_tokens=unread_tokens), timeout=1.0
            )
            .versions
        )
    except (Refusal, ServiceFault):
        unread = [""] * len(unread_tokens)
    return [live.Answer(*parts) for parts in zip(versions, unread, tokens, strict=True)]
