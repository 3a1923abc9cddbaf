"""Services that are down, slow or stopping.

Calls to a service that is known to be down are refused at once. A service that is down takes no
threads from the others and does not delay quick exit.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import requests

from chassis import errors
from protos.referrals.v1 import people_pb2, referrals_pb2
from services.gateway.edge import gates
from services.gateway.edge.clients import FAREWELLS, Clients
from services.gateway.edge.gates import CAPACITIES, FAILURES, THREADS, Gate
from tests.gateway.api_gateway import KEY
from tests.gateway.pages_gateway import EXIT, SECRET
from tests.gateway.served_gateway import (
    NAMES,
    Gateway,
    Service,
    crowd,
    dead_address,
    hanging,
    store_unavailable,
    timed,
)
from tests.parts.local_stack import until

PEOPLE = people_pb2.ListPeopleRequest()
DRAFT = referrals_pb2.CreateReferralRequest()


@pytest.fixture
def clients(service: Service) -> Iterator[Clients]:
    created = Clients(*[f"127.0.0.1:{service.port}"] * 3)
    yield created
    created.close()


def reason(act: object) -> str:
    """Returns the reason with which the call is refused."""
    with pytest.raises(errors.Refusal) as caught:
        act()  # type: ignore[operator]
    return caught.value.reason


def reason_or_none(act: object) -> str | None:
    """Returns the reason with which the call is refused, or None."""
    try:
        act()  # type: ignore[operator]
    except errors.Refusal as refusal:
        return refusal.reason
    return None


class Health:
    """The health that a service reports, and the number of times it was requested."""

    def __init__(self) -> None:
        self.here = False
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.here


def fail(gate: Gate, away_reason: str = "service_unreachable") -> None:
    """Makes a call that ends with this error."""
    with gate.passage():
        raise errors.Unavailable(away_reason)


def lets_in(gate: Gate) -> bool:
    """Returns whether the gate lets a call in."""
    try:
        with gate.passage():
            return True
    except errors.Unavailable:
        return False


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def gate(health: Health) -> Iterator[Gate]:
    created = Gate("referrals", health, capacity=2, patience=0.2, pause=0.01)
    yield created
    created.close()


# 12
@pytest.mark.parametrize("away_reason", sorted(gates.AWAY_REASONS))
def test_calls_to_an_unhealthy_service_are_refused_at_once_until_it_is_healthy(
    gate: Gate, health: Health, away_reason: str
) -> None:
    assert reason(lambda: fail(gate, away_reason)) == away_reason
    until(lambda: not lets_in(gate), 10)
    assert reason(lambda: fail(gate)) == "service_away"
    count = health.asked
    until(lambda: health.asked > count + 3, 10)
    assert not lets_in(gate)
    health.here = True
    until(lambda: lets_in(gate), 10)
    count = health.asked
    assert lets_in(gate)
    time.sleep(0.05)
    assert health.asked == count, "a healthy service's health is not checked"


# 12
def test_a_health_check_that_breaks_is_repeated(
    gate: Gate, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> bool:
        raise RuntimeError("anything")

    monkeypatch.setattr(gate, "_healthy", broken)
    assert reason(lambda: fail(gate)) == "service_unreachable"
    until(lambda: gate._away, 10)
    monkeypatch.setattr(gate, "_healthy", health)
    health.here = True
    until(lambda: lets_in(gate), 10)


# 12
def test_a_refusal_by_a_services_rules_does_not_count_as_unavailability(
    gate: Gate, health: Health
) -> None:
    def refused() -> None:
        with gate.passage():
            raise errors.Conflict("person_erased")

    for _ in range(FAILURES + 1):
        assert reason(refused) == "person_erased"
    assert reason(lambda: fail(gate, "store_busy")) == "store_busy"
    assert health.asked == 0


# 12
def test_after_failures_of_a_healthy_service_calls_go_one_at_a_time(
    gate: Gate, health: Health
) -> None:
    health.here = True
    for _ in range(FAILURES):
        assert reason(lambda: fail(gate, "deadline_exceeded")) == "deadline_exceeded"
    with gate.passage():
        assert reason(lambda: fail(gate)) == "service_busy"
    with gate.passage():
        assert lets_in(gate), "one call succeeded, so all others may follow"


# 12
def test_a_full_service_lets_a_few_calls_wait_for_a_moment_and_refuses_the_rest(gate: Gate) -> None:
    with ExitStack() as cleanup:
        for _ in range(2):
            cleanup.enter_context(gate.passage())
        waited: list[float] = []
        waiting = [
            threading.Thread(target=lambda: waited.append(timed(lambda: lets_in(gate))))
            for _ in range(2)
        ]
        for thread in waiting:
            thread.start()
        until(lambda: gate._waiting == 2, 10)
        assert not lets_in(gate)
        for thread in waiting:
            thread.join()
        assert all(0.15 < seconds < 5 for seconds in waited)
    assert lets_in(gate)


def test_one_caller_has_at_most_two_calls_under_way_and_another_is_let_in_at_once(
    health: Health,
) -> None:
    gate = Gate("referrals", health, capacity=8, patience=0.2, pause=0.01)
    with ExitStack() as cleanup:
        for _ in range(2):
            cleanup.enter_context(gate.passage("one"))
        begin = time.monotonic()
        with pytest.raises(errors.Unavailable, match="service_busy"):
            cleanup.enter_context(gate.passage("one"))
        assert time.monotonic() - begin > 0.15, "the call waits for one of the caller's own places"
        begin = time.monotonic()
        for caller in ("another", "a third", "a fourth") * 2:
            cleanup.enter_context(gate.passage(caller))
        assert time.monotonic() - begin < 0.1
    with gate.passage("one"):
        assert lets_in(gate)
    assert not gate._inside_by
    gate.close()


# 12
def test_the_pool_leaves_threads_when_every_gate_is_full() -> None:
    assert sum(2 * capacity for capacity in CAPACITIES.values()) < THREADS


# 12
def test_a_stopping_service_and_a_late_one_are_not_logged_as_faults(
    service: Service, clients: Clients
) -> None:
    release = threading.Event()

    def never_answers(rpc: str, context: grpc.ServicerContext) -> None:
        release.set()
        while context.is_active():
            time.sleep(0.01)

    service.answer = never_answers
    with pytest.raises(errors.Unavailable, match="deadline_exceeded"):
        clients.referrals.CreateReferral(DRAFT, timeout=0.1)
    release.clear()
    lines: list[str] = []
    asking = threading.Thread(
        target=lambda: lines.append(reason(lambda: clients.referrals.CreateReferral(DRAFT)))
    )
    asking.start()
    assert release.wait(5)
    service.stop(grace=0)
    asking.join(5)
    assert lines == ["service_unreachable"]


# 12
def test_a_read_is_not_repeated_when_the_database_is_down(
    service: Service, clients: Clients
) -> None:
    service.answer = store_unavailable
    assert reason(lambda: clients.people.ListPeople(PEOPLE)) == "store_unavailable"
    assert service.asked == ["ListPeople"]


# 12
def test_a_read_whose_connection_was_lost_is_repeated_and_a_write_is_not(
    service: Service, clients: Clients
) -> None:
    def fails_once(rpc: str, context: grpc.ServicerContext) -> None:
        if service.asked.count(rpc) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "as a lost connection would")

    service.answer = fails_once
    assert clients.people.ListPeople(PEOPLE) == people_pb2.ListPeopleResponse()
    assert reason(lambda: clients.referrals.CreateReferral(DRAFT)) == "service_unreachable"
    assert service.asked == ["ListPeople", "ListPeople", "CreateReferral"]


# 12
def test_calls_are_spread_over_all_servers_of_a_name_and_continue_when_one_dies() -> None:
    both = Service(), Service()
    clients = Clients(*[f"ipv4:127.0.0.1:{both[0].port},127.0.0.1:{both[1].port}"] * 3)
    try:
        clients.people.ListPeople(PEOPLE)
        until(
            lambda: (clients.people.ListPeople(PEOPLE), all(one.asked for one in both))[1], 5
        )  # the second connection comes a moment later
        before = [len(one.asked) for one in both]
        for _ in range(40):
            clients.people.ListPeople(PEOPLE)
        assert [len(one.asked) - asked for one, asked in zip(both, before, strict=True)] == [20, 20]
        both[0].stop()
        for _ in range(20):
            clients.people.ListPeople(PEOPLE)
            clients.referrals.CreateReferral(DRAFT)
    finally:
        clients.close()
        both[1].stop()


# D21
def test_a_server_that_is_not_ready_gets_no_call_until_it_is_ready() -> None:
    broken, healthy = Service(), Service()
    broken.answer = store_unavailable
    broken.ready(False)
    clients = Clients(*[f"ipv4:127.0.0.1:{broken.port},127.0.0.1:{healthy.port}"] * 3)
    try:
        for _ in range(40):
            clients.people.ListPeople(PEOPLE)
            clients.referrals.CreateReferral(DRAFT)
        assert (broken.asked, len(healthy.asked)) == ([], 80)
        broken.answer = lambda rpc, context: None
        broken.ready(True)
        until(lambda: bool((clients.people.ListPeople(PEOPLE), broken.asked)[1]), 10)
    finally:
        clients.close()
        broken.stop()
        healthy.stop()


# D21
def test_when_no_server_is_ready_a_call_is_refused_and_goes_through_as_soon_as_one_is(
    service: Service, clients: Clients
) -> None:
    service.ready(False)
    until(lambda: reason_or_none(lambda: clients.people.ListPeople(PEOPLE)) == "service_away", 10)
    assert not clients.standing()["referrals"].ready
    assert clients.standing()["referrals"].answers, (
        "the service answers, and reports that it is not ready"
    )
    service.ready(True)
    until(lambda: reason_or_none(lambda: clients.people.ListPeople(PEOPLE)) is None, 10)


# 12
def test_a_service_is_found_by_its_name(service: Service) -> None:
    clients = Clients(*[f"localhost:{service.port}"] * 3)
    try:
        clients.people.ListPeople(PEOPLE)
    finally:
        clients.close()


# 12
def test_a_session_that_cannot_be_ended_now_is_ended_later(
    service: Service, clients: Clients
) -> None:
    port = service.port
    service.stop()
    # a call that waited for the service would take a minute
    assert timed(lambda: clients.end_session_later(SECRET)) < 5
    back = Service(port)
    try:
        until(lambda: back.asked == ["EndSession"], 10)
    finally:
        back.stop()


# 12
def test_leaving_takes_no_time_however_many_leave_while_partners_is_down(
    service: Service, clients: Clients
) -> None:
    service.stop()
    begin = time.monotonic()
    for _ in range(2000):
        clients.end_session_later(SECRET)
    assert time.monotonic() - begin < 1
    assert clients._leaving.qsize() <= FAREWELLS


@pytest.fixture(scope="module")
def before_the_dead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose services do not work.

    Nobody listens at the address of partners, referrals accepts calls without answering, and
    notifications reports that its database is down.
    """
    socket_, address = dead_address()
    silent, away = Service(), Service()
    over = threading.Event()
    silent.answer = hanging(over)
    away.answer = store_unavailable
    addresses = {
        "partners": address,
        "referrals": f"127.0.0.1:{silent.port}",
        "notifications": f"127.0.0.1:{away.port}",
    }
    created = Gateway(tmp_path_factory.mktemp("gateway"), addresses)
    yield created
    created.process.stop()
    over.set()
    silent.stop()
    away.stop()
    socket_.close()


