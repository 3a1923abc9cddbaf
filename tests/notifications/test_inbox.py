"""The inbox: messages to a desk, a worker or the coordinators, which nobody else sees."""

from datetime import timedelta
from functools import partial

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis import wire
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from chassis.wire import timestamp
from protos.notifications.v1 import facts_pb2
from protos.notifications.v1 import notifications_pb2 as pb
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.referrals.v1.referrals_pb2 import CLOCK_KIND_REPLACE, URGENCY_IMMEDIATE
from services.notifications.store import members
from services.notifications.words import text
from tests.builders import NOT_FOUND, refusal, refusal_with_fields, wrong_fields
from tests.notifications.conftest import COALITION, OTHER, RECEIVER, SENDER, Service


def test_the_receivers_desk_reads_its_messages_in_the_readers_language(service: Service) -> None:
    fact = service.hear("sent", urgency=4)
    for language in ("es", "en", "fr"):
        [message] = service.as_(RECEIVER, "WORKER", language=language).ListMessages().messages
        assert message.text == text("referral_sent", language)
        assert (message.kind, message.referral_id, message.urgency_code) == (
            "referral_sent",
            fact.subject,
            URGENCY_IMMEDIATE,
        )
        assert (
            message.create_time.ToDatetime().timestamp()
            == fact.time.replace(tzinfo=None).timestamp()
        )
    assert service.as_(RECEIVER, scopes=("notifications",)).kinds() == ["referral_sent"]
    for stranger in (SENDER, OTHER):
        assert service.as_(stranger, "WORKER").kinds() == []


def test_the_sending_worker_sees_one_message_and_her_colleagues_another(service: Service) -> None:
    worker = new_id()
    service.hear("accepted", sender_worker_id=worker)
    sender, colleague = service.as_(SENDER, "WORKER", id=worker), service.as_(SENDER, "WORKER")
    [own_message], [their_message] = (
        sender.ListMessages().messages,
        colleague.ListMessages().messages,
    )
    assert own_message.id != their_message.id
    colleague.MarkMessageRead(id=their_message.id)
    # the colleague read the message to the desk; the message to the worker stays unread
    assert (sender.CountUnread().unread, colleague.CountUnread().unread) == (1, 0)
    assert refusal(lambda: colleague.MarkMessageRead(id=own_message.id)) == NOT_FOUND
    sender.MarkMessageRead(id=own_message.id)
    assert sender.CountUnread().unread == 0


def test_marking_all_as_read_leaves_later_messages_unread(service: Service) -> None:
    first = service.hear("sent")
    client, stranger = service.as_(RECEIVER, "WORKER"), service.as_(OTHER, "WORKER")
    service.hear("sent", receiver_organization_id=OTHER)
    received = client.ListMessages().messages[0]
    assert received.referral_id == first.subject
    assert received.need_code == "HOU.EMG"
    service.advance(minutes=1)
    service.hear("withdrawn", first.subject)
    assert client.MarkAllMessagesRead(until_time=received.create_time).unread == 1
    assert [bool(message.HasField("read_time")) for message in client.ListMessages().messages] == [
        False,
        True,
    ]
    assert stranger.CountUnread().unread == 1, "another desk's messages stay unread"
    assert refusal(client.MarkAllMessagesRead)[0] == "INVALID_ARGUMENT"


def test_a_message_that_arrives_late_is_not_marked_as_read_with_the_newer_ones(
    service: Service,
) -> None:
    client = service.as_(RECEIVER, "WORKER")
    for _ in range(2):
        service.advance(seconds=60)
        service.hear("sent")
    newest = client.ListMessages().messages[0]
    service.rows("UPDATE messages SET arrival_time = now() - interval '1 min' RETURNING id")
    late = service.fact("sent", time=service.clock.now() - timedelta(seconds=30))
    service.apply(late)
    assert client.MarkAllMessagesRead(until_time=newest.create_time).unread == 1
    [message] = client.ListMessages(unread_only=True).messages
    assert message.referral_id == late.subject
    assert client.MarkAllMessagesRead(until_time=timestamp(service.clock.now())).unread == 1
    service.advance(seconds=1)
    service.hear("sent")
    newest = client.ListMessages().messages[0]
    assert client.MarkAllMessagesRead(until_time=newest.create_time).unread == 0


