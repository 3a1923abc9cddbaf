"""Who is in good standing, by what has been heard.

Facts may lag behind tokens: who is not known yet passes.
"""

from dataclasses import dataclass

from chassis.errors import NotAllowed

OUT = frozenset({"SUSPENDED", "LEFT"})


@dataclass(frozen=True)
class Standing:
    """What is known of a caller; None where nothing is."""

    organization_status: str | None
    worker_status: str | None
    key_live: bool | None


def check_standing(standing: Standing) -> None:
    """Refuses a suspended organisation, a suspended worker, a revoked key."""
    if (
        standing.organization_status in OUT
        or standing.worker_status in OUT
        or standing.key_live is False
    ):
        raise NotAllowed("organization_not_active")
