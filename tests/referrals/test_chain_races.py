"""Steps of two legs of a journey at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chassis.db import Transaction
from chassis.tokens import SYSTEM
from tests.referrals.conftest import ORG, SERVICE, Story, send_request
from tests.referrals.test_chain_rpc import (
    LEGS,
    HandOver,
    not_deliver,
    prepare_hand_over,
    withdraw,
    withdraw_consent,
)
from tests.referrals.test_withdrawal import run_concurrently


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("end_leg", [not_deliver, withdraw, withdraw_consent])
def test_a_departure_concurrent_with_the_end_of_a_leg_is_refused_or_the_leg_is_reported(
    end_leg: Callable[[HandOver], None], story: Story
) -> None:
    for _ in range(4):
        hand_over = prepare_hand_over(story)
        for key in LEGS:
            hand_over.send(key)
        hand_over.accept(*LEGS)
        with ThreadPoolExecutor(2) as threads, story.service.database.transaction(SYSTEM) as tx:
            lock = "SELECT 1 FROM plans WHERE id = %s FOR UPDATE"
            tx.execute(lock, (hand_over.plan.id,)).fetchone()
            departure = threads.submit(run_concurrently, partial(hand_over.start, "travel"))
            end = threads.submit(run_concurrently, partial(end_leg, hand_over))
            # both transactions have written their own rows and wait for the plan's lock
            while waiting_transactions(tx) < 2:
                assert {departure.done(), end.done()} == {False}
        assert departure.result() in (["OK"], ["legs_not_accepted"])
        assert end.result() == ["OK"]
        assert ("leg_lost" in hand_over.verbs("housing")) == (departure.result() == ["OK"])


def waiting_transactions(tx: Transaction) -> int:
    """Returns the number of transactions that wait for a lock in this database."""
    row = tx.execute("SELECT count(DISTINCT pid) AS n FROM pg_locks WHERE NOT granted").fetchone()
    assert row
    return int(row["n"])


def test_only_one_of_two_legs_sent_concurrently_on_one_consent_is_accepted(story: Story) -> None:
    for _ in range(4):
        hand_over = prepare_hand_over(story)
        shared_receipt = story.receipt(
            hand_over.plan.person_id, recipient=ORG["shelter"], purposes=["RET", "HOU"]
        )
        requests = [
            send_request(hand_over.draft(key, service_id=SERVICE["shelter_bed"]), shared_receipt.id)
            for key in ("reception", "housing")
        ]
        outcomes = run_concurrently(*(partial(story.ngo.SendReferral, r) for r in requests))
        assert sorted(outcomes) == ["OK", "receipt_of_another_leg"]