def test_a_whole_organisation_shares_one_version_that_changes_with_its_messages(
    service: Service,
) -> None:
    worker = new_id()
    sender = service.as_(SENDER, "WORKER", id=worker)
    colleague = service.as_(SENDER, "WORKER")
    stranger = service.as_(OTHER, "WORKER")
    versions, strangers_version = {colleague.CountUnread().version}, stranger.CountUnread().version
    service.hear("accepted", sender_worker_id=worker)
    versions.add(colleague.CountUnread().version)
    sender.MarkMessageRead(id=sender.ListMessages().messages[0].id)
    versions.add(colleague.CountUnread().version)
    assert len(versions) == 3
    assert sender.CountUnread().version == colleague.CountUnread().version
    assert stranger.CountUnread().version == strangers_version


def test_one_call_with_many_watch_tokens_returns_the_version_of_each(service: Service) -> None:
    clients = [
        service.as_(SENDER, "WORKER"),
        service.as_(OTHER, "WORKER"),
        service.as_(COALITION, "COORDINATOR"),
    ]
    tokens = [client.CountUnread().watch_token for client in clients]
    public = service.public()
    before = public.BatchGetUnreadVersions(watch_tokens=[*tokens, "made up"]).versions
    assert before == [*(client.CountUnread().version for client in clients), ""]
    service.hear("accepted")
    after = public.BatchGetUnreadVersions(watch_tokens=tokens).versions
    assert [old != new for old, new in zip(before, after, strict=False)] == [True, False, False]
    service.advance(minutes=1)
    assert public.BatchGetUnreadVersions(watch_tokens=tokens).versions == ["", "", ""]


def test_an_override_changes_the_unread_version_of_the_coordinators(service: Service) -> None:
    coordinator, desk = service.as_(COALITION, "COORDINATOR"), service.as_(COALITION, "WORKER")
    coordinators_version, desks_version = (
        coordinator.CountUnread().version,
        desk.CountUnread().version,
    )
    service.hear("sent", override_used=True)
    assert coordinator.CountUnread().version != coordinators_version
    assert desk.CountUnread().version == desks_version


def test_the_coordinators_are_notified_of_overrides_and_escalations(service: Service) -> None:
    service.hear("sent", override_used=True)
    service.advance(hours=1)
    service.hear("clock_escalated")
    coordinator = service.as_(COALITION, "COORDINATOR")
    assert coordinator.kinds() == ["clock_escalated", "override_used"]
    assert service.as_(COALITION, "WORKER").kinds() == []
    override_used = coordinator.ListMessages().messages[1].id
    manager = service.as_(COALITION, "MANAGER")
    assert refusal(lambda: manager.MarkMessageRead(id=override_used)) == NOT_FOUND
    assert coordinator.MarkMessageRead(id=override_used).HasField("read_time")


def test_reading_a_message_twice_keeps_the_first_time_of_reading(service: Service) -> None:
    service.hear("sent")
    client = service.as_(RECEIVER, "WORKER")
    [message] = client.ListMessages(unread_only=True).messages
    first = client.MarkMessageRead(id=message.id)
    service.advance(minutes=5)
    assert client.MarkMessageRead(id=message.id).read_time == first.read_time
    assert client.ListMessages(unread_only=True).messages == []
    assert len(client.ListMessages().messages) == 1


def test_an_unknown_message_is_not_found(service: Service) -> None:
    client = service.as_(RECEIVER, "WORKER")
    assert refusal(lambda: client.MarkMessageRead(id=new_id())) == NOT_FOUND


