"""Row-level security, the second barrier.

With the service's own unprivileged role, any SQL sees only the rows of its scope.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import facts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.emergency import DURATION, REVIEW_WITHIN, EmergencyAccess
from services.referrals.files.store import emergencies
from services.referrals.people.domain.anomaly import Anomaly, AnomalyKind
from services.referrals.people.store import anomalies
from tests.builders import NOON, NOT_FOUND, NOTHING_UNSAFE, refusal
from tests.referrals.conftest import ORG, SERVICE, Service, Story, read

PROTECTED = (
    "people",
    "person_keys",
    "person_sealed",
    "person_names",
    "contacts",
    "contact_notes",
    "callbacks",
    "line_take_overs",
    "receipts",
    "receipt_grounds",
    "referrals",
    "clocks",
    "referral_events",
    "renewals",
    "plans",
    "plan_steps",
    "enquiries",
    "enquiry_offers",
    "erasures",
    "anomalies",
    "emergencies",
)
TABLES_OF_PEOPLE = (
    "people",
    "person_keys",
    "person_sealed",
    "person_names",
    "receipts",
    "receipt_grounds",
    "plans",
    "plan_steps",
)


@contextmanager
def scoped(
    service: Service, organization: str = "", view: str = "member"
) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """Yields a connection with this scope for any SQL; its changes are rolled back."""
    with psycopg.connect(service.database_url, row_factory=dict_row) as connection:
        connection.execute(
            "SELECT set_config('enlace.organization', %s, false), set_config('enlace.view', %s,"
            " false)",
            (ORG.get(organization, ""), view),
        )
        yield connection
        connection.rollback()


def visible_rows(connection: psycopg.Connection[dict[str, Any]]) -> dict[str, int]:
    """Returns the number of rows of each protected table in this scope."""
    return {
        table: len(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in PROTECTED
    }


@pytest.fixture(scope="module")
def row_counts(service: Service) -> dict[str, int]:
    """Fills every table with rows of the NGO, the shelter and the line.

    Returns the number of all rows by table. One draft is abandoned and names no receiver.
    """
    story = Story(
        service,
        service.as_("ngo", "WORKER"),
        service.as_("shelter", "WORKER"),
        service.as_("coalition", "COORDINATOR"),
        iter(range(10_000, 20_000)),
    )
    operator = service.as_("hotline", "OPERATOR")
    accepted = story.accepted()
    story.draft()
    story.receipt(
        accepted.person_id,
        recipient=ORG["police"],
        adult_ground_code=people_pb2.ADULT_GROUND_DOCUMENT,
    )
    created = story.contact()
    service.public().AddNoteByReference(
        reference=created.reference, pin=created.pin, note="she found a phone"
    )
    operator.TakeOverLine()
    operator.CreateCallback(
        callback=c.Callback(
            contact_id=created.contact.id,
            day_code=c.DAY_BAND_TOMORROW,
            hour_code=c.HOUR_BAND_NIGHT,
        )
    )
    story.ngo.CreatePlan(person_id=story.person().id, pathway_id="child")
    story.ngo.ProposeErasure(person_id=story.person().id)
    content = e.EnquiryContent(need_code="HOU.EMG", urgency=pb.URGENCY_URGENT)
    story.ngo.CreateEnquiry(**NOTHING_UNSAFE, content=content, service_ids=[SERVICE["shelter_bed"]])
    without_receiver = story.ngo.CreateReferral(**NOTHING_UNSAFE, person_id=story.person().id)
    story.ngo.EnterReferralInError(id=without_receiver.id, etag=without_receiver.etag)
    with service.database.transaction(SYSTEM) as tx:
        anomaly = Anomaly(
            "a" * 32, AnomalyKind.AT_NIGHT, story.ngo.caller.id, ORG["ngo"], NOON.date(), 1, NOON
        )
        anomalies.save(tx, anomaly)
        access = EmergencyAccess(
            "e" * 32,
            accepted.person_id,
            accepted.id,
            *(ORG["shelter"], story.shelter.caller.id, ORG["ngo"]),
            "life_at_risk",
            NOON,
            NOON + DURATION,
            NOON + REVIEW_WITHIN,
        )
        emergencies.add(
            tx, access, service.made.consents._files.key(tx, accepted.person_id), "no contestan"
        )
        return {table: len(tx.execute(f"SELECT 1 FROM {table}").fetchall()) for table in PROTECTED}


def test_every_table_with_data_of_people_has_row_level_security(
    service: Service, row_counts: dict[str, int]
) -> None:
    assert all(row_counts.values())
    with psycopg.connect(service.database_url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relrowsecurity AND relkind = 'r'"
        ).fetchall()
        role = connection.execute(
            "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        owned_tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            " AND tableowner = current_user"
        ).fetchone()
    assert {row[0] for row in rows} == set(PROTECTED)
    assert (role, owned_tables) == ((False,), (0,))


def test_without_a_scope_no_row_is_visible(service: Service, row_counts: dict[str, int]) -> None:
    with psycopg.connect(service.database_url, row_factory=dict_row) as connection:
        assert set(visible_rows(connection).values()) == {0}
    for view in ("", "member", "nonsense"):
        with scoped(service, "", view) as connection:
            assert set(visible_rows(connection).values()) == {0}


def test_another_organisation_sees_no_row(service: Service, row_counts: dict[str, int]) -> None:
    with scoped(service, "clinic") as connection:
        assert set(visible_rows(connection).values()) == {0}
        for statement in (
            "SELECT * FROM people WHERE true OR organization_id = scope_organization()",
            "SELECT p.* FROM people p JOIN person_sealed s ON s.person_id = p.id",
            "SELECT s.* FROM person_sealed s UNION ALL SELECT * FROM person_sealed",
            "WITH all_of_them AS (SELECT * FROM referrals) SELECT * FROM all_of_them",
            f"SELECT * FROM people WHERE organization_id = '{ORG['ngo']}'",
        ):
            assert connection.execute(statement).fetchall() == []
        for table in set(PROTECTED) - {"referral_events"}:  # no role may delete from this table
            assert connection.execute(f"DELETE FROM {table}").rowcount == 0
        update = "UPDATE people SET organization_id = scope_organization()"
        assert connection.execute(update).rowcount == 0


def test_no_organisation_writes_a_row_for_another(
    service: Service, row_counts: dict[str, int]
) -> None:
    with scoped(service, "ngo") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE people SET organization_id = %s", (ORG["clinic"],))
    with (
        scoped(service, "clinic") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(
            "INSERT INTO people (id, organization_id, version, create_time, update_time)"
            " VALUES ('x', %s, 1, now(), now())",
            (ORG["ngo"],),
        )


def test_sender_and_receiver_see_only_their_own_rows(
    service: Service, row_counts: dict[str, int]
) -> None:
    with scoped(service, "ngo") as connection:
        senders_rows = visible_rows(connection)
        assert senders_rows["contacts"] == 0
        assert {table: senders_rows[table] for table in ("people", "referrals", "receipts")} == {
            table: row_counts[table] for table in ("people", "referrals", "receipts")
        }
    with scoped(service, "shelter") as connection:
        receivers_rows = visible_rows(connection)
        for table in ("people", "person_keys", "referrals", "receipts"):
            assert receivers_rows[table] == 1, table
        assert (receivers_rows["plans"], receivers_rows["plan_steps"]) == (0, 0), (
            "a plan belongs to the organisation of the file"
        )
        assert (receivers_rows["enquiries"], receivers_rows["enquiry_offers"]) == (0, 1), (
            "a receiver reads only its copy, and not the enquiry of the asker"
        )
        assert receivers_rows["person_names"] == 0, (
            "only the file's own organisation finds her by name"
        )
        assert connection.execute("SELECT 1 FROM referrals WHERE state = 'draft'").fetchall() == []
    with scoped(service, "hotline") as connection:
        lines_rows = visible_rows(connection)
        assert all(
            lines_rows.pop(table) == row_counts[table]
            for table in ("contacts", "contact_notes", "callbacks", "line_take_overs")
        )
        assert set(lines_rows.values()) == {0}


def test_a_coordinator_sees_referrals_but_no_data_of_people(
    service: Service, row_counts: dict[str, int]
) -> None:
    with scoped(service, "coalition", "coordinator") as connection:
        counts = visible_rows(connection)
        assert {counts[table] for table in (*TABLES_OF_PEOPLE, "contacts")} == {0}
        assert counts["referrals"] >= 1
        assert counts["clocks"] == row_counts["clocks"] - 2, (
            "a referral that was never sent belongs to its sender"
        )
        assert connection.execute("SELECT 1 FROM referrals WHERE state = 'draft'").fetchall() == []


@pytest.mark.parametrize(
    "state",
    [
        "declined",
        "withdrawn",
        "consent_withdrawn",
        "not_delivered",
        "expired",
        "rerouted",
        "closed",
        "entered_in_error",
        "draft",
    ],
)
def test_the_receiver_cannot_see_the_persons_rows_once_the_referral_has_ended(
    state: str, service: Service, row_counts: dict[str, int]
) -> None:
    with scoped(service, "shelter") as connection:
        connection.execute("SELECT set_config('enlace.view', 'system', false)")
        connection.execute(
            "UPDATE referrals SET state = %s WHERE receiver_organization_id = %s"
            " AND state <> 'draft'",
            (state, ORG["shelter"]),
        )
        connection.execute("SELECT set_config('enlace.view', 'member', false)")
        counts = visible_rows(connection)
        assert (counts["people"], counts["person_keys"], counts["person_sealed"]) == (0, 0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit",
        "UPDATE audit SET allowed = true",
        "TRUNCATE audit",
        (
            "INSERT INTO audit (sequence, time, actor_kind, actor_id, organization_id, action,"
            " object_id, allowed) VALUES (1, now(), '', '', '', '', '', true)"
        ),
        (
            "INSERT INTO audit (hash, time, actor_kind, actor_id, organization_id, action,"
            " object_id, allowed) VALUES ('', now(), '', '', '', '', '', true)"
        ),
        "ALTER TABLE audit DISABLE TRIGGER audit_chained",
        "UPDATE audit_head SET sequence = 0",
        "DELETE FROM audit_head",
        "DELETE FROM audit_witnesses",
        "UPDATE audit_witnesses SET hash = ''",
        "DELETE FROM outbox",
        "UPDATE outbox SET payload = ''",
        "UPDATE outbox SET version = version + 1000",
        "DELETE FROM referral_events",
        "UPDATE referral_events SET verb = 'accepted'",
        "SET session_replication_role = replica",
    ],
)
def test_the_services_role_can_neither_change_nor_delete_trail_history_and_outbox(
    statement: str, service: Service, row_counts: dict[str, int]
) -> None:
    with scoped(service, "ngo") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_a_receiver_does_not_list_the_files_of_the_sender(
    service: Service, row_counts: dict[str, int]
) -> None:
    assert list(service.as_("shelter", "WORKER").ListPeople().people) == []


def test_a_draft_entered_in_error_stays_invisible_to_others(story: Story, service: Service) -> None:
    draft = story.draft()
    in_error = story.ngo.EnterReferralInError(id=draft.id, etag=draft.etag)
    assert in_error.state == pb.STATE_ENTERED_IN_ERROR
    for client in (story.shelter, story.coordinator):
        assert refusal(partial(read, client, draft.id)) == NOT_FOUND
    assert read(story.ngo, draft.id).id == draft.id
    statement = "SELECT payload FROM outbox WHERE subject = %s ORDER BY version"
    *_, row = service.rows(statement, draft.id)
    assert facts_pb2.ReferralFact.FromString(row["payload"]).receiver_organization_id == "", (
        "nobody is notified of a draft"
    )
    following = story.sent(based_on_id=draft.id)
    corrected = story.coordinator.EnterReferralInError(id=following.id, etag=following.etag)
    assert corrected.state == pb.STATE_ENTERED_IN_ERROR, "a coordinator need not see the draft"
