"""The standing of members, as known from the facts that have arrived.

Facts may arrive later than tokens, so a member that is not known yet is let through.
"""

from dataclasses import dataclass

from chassis.errors import NotAllowed

INACTIVE = frozenset({"SUSPENDED", "LEFT"})


@dataclass(frozen=True)
class Standing:
    """The known standing of a caller; None for each part that is not known."""

    organization_status: str | None
    worker_status: str | None
    key_live: bool | None


def check_standing(standing: Standing) -> None:
    """Raises NotAllowed if the organisation, the worker or the key may no longer act.

    An organisation or a worker may not act once suspended or gone, nor a key once revoked.
    """
    if (
        standing.organization_status in INACTIVE
        or standing.worker_status in INACTIVE
        or standing.key_live is False
    ):
        raise NotAllowed("organization_not_active")