def test_pages_follow_each_other_without_a_gap_or_a_repeat(service: Service) -> None:
    start = service.clock.now()
    for number in range(25):
        # several messages at the same moment
        service.hear("sent", time=start + timedelta(seconds=number // 3))
    client, token, ids = service.as_(RECEIVER, "WORKER"), "", []
    for size in (10, 10, 5):
        page = client.ListMessages(page_size=10, page_token=token)
        assert len(page.messages) == size
        ids += [message.id for message in page.messages]
        token = page.next_page_token
    assert token == ""
    assert len(set(ids)) == 25
    times = [message.create_time.ToDatetime() for message in client.ListMessages().messages]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    "id",
    [
        "\x00",
        "a\x00" + "b" * 30,
        "f" * 32 + "\x00",
        "\ufeff",
        "F" * 32,
        "",
        "'; DROP TABLE messages; --",
    ],
    ids=repr,
)
def test_an_invalid_id_is_not_found_by_any_rpc(service: Service, id: str) -> None:
    client = service.as_(RECEIVER, "MANAGER")
    for call in (
        partial(client.MarkMessageRead, id=id),
        partial(client.ListNotices, referral_id=id),
        partial(client.GetWebhook, id=id),
        partial(client.DeleteWebhook, id=id),
        partial(client.TestWebhook, id=id),
        partial(client.ListDeliveries, webhook_id=id),
        partial(client.ResendDelivery, id=id),
        partial(
            client.UpdateWebhook,
            webhook=pb.Webhook(id=id, etag="v1", enabled=True),
            update_mask=FieldMask(paths=["enabled"]),
        ),
    ):
        assert refusal(call) == NOT_FOUND


@pytest.mark.parametrize(
    "token", ["x", "!!!", "bm90IGEgdG9rZW4", "MjAyNi0wMS0wMVQwMDowMDowMHxh", "\x00"]
)
def test_an_invalid_page_token_is_refused(service: Service, token: str) -> None:
    client = service.as_(RECEIVER, "WORKER")
    assert wrong_fields(lambda: client.ListMessages(page_token=token)) == [
        ("page_token", "malformed")
    ]


def test_a_negative_page_size_is_refused_and_a_huge_one_is_reduced_to_two_hundred(
    service: Service,
) -> None:
    client = service.as_(RECEIVER, "WORKER")
    assert wrong_fields(lambda: client.ListMessages(page_size=-1)) == [
        ("page_size", "out_of_range")
    ]
    for _ in range(201):
        service.hear("sent")
    assert len(client.ListMessages(page_size=2**31 - 1).messages) == 200


def test_a_fact_applied_twice_makes_one_message_and_one_delivery(service: Service) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    fact = service.hear("sent")
    service.apply(fact)
    assert service.as_(RECEIVER, "WORKER").kinds() == ["referral_sent"]
    service.send_webhooks()
    service.apply(fact)
    service.send_webhooks()
    assert len(system.requests) == 1


def test_after_a_lost_database_the_same_fact_makes_the_same_ids(service: Service) -> None:
    system = service.receiver()
    service.webhook(RECEIVER, system.url)
    fact = service.hear("sent")
    service.send_webhooks()
    [first_message] = service.as_(RECEIVER, "WORKER").ListMessages().messages
    service.rows("DELETE FROM deliveries RETURNING id")
    service.rows("DELETE FROM messages RETURNING id")
    service.apply(fact)
    service.send_webhooks()
    assert [message.id for message in service.as_(RECEIVER, "WORKER").ListMessages().messages] == [
        first_message.id
    ]
    assert system.requests[0].id == system.requests[1].id  # the partner recognises the repeat


def test_an_old_fact_makes_no_message(service: Service) -> None:
    service.hear("sent", time=service.clock.now() - timedelta(days=8))
    assert service.as_(RECEIVER, "WORKER").kinds() == []


def test_only_the_two_sides_of_a_referral_see_the_state_of_its_notices(service: Service) -> None:
    service.webhook(RECEIVER, service.receiver().url)
    fact = service.queue_emails()
    service.send_webhooks()
    service.send_mails()
    reader = service.as_(RECEIVER, "WORKER")
    reader.MarkMessageRead(id=reader.ListMessages().messages[0].id)
    for side in (SENDER, RECEIVER):
        notices = service.as_(side, "WORKER").ListNotices(referral_id=fact.subject).notices
        assert {
            (notice.channel, notice.organization_id, pb.DeliveryStatus.Name(notice.status))
            for notice in notices
        } == {
            (channel, RECEIVER, "DELIVERY_STATUS_DELIVERED")
            for channel in wire.words(pb.NoticeChannel.DESCRIPTOR)
        }
        assert [
            notice.HasField("read_time")
            for notice in notices
            if notice.channel == pb.NOTICE_CHANNEL_INBOX
        ] == [True]
    for stranger in (service.as_(OTHER, "WORKER"), service.as_(COALITION, "COORDINATOR")):
        assert stranger.ListNotices(referral_id=fact.subject).notices == []


def test_messages_to_a_desk_and_to_its_worker_count_as_one_notice(service: Service) -> None:
    worker = new_id()
    fact = service.hear("accepted", sender_worker_id=worker)
    sender = service.as_(SENDER, "WORKER", id=worker)
    sender.MarkMessageRead(id=sender.ListMessages().messages[0].id)
    [notice] = sender.ListNotices(referral_id=fact.subject).notices
    assert notice.HasField("read_time")


def test_a_desk_uses_spanish_and_has_no_email_until_its_manager_changes_that(
    service: Service,
) -> None:
    manager = service.as_(RECEIVER, "MANAGER")
    assert manager.GetDesk() == pb.Desk(organization_id=RECEIVER, language="es", etag="v0")
    changed_desk = manager.SetDesk(desk=pb.Desk(language="fr", email="mesa@ong.example", etag="v0"))
    assert changed_desk == service.as_(RECEIVER, "WORKER").GetDesk()
    assert changed_desk == pb.Desk(
        organization_id=RECEIVER, language="fr", email="mesa@ong.example", etag="v1"
    )
    [row] = service.rows("SELECT email FROM desks")
    assert b"mesa" not in bytes(row["email"])
    manager.SetDesk(desk=pb.Desk(language="es", etag="v1"))
    assert manager.GetDesk().email == ""


def test_a_desk_is_changed_only_with_its_current_etag(service: Service) -> None:
    manager = service.as_(RECEIVER, "MANAGER")
    manager.SetDesk(desk=pb.Desk(language="es", email="mesa@ong.example", etag="v0"))
    for etag in ("v0", "v2", "1", "x"):
        set_desk = partial(manager.SetDesk, desk=pb.Desk(language="es", etag=etag))
        assert refusal(set_desk) == ("ABORTED", "stale_etag")
    assert refusal_with_fields(lambda: manager.SetDesk(desk=pb.Desk(language="es")))[2] == {
        "desk.etag": "required"
    }
    assert manager.GetDesk().email == "mesa@ong.example"


def test_only_a_coordinator_sets_the_desk_of_another_organisation(service: Service) -> None:
    desk = pb.Desk(organization_id=RECEIVER, language="es", email="mesa@ong.example", etag="v0")
    manager, coordinator = service.as_(OTHER, "MANAGER"), service.as_(COALITION, "COORDINATOR")
    assert refusal(lambda: manager.GetDesk(organization_id=RECEIVER)) == NOT_FOUND
    assert coordinator.GetDesk(organization_id=RECEIVER).etag == "v0"
    assert refusal(lambda: manager.SetDesk(desk=desk)) == NOT_FOUND
    assert refusal(lambda: service.as_(RECEIVER, "WORKER").SetDesk(desk=desk)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    changed_desk = coordinator.SetDesk(desk=desk)
    assert changed_desk == service.as_(RECEIVER, "WORKER").GetDesk()
    assert (changed_desk.email, changed_desk.etag) == ("mesa@ong.example", "v1")


def test_no_coordinator_redirects_the_emails_of_an_organisation_that_has_a_manager(
    service: Service,
) -> None:
    manager, coordinator = service.as_(RECEIVER, "MANAGER"), service.as_(COALITION, "COORDINATOR")
    with service.database.transaction(SYSTEM) as tx:
        members.save_worker(tx, manager.caller.id, RECEIVER, ["MANAGER"], "ACTIVE")
    desk = pb.Desk(organization_id=RECEIVER, language="es", email="otra@correo.example", etag="v0")
    assert refusal(lambda: coordinator.SetDesk(desk=desk)) == (
        "FAILED_PRECONDITION",
        "manager_exists",
    )
    assert manager.SetDesk(desk=desk).email == "otra@correo.example"


@pytest.mark.parametrize(
    ("language", "email", "violations"),
    [
        (
            "español",
            "not an address",
            [("desk.language", "malformed"), ("desk.email", "malformed")],
        ),
        ("xx", "", [("desk.language", "unknown_code")]),
    ],
)
def test_the_refusal_of_a_desk_names_each_invalid_field(
    language: str, email: str, violations: list[tuple[str, str]], service: Service
) -> None:
    desk = pb.Desk(language=language, email=email, etag="v0")
    assert wrong_fields(lambda: service.as_(RECEIVER, "MANAGER").SetDesk(desk=desk)) == violations


def webhook_rpcs(webhook_id: str, delivery_id: str) -> dict[str, dict[str, object]]:
    return {
        "GetWebhook": {"id": webhook_id},
        "UpdateWebhook": {
            "webhook": pb.Webhook(id=webhook_id, etag="v1"),
            "update_mask": {"paths": ["kinds"]},
        },
        "TestWebhook": {"id": webhook_id},
        "ListDeliveries": {"webhook_id": webhook_id},
        "ResendDelivery": {"id": delivery_id},
        "DeleteWebhook": {"id": webhook_id},
    }


def test_another_organisations_webhooks_cannot_be_found(service: Service) -> None:
    webhook = service.webhook(RECEIVER, "http://127.0.0.1:9/").webhook
    service.hear("sent")
    delivery = service.deliveries(webhook.id)[0].id
    calls = webhook_rpcs(webhook.id, delivery)
    unknown_calls = webhook_rpcs(new_id(), new_id())
    for client in (service.as_(OTHER, "MANAGER"), service.as_(OTHER, scopes=("notifications",))):
        for rpc, values in [*calls.items(), *unknown_calls.items()]:
            assert refusal(partial(getattr(client, rpc), **values)) == NOT_FOUND, rpc
        assert client.ListWebhooks().webhooks == []
    for rpc, values in calls.items():
        getattr(service.as_(RECEIVER, scopes=("notifications",)), rpc)(**values)


def test_an_organisation_can_have_at_most_twenty_webhooks(service: Service) -> None:
    for _ in range(20):
        service.webhook(RECEIVER, "http://127.0.0.1:9/")
    assert refusal(lambda: service.webhook(RECEIVER, "http://127.0.0.1:9/")) == (
        "FAILED_PRECONDITION",
        "too_many_webhooks",
    )
    assert service.webhook(OTHER, "http://127.0.0.1:9/").secret


def test_a_change_needs_the_current_etag_and_a_known_field(service: Service) -> None:
    webhook = service.webhook(RECEIVER, "http://127.0.0.1:9/").webhook
    manager = service.as_(RECEIVER, "MANAGER")

    def update(etag: str, *paths: str) -> tuple[str, str, dict[str, str]]:
        webhook_change = pb.Webhook(id=webhook.id, etag=etag, url="https://10.0.0.1/")
        return refusal_with_fields(
            lambda: manager.UpdateWebhook(webhook=webhook_change, update_mask={"paths": paths})
        )

    assert update("v0", "kinds")[:2] == ("ABORTED", "stale_etag")
    assert update("", "kinds")[2] == {"webhook.etag": "required"}
    assert update("v1", "organization_id")[2] == {"update_mask": "unknown_code"}
    assert update("v1")[2] == {"update_mask": "required"}
    assert update("v1", "url")[2] == {"webhook.url": "out_of_range"}
    assert manager.GetWebhook(id=webhook.id) == webhook


def test_a_suspended_or_revoked_caller_is_refused_as_soon_as_the_fact_arrives(
    service: Service,
) -> None:
    worker, key = service.as_(RECEIVER, "WORKER"), service.as_(RECEIVER, scopes=("notifications",))
    manager = service.as_(OTHER, "MANAGER")
    for client in (worker, key, manager):
        client.CountUnread()  # no fact about the caller has arrived yet, so the call is allowed
    service.hear_of_member(
        "worker",
        partners_pb2.WorkerFact(
            worker_id=worker.caller.id, organization_id=RECEIVER, status_code="SUSPENDED"
        ),
    )
    service.hear_of_member(
        "api_key",
        partners_pb2.ApiKeyFact(api_key_id=key.caller.id, organization_id=RECEIVER, live=False),
    )
    service.suspend(OTHER)
    for client in (worker, key, manager):
        assert refusal(client.CountUnread) == ("PERMISSION_DENIED", "organization_not_active")
    assert service.as_(RECEIVER, "WORKER").CountUnread().unread == 0


def test_the_database_itself_keeps_organisations_apart(service: Service) -> None:
    service.webhook(RECEIVER, "http://127.0.0.1:9/")
    service.desk(RECEIVER, "mesa@ong.example")
    service.hear("sent")
    for organization, has_rows in ((RECEIVER, True), (OTHER, False)):
        with service.database.transaction(service.as_(organization, "MANAGER").caller) as tx:
            for table in ("messages", "deliveries", "webhooks", "desks"):
                assert bool(tx.execute(f"SELECT FROM {table}").fetchall()) is has_rows, table


def test_the_facts_of_this_service_hold_only_ids_and_codes() -> None:
    for message in facts_pb2.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            assert field.message_type is None, field.full_name
            assert field.name.endswith(("_id", "_code")), field.full_name


def test_a_receiver_sees_no_notice_that_shows_how_the_sender_looks_for_other_help(
    service: Service,
) -> None:
    fact = service.hear("declined", actor_organization_id=RECEIVER)
    coordination = {"actor_organization_id": COALITION}
    service.hear("clock_breached", fact.subject, clock=CLOCK_KIND_REPLACE)
    service.hear("reminded", fact.subject, reminded_organization_id=SENDER, **coordination)
    service.hear("need_closed", fact.subject, **coordination)
    seen = {
        side: {
            notice.kind
            for notice in service.as_(side, "WORKER").ListNotices(referral_id=fact.subject).notices
        }
        for side in (SENDER, RECEIVER)
    }
    hidden = {"clock_breached", "referral_reminded", "referral_need_closed"}
    assert seen == {SENDER: {"referral_declined"} | hidden, RECEIVER: {"referral_declined"}}
