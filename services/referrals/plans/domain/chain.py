"""A hand-over across borders, as one chain of legs.

The chain has the present legs of a plan and, for each leg, the organisation that must act next. A
receiver sees only some of the legs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.referrals.plans.domain.pathway import Step
from services.referrals.plans.domain.plan import Plan
from services.referrals.referrals.domain.lifecycle import WAITS_FOR_SENDER, Side, State
from services.referrals.referrals.domain.referral import Referral


@dataclass(frozen=True)
class Link:
    """A leg of the chain.

    `referral` is the present referral of the leg. `acting_organization_id` is the organisation that
    must act next; it is "" if nobody can act yet, or if nobody needs to act any more.
    `waits_for_keys` are the legs that must be accepted first.
    """

    step: Step
    referral: Referral | None
    settled: bool
    country: str
    acting_organization_id: str
    waits_for_keys: Sequence[str]


def whole_chain(plan: Plan, countries: Mapping[str, str]) -> list[Link]:
    """Returns the whole chain; `countries` are the countries of the receivers, by organisation."""
    links, previous_key = list[Link](), ""
    for step in plan.legs:
        referral, settled = plan.referral_of_leg(step.key), plan.steps[step.key].settled
        waits = [] if previous_key or plan.has_begun(step.key) else plan.arrivals_not_accepted()
        # a receiver that has accepted the person may still have to wait for other legs
        is_waiting = bool(waits) or bool(previous_key and not plan.has_begun(previous_key))
        links.append(
            Link(
                step,
                referral,
                settled,
                countries.get(referral.receiver_organization_id, "") if referral else "",
                _acting_organization_id(plan, referral, settled, is_waiting),
                waits,
            )
        )
        previous_key = step.key
    return links


def leg_with_neighbours(links: Sequence[Link], referral_id: str) -> list[Link]:
    """Returns the leg of a referral, with the legs directly before and after that leg.

    These legs show from whom the person comes, and to whom she goes. The list is empty if the
    referral is not a leg of the chain.
    """
    position = next(
        (
            number
            for number, link in enumerate(links)
            if link.referral and link.referral.id == referral_id
        ),
        None,
    )
    return [] if position is None else list(links[max(0, position - 1) : position + 2])


def _acting_organization_id(
    plan: Plan, referral: Referral | None, settled: bool, is_waiting: bool
) -> str:
    if settled or plan.close_time:
        return ""
    if referral is None or referral.state in WAITS_FOR_SENDER or referral.is_out(Side.RECEIVER):
        return plan.organization_id
    return (
        "" if is_waiting and referral.state is State.ACCEPTED else referral.receiver_organization_id
    )
