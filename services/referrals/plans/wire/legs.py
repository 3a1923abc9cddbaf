"""Translates a leg of a hand-over across borders into its message."""

from chassis.wire import number, timestamp
from protos.referrals.v1 import referrals_pb2
from services.referrals.plans.domain.chain import Link
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.record import Actor
from services.referrals.referrals.wire.messages import STATES


def leg_message(link: Link, actor: Actor) -> referrals_pb2.Leg:
    """Returns a leg as this actor may see it; only the sender sees the data of a draft."""
    referral = link.referral
    sides = referral.sides(actor) if referral else frozenset()
    shown_referral = (
        referral
        if referral and (referral.state is not State.DRAFT or Side.SENDER in sides)
        else None
    )
    return referrals_pb2.Leg(
        key=link.step.key,
        names=link.step.names,
        need_code=link.step.need_code,
        kind=number(referrals_pb2.LegKind, link.step.leg.value if link.step.leg else ""),
        state=STATES.number(shown_referral.state if shown_referral else None),
        settled=link.settled,
        organization_id=shown_referral.receiver_organization_id if shown_referral else "",
        country=link.country if shown_referral else "",
        planned_first_contact_time=timestamp(
            shown_referral.planned_first_contact_time if shown_referral else None
        ),
        acting_organization_id=link.acting_organization_id,
        waits_for_keys=link.waits_for_keys,
        referral_id=shown_referral.id if shown_referral and sides else "",
    )
