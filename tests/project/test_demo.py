"""The demo network.

It has the promised content, all of it is made up, and a second start finds the data of the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, count, islice
from pathlib import Path

import psycopg
import pytest

import chassis
import services
from chassis.clock import SystemClock
from chassis.db import Database
from chassis.errors import Unavailable
from chassis.tokens import SYSTEM
from demo import __main__ as demo
from demo import campaigns, steps
from demo.contacts import contacts
from demo.enquiries import enquiry
from demo.figures import counts as figures_of
from demo.live import tonights_stories
from demo.network import network
from demo.pilot import FROM_CHINANDEGA, TOTAL, pilot
from demo.secret_words import DemoSecrets
from demo.story import Story
from keys import key_folder
from services.partners.members.domain.organization import OrganizationType
from services.partners.members.store import workers
from services.partners.members.usecases.passwords import matches_hash
from services.referrals.network.domain.counts import SMALLEST
from services.referrals.network.usecases.policies import PlaceCalendar
from services.referrals.referrals.domain.figures import published_cells
from services.referrals.referrals.domain.lifecycle import BY_VERB, State
from services.referrals.referrals.usecases import figures
from tests.parts.postgres import Server

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 4, 18, tzinfo=UTC)
CALENDAR = PlaceCalendar("NI")


def pilot_stories() -> list[Story]:
    return list(chain.from_iterable(stories for _, stories in pilot(network(), CALENDAR)))


def test_the_pilot_has_the_published_totals() -> None:
    files = [file.person for file, _ in pilot(network(), CALENDAR)]
    assert len(files) == TOTAL == 26
    assert Counter(person.coarse.department for person in files)["NI-CI"] == FROM_CHINANDEGA == 13
    assert {person.exploitation_country for person in files} == {"SV", "CR", "GT", "MX", "US"}
    assert {person.create_time.strftime("%Y-%m") for person in files} == {
        f"2006-{month:02}" for month in range(1, 11)
    }


def test_the_tables_of_the_pilot_reveal_no_small_count() -> None:
    """Checks that the sum of the unpublished counts, which anybody can compute, reveals no count.

    It would reveal them if only one count were unpublished, if each were one, or if each were nine.
    """
    files = [file.person for file, _ in pilot(network(), CALENDAR)]
    for table in (
        Counter(person.coarse.department for person in files),
        Counter(person.exploitation_country for person in files),
        Counter(person.create_time.month for person in files),
    ):
        unpublished_counts = [count for count in table.values() if count < SMALLEST]
        assert len(unpublished_counts) > 1
        assert (
            len(unpublished_counts)
            < sum(unpublished_counts)
            < len(unpublished_counts) * (SMALLEST - 1)
        )


def test_the_last_quarters_are_published_without_counts_that_are_too_small() -> None:
    cells = figures_of(NOW)
    assert {cell.quarter for cell in cells} == {
        "2024-Q2",
        "2024-Q3",
        "2024-Q4",
        "2025-Q1",
        "2025-Q2",
        "2025-Q3",
        "2025-Q4",
    }
    assert len(cells) > len(published_cells(cells)) > len(cells) / 4
    assert figures_of(NOW) == cells


def test_every_referral_of_the_pilot_has_all_its_steps_in_2006() -> None:
    for story in pilot_stories():
        verbs = [event.verb for event in story.referral.events]
        ending = (
            ["acknowledged", "accepted", "started", "completed", "closed"]
            if story.referral.state is State.CLOSED
            else ["declined"]
        )
        assert verbs == ["drafted", "amended", "sent", *ending]
        assert {event.time.year for event in story.referral.events} == {2006}
        assert not [clock for clock in story.referral.deadlines if clock.running]


def test_every_person_declined_by_one_shelter_was_accepted_by_another() -> None:
    stories = pilot_stories()
    declined_ids = {
        story.referral.id for story in stories if story.referral.state is State.DECLINED
    }
    assert declined_ids
    assert declined_ids == {
        story.based_on
        for story in stories
        if story.based_on and story.referral.state is State.CLOSED
    }


def test_the_pilot_is_the_same_at_every_start() -> None:
    assert [story.referral for story in pilot_stories()] == [
        story.referral for story in pilot_stories()
    ]


def test_each_requested_service_offers_the_need_and_belongs_to_another_member() -> None:
    for story in [*pilot_stories(), *tonights_stories(network(), CALENDAR, NOW)]:
        assert story.need in network().offers[story.offer].needs, story.offer
        assert story.file.holder != story.offer[0]


def test_tonights_referrals_have_every_reachable_state() -> None:
    reachable = {transition.target for transition in BY_VERB.values()} - {
        None,
        State.ENTERED_IN_ERROR,
    }
    states = Counter(story.referral.state for story in tonights_stories(network(), CALENDAR, NOW))
    assert set(states) == reachable | {State.DRAFT}


# in Nicaragua: Wednesday and Friday at noon, Sunday at two in the morning
@pytest.mark.parametrize("now", [NOW, NOW + timedelta(days=2), NOW + timedelta(days=3, hours=14)])
def test_some_of_tonights_referrals_are_late_and_some_are_due_soon(now: datetime) -> None:
    due_times = [
        story.referral.next_due_time for story in tonights_stories(network(), CALENDAR, now)
    ]
    assert len([due for due in due_times if due and due < now]) >= 3
    assert len([due for due in due_times if due and now <= due < now + timedelta(hours=4)]) >= 4


def test_tonights_enquiry_of_the_hotline_is_open_and_waits_for_answers() -> None:
    tonights_enquiry = enquiry(network(), CALENDAR, NOW)
    assert (tonights_enquiry.state.value, tonights_enquiry.has_offer) == ("open", True)
    assert tonights_enquiry.due_time is not None
    assert tonights_enquiry.due_time > NOW
    assert {offer.answer for offer in tonights_enquiry.offers} == {"", "maybe", "no"}
    assert all(fact.time <= NOW for fact in tonights_enquiry.events)


def test_every_deadline_level_of_tonights_referrals_whose_time_has_come_has_fired() -> None:
    for story in tonights_stories(network(), CALENDAR, NOW):
        assert not [
            clock
            for clock in story.referral.deadlines
            if clock.next_time and clock.next_time <= NOW
        ]


def test_a_referral_has_the_person_of_its_contact_and_is_not_older_than_the_contact() -> None:
    by_id = {contact.id: contact for contact, _ in contacts(network(), NOW)}
    for story in tonights_stories(network(), CALENDAR, NOW):
        if story.contact_id:
            assert by_id[story.contact_id].person_id == story.file.person.id
            assert by_id[story.contact_id].create_time <= story.draft_time


def test_the_network_has_every_type_of_member_every_need_and_every_role() -> None:
    assert {member.type for member in network().members.values()} == {
        str(kind) for kind in OrganizationType
    }
    terms = json.loads(
        (
            Path(services.__file__).parent / "partners" / "directory" / "data" / "taxonomy.json"
        ).read_text()
    )
    assert {need for offer in network().offers.values() for need in offer.needs} == {
        term["code"] for term in terms if term["parent"]
    }
    assert {role for worker in network().workers for role in worker.roles} == {
        "WORKER",
        "OPERATOR",
        "MANAGER",
        "COORDINATOR",
        "AUDITOR",
        "EMERGENCY",
    }


def test_every_shelters_housing_is_confidential() -> None:
    shelters = {slug for slug, member in network().members.items() if member.type == "SHELTER"}
    for offer in network().offers.values():
        if offer.organization in shelters and any(need.startswith("HOU") for need in offer.needs):
            assert offer.confidential


def test_no_phone_number_or_url_reaches_anybody() -> None:
    for member in network().members.values():
        assert re.search(r"(0000|555)0?1\d\d$", member.phone), member.phone
        assert member.hotline_number in ("", "133") or member.hotline_number.startswith("000-")
        assert not member.url or member.url.endswith(".demo")


def test_filling_the_demo_network_twice_gives_the_same_as_once(
    stores: Callable[[], Stores], tmp_path: Path
) -> None:
    network_stores, snapshots = stores(), []
    for _ in range(2):
        network_stores.fill(NOW)
        demo.write(tmp_path / "demo.json", network(), network_stores.demo_secrets)
        snapshots.append((json.loads((tmp_path / "demo.json").read_text()), network_stores.rows()))
    assert snapshots[0] == snapshots[1]
    assert stat.S_IMODE((tmp_path / "demo.json").stat().st_mode) == 0o600
    with (
        _open_database(network_stores.urls["partners"]) as database,
        database.transaction(SYSTEM) as tx,
    ):
        for account in snapshots[0][0]["accounts"]:
            assert len(account["password"]) >= 12
            worker_and_hash = workers.by_email(tx, account["email"])
            assert worker_and_hash
            assert account["role"] in worker_and_hash[0].entry.roles
            assert account is not snapshots[0][0]["accounts"][0] or matches_hash(
                worker_and_hash[1], account["password"]
            )
    with (
        _open_database(network_stores.urls["referrals"]) as database,
        database.transaction(SYSTEM) as tx,
    ):
        pilot_figures = figures.pilot(tx)
    assert (pilot_figures.assisted, pilot_figures.from_chinandega) == (26, 13)


@pytest.mark.timeout(240)
def test_filling_that_is_killed_again_and_again_continues_without_duplicates(
    stores: Callable[[], Stores],
) -> None:
    complete, broken = stores(), stores()
    complete.fill(SystemClock().now())
    rng, last_parts = random.Random(24), list[str]()
    for lines in count(9, 25):
        parts = []
        with subprocess.Popen(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env=broken.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            for line in islice(process.stdout, lines):
                parts.append(line.partition(":")[0])
                if parts[-1].startswith("facts"):  # it waits for facts, which no service publishes
                    break
            time.sleep(rng.random() * 0.05)  # so that the kill comes anywhere in the next part
            process.kill()
        last_parts.append(parts[-1])
        if parts[-1].startswith("facts"):
            break
    assert len(set(last_parts)) > 3
    broken.fill(SystemClock().now())
    assert broken.rows() == complete.rows()
    with _open_database(broken.urls["referrals"]) as database, database.transaction(SYSTEM) as tx:
        begin_time = campaigns.begin_time(tx)
        assert begin_time
        rows = tx.execute("SELECT id, create_time FROM contacts ORDER BY id").fetchall()
    assert [(row["id"], row["create_time"]) for row in rows] == sorted(
        (contact.contact.id, contact.contact.create_time)
        for contact in contacts(network(), begin_time)
    )


def test_a_write_that_is_refused_temporarily_is_repeated_with_all_its_facts(
    stores: Callable[[], Stores],
) -> None:
    """Covers attempts that fail at the commit, after saving cleared the facts of the objects."""
    complete, late = stores(), stores()
    complete.fill(NOW)
    with late.refusing_every(50):
        late.fill(NOW)
    assert late.rows() == complete.rows()


def test_filling_that_the_database_refuses_for_too_long_fails_with_a_sentence() -> None:
    def refused(part: int) -> None:
        raise Unavailable("store_busy")

    with pytest.raises(
        SystemExit,
        match=re.escape(
            "members: the database has refused every attempt for 0.1 seconds (store_busy)"
        ),
    ):
        steps.fill_each("members", [1], refused, patience=0.1)


def test_filling_fails_if_the_services_apply_no_facts_for_too_long(
    stores: Callable[[], Stores],
) -> None:
    stores().enter()
    with pytest.raises(
        SystemExit, match=r"^0 of [0-9]+ facts about members and services have arrived"
    ):
        demo.wait_until_received(network(), patience=0.2)


class Stores:
    """The databases of the three services, and their keys. A demo network can fill them."""

    def __init__(self, postgres: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        key_folder.create(folder / "keys", demo.SERVICES)
        self.keys = folder / "keys"
        self.demo_secrets = DemoSecrets(key_folder.keyring(self.keys, "partners"))
        self.urls, self._owner_urls = dict[str, str](), dict[str, str]()
        for service in demo.SERVICES:
            folders = [
                Path(chassis.__file__).parent / "migrations",
                Path(services.__file__).parent / service / "migrations",
            ]
            created = postgres.database(service, folders)
            self.urls[service], self._owner_urls[service] = created.url, created.migration_url
        self.environment = {
            **os.environ,
            **{f"ENLACE_{name.upper()}_DATABASE_URL": url for name, url in self.urls.items()},
            **{f"ENLACE_{name.upper()}_ADDRESS": "127.0.0.1:1" for name in self.urls},
            "ENLACE_KEYS": str(self.keys),
            "ENLACE_DEMO_FILE": str(folder / "demo.json"),
            "ENLACE_PUBLIC_URL": "http://x",
            "PYTHONUNBUFFERED": "1",
        }

    def enter(self) -> None:
        """Sets the environment of this process to these stores."""
        for name, value in self.environment.items():
            self._monkeypatch.setenv(name, value)

    def fill(self, now: datetime) -> None:
        self.enter()
        demo.fill(self.keys, network(), self.demo_secrets, now)

    def rows(self) -> dict[str, dict[str, int]]:
        """Returns the number of rows of each table of each service."""
        return {service: _rows(url) for service, url in self.urls.items()}

    @contextlib.contextmanager
    def refusing_every(self, number: int) -> Iterator[None]:
        """Makes each service's database refuse every `number`-th fact at its commit.

        The refusal is that of a full disk.
        """
        for url in self._owner_urls.values():
            with psycopg.connect(url) as connection:
                connection.execute(
                    "CREATE SEQUENCE commits; GRANT USAGE ON SEQUENCE commits TO PUBLIC;"
                    " CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    f" IF nextval('commits') % {number} = 0 THEN RAISE SQLSTATE '53100'; END IF;"
                    " RETURN NULL; END $$;"
                    " CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON outbox DEFERRABLE INITIALLY"
                    " DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
                )
        yield
        for url in self._owner_urls.values():
            with psycopg.connect(url) as connection:
                connection.execute(
                    "DROP TRIGGER refuse ON outbox; DROP FUNCTION refuse; DROP SEQUENCE commits"
                )


@pytest.fixture
def stores(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Stores]:
    numbers = count()
    return lambda: Stores(postgres, tmp_path / str(next(numbers)), monkeypatch)


@contextlib.contextmanager
def _open_database(url: str) -> Iterator[Database]:
    database = Database(url, max_size=2)
    database.open()
    try:
        yield database
    finally:
        database.close()


def _rows(url: str) -> dict[str, int]:
    """Returns the number of rows of each table."""
    with _open_database(url) as database, database.transaction(SYSTEM) as tx:
        tables = [
            row["tablename"]
            for row in tx.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            )
        ]
        return {
            name: tx.execute(f"SELECT count(*) AS n FROM {name}").fetchone()["n"]  # type: ignore[index]
            for name in tables
        }
