"""Random lives through the service itself: wrong actors, old ETags, repeated requests.

This test applies the model of test_random_lives to rpcs.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.referrals.domain.lifecycle import Side
from tests.builders import refusal
from tests.referrals.conftest import SERVICE, Client, Story, read
from tests.referrals.honest_referrals import timestamp
from tests.referrals.test_random_lives import MODEL as STEPS
from tests.referrals.test_random_lives import SENDING

pytestmark = pytest.mark.long

LIVE = STEPS["withdraw"][0]
IN_PLACE = {  # steps that keep the state
    "add_note": (LIVE, {Side.SENDER, Side.RECEIVER}),
    "amend": (LIVE.replace(" completed", ""), {Side.SENDER}),
    "assign": ("accepted in_progress completed", {Side.RECEIVER}),
    "close_need": ("declined not_delivered rerouted", SENDING),
    "confirm_deletion": (
        "closed withdrawn consent_withdrawn declined not_delivered rerouted",
        {Side.RECEIVER},
    ),
}
MODEL = STEPS | {verb: (sources, "", by) for verb, (sources, by) in IN_PLACE.items()}
FORWARD = ["send", "acknowledge", "accept", "start", "complete"]
TURN = dict.fromkeys(
    "sent acknowledged accepted waitlisted in_progress".split(), pb.TURN_RECEIVER
) | dict.fromkeys("draft info_requested completed".split(), pb.TURN_SENDER)
COORDINATOR_VERBS = {"close", "reopen", "withdraw", "close_need", "reroute"}


def requests(story: Story) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Returns the rpc of each step, and a request with its required fields.

    The caller adds id, etag and request_id.
    """
    now = timestamp(story.service.clock.now())
    tomorrow = timestamp(story.service.clock.now() + timedelta(days=1))
    return {
        "send": ("SendReferral", pb.SendReferralRequest),
        "acknowledge": ("AcknowledgeReferral", pb.AcknowledgeReferralRequest),
        "ask": ("AskReferral", lambda: pb.AskReferralRequest(question_code=pb.QUESTION_DATES)),
        "answer": ("AnswerReferral", lambda: pb.AnswerReferralRequest(note="on Monday")),
        "accept": (
            "AcceptReferral",
            lambda: pb.AcceptReferralRequest(planned_first_contact_time=now),
        ),
        "waitlist": (
            "WaitlistReferral",
            lambda: pb.WaitlistReferralRequest(expected_wait_days=3, review_time=tomorrow),
        ),
        "decline": (
            "DeclineReferral",
            lambda: pb.DeclineReferralRequest(reason_code=pb.DECLINE_REASON_NO_CAPACITY),
        ),
        "start": ("StartReferral", lambda: pb.StartReferralRequest(first_contact_time=now)),
        "complete": (
            "CompleteReferral",
            lambda: pb.CompleteReferralRequest(outcome_code=pb.OUTCOME_FULLY_MET),
        ),
        "not_deliver": (
            "NotDeliverReferral",
            lambda: pb.NotDeliverReferralRequest(reason_code=pb.NOT_DELIVERED_REASON_CAPACITY_LOST),
        ),
        "reroute": (
            "RerouteReferral",
            lambda: pb.RerouteReferralRequest(service_id=SERVICE["clinic_visit"]),
        ),
        "close": (
            "CloseReferral",
            lambda: pb.CloseReferralRequest(help_came_code=pb.HELP_CAME_YES),
        ),
        "reopen": (
            "CloseReferral",
            lambda: pb.CloseReferralRequest(help_came_code=pb.HELP_CAME_NO),
        ),
        "withdraw": (
            "WithdrawReferral",
            lambda: pb.WithdrawReferralRequest(reason_code=pb.WITHDRAW_REASON_MOVED),
        ),
        "add_note": ("AddNote", lambda: pb.AddNoteRequest(note="she is well")),
        "amend": ("AmendReferral", pb.AmendReferralRequest),
        "assign": ("AssignReferral", pb.AssignReferralRequest),
        "close_need": (
            "CloseNeed",
            lambda: pb.CloseNeedRequest(reason_code=pb.NEED_CLOSE_REASON_MET_ELSEWHERE),
        ),
        "confirm_deletion": ("ConfirmDeletion", pb.ConfirmDeletionRequest),
    }


