"""A plan in the making: a woman who came home a week ago. Some steps are done, the house she waits for is late, the rest lies ahead."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from chassis.db import Transaction
from demo.network import id_of
from demo.story import Story
from services.referrals.domain.plan import Plan, StepState
from services.referrals.store import plans
from services.referrals.usecases.pathways import shipped

WHO, SHE_ASKED_FOR = "keyling", "HOU.TRANS"


def fill(tx: Transaction, stories: Iterable[Story], now: datetime) -> None:
    """Begun with her file; its first steps were those of who sent her home."""
    story = next(story for story in stories if story.referral.person_id == id_of("person", WHO) and story.need == SHE_ASKED_FOR)
    person, begun = story.file.person, story.file.person.create_time
    pathway = shipped()["return_and_reintegration"]
    plan = Plan.begin(
        id_of("plan", WHO), person.id, person.organization_id, pathway, person.coarse.department, begun - timedelta(days=9), begun
    )
    for number, key in enumerate(("risk_check", "travel_papers", "travel", "reception")):
        plan.take(key, StepState.MET, begun + timedelta(minutes=number))
    plan.take("medical_check", StepState.MET, now - timedelta(days=1))
    plan.take("family", StepState.REFUSED_BY_PERSON, now - timedelta(hours=20))
    plan.take("housing", StepState.REFERRED, now - timedelta(hours=19), referral=(story.referral.id, story.referral.state))
    plans.add(tx, plan)