def quick_exit(gateway: Gateway) -> None:
    answer = requests.get(
        f"{gateway.url}/quick-exit",
        headers={"Cookie": f"s={SECRET}"},
        timeout=5,
        allow_redirects=False,
    )
    assert answer.headers["Location"] == EXIT


# 9
def test_a_gateway_whose_services_are_down_reports_only_itself_as_ready(
    before_the_dead: Gateway,
) -> None:
    for path in ("/healthz", "/readyz"):
        assert requests.get(before_the_dead.url + path, timeout=5).status_code == 200
    page = requests.get(f"{before_the_dead.url}/status", timeout=5)
    assert (page.status_code, page.text.count("No responde")) == (200, 1)


# 12
def test_quick_exit_and_health_take_no_time_while_a_hundred_clients_call_dead_services(
    before_the_dead: Gateway,
) -> None:
    jwt = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    turns = iter(range(10**9))

    def ask() -> None:
        turn = next(turns)
        path = ("people", "notifications", "organizations", "people")[turn % 4]
        # requests of many callers, because one caller alone cannot occupy every thread
        assert before_the_dead.api(path, key=f"{jwt}{turn % 25}").status_code in (503, 504)
        # a client, not a flood: the test measures the wait for dead services, not the wait for this
        # machine's two processors
        time.sleep(0.2)

    quick_exit(before_the_dead)
    with crowd(100, ask):
        time.sleep(0.5)
        durations = sorted(timed(lambda: quick_exit(before_the_dead)) for _ in range(20))
        probes = sorted(
            timed(lambda: requests.get(f"{before_the_dead.url}/healthz", timeout=5))
            for _ in range(20)
        )
    print(
        "quick exit",
        [round(seconds * 1000) for seconds in durations],
        "healthz",
        [round(seconds * 1000) for seconds in probes],
    )
    # a call that waited for a dead service would take five; on an idle machine it takes 6 to 10 ms
    assert durations[10] < 3
    assert probes[-1] < 3