class LifeByRpc(RuleBasedStateMachine):
    """One referral, its two organisations, a coordinator, and an uninvolved member."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self.story = story
        self.requests = requests(story)
        self.clients: dict[Side | None, Client] = {
            Side.SENDER: story.ngo,
            Side.RECEIVER: story.shelter,
            Side.COORDINATOR: story.coordinator,
            None: story.service.as_("clinic", "WORKER"),
        }
        draft = story.draft(urgency=pb.URGENCY_URGENT)
        self.receipt_id = story.receipt(draft.person_id).id
        change = pb.Referral(id=draft.id, etag=draft.etag, receipt_id=self.receipt_id)
        self.referral = story.ngo.UpdateReferral(
            referral=change, update_mask=FieldMask(paths=["receipt_id"])
        )
        self.state = "draft"
        self.has_asked = self.need_is_open = self.deletion_expected = False
        self.etags = [draft.etag]
        self.event_count = 3  # draft, filling in, and receipt
        self.expected_etag = self.referral.etag

    @rule(
        verb=st.sampled_from([*MODEL, *FORWARD * 3]),
        side=st.sampled_from(
            [Side.SENDER, Side.SENDER, Side.RECEIVER, Side.RECEIVER, Side.COORDINATOR, None]
        ),
        stale=st.sampled_from([False] * 5 + [True]),
        twice=st.booleans(),
    )
    def step(self, verb: str, side: Side | None, stale: bool, twice: bool) -> None:
        rpc, make = self.requests[verb]
        request = make()
        request.id, request.request_id = self.referral.id, self.story.request_id()
        request.etag = self.etags[-1] if stale else self.referral.etag
        if verb == "amend":
            is_urgent = self.referral.urgency == pb.URGENCY_URGENT
            request.urgency = pb.URGENCY_EMERGENCY if is_urgent else pb.URGENCY_URGENT
        act = partial(getattr(self.clients[side], rpc), request)
        refusals = self.possible_refusals(verb, side, stale)
        if refusals:
            assert refusal(act) in refusals, (verb, side, self.state)
            return
        answer = act()
        if twice:
            assert act() == answer
        self.note_success(verb)
        self.read()

    def possible_refusals(self, verb: str, side: Side | None, stale: bool) -> set[tuple[str, str]]:
        """Returns the possible reasons to refuse a step; empty if the step has to succeed."""
        sources, _target, by = MODEL[verb]
        if side is Side.COORDINATOR and verb not in COORDINATOR_VERBS:
            return {("PERMISSION_DENIED", "right_missing")}
        if side is None or (self.state == "draft" and side is not Side.SENDER):
            return {("NOT_FOUND", "not_found")}
        if stale and verb != "add_note":
            return {("ABORTED", "stale_etag")}
        is_possible = self.state in sources.split() and side in by
        if verb == "ask" and is_possible and self.has_asked:
            return {("FAILED_PRECONDITION", "already_asked")}
        is_possible = (
            is_possible
            and (verb != "close_need" or self.need_is_open)
            and (verb != "confirm_deletion" or self.deletion_expected)
        )
        # The service reads the person's file first; a receiver can't read it after the end.
        not_found = (
            {("NOT_FOUND", "not_found")} if verb == "send" and side is Side.RECEIVER else set()
        )
        return set() if is_possible else {("FAILED_PRECONDITION", "illegal_transition")} | not_found

    def note_success(self, verb: str) -> None:
        self.state = MODEL[verb][1] or self.state
        self.has_asked = self.has_asked or verb == "ask"
        if MODEL[verb][1]:
            self.need_is_open = self.state in ("declined", "not_delivered", "rerouted")
        elif verb == "close_need":
            self.need_is_open = False
        elif verb == "confirm_deletion":
            self.deletion_expected = False
        self.note_event(makes_stale=verb != "close_need")

    def note_event(self, *, makes_stale: bool = True) -> None:
        self.event_count += 1
        if makes_stale:
            self.etags.append(self.referral.etag)
            self.expected_etag = f"v{self.event_count}"

    @rule(often=st.integers(0, 9))
    def withdraw_the_consent(self, often: int) -> None:
        # The consent is withdrawn only once in ten times, so that most lives continue.
        if often or self.state in ("draft", "consent_withdrawn"):
            return
        is_first = not self.story.ngo.GetReceipt(id=self.receipt_id).HasField("withdraw_time")
        self.story.ngo.WithdrawReceipt(id=self.receipt_id)
        if self.state in LIVE.split():
            self.state, self.deletion_expected = "consent_withdrawn", True
            self.note_event()
        elif is_first:  # it ended before
            self.deletion_expected = True
            self.note_event()
        self.read()

    def read(self) -> None:
        """Reads the referral as its sender after each successful step.

        This also shows any effect of an earlier refusal.
        """
        self.referral = read(self.story.ngo, self.referral.id)
        assert self.referral.state == pb.State.Value(f"STATE_{self.state.upper()}")
        turn = (
            pb.TURN_SENDER
            if self.need_is_open
            else pb.TURN_RECEIVER
            if self.deletion_expected
            else TURN.get(self.state, pb.TURN_UNSPECIFIED)
        )
        assert (self.referral.turn, self.referral.unanswered) == (turn, self.need_is_open)
        assert self.referral.etag == self.expected_etag, (
            "each step but a closed need makes one version; refused and repeated steps make none"
        )
        assert self.referral.HasField("next_due_time") == (
            turn != pb.TURN_UNSPECIFIED and self.state != "draft"
        )


@pytest.mark.timeout(400)
def test_the_service_and_the_model_agree_on_random_requests(story: Story) -> None:
    run_state_machine_as_test(  # accepts any callable that makes a machine
        partial(LifeByRpc, story),  # type: ignore[arg-type]
        settings=settings(
            max_examples=300,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            database=None,
        ),
    )
