"""What live.js asks: whether the page it is on is behind. Most of it is answered at the door (services/gateway/live.py)."""

from flask import Blueprint, jsonify
from werkzeug.wrappers import Response

from chassis.errors import Refusal
from protos.notifications.v1.notifications_pb2 import CountUnreadRequest
from protos.referrals.v1.referrals_pb2 import GetQueueVersionRequest
from services.gateway import access, session
from services.gateway.clients import ServiceFault, clients
from services.gateway.live import PATH, live

blueprint = Blueprint("live", __name__)


@blueprint.get(PATH)
@access.open_to(access.EVERYONE)
def version() -> Response:
    """The version of what this reader's pages show, and a ticket with which it is cheap to ask again."""
    me = session.me()
    return jsonify(version=live().version(me, _asked), ticket=live().ticket(me))


def _asked() -> str:
    queue = clients().referrals.GetQueueVersion(GetQueueVersionRequest(), timeout=2.0).version
    return f"{queue}.{_messages()}"


def _messages() -> str:
    """Of the bell; it is not worth that lists stand still when it can't be had."""
    if not session.me().may("worker", "operator", "manager", "coordinator"):
        return ""
    try:
        return str(clients().notifications.CountUnread(CountUnreadRequest(), timeout=1.0).version)
    except (Refusal, ServiceFault):
        return ""
