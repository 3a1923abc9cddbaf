"""A hundred enquiries to twenty services each, by rpc, with a settable clock.

The time until the first yes is measured; `-s` prints it. A model states how many desks look, how
soon, and how they answer. The measurement shows what the network does with such answers, not how
people act.
"""

import heapq
import random
from dataclasses import replace
from datetime import timedelta
from statistics import median, quantiles

import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM, Caller
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.store import members
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.store import enquiries as store
from tests.builders import NOON, NOTHING_UNSAFE
from tests.referrals.conftest import Client, Service

ENQUIRIES, SERVICES = 100, 20
# The answers of a hundred desks: 44 have no room, and 20 never look at the enquiry.
ANSWER_WEIGHTS = {
    e.OFFER_ANSWER_YES: 12,
    e.OFFER_ANSWER_MAYBE: 12,
    e.OFFER_ANSWER_WAITLIST: 12,
    e.OFFER_ANSWER_NO: 44,
    None: 20,
}


def desks(service: Service) -> dict[str, Client]:
    """Adds twenty members with a service each; returns their clients."""
    clients = {}
    base = service.as_("ngo", "WORKER")
    with service.database.transaction(SYSTEM) as tx:
        for _ in range(SERVICES):
            organization, service_id = new_id(), new_id()
            members.note_member(tx, "organization", organization, True, "APPROVED", "SHELTER")
            members.note_service(tx, service_id, organization, True)
            clients[service_id] = replace(
                base, caller=Caller(new_id(), "worker", organization, frozenset({"WORKER"}))
            )
    return clients


@pytest.mark.long
def test_the_median_time_until_the_first_yes_is_below_fifteen_minutes(service: Service) -> None:
    rng, clients, line = random.Random(20), desks(service), service.as_("hotline", "OPERATOR")
    scheduler = DeadlineScheduler(
        service.made.enquiries, service.database, service.clock, store.next_time, "enquiries"
    )
    # (minute, order, event), sorted by time; an operator makes an enquiry every seven minutes.
    agenda: list[tuple[float, int, tuple[str, str]]] = [
        (7.0 * number, number, ("ask", "")) for number in range(ENQUIRIES)
    ]
    start_minutes, first_yes, order = dict[str, float](), dict[str, float](), ENQUIRIES
    while agenda:
        minute, _, (service_id, enquiry_id) = heapq.heappop(agenda)
        service.clock.set(NOON + timedelta(minutes=minute))
        scheduler.fire()
        if service_id == "ask":
            urgency = rng.choice([pb.URGENCY_IMMEDIATE, pb.URGENCY_EMERGENCY, pb.URGENCY_EMERGENCY])
            content = e.EnquiryContent(need_code="HOU.EMG", urgency=urgency, country="NI")
            enquiry = line.CreateEnquiry(
                **NOTHING_UNSAFE, content=content, service_ids=list(clients)
            )
            start_minutes[enquiry.id] = minute
            for asked_id in clients:
                order += 1
                heapq.heappush(
                    agenda, (minute + rng.lognormvariate(2.6, 0.9), order, (asked_id, enquiry.id))
                )
            continue
        answer_code = rng.choices(list(ANSWER_WEIGHTS), list(ANSWER_WEIGHTS.values()))[0]
        copy = clients[service_id].GetEnquiry(id=enquiry_id)
        if answer_code is None or copy.state != e.ENQUIRY_STATE_OPEN:
            continue
        clients[service_id].AnswerEnquiry(
            id=enquiry_id,
            etag=copy.etag,
            service_id=service_id,
            answer=answer_code,
            reason_code=pb.DECLINE_REASON_NO_CAPACITY
            if answer_code == e.OFFER_ANSWER_NO
            else pb.DECLINE_REASON_UNSPECIFIED,
        )
        if answer_code == e.OFFER_ANSWER_YES:
            first_yes[enquiry_id] = minute - start_minutes[enquiry_id]
            line.TakeOffer(id=enquiry_id, service_id=service_id, answer=answer_code)
    for _ in range(2):
        service.clock.advance(timedelta(hours=3))
        scheduler.fire()

    rows = service.rows(
        "SELECT CASE reason_code WHEN 'not_referred' THEN reason_code ELSE state END"
        " AS end, count(*) AS n FROM enquiries GROUP BY 1"
    )
    counts_by_end = {row["end"]: row["n"] for row in rows}
    times = list(first_yes.values())
    print(
        f"\n{ENQUIRIES} enquiries to {SERVICES} services: first yes after {median(times):.1f} min"
        f" (median), {quantiles(times, n=20)[18]:.1f} min (95th);"
        f" {counts_by_end}"
    )
    assert sum(counts_by_end.values()) == ENQUIRIES
    assert {"open", "matched"}.isdisjoint(counts_by_end)
    assert counts_by_end["not_referred"] == len(times), "nobody began a referral"
    assert not service.rows(
        "SELECT 1 FROM enquiry_offers WHERE need_code IS NOT NULL AND NOT taken"
    ), "no receiver keeps data that it no longer needs"
    assert median(times) < 15
