"""The stream of events of referrals.

A stream leaves nothing out, contains no events of other organisations, and lasts no longer than its
token, however slow its reader is.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, cast

import grpc
import psycopg
import pytest
from prometheus_client import REGISTRY

from chassis import streams
from chassis.db import Database, Transaction
from chassis.server import Server
from chassis.streams import MAX_PER_ORGANIZATION, MAX_STREAMS
from chassis.tokens import LEEWAY, LIFETIME, Caller, Verifier
from keys import key_folder
from keys.sealing import Signer
from protos.referrals.v1 import referrals_pb2 as pb
from protos.referrals.v1 import referrals_pb2_grpc
from services.referrals.__main__ import make
from services.referrals.network.store import members
from services.referrals.network.store.members import view_of
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.domain.filter import Filter
from services.referrals.referrals.store import renewals
from tests.builders import refusal, wrong_fields
from tests.parts.loops import running
from tests.referrals.conftest import LONG, ORG, SERVICE, Client, Service, Story
from tests.referrals.test_referrals_rpc import declined
from tests.referrals.test_subscriptions import PartnersFacts

Change = pb.WatchReferralsResponse


@pytest.fixture(scope="module", autouse=True)
def places(service: Service) -> Iterator[None]:
    """Runs the loop that gives events their places in the stream."""
    with running(service.made.watch.loop()):
        yield


@pytest.fixture(autouse=True)
def unhurried_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets streams last until their token ends by the test's clock, however busy the machine is."""
    monkeypatch.setattr(streams, "_LATE", LONG)


@pytest.fixture(autouse=True)
def nothing_left_of_earlier_tests(service: Service) -> None:
    """Gives events their places, and waits until cancelled streams have ended at the server."""
    place_events(service)
    (pool,) = (servicer.streams.pool for servicer in service.made.servicers if servicer.streams)
    wait_until(lambda: not pool._call_count, LONG)


@contextmanager
def following(client: Client, token: str = "", **options: Any) -> Iterator[Any]:
    """Opens a stream, and reads its first message, which holds only a token."""
    with watching(client, token, **options) as stream:
        next(stream)
        yield stream


@contextmanager
def watching(
    client: Client, token: str = "", *, channel: grpc.Channel | None = None, **filters: Any
) -> Iterator[Any]:
    stub: Any = referrals_pb2_grpc.ReferralsStub(channel) if channel else client.stubs["referrals"]
    call = stub.WatchReferrals(
        pb.WatchReferralsRequest(resume_token=token, **filters),
        metadata=client.metadata(),
        timeout=LONG,
    )
    try:
        yield call
    finally:
        call.cancel()


def start_token(client: Client, **filters: Any) -> str:
    """Opens a stream, checks that its first message holds only a token, and returns that token."""
    with watching(client, **filters) as stream:
        first = next(stream)
    assert first == Change(resume_token=first.resume_token)
    return str(first.resume_token)


def changes_since(story: Story, client: Client, token: str, **filters: Any) -> list[Change]:
    """Returns the events after a token, up to the first of a referral that is sent now."""
    place_events(story.service)
    last, changes = story.sent(), list[Change]()
    with following(client, token, **filters) as stream:
        while (change := next(stream)).referral_id != last.id:
            changes.append(change)
    return changes


def place_events(service: Service) -> None:
    """Gives all committed events their places."""
    with service.database.dedicated() as connection:
        service.made.watch.give_positions(connection)


def ids_and_verbs(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.referral_id, change.verb) for change in changes]


def acknowledge(story: Story, referral: pb.Referral) -> pb.Referral:
    return cast(pb.Referral, story.shelter.AcknowledgeReferral(id=referral.id, etag=referral.etag))


def test_a_change_is_streamed_promptly_with_its_version_and_state(story: Story) -> None:
    sent = story.sent()
    place_events(story.service)
    for client in (story.ngo, story.shelter, story.coordinator):
        with following(client, box=pb.BOX_NETWORK) as stream:
            began = time.monotonic()
            changed = story.ngo.AddNote(id=sent.id, note="she has moved")
            change = next(stream)
            assert time.monotonic() - began < 3
        assert change.resume_token
        assert change == Change(
            resume_token=change.resume_token,
            referral_id=sent.id,
            version=int(changed.etag[1:]),
            etag=changed.etag,
            state=pb.STATE_SENT,
            verb="note_added",
            time=changed.update_time,
        ), "the change holds only ids and codes, and not the note"


def test_a_stream_resumes_after_any_message_with_only_the_later_changes(story: Story) -> None:
    token = start_token(story.ngo)
    referrals = [story.sent() for _ in range(3)]
    for referral in referrals:
        acknowledge(story, referral)
    changes = changes_since(story, story.ngo, token)
    for referral in referrals:
        verbs = [change.verb for change in changes if change.referral_id == referral.id]
        events = story.ngo.ListReferralEvents(referral_id=referral.id).events
        assert verbs == [event.verb for event in events]
    for number, change in enumerate(changes):
        assert ids_and_verbs(changes_since(story, story.ngo, change.resume_token))[
            : len(changes) - number - 1
        ] == ids_and_verbs(changes[number + 1 :])


