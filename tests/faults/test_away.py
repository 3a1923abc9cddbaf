"""Services start in any order, wait for the parts that they need, and keep working while other
parts are down.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
import requests
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from chassis.ids import new_id
from keys import key_folder
from local.broker import Broker
from local.postgres import Login, Postgres
from local.process import Process, free_port
from protos.referrals.v1 import referrals_pb2 as pb
from tests.parts.local_stack import ROOT, SERVICES, LocalStack, until
from tests.parts.stories import STEPS, Cast, Step

pytestmark = pytest.mark.long

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def test_services_that_start_before_the_database_and_the_broker_recover(cleanup: ExitStack) -> None:
    folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="enlace-test-order-")))
    if os.geteuid() == 0:
        folder.chmod(0o711)
    key_folder.create(folder / "keys", SERVICES)
    postgres = Postgres(folder / "postgres", durable=False)
    broker = Broker(folder / "kafka", folder / "broker.log")
    cleanup.callback(postgres.remove)
    cleanup.callback(broker.kill)
    listen = {name: f"127.0.0.1:{free_port()}" for name in (*SERVICES, "gateway")}
    common = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "ENLACE_KEYS": str(folder / "keys"),
        "ENLACE_DEVELOPMENT": "1",
    }
    environments = {
        name: {
            **common,
            "ENLACE_LISTEN": listen[name],
            "ENLACE_DATABASE_URL": postgres.url(name, Login(name, "app")),
            "ENLACE_MIGRATION_URL": postgres.url(
                name, Login(f"{name}_owner", "owner"), "?sslmode=disable"
            ),
        }
        for name in SERVICES
    }
    addresses = {f"ENLACE_{name.upper()}_ADDRESS": listen[name] for name in SERVICES}
    environments["gateway"] = {**common, **addresses, "ENLACE_HTTP_LISTEN": listen["gateway"]}
    processes = {
        name: Process(
            name,
            [sys.executable, "-m", f"services.{name}", "serve"],
            folder / f"{name}.log",
            environments[name],
            ROOT,
        )
        for name in environments
    }
    for process in processes.values():
        process.start()
        cleanup.callback(process.stop)
    channels = {
        name: cleanup.enter_context(grpc.insecure_channel(listen[name])) for name in SERVICES
    }

    def status(name: str, health_name: str) -> int | None:
        try:
            return int(
                HealthStub(channels[name])  # type: ignore[attr-defined]
                .Check(HealthCheckRequest(service=health_name), timeout=1)
                .status
            )
        except grpc.RpcError:
            return None

    def fetch(path: str) -> tuple[int, str]:
        try:
            answer = requests.get(f"http://{listen['gateway']}{path}", timeout=5)
            return answer.status_code, answer.text
        except requests.RequestException:
            return 0, ""

    until(lambda: all(status(name, "live") == SERVING for name in SERVICES))
    assert {status(name, health_name) for name in SERVICES for health_name in ("", "broker")} == {
        NOT_SERVING
    }
    # readiness is about the gateway alone; /status, a page for people, is about all parts
    until(lambda: fetch("/readyz")[0] == 200)
    assert fetch("/status")[1].count("No llega a sus datos") == len(SERVICES)

    broker.start()
    until(lambda: all(status(name, "broker") == SERVING for name in SERVICES))
    assert {status(name, "") for name in SERVICES} == {NOT_SERVING}
    postgres.start()
    for name in SERVICES:
        postgres.ensure(name, Login(f"{name}_owner", "owner"), Login(name, "app"))
        subprocess.run(
            [sys.executable, "-m", f"services.{name}", "migrate"],
            cwd=ROOT,
            env=environments[name],
            check=True,
            capture_output=True,
        )
    # services recover within ten seconds, however long the database was down
    until(lambda: all(status(name, "") == SERVING for name in SERVICES), 10)
    until(lambda: "Todas las partes responden." in fetch("/status")[1])
    assert all(process.alive for process in processes.values())
    for process in processes.values():
        assert process.stop() == 0, f"{process.name}:\n{process.last_words()}"


@contextmanager
def paused(stack: LocalStack, name: str) -> Iterator[None]:
    """Pauses a part with SIGSTOP.

    No connection is closed, and for the supervisor the process is running.
    """
    pid = stack.pid(name)
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        stack.wait_healthy()


def test_referrals_proceed_while_notifications_is_down_and_its_messages_follow(
    faulty_stack: LocalStack, cast: Cast
) -> None:
    person_id, receipt_id = cast.person()
    with paused(faulty_stack, "notifications"):
        accepted = send_and_step(cast, person_id, receipt_id, *STEPS[:1], STEPS[3])
        assert accepted.state == pb.STATE_ACCEPTED
    with faulty_stack.database("notifications") as database:
        kinds = (
            "SELECT kind FROM messages WHERE referral_id = %s AND audience = 'desk' ORDER BY kind"
        )
        expected = ["referral_accepted", "referral_acknowledged", "referral_sent"]
        until(lambda: [row["kind"] for row in database.execute(kinds, (accepted.id,))] == expected)


def test_referrals_accepts_tokens_that_are_still_valid_while_partners_is_down(
    faulty_stack: LocalStack, cast: Cast
) -> None:
    def steps_succeed() -> bool:
        """Returns False if the machine was so busy that the tokens expired before the last step."""
        person_id, receipt_id = cast.person()
        cast.sender.token(), cast.receiver.token()
        with paused(faulty_stack, "partners"):
            try:
                state = send_and_step(cast, person_id, receipt_id, STEPS[0]).state
            except grpc.RpcError as error:
                if error.details() == "token_expired":
                    return False
                raise
            assert requests.get(f"{faulty_stack.gateway}/readyz", timeout=5).status_code == 200
        return state == pb.STATE_ACKNOWLEDGED

    until(steps_succeed)


def test_calls_to_a_paused_service_fail_fast_and_succeed_again_soon_after_it_resumes(
    faulty_stack: LocalStack, cast: Cast
) -> None:
    person_id, _receipt_id = cast.person()

    def get_person() -> tuple[int, str, float]:
        """Returns the status, the reason of a refusal, and the seconds until the answer."""
        begin = time.monotonic()
        headers = {"Authorization": f"Bearer {cast.sender.token()}"}
        answer = requests.get(
            f"{faulty_stack.gateway}/api/v1/people/{person_id}", headers=headers, timeout=10
        )
        return answer.status_code, answer.json().get("reason", ""), time.monotonic() - begin

    assert get_person()[0] == 200
    with paused(faulty_stack, "referrals"):
        assert get_person()[:2] == (504, "deadline_exceeded")
        until(lambda: get_person()[1] == "service_away", 10)
        for _ in range(10):
            status, reason, seconds = get_person()
            assert (status, reason) == (503, "service_away")
            assert seconds < 2
        begin = time.monotonic()
        exit_answer = requests.get(
            f"{faulty_stack.gateway}/quick-exit", timeout=5, allow_redirects=False
        )
        assert exit_answer.status_code == 303
        assert time.monotonic() - begin < 2
        pid = faulty_stack.pid("referrals")
        assert pid
        os.kill(pid, signal.SIGCONT)
        until(lambda: get_person()[0] == 200, 10)


def test_referrals_proceed_while_the_broker_is_down(faulty_stack: LocalStack, cast: Cast) -> None:
    person_id, receipt_id = cast.person()
    with paused(faulty_stack, "broker"):
        accepted = send_and_step(cast, person_id, receipt_id, STEPS[0], STEPS[3])
        assert accepted.state == pb.STATE_ACCEPTED
    with faulty_stack.database("referrals") as database:
        waiting_query = "SELECT count(*) AS n FROM outbox WHERE first_round IS NULL"
        until(lambda: all(row["n"] == 0 for row in database.execute(waiting_query)))


def send_and_step(cast: Cast, person_id: str, receipt_id: str, *steps: Step) -> pb.Referral:
    """Sends a referral and takes these steps."""
    draft = cast.sender.referrals.CreateReferral(cast.draft(person_id))
    sending = pb.SendReferralRequest(
        id=draft.id, etag=draft.etag, request_id=new_id(), receipt_id=receipt_id
    )
    referral = cast.sender.referrals.SendReferral(sending)
    for step in steps:
        request = step.request(id=referral.id, etag=referral.etag, request_id=new_id())
        referral = getattr(cast.who(step).referrals, step.rpc)(request)
    return referral


def test_a_frozen_broker_is_restarted_and_queued_facts_are_delivered(
    faulty_stack: LocalStack, cast: Cast
) -> None:
    """Covers a broker whose process is alive, so that its supervisor notices nothing by itself.

    The services report that they can't publish.
    """
    person_id, receipt_id = cast.person()
    before = faulty_stack.pid("broker")
    assert before
    os.kill(before, signal.SIGSTOP)  # and never resumed
    sent = send_and_step(cast, person_id, receipt_id)
    until(lambda: faulty_stack.pid("broker") not in (None, before), 90)
    faulty_stack.wait_healthy()
    with faulty_stack.database("notifications") as database:
        messages = "SELECT FROM messages WHERE referral_id = %s AND kind = 'referral_sent'"
        until(lambda: len(database.execute(messages, (sent.id,)).fetchall()) == 1, 60)


def test_a_frozen_database_server_is_restarted(faulty_stack: LocalStack, cast: Cast) -> None:
    """Covers a server that answers on its open connections, but opens no new one.

    A service that starts would wait for ever.
    """
    before = faulty_stack.pid("postgres")
    assert before
    os.kill(before, signal.SIGSTOP)  # and never resumed
    until(lambda: faulty_stack.pid("postgres") not in (None, before), 90)
    faulty_stack.wait_healthy()
    page = f"{faulty_stack.gateway}/status"
    until(lambda: "Todas las partes responden." in requests.get(page, timeout=10).text, 30)
    person_id, receipt_id = cast.person()
    assert send_and_step(cast, person_id, receipt_id).state == pb.STATE_SENT


def test_a_part_that_dies_while_the_process_to_fork_from_is_frozen_is_started_again(
    faulty_stack: LocalStack, cast: Cast
) -> None:
    before = faulty_stack.pid("referrals")
    assert before
    template = int(Path(f"/proc/{before}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(template, signal.SIGSTOP)  # and never resumed
    os.kill(before, signal.SIGKILL)
    until(lambda: faulty_stack.pid("referrals") not in (None, before), 150)
    faulty_stack.wait_healthy()
    person_id, receipt_id = cast.person()
    assert send_and_step(cast, person_id, receipt_id).state == pb.STATE_SENT
