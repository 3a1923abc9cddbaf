"""Suspending and reinstating a member: consequences, reason, and the two coordinators."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import render_template
from google.protobuf.message import Message

from chassis.errors import Unavailable
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import ServiceFault, clients
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("suspension")
M = TypeVar("M", bound=Message)


@pages.get("/directory/organizations/<identifier>/suspension", access.NETWORK)
def show(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the current state, and the consequences of a step.

    The page does not wait for a service that is down, and leaves out the counts of that service.
    """
    organization = clients().directory.GetOrganization(d.GetOrganizationRequest(id=identifier))
    about: dict[str, Any] = {"organization_id": identifier}
    me, suspension = session.me().worker_id, organization.suspension
    return render_template(
        "suspension.html",
        organization=organization,
        counted=counts_or_none(
            clients().directory.CountMemberAccess, d.CountMemberAccessRequest(**about)
        ),
        work=counts_or_none(
            clients().statistics.CountMemberWork, r.CountMemberWorkRequest(**about)
        ),
        systems=counts_or_none(
            clients().webhooks.CountMemberWebhooks, n.CountMemberWebhooksRequest(**about)
        ),
        waits=organization.HasField("suspension") and suspension.HasField("expire_time"),
        mine=suspension.worker_id == me,
        lifting=organization.reinstatement_proposed_by_worker_id,
        lifted_by_me=organization.reinstatement_proposed_by_worker_id == me,
        own=identifier == session.me().organization_id,
        errors=errors,
    )


def counts_or_none(ask: Callable[[Any], M], rpc_request: Message) -> M | None:
    """Returns the counts of a service; None if the service is down or fails."""
    try:
        return ask(rpc_request)
    except (Unavailable, ServiceFault):
        return None


# Proposes the suspension, or agrees to it. With the other button, suspends the member for a day at
# once.
pages.sends(
    "suspend",
    "/directory/organizations/<identifier>/suspension",
    access.NETWORK,
    d.SuspendOrganizationRequest,
    again=show,
    then="suspension.show",
)
# Proposes the end of the suspension, or agrees to it.
pages.sends(
    "reinstate",
    "/directory/organizations/<identifier>/suspension/end",
    access.NETWORK,
    d.ReinstateOrganizationRequest,
    again=show,
    then="suspension.show",
)