# 12
def test_one_hanging_service_leaves_the_others_their_threads(tmp_path: Path) -> None:
    healthy, hangs = Service(), Service()
    over = threading.Event()
    hangs.answer = hanging(over)
    addresses = dict.fromkeys(NAMES, f"127.0.0.1:{healthy.port}") | {
        "referrals": f"127.0.0.1:{hangs.port}"
    }
    gateway = Gateway(tmp_path, addresses)
    try:
        gateway.api("notifications")
        statuses: list[int] = []
        # each of four callers may have two calls under way
        keys = itertools.cycle(KEY.replace("enl_0", f"enl_{number}") for number in range(4))

        def ask() -> None:
            statuses.append(gateway.api("people", key=next(keys)).status_code)
            time.sleep(0.1)

        with crowd(30, ask):
            time.sleep(1)
            assert len(hangs.asked) == CAPACITIES["referrals"], "the other calls were refused"
            durations = [timed(lambda: gateway.api("notifications")) for _ in range(10)]
            assert sorted(durations)[5] < 2
            until(lambda: 504 in statuses, 10)
            over.set()
            until(lambda: 200 in statuses, 10)
        assert set(statuses) == {200, 503, 504}
    finally:
        over.set()
        gateway.process.stop()
        healthy.stop()
        hangs.stop()


# 12
def test_a_service_is_called_again_within_two_seconds_of_its_return(tmp_path: Path) -> None:
    service = Service()
    port = service.port
    gateway = Gateway(tmp_path, dict.fromkeys(NAMES, f"127.0.0.1:{port}"))
    try:
        assert gateway.api().status_code == 200
        service.answer = store_unavailable
        service.ready(False)
        until(lambda: gateway.api().json().get("reason") == "service_away", 10)
        count_before = len(service.asked)
        assert max(timed(lambda: gateway.api()) for _ in range(20)) < 2
        assert len(service.asked) == count_before, "no client's call is used to test the service"
        service.answer = lambda rpc, context: None
        service.ready(True)
        assert timed(lambda: until(lambda: gateway.api().status_code == 200, 10)) < 5
        service.stop()
        until(lambda: gateway.api().json().get("reason") == "service_away", 10)
        time.sleep(3)  # as long as its reconnecting can be delayed
        service = Service(port)
        assert timed(lambda: until(lambda: gateway.api().status_code == 200, 10)) < 5
    finally:
        gateway.process.stop()
        service.stop()
