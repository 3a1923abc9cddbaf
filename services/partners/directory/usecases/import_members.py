"""Finds the members whose services a file contains."""

from collections.abc import Sequence

from chassis.db import Transaction
from chassis.errors import NotFound
from chassis.ids import is_id
from chassis.tokens import Caller
from services.partners.directory.domain.imports import ServiceDraft
from services.partners.members.domain.organization import Organization, OrganizationStatus
from services.partners.members.store import organizations
from services.partners.members.usecases.standing import may_act_for
from services.partners.network.store.sort_keys import fold


def target_of(
    tx: Transaction, caller: Caller, organization_id: str, *, lock: str = ""
) -> Organization | None:
    """Returns the organisation whose services a file contains; None if each row names its own.

    Raises NotFound for an organisation that was never admitted, or for which the caller may not
    act.
    """
    target = organization_id or ("" if caller.has("COORDINATOR") else caller.organization_id)
    owner = (
        organizations.fetch(tx, target, lock=lock)
        if is_id(target) and may_act_for(caller, target)
        else None
    )
    if target and (owner is None or not owner.was_admitted):
        raise NotFound
    return owner


def with_members(
    tx: Transaction, drafts: Sequence[ServiceDraft], owner: Organization | None
) -> list[tuple[Organization, ServiceDraft]]:
    """Returns each draft with its member. Refuses rows that do not name a member.

    If there is an `owner`, rows may only name the owner or no organisation; in a file that names
    just one organisation, all rows are the owner's, whatever the name. An organisation that was
    never admitted is not a member, even if it applied under the name of a member. If several
    organisations have the same name, those that have left do not count.
    """
    named_members = {
        (draft.organization_id, draft.organization_name)
        for draft in drafts
        if draft.organization_id or draft.organization_name
    }
    if owner is not None:
        names_one_member = len(named_members) <= 1
        members = {owner.id: owner}
    else:
        names_one_member = False
        members = {
            organization.id: organization
            for organization in organizations.by_id_or_name(
                tx,
                [id for id, _ in named_members if is_id(id)],
                [name for _, name in named_members if name],
            )
            if organization.was_admitted
        }
    by_name: dict[str, list[Organization]] = {}
    for member in members.values():
        by_name.setdefault(fold(member.entry.name), []).append(member)
    members_with_drafts = []
    for draft in drafts:
        namesakes = (
            by_name.get(fold(draft.organization_name), []) if draft.organization_name else []
        )
        if len(namesakes) > 1:
            namesakes = [
                member for member in namesakes if member.status is not OrganizationStatus.LEFT
            ]
        member_or_none = members.get(draft.organization_id) or (
            namesakes[0] if len(namesakes) == 1 else None
        )
        if (
            member_or_none is None
            and owner is not None
            and (names_one_member or not (draft.organization_id or draft.organization_name))
        ):
            member_or_none = owner
        if member_or_none is None:
            draft.line.refuse("organization", "unknown_organization")
        else:
            members_with_drafts.append((member_or_none, draft))
    return members_with_drafts
