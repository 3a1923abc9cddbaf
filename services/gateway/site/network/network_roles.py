"""The network's roles, coordinator and auditor.

Giving a role, or taking it away, requires two coordinators of different members.
"""

from flask import render_template

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import names, workers
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("network_roles")
ROLES = ("coordinator", "auditor")


@pages.get("/network/roles", access.NETWORK)
def listing(errors: forms.Problems = forms.NO_PROBLEMS, identifier: str = "") -> str:
    """Shows the accounts with a network role, and steps that wait for a second coordinator.

    `identifier` names the row whose form had problems.
    """
    answer = clients().members.ListNetworkRoles(m.ListNetworkRolesRequest())
    coordinating_organization_ids = {
        worker.organization_id
        for worker in answer.workers
        if contract_pb2.ROLE_COORDINATOR in worker.roles
    }
    return render_template(
        "network_roles.html",
        workers=answer.workers,
        invitations=answer.invitations,
        names=names.names(
            {worker.organization_id for worker in answer.workers}
            | {invitation.organization_id for invitation in answer.invitations}
        ),
        alone=len(coordinating_organization_ids) < 2,
        errors=errors,
        refused=identifier,
        ROLES=ROLES,
    )


@pages.post(
    "/network/roles",
    access.NETWORK,
    again=listing,
    then="network_roles.listing",
    done="role_proposed",
)
def invite() -> str | None:
    """Invites someone from the coordinator's own organisation to take a network role.

    The link is sent once a second coordinator has agreed.
    """
    return workers.invite(role for role in forms.texts("roles") if role in ROLES)


@pages.post(
    "/network/roles/invitations/<identifier>/confirm",
    access.NETWORK,
    again=listing,
    then="network_roles.listing",
    done="invited",
)
def confirm(identifier: str) -> str | None:
    """Agrees to another coordinator's invitation. Shows the link if the invitation is on paper."""
    invitation = send(forms.filled(m.ConfirmInvitationRequest(id=identifier)))
    return (
        render_template("invitation_paper.html", invitation=invitation) if invitation.link else None
    )


# Proposes to suspend an account with a network role, or agrees to such a proposal. Each of the two
# coordinators gives a reason.
pages.post(
    "/network/roles/workers/<identifier>/suspend",
    access.NETWORK,
    again=listing,
    then="network_roles.listing",
)(workers.suspend)
