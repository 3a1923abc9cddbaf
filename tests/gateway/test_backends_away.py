"""Services that are down, slow or stopping.

Calls to a service that is known to be down are refused at once. Such a service takes no threads
from the others and does not delay quick exit.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from unittest.mock import Mock

import grpc
import pytest
import requests

from chassis import errors
from protos.referrals.v1 import people_pb2, referrals_pb2
from services.gateway.edge import gates
from services.gateway.edge.clients import MAX_ENDING_SESSIONS, Clients
from services.gateway.edge.gates import CAPACITIES, FAILURES, THREADS, Gate
from tests.gateway.api_gateway import JWT, KEY
from tests.gateway.pages_gateway import EXIT, SECRET
from tests.gateway.served_gateway import (
    Gateway,
    RejectingServer,
    Service,
    all_at,
    crowd,
    dead_address,
    duration_of,
    hanging_answer,
    store_unavailable,
)
from tests.parts.local_stack import until

PEOPLE = people_pb2.ListPeopleRequest()
DRAFT = referrals_pb2.CreateReferralRequest()


def reason(act: Callable[[], object]) -> str | None:
    """Returns the reason with which the call is refused, or None."""
    try:
        act()
    except errors.Refusal as refusal:
        return refusal.reason
    return None


def fail(gate: Gate, error: errors.Refusal | None = None) -> None:
    """Makes a call that fails with this error; by default, the service cannot be reached."""
    with gate.passage():
        raise error or errors.Unavailable("service_unreachable")


def lets_in(gate: Gate) -> bool:
    """Returns whether the gate lets a call in."""
    try:
        with gate.passage():
            return True
    except errors.Unavailable:
        return False


@pytest.fixture
def health() -> Mock:
    """The health check of the service, which is unhealthy at first."""
    return Mock(return_value=False)


@pytest.fixture
def gate(health: Mock) -> Iterator[Gate]:
    with closing(Gate("referrals", health, capacity=2, patience=0.2, pause=0.01)) as gate:
        yield gate


@pytest.mark.parametrize("away_reason", sorted(gates.AWAY_REASONS))
def test_calls_to_an_unhealthy_service_are_refused_at_once_until_it_is_healthy(
    gate: Gate, health: Mock, away_reason: str
) -> None:
    assert reason(lambda: fail(gate, errors.Unavailable(away_reason))) == away_reason
    until(lambda: not lets_in(gate), 10)
    assert reason(lambda: fail(gate)) == "service_away"
    count = health.call_count
    until(lambda: health.call_count > count + 3, 10)
    assert not lets_in(gate)
    health.return_value = True
    until(lambda: lets_in(gate), 10)
    count = health.call_count
    assert lets_in(gate)
    time.sleep(0.05)
    assert health.call_count == count, "a healthy service's health is not checked"


def test_a_health_check_that_breaks_is_repeated(gate: Gate, health: Mock) -> None:
    health.side_effect = RuntimeError("anything")
    assert reason(lambda: fail(gate)) == "service_unreachable"
    until(lambda: gate._away and health.called, 10)
    health.side_effect, health.return_value = None, True
    until(lambda: lets_in(gate), 10)


def test_a_refusal_by_a_services_rules_does_not_count_as_unavailability(
    gate: Gate, health: Mock
) -> None:
    for _ in range(FAILURES + 1):
        assert reason(lambda: fail(gate, errors.Conflict("person_erased"))) == "person_erased"
    assert reason(lambda: fail(gate, errors.Unavailable("store_busy"))) == "store_busy"
    assert not health.called


def test_after_failures_of_a_healthy_service_calls_go_one_at_a_time(
    gate: Gate, health: Mock
) -> None:
    health.return_value = True
    timeout = errors.Unavailable("deadline_exceeded")
    for _ in range(FAILURES):
        assert reason(lambda: fail(gate, timeout)) == "deadline_exceeded"
    with gate.passage():
        assert reason(lambda: fail(gate)) == "service_busy"
    with gate.passage():
        assert lets_in(gate), "one call succeeded, so all others may follow"


def test_a_full_service_lets_a_few_calls_wait_for_a_moment_and_refuses_the_rest(gate: Gate) -> None:
    with gate.passage(), gate.passage(), ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(duration_of, lambda: lets_in(gate)) for _ in range(2)]
        until(lambda: gate._waiting == 2, 10)
        assert not lets_in(gate)
        assert all(0.15 < wait.result() < 5 for wait in waits)
    assert lets_in(gate)


def test_one_caller_has_at_most_two_calls_under_way_and_another_is_let_in_at_once(
    health: Mock,
) -> None:
    with closing(Gate("referrals", health, capacity=8, patience=0.2, pause=0.01)) as gate:
        with ExitStack() as calls, gate.passage("one"), gate.passage("one"):
            begin = time.monotonic()
            with pytest.raises(errors.Unavailable, match="service_busy"):
                calls.enter_context(gate.passage("one"))
            assert time.monotonic() - begin > 0.15, (
                "the call waits for one of the places of its caller"
            )
            begin = time.monotonic()
            for caller in ("another", "a third", "a fourth") * 2:
                calls.enter_context(gate.passage(caller))
            assert time.monotonic() - begin < 0.1
        with gate.passage("one"):
            assert lets_in(gate)
        assert not gate._inside_by


def test_the_pool_has_spare_threads_when_every_gate_is_full() -> None:
    assert sum(2 * capacity for capacity in CAPACITIES.values()) < THREADS


def test_a_call_to_a_slow_or_stopping_service_is_refused_and_raises_no_service_fault(
    service: Service, clients: Clients
) -> None:
    called = threading.Event()

    def never_answers(rpc: str, context: grpc.ServicerContext) -> None:
        called.set()
        while context.is_active():
            time.sleep(0.01)

    service.answer = never_answers
    create = clients.referrals.CreateReferral
    assert reason(lambda: create(DRAFT, timeout=0.1)) == "deadline_exceeded"
    called.clear()
    with ThreadPoolExecutor() as pool:
        refusal = pool.submit(reason, lambda: create(DRAFT))
        assert called.wait(5)
        service.stop(grace=0)
        assert refusal.result(5) == "service_unreachable"


def test_a_read_is_not_repeated_when_the_database_is_down(
    service: Service, clients: Clients
) -> None:
    service.answer = store_unavailable
    assert reason(lambda: clients.people.ListPeople(PEOPLE)) == "store_unavailable"
    assert service.calls == ["ListPeople"]


def test_a_read_whose_connection_was_lost_is_repeated_and_a_write_is_not(
    service: Service, clients: Clients
) -> None:
    def fails_once(rpc: str, context: grpc.ServicerContext) -> None:
        if service.calls.count(rpc) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "as a lost connection would")

    service.answer = fails_once
    assert clients.people.ListPeople(PEOPLE) == people_pb2.ListPeopleResponse()
    assert reason(lambda: clients.referrals.CreateReferral(DRAFT)) == "service_unreachable"
    assert service.calls == ["ListPeople", "ListPeople", "CreateReferral"]


def clients_of(*services: Service | RejectingServer) -> closing[Clients]:
    """Returns clients of several servers under one name."""
    servers = ",".join(f"127.0.0.1:{service.port}" for service in services)
    return closing(Clients(*[f"ipv4:{servers}"] * 3))


def test_calls_are_spread_over_all_servers_of_a_name_and_continue_when_one_dies() -> None:
    with (
        Service() as first_server,
        Service() as second_server,
        clients_of(first_server, second_server) as clients,
    ):

        def both_are_called() -> bool:
            clients.people.ListPeople(PEOPLE)
            return bool(first_server.calls and second_server.calls)

        until(both_are_called, 5)  # the second connection comes a moment later
        first_server.calls.clear()
        second_server.calls.clear()
        for _ in range(40):
            clients.people.ListPeople(PEOPLE)
        assert (len(first_server.calls), len(second_server.calls)) == (20, 20)
        first_server.stop()
        for _ in range(20):
            clients.people.ListPeople(PEOPLE)
            clients.referrals.CreateReferral(DRAFT)


def test_a_write_that_a_stopping_server_rejected_unseen_goes_to_another_server() -> None:
    stopping_server = RejectingServer()
    writes = itertools.count(1)
    with Service() as healthy_service, clients_of(stopping_server, healthy_service) as clients:

        def one_was_rejected() -> bool:
            clients.referrals.CreateReferral(DRAFT)
            assert len(healthy_service.calls) == next(writes)
            return stopping_server.rejected.is_set()

        until(one_was_rejected, 5)  # the connection to the stopping server comes a moment later


def test_a_server_that_is_not_ready_gets_no_call_until_it_is_ready() -> None:
    with Service() as unready_service, Service() as healthy_service:
        unready_service.answer = store_unavailable
        unready_service.set_ready(False)
        with clients_of(unready_service, healthy_service) as clients:
            for _ in range(40):
                clients.people.ListPeople(PEOPLE)
                clients.referrals.CreateReferral(DRAFT)
            assert (unready_service.calls, len(healthy_service.calls)) == ([], 80)
            unready_service.answer = lambda rpc, context: None
            unready_service.set_ready(True)
            until(lambda: bool((clients.people.ListPeople(PEOPLE), unready_service.calls)[1]), 10)


def test_calls_are_refused_while_no_server_is_ready_and_succeed_once_a_server_is_ready(
    service: Service, clients: Clients
) -> None:
    service.set_ready(False)
    until(lambda: reason(lambda: clients.people.ListPeople(PEOPLE)) == "service_away", 10)
    standing = clients.standing()["referrals"]
    assert (standing.answers, standing.ready) == (True, False), (
        "the service answers, and reports that it is not ready"
    )
    service.set_ready(True)
    until(lambda: reason(lambda: clients.people.ListPeople(PEOPLE)) is None, 10)


def test_a_service_is_found_by_its_name(service: Service) -> None:
    with closing(Clients(*[f"localhost:{service.port}"] * 3)) as clients:
        clients.people.ListPeople(PEOPLE)


def test_a_session_that_cannot_be_ended_now_is_ended_later(
    service: Service, clients: Clients
) -> None:
    port = service.port
    service.stop()
    # a call that waited for the service would take a minute
    assert duration_of(lambda: clients.end_session_later(SECRET)) < 5
    with Service(port) as restarted_service:
        until(lambda: restarted_service.calls == ["EndSession"], 10)


def test_ending_many_sessions_takes_no_time_while_partners_is_down(
    service: Service, clients: Clients
) -> None:
    service.stop()
    begin = time.monotonic()
    for _ in range(2000):
        clients.end_session_later(SECRET)
    assert time.monotonic() - begin < 1
    assert clients._sessions_to_end.qsize() <= MAX_ENDING_SESSIONS


@pytest.fixture(scope="module")
def dead_services_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose services do not work.

    Nobody listens at the address of partners, referrals accepts calls without answering, and
    notifications reports that its database is down.
    """
    reserved, address = dead_address()
    end = threading.Event()
    with reserved, Service() as hanging_service, Service() as failing_service:
        hanging_service.answer = hanging_answer(end)
        failing_service.answer = store_unavailable
        addresses = {
            "partners": address,
            "referrals": f"127.0.0.1:{hanging_service.port}",
            "notifications": f"127.0.0.1:{failing_service.port}",
        }
        with Gateway(tmp_path_factory.mktemp("gateway"), addresses) as gateway:
            yield gateway
        end.set()


