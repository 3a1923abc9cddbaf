"""Ending a member's access and giving it back: what will happen to whom, the reason, and the two
coordinators.
"""

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
def show(identifier: str) -> str:
    """How it stands, and what a step would do."""
    return render({}, identifier)


def render(errors: dict[str, str], identifier: str) -> str:
    """The page, with what was wrong with a step.

    What a service that is away would have counted is missing, and no reason to wait.
    """
    organization = clients().directory.GetOrganization(d.GetOrganizationRequest(id=identifier))
    about: dict[str, Any] = {"organization_id": identifier}
    me, asked = session.me().worker_id, organization.suspension
    return render_template(
        "suspension.html",
        organization=organization,
        counted=counted(clients().directory.CountMemberAccess, d.CountMemberAccessRequest(**about)),
        work=counted(clients().statistics.CountMemberWork, r.CountMemberWorkRequest(**about)),
        systems=counted(
            clients().webhooks.CountMemberWebhooks, n.CountMemberWebhooksRequest(**about)
        ),
        waits=organization.HasField("suspension") and asked.HasField("expire_time"),
        mine=asked.worker_id == me,
        lifting=organization.reinstatement_proposed_by_worker_id,
        lifted_by_me=organization.reinstatement_proposed_by_worker_id == me,
        own=identifier == session.me().organization_id,
        errors=errors,
    )


def counted(ask: Callable[[Any], M], question: Message) -> M | None:
    """What a service counts; None while it is away."""
    try:
        return ask(question)
    except (Unavailable, ServiceFault):
        return None


@pages.post(
    "/directory/organizations/<identifier>/suspension",
    access.NETWORK,
    again=render,
    then="suspension.show",
)
def suspend(identifier: str) -> None:
    """Proposes it or agrees to it; by the other button, stops the member for a day."""
    clients().directory.SuspendOrganization(
        forms.filled(d.SuspendOrganizationRequest(id=identifier))
    )


@pages.post(
    "/directory/organizations/<identifier>/suspension/end",
    access.NETWORK,
    again=render,
    then="suspension.show",
)
def reinstate(identifier: str) -> None:
    """Proposes to give its access back, or agrees to that."""
    clients().directory.ReinstateOrganization(
        forms.filled(d.ReinstateOrganizationRequest(id=identifier))
    )