def test_an_event_that_is_committed_late_is_streamed(story: Story, service: Service) -> None:
    slow_referral, other = story.sent(), story.sent()
    place_events(service)
    with following(story.ngo) as stream:
        with psycopg.connect(service.database_url) as connection:
            connection.execute("SELECT set_config('enlace.view', 'system', false)")
            # The event has its time, its row and its transaction id, but is not committed.
            connection.execute(
                "INSERT INTO referral_events SELECT referral_id, version + 1, 'clock_reminded',"
                " from_state, to_state, time, 'system', 'clock', '',"
                " '', 'system', 'decide' FROM referral_events WHERE referral_id = %s"
                " ORDER BY version DESC LIMIT 1",
                (slow_referral.id,),
            )
            acknowledge(story, other)
            change = next(stream)
            assert (change.referral_id, change.verb) == (other.id, "acknowledged"), (
                "neither event waits for the other"
            )
            connection.execute("SELECT pg_notify('events', '')")
            connection.commit()
        late_change = next(stream)
    assert (late_change.referral_id, late_change.verb, late_change.clock) == (
        slow_referral.id,
        "clock_reminded",
        pb.CLOCK_KIND_DECIDE,
    )
    assert late_change.etag == slow_referral.etag, "a deadline changes no version"
    assert (slow_referral.id, "clock_reminded") in ids_and_verbs(
        changes_since(story, story.ngo, change.resume_token)
    )


def test_concurrent_changes_are_all_streamed_in_order_for_each_referral(
    story: Story, service: Service
) -> None:
    token = start_token(story.ngo)
    sent = [story.sent() for _ in range(6)]
    notes = 5

    def write_notes(referral: pb.Referral) -> None:
        for number in range(notes):
            (story.ngo, story.shelter)[number % 2].AddNote(id=referral.id, note=f"note {number}")

    with ThreadPoolExecutor(len(sent)) as pool:
        list(pool.map(write_notes, sent))
    changes = changes_since(story, story.ngo, token)
    for referral in sent:
        versions = [change.version for change in changes if change.referral_id == referral.id]
        assert versions == list(range(1, len(versions) + 1))
        assert len(versions) == int(referral.etag[1:]) + notes


def test_only_the_sender_sees_a_draft_even_if_it_is_sent_later(story: Story) -> None:
    ngo, shelter = start_token(story.ngo), start_token(story.shelter)
    network = start_token(story.coordinator, box=pb.BOX_NETWORK)
    draft, sent = story.draft(), story.sent()
    story.ngo.EnterReferralInError(id=draft.id, etag=draft.etag)
    changes = ids_and_verbs(changes_since(story, story.shelter, shelter))
    assert changes == [(sent.id, "sent")]
    changes = ids_and_verbs(changes_since(story, story.coordinator, network, box=pb.BOX_NETWORK))
    assert [change for change in changes if change[0] in (draft.id, sent.id)] == [(sent.id, "sent")]
    events = {(draft.id, "drafted"), (draft.id, "entered_in_error"), (sent.id, "drafted")}
    assert events <= set(ids_and_verbs(changes_since(story, story.ngo, ngo)))


def test_after_a_decline_the_receiver_gets_no_more_events_and_a_third_party_gets_none(
    story: Story, service: Service, clinic: Client
) -> None:
    token_of_shelter, token_of_third_party = start_token(story.shelter), start_token(clinic)
    declined_referral = declined(story)
    story.ngo.CloseNeed(
        id=declined_referral.id, etag=declined_referral.etag, reason_code=pb.NEED_CLOSE_REASON_MOVED
    )
    changes = changes_since(story, story.shelter, token_of_shelter)
    verbs = [change.verb for change in changes if change.referral_id == declined_referral.id]
    assert verbs == ["sent", "declined"]
    with following(clinic, token_of_third_party) as stream:
        service.clock.advance(LIFETIME + timedelta(seconds=LEEWAY))
        [end] = stream
    assert not end.referral_id


def test_a_stream_accepts_the_filters_of_the_list_on_fields_that_do_not_change(
    story: Story,
) -> None:
    person = story.person()
    filters: list[dict[str, Any]] = [{"need_code": "MED"}, {"person_id": person.id}]
    for filter_ in filters:
        token = start_token(story.ngo, **filter_)
        story.sent()
        with following(story.ngo, token, **filter_) as stream:
            draft = story.draft(person, need_code="MED.PRI")
            assert next(stream).referral_id == draft.id
    for values in ({"need_code": "XXX"}, {"box": 99}):
        [field] = values
        assert wrong_fields(partial(start_token, story.ngo, **values)) == [(field, "unknown_code")]


