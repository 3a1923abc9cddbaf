"""The manager's team: workers, invitations, and the reset of a lost second factor."""

from flask import render_template, request

from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import clients
from services.gateway.site.backend import workers
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("members")
# roles that a manager may give; the coordinator gives the roles of the network
GIVEN_ROLES = ("worker", "operator", "manager", "emergency")


@pages.get("/members", access.MANAGERS)
def listing(errors: forms.Problems = forms.NO_PROBLEMS, identifier: str = "") -> str:
    """Shows workers and open invitations.

    `identifier` names the row whose form had problems.
    """
    answer = clients().members.ListWorkers(
        m.ListWorkersRequest(page_size=100, page_token=request.args.get("page", ""))
    )
    return render_template(
        "team.html",
        workers=answer.workers,
        next_page=answer.next_page_token,
        invitations=clients().members.ListInvitations(m.ListInvitationsRequest()).invitations,
        errors=errors,
        row=identifier,
        GIVEN_ROLES=GIVEN_ROLES,
    )


@pages.post(
    "/members/workers", access.MANAGERS, again=listing, then="members.listing", done="invited"
)
def invite() -> str | None:
    """Invites somebody to the team.

    The invited person gets the link by e-mail or on paper, and chooses her own password.
    """
    return workers.invite(role for role in forms.texts("roles") if role in GIVEN_ROLES)


# Revokes an invitation, for example one that was sent to a wrong e-mail address.
pages.sends(
    "revoke_invitation",
    "/members/invitations/<identifier>/revoke",
    access.MANAGERS,
    m.RevokeInvitationRequest,
    then="members.listing",
)


pages.post(
    "/members/workers/<identifier>/suspend", access.MANAGERS, again=listing, then="members.listing"
)(workers.suspend)
pages.post(
    "/members/workers/<identifier>/second-factor",
    access.MANAGERS,
    again=listing,
    then="members.listing",
    done="second_factor_reset",
)(workers.reset_second_factor)
