"""Steps about one member that two coordinators decide: its suspension, and its sign-in provider."""

from typing import Any

from flask import abort, render_template
from google.protobuf.message import Message

from chassis.errors import Unavailable
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import ServiceFault, clients, send
from services.gateway.site.backend import answer_or
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("member")
PROVIDER_STEPS = {
    "propose": m.ProposeSignInProviderRequest,
    "confirm": m.ConfirmSignInProviderRequest,
    "end": m.EndSignInProviderRequest,
}


@pages.get("/directory/organizations/<identifier>/suspension", access.NETWORK)
def suspension(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the current state, and the consequences of a step.

    The page does not wait for a service that is down, and leaves out the counts of that service.
    """
    organization = clients().directory.GetOrganization(d.GetOrganizationRequest(id=identifier))
    me, current = session.me().worker_id, organization.suspension
    return render_template(
        "suspension.html",
        organization=organization,
        counted=counts_or_none(d.CountMemberAccessRequest(organization_id=identifier)),
        work=counts_or_none(r.CountMemberWorkRequest(organization_id=identifier)),
        systems=counts_or_none(n.CountMemberWebhooksRequest(organization_id=identifier)),
        waits=organization.HasField("suspension") and current.HasField("expire_time"),
        mine=current.worker_id == me,
        lifting=organization.reinstatement_proposed_by_worker_id,
        lifted_by_me=organization.reinstatement_proposed_by_worker_id == me,
        own=identifier == session.me().organization_id,
        errors=errors,
    )


def counts_or_none(rpc_request: Message) -> Any:
    """Returns the counts of a service; None if the service is down or fails."""
    return answer_or(None, rpc_request, Unavailable, ServiceFault)


# Proposes the suspension, or agrees to it. With the other button, suspends the member for a day at
# once.
pages.sends(
    "suspend",
    "/directory/organizations/<identifier>/suspension",
    access.NETWORK,
    d.SuspendOrganizationRequest,
    again=suspension,
    then="member.suspension",
)
# Proposes the end of the suspension, or agrees to it.
pages.sends(
    "reinstate",
    "/directory/organizations/<identifier>/suspension/end",
    access.NETWORK,
    d.ReinstateOrganizationRequest,
    again=suspension,
    then="member.suspension",
)


@pages.get("/directory/organizations/<identifier>/sign-in", access.NETWORK)
def provider(identifier: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    return render_template(
        "sign_in_provider.html",
        organization=send(d.GetOrganizationRequest(id=identifier)),
        provider=send(m.GetSignInProviderRequest(organization_id=identifier)),
        errors=errors,
    )


@pages.post(
    "/directory/organizations/<identifier>/sign-in",
    access.NETWORK,
    again=provider,
    then="member.provider",
)
def change_provider(identifier: str) -> None:
    """Proposes a provider, confirms the proposal, or ends the provider."""
    request_type = PROVIDER_STEPS.get(forms.text("step"))
    if request_type is None:
        abort(404)
    send(forms.filled(request_type(organization_id=identifier)))


@pages.get("/sign-in-provider", access.MANAGERS)
def proposed_provider(errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the member's managers the page to which the notice about a proposed provider leads."""
    return render_template("sign_in_provider_objection.html", errors=errors)


# Drops the proposal, at the manager's objection.
pages.sends(
    "object_to_provider",
    "/sign-in-provider",
    access.MANAGERS,
    m.ObjectToSignInProviderRequest,
    again=proposed_provider,
    then="member.proposed_provider",
    done="objected",
)