def test_a_token_works_only_for_its_organisation_and_filter_and_a_forged_one_never(
    story: Story, service: Service
) -> None:
    token = start_token(story.ngo)
    attempts: list[tuple[Client, str, dict[str, str]]] = [
        (story.shelter, token, {}),
        (service.as_("ngo", "WORKER", "COORDINATOR"), token, {}),
        (story.ngo, token, {"need_code": "HOU"}),
        (story.ngo, token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), {}),
        (story.ngo, "x", {}),
        (story.ngo, "A" * 400, {}),
    ]
    for client, text, codes in attempts:
        assert wrong_fields(partial(next_of, client, text, **codes)) == [
            ("resume_token", "malformed")
        ]
    assert next_of(service.as_("ngo", "MANAGER"), token).resume_token, (
        "the token belongs to the organisation"
    )


def next_of(client: Client, token: str = "", **filters: Any) -> Change:
    with watching(client, token, **filters) as stream:
        return cast(Change, next(stream))


def test_a_token_from_before_a_restore_is_refused_with_its_own_reason(
    story: Story, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = start_token(story.ngo)
    monkeypatch.setattr("facts.outbox.STORE", "SELECT 'another' AS store")
    assert refusal(lambda: next_of(story.ngo, token)) == (
        "FAILED_PRECONDITION",
        "resume_token_lost",
    )
    assert next_of(story.ngo).resume_token


def test_a_stream_ends_with_status_ok_when_its_token_expires(
    story: Story, service: Service
) -> None:
    with following(story.ngo) as stream:
        service.clock.advance(LIFETIME)
        sent = story.sent()
        assert next(stream).referral_id == sent.id, (
            "the clocks of two machines may differ by the leeway"
        )
        service.clock.advance(timedelta(seconds=LEEWAY))
        last_changes = list(stream)
        assert not last_changes[-1].referral_id
        assert stream.code() is grpc.StatusCode.OK
    assert next_of(service.as_("ngo", "WORKER"), last_changes[-1].resume_token).resume_token


@pytest.mark.parametrize("side", ["organization", "worker", "key"])
def test_a_stream_ends_as_soon_as_a_suspension_arrives(
    side: str, story: Story, service: Service
) -> None:
    key = service.as_("ngo", scopes=("referrals.read",))
    client = key if side == "key" else service.as_("ngo", "OPERATOR")
    identifier = ORG["ngo"] if side == "organization" else client.caller.id
    with following(client) as stream:
        service.in_transaction(members.note_member, side, identifier, False, "SUSPENDED")
        try:
            began = time.monotonic()
            assert refusal(lambda: list(stream)) == ("PERMISSION_DENIED", "organization_not_active")
            assert time.monotonic() - began < 3
        finally:
            service.in_transaction(members.note_member, side, identifier, True, "APPROVED", "NGO")


def test_when_all_streams_are_in_use_calls_still_work_and_another_stream_is_refused(
    story: Story, service: Service
) -> None:
    with ExitStack() as open_streams:
        for number in range(MAX_STREAMS // MAX_PER_ORGANIZATION):
            caller = Caller(
                "f" * 31 + "0", "key", f"{900 + number:032x}", scopes=frozenset({"referrals.read"})
            )
            stranger = Client(caller, story.ngo.stubs, service.issuer, service.gateway)
            for _ in range(MAX_PER_ORGANIZATION):
                next(open_streams.enter_context(watching(stranger)))
        assert refusal(lambda: next_of(story.ngo)) == ("RESOURCE_EXHAUSTED", "too_many_requests")
        began = time.monotonic()
        acknowledge(story, story.sent())
        assert time.monotonic() - began < 3
    wait_until(lambda: next_of(story.ngo).resume_token)


def test_one_organisation_cannot_take_all_streams(story: Story) -> None:
    with ExitStack() as open_streams:
        for _ in range(MAX_PER_ORGANIZATION):
            next(open_streams.enter_context(watching(story.ngo)))
        assert refusal(lambda: next_of(story.ngo)) == ("RESOURCE_EXHAUSTED", "too_many_requests")
        assert next_of(story.shelter).resume_token
    wait_until(lambda: next_of(story.ngo).resume_token)


def wait_until(condition: Any, seconds: float = 5) -> None:
    """Waits until a condition holds; refused calls are retried meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(grpc.RpcError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError("the condition did not hold in time")


def test_a_client_that_does_not_read_is_cut_off_after_a_wait(
    story: Story, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = start_token(story.ngo)
    sent = story.sent()
    service.as_owner(  # far more than the connection holds
        "INSERT INTO referral_events SELECT referral_id, version + n, 'note_added', from_state,"
        " to_state, time, actor_kind, actor_id,"
        " organization_id, '', '', '' FROM referral_events, generate_series(1, 30000) n"
        " WHERE referral_id = %s AND verb = 'sent'",
        sent.id,
    )
    place_events(service)
    reads = list[int]()
    changes = service.made.watch.changes

    def read_changes(tx: Transaction, caller: Caller, filter_: Filter, after: int) -> Any:
        reads.append(after)
        return changes(tx, caller, filter_, after)

    monkeypatch.setattr(service.made.watch, "changes", read_changes)
    monkeypatch.setattr(streams, "_LATE", -1.0)  # cuts off after three seconds
    with following(story.ngo, token) as stream:
        wait_until(lambda: stalled(reads))
        assert len(reads) < 280, (
            "of 300 batches, each is read only after the client has taken the previous one"
        )
        wait_until(lambda: REGISTRY.get_sample_value("enlace_streams") == 0, 8)
        with pytest.raises(grpc.RpcError) as error:
            list(stream)
        assert error.value.code() is grpc.StatusCode.CANCELLED


def stalled(reads: list[int]) -> bool:
    before = len(reads)
    time.sleep(0.3)
    return before > 0 and len(reads) == before


def test_a_deadline_that_fires_is_streamed_with_its_kind(story: Story, service: Service) -> None:
    sent = story.sent(urgency=pb.URGENCY_IMMEDIATE)
    place_events(service)
    token = start_token(story.ngo)
    service.fire_after(timedelta(minutes=16))
    changes = changes_since(story, story.ngo, token)
    [change] = [change for change in changes if change.referral_id == sent.id]
    assert (change.verb, change.clock, change.etag) == (
        "clock_breached",
        pb.CLOCK_KIND_ACKNOWLEDGE,
        sent.etag,
    )


def test_a_reminder_is_streamed_and_keeps_the_etag(story: Story) -> None:
    sent, token = story.sent(), start_token(story.ngo)
    story.coordinator.RemindReferral(id=sent.id, etag=sent.etag)
    changes = changes_since(story, story.ngo, token)
    [reminder] = [change for change in changes if change.verb == "reminded"]
    assert (reminder.referral_id, reminder.etag) == (sent.id, sent.etag)


def test_two_processes_stream_the_same_changes_and_one_resumes_where_the_other_stopped(
    story: Story, service: Service
) -> None:
    database = Database(service.database_url, view_of=view_of)
    database.open()
    created = make(
        database,
        key_folder.keyring(service.keys, "referrals"),
        Signer(key_folder.signing(service.keys, "facts.referrals")),
        Verifier(key_folder.verifying(service.keys, "tokens"), "enlace.referrals", service.clock),
        service.clock,
    )
    server = Server("127.0.0.1:0", created.servicers, threads=4, reflect=False)
    server.start()
    try:
        with (
            running(created.watch.loop()),
            grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            place_events(service)
            with following(story.ngo) as first, following(story.ngo, channel=channel) as second:
                drafts = [story.draft() for _ in range(5)]
                changes = [[next(stream) for _ in range(10)] for stream in (first, second)]
            assert ids_and_verbs(changes[0]) == ids_and_verbs(changes[1])
            assert {change.referral_id for change in changes[0]} == {draft.id for draft in drafts}
            with following(story.ngo, changes[0][3].resume_token, channel=channel) as second:
                later = [next(second) for _ in range(6)]
                assert ids_and_verbs(later) == ids_and_verbs(changes[0][4:])
                began = time.monotonic()
                server.stop(5).wait(5)
                assert not list(second)[-1].referral_id
                assert time.monotonic() - began < 3, (
                    "the stream ends by itself when the service stops"
                )
    finally:
        server.stop(0)
        database.close()


def test_a_notice_by_the_service_itself_is_streamed_and_keeps_the_etag(
    story: Story, service: Service
) -> None:
    token, partners_facts = start_token(story.ngo), PartnersFacts(service)
    draft = story.draft(need_code="MED.PRI", service_id=SERVICE["clinic_visit"])
    sent = story.send(draft, recipient=ORG["clinic"], purposes=["MED"])
    partners_facts.organization("clinic", "SUSPENDED")
    partners_facts.organization("clinic", "APPROVED")
    service.clock.advance(timedelta(days=77))
    DeadlineScheduler(
        service.made.renewals, service.database, service.clock, renewals.next_time, "renewals"
    ).fire()
    changes = [c for c in changes_since(story, story.ngo, token) if c.referral_id == sent.id]
    assert [(change.verb, change.etag) for change in changes[-3:]] == [
        ("side_out", sent.etag),
        ("side_back", sent.etag),
        ("consent_ending", sent.etag),
    ]
    service.as_("clinic", "WORKER").AcknowledgeReferral(id=sent.id, etag=changes[-1].etag)
