"""Two plans under way: one for a woman who has come home, and one for a woman who waits in
Guatemala.

The first plan starts nine days before the file was opened. The second woman waits until the service
at the border, too, has agreed to receive her.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis.db import Transaction
from demo.network import id_of
from demo.story import File, Story
from services.referrals.plans.domain.plan import Plan, StepState
from services.referrals.plans.store import plans
from services.referrals.plans.usecases.pathways import shipped_pathways
from services.referrals.referrals.store import referrals

HOME, AWAY = "keyling", "journey"
LEGS = {"RET.TRA": "travel", "RET.REC": "reception", "HOU.SAFE": "housing"}


def fill(tx: Transaction, file: File, stories: Sequence[Story], now: datetime) -> None:
    """Writes the plan for a file, if there is one. For the woman who waits, also suspends the
    deadlines of her referrals.
    """
    if file.person.id == id_of("person", HOME):
        plans.add(tx, _plan_at_home(stories, now))
    if file.person.id == id_of("person", AWAY):
        plans.add(tx, _plan_before_travel(stories, now))
        for story in stories:
            story.referral.postpone_first_contact(story.referral.update_time)
            referrals.save_deadlines(tx, story.referral)


def _plan_at_home(stories: Sequence[Story], now: datetime) -> Plan:
    """Returns the plan for the woman who has come home: some steps are done, the housing is late,
    the rest lies ahead.

    The organisation that sent the woman home did the first steps.
    """
    story = next(story for story in stories if story.need == "HOU.TRANS")
    plan, file_time = _begin_plan(HOME, story, timedelta(days=9))
    for number, key in enumerate(("risk_check", "travel_papers", "travel", "reception")):
        plan.set_step_state(
            key,
            StepState.NOT_NEEDED,
            file_time + timedelta(minutes=number),
            reason_code="done_elsewhere",
        )
    plan.set_step_state("medical_check", StepState.MET, now - timedelta(days=1))
    plan.set_step_state("family", StepState.REFUSED_BY_PERSON, now - timedelta(hours=20))
    plan.set_step_state(
        "housing",
        StepState.REFERRED,
        now - timedelta(hours=19),
        referral=(story.referral.id, story.referral.state),
    )
    return plan


def _plan_before_travel(stories: Sequence[Story], now: datetime) -> Plan:
    """Returns the plan for the woman who waits: all steps before the travel are done, and each leg
    of the journey has its referral.
    """
    plan, file_time = _begin_plan(AWAY, stories[0], timedelta(0))
    for key in ("risk_check", "travel_papers"):
        plan.set_step_state(key, StepState.MET, file_time + timedelta(hours=4))
    for story in stories:
        plan.set_step_state(
            LEGS[story.need],
            StepState.REFERRED,
            now - timedelta(hours=9),
            referral=(story.referral.id, story.referral.state),
        )
    return plan


def _begin_plan(slug: str, story: Story, head_start: timedelta) -> tuple[Plan, datetime]:
    person, file_time = story.file.person, story.file.person.create_time
    pathway = shipped_pathways()["return_and_reintegration"]
    plan = Plan.begin(
        id_of("plan", slug),
        person.id,
        person.organization_id,
        pathway,
        person.coarse.department,
        file_time - head_start,
        file_time,
    )
    return plan, file_time
