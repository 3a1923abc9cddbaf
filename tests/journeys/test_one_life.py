"""The shortest way through the whole stack.

The stack starts, one referral goes from draft to closed, and Ctrl-C ends the stack. Every supported
Python runs this (tests/project/test_interpreters.py).
"""

from __future__ import annotations

import signal

from chassis.ids import new_id
from protos.referrals.v1 import referrals_pb2 as pb
from tests.parts.local_stack import LocalStack
from tests.parts.stories import STEPS, Cast


def test_a_referral_goes_from_draft_to_closed_in_a_new_stack_and_ctrl_c_ends_the_stack() -> None:
    stack = LocalStack(fresh=True)
    exit_code = -1
    try:
        stack.start()
        cast = Cast(stack)
        person_id, receipt_id = cast.person()
        referral = cast.sender.referrals.CreateReferral(cast.draft(person_id))
        referral = cast.sender.referrals.SendReferral(
            pb.SendReferralRequest(
                id=referral.id, etag=referral.etag, receipt_id=receipt_id, request_id=new_id()
            )
        )
        for step in STEPS:
            request = step.request(id=referral.id, etag=referral.etag, request_id=new_id())
            referral = getattr(cast.who(step).referrals, step.rpc)(request)
        assert referral.state == pb.STATE_CLOSED
    finally:
        exit_code = stack.stop(signal.SIGINT)
    assert exit_code == 0