def quick_exit(gateway: Gateway) -> None:
    answer = requests.get(
        f"{gateway.url}/quick-exit",
        headers={"Cookie": f"s={SECRET}"},
        timeout=5,
        allow_redirects=False,
    )
    assert answer.headers["Location"] == EXIT


def test_a_gateway_whose_services_are_down_reports_only_itself_as_ready(
    dead_services_gateway: Gateway,
) -> None:
    for path in ("/healthz", "/readyz"):
        assert requests.get(dead_services_gateway.url + path, timeout=5).status_code == 200
    page = requests.get(f"{dead_services_gateway.url}/status", timeout=5)
    assert (page.status_code, page.text.count("No responde")) == (200, 1)


def test_quick_exit_and_health_take_no_time_while_a_hundred_clients_call_dead_services(
    dead_services_gateway: Gateway,
) -> None:
    turns = itertools.count()

    def call() -> None:
        turn = next(turns)
        path = ("people", "notifications", "organizations", "people")[turn % 4]
        # requests of many callers, because one caller alone cannot occupy every thread
        assert dead_services_gateway.api(path, key=f"{JWT}{turn % 25}").status_code in (503, 504)
        # the pause of a real client: the test measures the wait for dead services, not the wait for
        # this machine's two processors
        time.sleep(0.2)

    quick_exit(dead_services_gateway)
    with crowd(100, call):
        time.sleep(0.5)
        durations = sorted(
            duration_of(lambda: quick_exit(dead_services_gateway)) for _ in range(20)
        )
        probes = sorted(
            duration_of(lambda: requests.get(f"{dead_services_gateway.url}/healthz", timeout=5))
            for _ in range(20)
        )
    print(
        "quick exit",
        [round(seconds * 1000) for seconds in durations],
        "healthz",
        [round(seconds * 1000) for seconds in probes],
    )
    # a call that waited for a dead service would take 5 s; these calls take 6 to 10 ms on
    # an idle machine
    assert durations[10] < 3
    assert probes[-1] < 3


