"""The mark of members that are, or answer to, an authority."""

from enum import StrEnum

from services.partners.members.domain.organization import OrganizationType


class SharesWith(StrEnum):
    """The authority that a member is or answers to.

    Such an authority may detain, charge or deport a person.
    """

    POLICE = "POLICE"
    MIGRATION = "MIGRATION"


_SHARES_WITH = {
    OrganizationType.LAW_ENFORCEMENT: SharesWith.POLICE,
    OrganizationType.PROSECUTION: SharesWith.POLICE,
    OrganizationType.IMMIGRATION_SERVICE: SharesWith.MIGRATION,
    OrganizationType.CONSULATE: SharesWith.MIGRATION,
}


def shares_with(type: OrganizationType | None) -> SharesWith | None:
    """Returns the authority that a member of this type is or answers to; None if there is none.

    Wherever people choose a service, the member's services are marked with this authority.
    """
    return _SHARES_WITH.get(type) if type else None