def test_one_hanging_service_leaves_the_others_their_threads(tmp_path: Path) -> None:
    end = threading.Event()
    statuses: list[int] = []
    # each of four callers may have two calls under way
    keys = itertools.cycle(KEY.replace("enl_0", f"enl_{number}") for number in range(4))
    with ExitStack() as cleanup:
        healthy_service, hanging_service = (cleanup.enter_context(Service()) for _ in range(2))
        hanging_service.answer = hanging_answer(end)
        addresses = all_at(healthy_service) | {"referrals": f"127.0.0.1:{hanging_service.port}"}
        gateway = cleanup.enter_context(Gateway(tmp_path, addresses))
        cleanup.callback(end.set)
        gateway.api("notifications")

        def call() -> None:
            statuses.append(gateway.api("people", key=next(keys)).status_code)
            time.sleep(0.1)

        with crowd(30, call):
            time.sleep(1)
            assert len(hanging_service.calls) == CAPACITIES["referrals"], (
                "the other calls were refused"
            )
            durations = [duration_of(lambda: gateway.api("notifications")) for _ in range(10)]
            assert sorted(durations)[5] < 2
            until(lambda: 504 in statuses, 10)
            end.set()
            until(lambda: 200 in statuses, 10)
        assert set(statuses) == {200, 503, 504}


def test_a_service_is_called_again_within_two_seconds_of_its_return(tmp_path: Path) -> None:
    with Service() as service, Gateway(tmp_path, all_at(service)) as gateway:
        assert gateway.api().status_code == 200
        service.answer = store_unavailable
        service.set_ready(False)
        until(lambda: gateway.api().json().get("reason") == "service_away", 10)
        service.calls.clear()
        assert max(duration_of(gateway.api) for _ in range(20)) < 2
        assert service.calls == [], "no client's call is used to test the service"
        service.answer = lambda rpc, context: None
        service.set_ready(True)
        assert duration_of(lambda: until(lambda: gateway.api().status_code == 200, 10)) < 5
        service.stop()
        until(lambda: gateway.api().json().get("reason") == "service_away", 10)
        time.sleep(3)  # the longest delay before gRPC reconnects
        with Service(service.port):
            assert duration_of(lambda: until(lambda: gateway.api().status_code == 200, 10)) < 5
